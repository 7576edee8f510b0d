"""Options of quantize.py, and of INT8 calibration in other scripts."""
from bert import file_names
from bert.flags import kinds
from bert.flags.common import (
    LABEL_COLUMN_RULES,
    ThreadOptions,
    label_columns_flag,
    label_separator_flag,
    model_dir_flag,
    overwrite_flag,
)
from bert.flags.options import Options, flag, options
from bert.flags.rules import excludes, needs, not_with, only_with
from bert.flags.threads import prepare_mxnet

CONFIG_HELP = ('YAML with the goal and when to stop; default: conf.yaml or bert.yaml in the '
               'current folder, else a relative loss of 0.01')


@options('calibration')
class CalibrationOptions(Options):
    """How an INT8 network is calibrated."""
    num_calib_batches: int = flag('batches of training data to calibrate on', 5,
                                  kinds.positive_int)
    calib_batch_size: int = flag('texts or windows in each', 32, kinds.positive_int)
    quantized_dtype: str = flag('of activations; auto: uint8 where nothing negative was seen',
                                'auto', choices=('auto', 'int8', 'uint8'))
    calib_mode: str = flag(
        'how the range of each activation is found: customize: least and greatest value seen, cut '
        'for layer normalisation and GELU; naive: not cut; entropy: by Kullback-Leibler '
        'divergence; none: anew for every batch that is computed; fused: by the CPU kernels of '
        'this package instead of MXNet\'s operators, anew for every token', 'customize',
        choices=file_names.CALIBRATION_MODES + (file_names.FUSED_MODE,))


@options('data')
class EvaluationSetOptions(Options):
    """The evaluation sets that a model is scored on."""
    task_name: str | None = flag(
        'a task of the table; default: the one that the model was trained on', metavar='TASK')
    data_dir: str | None = flag('folder of its files; default: as the script that trains looks',
                                metavar='FOLDER')
    dev_file: str | None = flag('instead: a file of your own', metavar='FILE')
    label_column: str | None = flag('column of the label in files of your own', metavar='C')
    label_columns: tuple | None = label_columns_flag()
    label_separator: str = label_separator_flag()
    max_eval_samples: int | None = flag('score N examples of each, drawn at random', None,
                                        kinds.positive_int, metavar='N')
    rules = LABEL_COLUMN_RULES


@options('data')
class CalibrationSetOptions(EvaluationSetOptions):
    """The data that a model is calibrated and scored on."""
    train_file: str | None = flag('beside --dev_file: to calibrate on, of your own too',
                                  metavar='FILE')
    text_columns: tuple | None = flag('columns of the text or pair in files of your own', None,
                                      kinds.text_list, metavar='A[,B]')
    max_train_samples: int | None = flag(
        'calibrate on some of N training examples, drawn at random', None, kinds.positive_int,
        metavar='N')
    dev_batch_size: int = flag('texts or windows a batch where scores are computed', 32,
                               kinds.positive_int)


@options('tuning')
class TuningOptions(Options):
    """Settings of the accuracy-driven search."""
    tune: bool = flag('return operators to float until the score is within the goal', False)
    config: str | None = flag(CONFIG_HELP, metavar='FILE')
    rebuild: int | None = flag('with --resume: write the network of trial N', None,
                               kinds.positive_int, metavar='N')


@options('output')
class QuantizedOutputOptions(Options):
    output_dir: str | None = flag('default: quantized, or tuned, in --model_dir, if that is a '
                                  'folder here', metavar='FOLDER')
    overwrite_output_dir: bool = overwrite_flag()
    resume: bool = flag('go on with the tuning run in --output_dir', False)
    rules = (excludes('resume', 'overwrite_output_dir'),)


@options()
class ModelToQuantizeOptions(Options):
    model_dir: str = model_dir_flag(required=True)


@options()
class QuantizeOptions(ModelToQuantizeOptions, CalibrationOptions, CalibrationSetOptions,
                      TuningOptions, QuantizedOutputOptions, ThreadOptions):
    """quantize.py"""
    seed: int = flag('of the bootstrap', 2,
                     kinds.Number(int, 'a whole number from 0 to 2^32 - 1', 0, 2 ** 32 - 1))
    rules = (only_with(('config', 'resume', 'rebuild'), 'tune', '%s is for {}'),
             needs('rebuild', 'resume', '--rebuild {}: the trial of which run? Give --resume too'),
             not_with(('seed',), 'tune',
                      '%s: the seed of --tune is random_seed in its configuration'))

    @property
    def continues_run(self):
        return self.resume and self.tune

    def prepare_mxnet(self):
        prepare_mxnet(self.threads, low_latency=True)
