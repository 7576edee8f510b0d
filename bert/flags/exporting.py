"""Options of the scripts that write models for other programs, and of models.py."""
from bert import file_names
from bert.flags import kinds
from bert.flags.common import HUB_NAME, DeviceOptions, model_dir_flag, overwrite_flag
from bert.flags.finetuning import ModelOptions, StaticOptions
from bert.flags.options import Options, flag, options
from bert.flags.rules import excludes, needs_one

FORMATS = ('gluon', 'transformers')
# Kinds of models that can be exported with random weights
RANDOM_KINDS = (file_names.CLASSIFICATION, file_names.REGRESSION, file_names.QUESTION_ANSWERING)


@options('model')
class ExportedModelOptions(Options):
    """The model to export."""
    task: str | None = flag('kind of model; default: as its parameters say',
                            choices=file_names.MODEL_KINDS)
    model_dir: str | None = model_dir_flag()
    model_parameters: str | None = flag('instead: .params of a whole model; without either the '
                                        'network is random', metavar='FILE')
    bert_model: str = flag('where no config.json lies beside --model_parameters: which BERT',
                           'bert_12_768_12', names=('--bert_model', '--model_name'),
                           metavar='NAME')
    bert_dataset: str | None = flag('the same for the vocabulary: the corpus', metavar='NAME',
                                    names=('--bert_dataset', '--dataset_name'))
    classes: tuple | None = flag('of a classifier, where no task.json tells: the classes in order',
                                 None, kinds.text_list, metavar='A,B,…')
    pair: bool = flag('the same for texts that come in pairs', False)
    seq_length: int | None = flag(
        'longest input that the folder serves; batches are of any length; default: as the model '
        'was trained', None, kinds.positive_int, metavar='TOKENS')
    dropout: float = flag('no meaning: there is none in prediction', 0.1, kinds.ratio, hidden=True)
    seed: int = flag('of a random network', 2, kinds.whole_number)
    rules = (excludes('model_dir', 'model_parameters'),
             needs_one(('task', 'model_dir', 'model_parameters'),
                       '--task is needed for a random network: %s'
                       % ', '.join(RANDOM_KINDS)))


def output_dir_flag(name):
    """The field of --output_dir. name: the default name of the folder."""
    return flag('default: %s in --model_dir, if that is a folder here, else a new '
                './output_dir/%s-<number>' % (name, name),
                metavar='FOLDER')


@options('output')
class ExportOutputOptions(Options):
    output_dir: str | None = output_dir_flag('export')
    overwrite_output_dir: bool = overwrite_flag()


@options('output')
class OnnxOutputOptions(Options):
    output_dir: str | None = output_dir_flag('onnx')
    overwrite_output_dir: bool = overwrite_flag()


@options()
class ExportOptions(ExportedModelOptions, ExportOutputOptions, DeviceOptions):
    """export/export.py"""


@options()
class ExportOnnxOptions(ExportedModelOptions, OnnxOutputOptions, DeviceOptions):
    """export/to_onnx.py"""


@options('network')
class TimingOptions(Options):
    evaluate: bool = flag('time prediction on batches of random tokens', False)
    num_batches: int = flag('batches that --evaluate times', 10, kinds.positive_int)


@options('output')
class StaticExportOutputOptions(Options):
    output_dir: str | None = flag('default: a new ./output_dir/static-export-<number>',
                                  metavar='FOLDER')
    overwrite_output_dir: bool = overwrite_flag('replace what a run left in --output_dir')
    seed: int = flag('of the random tokens', 2, kinds.whole_number)


@options()
class StaticExportOptions(StaticOptions, TimingOptions, ModelOptions,
                          DeviceOptions, StaticExportOutputOptions):
    """static_export_squad.py"""
    rules = (needs_one(('export', 'evaluate'),
                       'nothing to do: give --export, --evaluate or both'),)
    only_predict, dropout = True, 0.0       # nothing is trained

    @property
    def batch_size(self):
        return self.test_batch_size


@options('what a bare file of weights does not say')
class BareWeightsOptions(Options):
    bert_model: str | None = flag('released model of the same sizes; models.py lists them')
    bert_dataset: str | None = flag('corpus with the same vocabulary')
    classes: tuple | None = flag(
        'the classes of a classifier in order; default: those found beside it', None,
        kinds.text_list, metavar='X,Y,…')
    pair: bool = flag('the classifier reads pairs of texts', False)


@options()
class ConversionOptions(Options):
    input: str = flag('a folder in Hugging Face layout or one of its files (.safetensors, .bin, '
                      '.index.json); a Gluon .params; a run or checkpoint of ours; ' + HUB_NAME,
                      names=(),
                      metavar='INPUT', required=True)
    output: str = flag('the folder to make', names=(), metavar='OUTPUT', required=True)
    model_options = ('input',)
    to: str | None = flag('format of OUTPUT; default: the one that INPUT has not', choices=FORMATS)
    overwrite: bool = flag('replace an OUTPUT that an earlier conversion made', False)


@options()
class ConvertCheckpointOptions(ConversionOptions, BareWeightsOptions):
    """convert_checkpoint.py"""


@options()
class ModelsOptions(Options):
    """models.py"""
    model: str | None = flag('describe a model of the Hugging Face hub (owner/name or '
                             'owner/name@revision), without fetching its weights', None, names=(),
                             nargs='?', metavar='MODEL')
    fetch: tuple | None = flag('download a model into the cache, and verify it: a released model '
                               '(default: its first corpus), or the newest commit of '
                               'owner/name[@revision] on the hub', nargs='+',
                               metavar=('MODEL', 'CORPUS'))
    json: bool = flag('describe MODEL as JSON', False)
    root: str | None = flag('the cache of released models; left out: models under MXNET_HOME or '
                            '~/.mxnet', metavar='FOLDER')
