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
    task: str | None = flag('kind of the model; default: the kind that its parameters show',
                            choices=file_names.MODEL_KINDS)
    model_dir: str | None = model_dir_flag()
    model_parameters: str | None = flag('.params file of a whole model, instead of --model_dir; '
                                        'without both, the weights are random', metavar='FILE')
    bert_model: str = flag('name of the BERT model, for random weights or if no config.json lies '
                           'beside --model_parameters',
                           'bert_12_768_12', names=('--bert_model', '--model_name'),
                           metavar='NAME')
    bert_dataset: str | None = flag('corpus of the vocabulary, in the same cases', metavar='NAME',
                                    names=('--bert_dataset', '--dataset_name'))
    classes: tuple | None = flag('classes of a classifier in order, if no task.json lists them',
                                 None, kinds.text_list, metavar='A,B,…')
    pair: bool = flag('the classifier reads pairs of texts; needed only if no task.json says so',
                      False)
    seq_length: int | None = flag(
        'maximum input length in tokens of the exported model, whose batches may have any length; '
        'default: the length of the training', None, kinds.positive_int, metavar='TOKENS')
    dropout: float = flag('no meaning: there is none in prediction', 0.1, kinds.ratio, hidden=True)
    seed: int = flag('seed of the random weights', 2, kinds.whole_number)
    rules = (excludes('model_dir', 'model_parameters'),
             needs_one(('task', 'model_dir', 'model_parameters'),
                       'no model found: give --model_dir or --model_parameters, or --task for '
                       'random weights: %s' % ', '.join(RANDOM_KINDS)))


def output_dir_flag(name):
    """The field of --output_dir. name: the default name of the folder."""
    return flag('output folder; default: %s in --model_dir, if that is a local folder, else a new '
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
    evaluate: bool = flag('measure the time of prediction on batches of random tokens', False)
    num_batches: int = flag('number of batches that --evaluate measures', 10, kinds.positive_int)


@options('output')
class StaticExportOutputOptions(Options):
    output_dir: str | None = flag('output folder; default: a new '
                                  './output_dir/static-export-<number>', metavar='FOLDER')
    overwrite_output_dir: bool = overwrite_flag('replace what a run left in --output_dir')
    seed: int = flag('seed of the random tokens', 2, kinds.whole_number)


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


@options('for a file of weights without a description')
class BareWeightsOptions(Options):
    bert_model: str | None = flag('released model with the same sizes; models.py lists the names')
    bert_dataset: str | None = flag('pre-training corpus with the same vocabulary')
    classes: tuple | None = flag(
        'classes of a classifier in order; default: those in the files beside the weights', None,
        kinds.text_list, metavar='X,Y,…')
    pair: bool = flag('the classifier reads pairs of texts', False)


@options()
class ConversionOptions(Options):
    input: str = flag('model to convert: a folder in Hugging Face layout or one of its files '
                      '(.safetensors, .bin, .index.json). Alternatively a Gluon .params, the '
                      'folder of a run or checkpoint, or ' + HUB_NAME + '.', names=(),
                      metavar='INPUT', required=True)
    output: str = flag('folder to create', names=(), metavar='OUTPUT', required=True)
    model_options = ('input',)
    to: str | None = flag('format of OUTPUT; default: the format that INPUT does not have',
                          choices=FORMATS)
    overwrite: bool = flag('replace the OUTPUT of an earlier conversion', False)


@options()
class ConvertCheckpointOptions(ConversionOptions, BareWeightsOptions):
    """convert_checkpoint.py"""


@options()
class ModelsOptions(Options):
    """models.py"""
    model: str | None = flag('describe a model of the Hugging Face hub (owner/name or '
                             'owner/name@revision), without fetching its weights', None, names=(),
                             nargs='?', metavar='MODEL')
    fetch: tuple | None = flag('download a model into the cache, and verify it. MODEL is a '
                               'released model (without CORPUS: with its first corpus), or '
                               'owner/name[@revision] on the hub, with its newest commit.',
                               nargs='+', metavar=('MODEL', 'CORPUS'))
    json: bool = flag('describe MODEL as JSON', False)
    root: str | None = flag('cache folder of released models; default: the folder models in '
                            'MXNET_HOME or ~/.mxnet', metavar='FOLDER')
