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

CONFIG_HELP = ('YAML file with the goal and the conditions to stop; default: conf.yaml or '
               'bert.yaml in the current folder, else a relative loss of 0.01')


@options('calibration')
class CalibrationOptions(Options):
    """How an INT8 network is calibrated."""
    num_calib_batches: int = flag('batches of training data to calibrate on', 5,
                                  kinds.positive_int)
    calib_batch_size: int = flag('texts or windows per calibration batch', 32, kinds.positive_int)
    quantized_dtype: str = flag('type of the quantized activations; auto: uint8 where calibration '
                                'saw no negative value', 'auto', choices=('auto', 'int8', 'uint8'))
    calib_mode: str = flag(
        'how the range of each activation is found. Mode naive: the lowest and highest value seen. '
        'Mode customize: the same, but clipped for layer normalisation and GELU. Mode entropy: by '
        'Kullback-Leibler divergence. Mode none: anew for every batch that is computed. Mode '
        'fused: anew for every token, by the CPU kernels of this package instead of the operators '
        'of MXNet.', 'customize', choices=file_names.CALIBRATION_MODES + (file_names.FUSED_MODE,))


@options('data')
class EvaluationSetOptions(Options):
    """The evaluation sets that a model is scored on."""
    task_name: str | None = flag(
        'task of the dev set, by its name in the fine-tuning script; default: the task that the '
        'model was trained on', metavar='TASK')
    data_dir: str | None = flag('folder of the files of the task; default: where the fine-tuning '
                                'script looks', metavar='FOLDER')
    dev_file: str | None = flag('your own dev set, instead of --task_name', metavar='FILE')
    label_column: str | None = flag('column of the label in your own files', metavar='C')
    label_columns: tuple | None = label_columns_flag()
    label_separator: str = label_separator_flag()
    max_eval_samples: int | None = flag('evaluate only N examples of each dev set, drawn at random',
                                        None, kinds.positive_int, metavar='N')
    rules = LABEL_COLUMN_RULES


@options('data')
class CalibrationSetOptions(EvaluationSetOptions):
    """The data that a model is calibrated and scored on."""
    train_file: str | None = flag('your own training set for calibration, with --dev_file',
                                  metavar='FILE')
    text_columns: tuple | None = flag('columns of the text or pair in your own files', None,
                                      kinds.text_list, metavar='A[,B]')
    max_train_samples: int | None = flag(
        'take the examples for calibration from N training examples, drawn at random', None,
        kinds.positive_int, metavar='N')
    dev_batch_size: int = flag('texts or windows per batch in evaluation', 32, kinds.positive_int)


@options('tuning')
class TuningOptions(Options):
    """Settings of the accuracy-driven search."""
    tune: bool = flag('switch operators back to float until the score reaches the goal', False)
    config: str | None = flag(CONFIG_HELP, metavar='FILE')
    rebuild: int | None = flag('write the network of trial N of the resumed run', None,
                               kinds.positive_int, metavar='N')


@options('output')
class QuantizedOutputOptions(Options):
    output_dir: str | None = flag('output folder; default: quantized (with --tune: tuned) in '
                                  '--model_dir, if that is a local folder', metavar='FOLDER')
    overwrite_output_dir: bool = overwrite_flag()
    resume: bool = flag('continue the tuning run in --output_dir', False)
    rules = (excludes('resume', 'overwrite_output_dir'),)


@options()
class ModelToQuantizeOptions(Options):
    model_dir: str = model_dir_flag(required=True)


@options()
class QuantizeOptions(ModelToQuantizeOptions, CalibrationOptions, CalibrationSetOptions,
                      TuningOptions, QuantizedOutputOptions, ThreadOptions):
    """quantize.py"""
    seed: int = flag('seed of the bootstrap', 2,
                     kinds.Number(int, 'a whole number from 0 to 2^32 - 1', 0, 2 ** 32 - 1))
    rules = (only_with(('config', 'resume', 'rebuild'), 'tune', '%s needs {}'),
             needs('rebuild', 'resume', '--rebuild {}: no run found: give --resume too'),
             not_with(('seed',), 'tune',
                      '%s: --tune has another seed: set random_seed in its configuration'))

    @property
    def continues_run(self):
        return self.resume and self.tune

    def prepare_mxnet(self):
        prepare_mxnet(self.threads, low_latency=True)
