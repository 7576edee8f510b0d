"""Options of the two commands of lpot's BERT example, under lpot's names."""
from bert.flags import kinds
from bert.flags.common import ThreadOptions, overwrite_flag
from bert.flags.int8 import CONFIG_HELP
from bert.flags.options import Options, flag, options
from bert.flags.rules import excludes, needs_one, only_with
from bert.flags.threads import prepare_mxnet


@options('model')
class ExampleModelOptions(Options):
    model_type: str = flag('type of the model: only bert', 'bert', choices=('bert',))
    model_name_or_path: str = flag(
        'model: bert-base-uncased, bert-large-uncased-whole-word-masking …, or the folder of a run '
        'of these scripts or of transformers', metavar='NAME', required=True)
    do_lower_case: bool = flag('no meaning: text is lower-cased as the vocabulary wants', False,
                               hidden=True)


@options('work')
class StageOptions(Options):
    do_train: bool = flag('fine-tune, and write the model to --output_dir', False)
    do_eval: bool = flag('evaluate the dev set, and write eval_results.txt to --output_dir', False)
    tune: bool = flag('tune as quantize.py --tune does, and write to the folder tuned in '
                      '--output_dir', False)
    config: str | None = flag(CONFIG_HELP, metavar='FILE')
    resume: bool = flag('continue the interrupted run in --output_dir', False)
    rules = (needs_one(('do_train', 'do_eval', 'tune'),
                       'nothing to do: give --do_train, --do_eval or --tune'),
             only_with(('config',), 'tune'))


@options('data')
class ExampleDataOptions(Options):
    max_seq_length: int = flag('maximum length of an example or window in tokens', 128,
                               kinds.positive_int)
    overwrite_cache: bool = flag('no meaning: what is cached is named by its content', False,
                                 hidden=True)
    max_train_samples: int | None = flag('train on N examples, drawn at random', None,
                                         kinds.positive_int, metavar='N')
    max_eval_samples: int | None = flag('evaluate on N examples, drawn at random', None,
                                        kinds.positive_int, metavar='N')


@options('training')
class ExampleTrainingOptions(Options):
    learning_rate: float = flag('peak learning rate; the optimizer is adamw', 5e-5,
                                kinds.positive_float)
    num_train_epochs: float = flag('passes over the training set', 3.0, kinds.positive_float)
    per_gpu_train_batch_size: int = flag('examples or windows per batch in training', 8,
                                         kinds.positive_int)
    per_gpu_eval_batch_size: int = flag('examples or windows per batch in evaluation', 8,
                                        kinds.positive_int)
    seed: int = flag('seed of every random choice', 42, kinds.whole_number)
    # without --do_train these do nothing
    rules = (only_with(('learning_rate', 'num_train_epochs', 'per_gpu_train_batch_size',
                        'max_train_samples', 'seed'), 'do_train'),)


@options('output')
class ExampleOutputOptions(Options):
    output_dir: str = flag('folder of the run', metavar='FOLDER', required=True)
    overwrite_output_dir: bool = overwrite_flag()
    rules = (excludes('resume', 'overwrite_output_dir'),)


@options('device')
class ExampleDeviceOptions(ThreadOptions):
    no_cuda: bool = flag('no meaning: these commands run on the CPU', False, hidden=True)


@options()
class ExampleOptions(ExampleModelOptions, StageOptions, ExampleDataOptions,
                     ExampleTrainingOptions, ExampleOutputOptions, ExampleDeviceOptions):
    """What both commands share."""

    def prepare_mxnet(self):
        prepare_mxnet(self.threads, training=self.do_train, low_latency=self.tune)


@options()
class RunGlueTuneOptions(ExampleOptions):
    """run_glue_tune.py"""
    task_name: str = flag('task: CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI, RTE or WNLI',
                          metavar='TASK', required=True)
    data_dir: str = flag('folder of the task, or its parent', metavar='FOLDER', required=True)
    train_file = predict_file = None


@options(max_seq_length=384)
class RunSquadTuneOptions(ExampleOptions):
    """run_squad_tune.py"""
    task_name: str = flag('name of the task: SQuAD', 'SQuAD', metavar='TASK')
    data_dir: str | None = flag('folder of train-v1.1.json and dev-v1.1.json; default: where '
                                'finetune_squad.py looks', metavar='FOLDER')
    train_file: str | None = flag('SQuAD file with the questions to train on', metavar='FILE')
    predict_file: str | None = flag('SQuAD file with the questions to predict', metavar='FILE')
    doc_stride: int = flag('tokens from the start of one window to the start of the next', 128,
                           kinds.positive_int)
