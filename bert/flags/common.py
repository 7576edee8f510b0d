"""Options that several commands share. Nothing here imports mxnet, so `--help` answers at once."""
from bert.flags import kinds
from bert.flags.options import Options, flag, options
from bert.flags.rules import excludes
from bert.flags.threads import default_threads, prepare_mxnet

DTYPE_DESCRIPTIONS = {
    'float32': 'exact', 'bfloat16': '16-bit products, faster on a CPU with AVX-512 for bfloat16',
    'int8': '8-bit products, faster still but less exact', 'float16': 'only on a GPU'}


def dtype_flag(*choices):
    """The field of --dtype."""
    return flag('data type of the computation: ' + '; '.join(
        '%s (%s)' % (name, DTYPE_DESCRIPTIONS[name]) for name in choices), 'float32',
        choices=choices)


# How help texts name a model of the hub
HUB_NAME = 'a model of the Hugging Face hub (owner/name or owner/name@revision)'


def model_dir_flag(scripts='finetune_classifier.py, finetune_ner.py or finetune_squad.py',
                   kind='a model of the same kind', **values):
    """The field of --model_dir. scripts, kind: where such models come from, and what they are."""
    return flag('the model: the folder of a run of %s, or of a checkpoint of that run. '
                'Alternatively %s that transformers saved, or %s' % (scripts, kind, HUB_NAME),
                metavar='FOLDER', **values)


# Flags of files with several labels a text. Those of classes with `label_column` have these rules.
LABEL_COLUMN_RULES = (
    excludes('label_column', 'label_columns'),
    excludes('label_columns', 'label_separator',
             '%s and %s: columns of 0 and 1 have no separator'))


def label_columns_flag():
    return flag('for texts with several labels: columns of 0 and 1, whose names are the labels',
                None, kinds.text_list, metavar='A,B,…')


def label_separator_flag():
    return flag('for texts with several labels: separator of the labels in --label_column; JSON '
                'lines have a list there instead', ',', metavar='TEXT')


def threshold_flag(help, default=None):
    """The field of --threshold."""
    return flag('for texts with several labels: ' + help, default, kinds.probability, metavar='P')


def overwrite_flag(help='replace what an earlier run left in the output folder'):
    return flag(help, False)


@options('device')
class ThreadOptions(Options):
    threads: int = flag('number of CPU threads', kind=kinds.thread_count, factory=default_threads)

    def prepare_mxnet(self):
        prepare_mxnet(self.threads)


@options('device')
class DeviceOptions(ThreadOptions):
    gpu: int | None = flag('compute on the GPU with the number ID (without ID: 0); without this '
                           'flag: on the CPU', None, kinds.whole_number, nargs='?', const=0,
                           metavar='ID')


@options('device')
class PredictionDeviceOptions(DeviceOptions):
    """For a script that predicts with an MXNet network."""
    dtype: str = dtype_flag('float32', 'bfloat16', 'int8')


@options('device')
class TrainingDeviceOptions(DeviceOptions):
    """For a script that several workers can run together."""
    comm_backend: str | None = flag(
        'horovod: train together with the other workers that horovodrun started; horovod is the '
        'default if horovodrun started the script', choices=('horovod',))


@options('training')
class StepOptions(Options):
    """Settings of an optimizer step."""
    accumulate: int = flag('micro-batches per optimizer step', 1, kinds.positive_int)
    lr: float = flag('peak learning rate', 2e-5, kinds.positive_float)
    epsilon: float = flag('epsilon of Adam and similar optimizers', 1e-6, kinds.positive_float)
    warmup_ratio: float = flag('warm-up: share of the steps in which the learning rate rises; '
                               'afterwards it falls linearly', 0.1, kinds.ratio)
    weight_decay: float = flag('weight decay; biases and layer normalisation have none', 0.01,
                               kinds.nonnegative_float)
    max_grad_norm: float = flag('maximum of the global norm of the gradient', 1.0,
                                kinds.positive_float)
    dropout: float = flag('dropout rate in the encoder and the head', 0.1, kinds.dropout_rate)
    dtype: str = dtype_flag('float32', 'bfloat16', 'float16')


@options()
class TextOutputOptions(Options):
    """Where and how a script writes results about its texts, and the size of its batches."""
    output: str | None = flag('file for the results; default: standard output', metavar='FILE')
    format: str = flag('format of the lines', 'tsv', choices=('tsv', 'jsonl'))
    batch_size: int = flag('texts or windows per batch', 32, kinds.positive_int)
    overwrite: bool = flag('replace the --output file if it exists', False)
