"""Options of the fine-tuning scripts, and of scripts that read the same models and files."""
from bert.flags import kinds
from bert.flags.common import (
    HUB_NAME,
    LABEL_COLUMN_RULES,
    StepOptions,
    TrainingDeviceOptions,
    label_columns_flag,
    label_separator_flag,
    threshold_flag,
)
from bert.flags.int8 import CalibrationOptions
from bert.flags.options import Options, flag, options
from bert.flags.rules import excludes, needs, only_with
from bert.flags.threads import prepare_mxnet

# Flags of the original scripts that fine-tuning does not support, with what to use instead.
UNSUPPORTED_TRAINING_FLAGS = {
    '--deploy': 'to run an exported model, use deploy.py --model_dir FOLDER',
    '--model_prefix': 'to run an exported model, use deploy.py --model_dir FOLDER',
    '--tune': 'to tune a trained model, use quantize.py --tune --model_dir FOLDER'}
CALIBRATION_FLAGS = ('--only_calibration', '--num_calib_batches', '--quantized_dtype',
                     '--calib_mode')
NO_SEEDS_WITH_CALIBRATION = excludes('only_calibration', 'seeds')
OWN_FILES = ('train_file', 'dev_file', 'test_file')


@options('model')
class ModelOptions(Options):
    bert_model: str = flag('name of the BERT model; models.py lists the names', 'bert_12_768_12')
    bert_dataset: str | None = flag(
        'pre-training corpus of --bert_model; default: book_corpus_wiki_en_uncased, wiki_cn_cased '
        'for a Chinese task, or the only corpus of the model')
    bert_checkpoint: str | None = flag(
        'weights to use instead of --bert_model and --bert_dataset: a folder in Hugging Face '
        'layout or one of its files (.safetensors, .index.json, .bin). Alternatively a Gluon '
        '.params, a checkpoint folder of these scripts, or ' + HUB_NAME + '.', metavar='PATH')
    pretrained_bert_parameters: str | None = flag('.params file of the encoder only',
                                                  metavar='FILE')
    model_parameters: str | None = flag('.params file of the whole model, head included',
                                        metavar='FILE')
    rules = (excludes('pretrained_bert_parameters', 'model_parameters',
                      '%s and %s: the second holds the encoder too; give one of the two'),)


@options('training')
class OptimizerOptions(StepOptions):
    optimizer: str = flag('bertadam, adamw (bertadam with bias correction), or an optimizer of '
                          'MXNet: lamb, sgd …', 'bertadam')
    epochs: int = flag('passes over the training set', 3, kinds.positive_int)
    training_steps: int | None = flag('total number of optimizer steps, instead of --epochs', None,
                                      kinds.positive_int)
    batch_size: int = flag('training examples per micro-batch', 32, kinds.positive_int)
    group_by_length: bool = flag(
        'put texts of similar length into the same batch. This saves padding where there are no '
        'fused operators, such as on a GPU. Small data sets may score lower.', False)
    early_stop: int | None = flag('stop after N evaluations without a better score', None,
                                  kinds.positive_int, metavar='N')
    seed: int = flag('seed of every random choice', 2, kinds.whole_number)
    seeds: tuple | None = flag('train once with each seed, and print mean and standard deviation '
                               'of the scores', None, kinds.distinct_int_list, metavar='A,B,…')
    max_train_samples: int | None = flag('train on N examples, drawn at random', None,
                                         kinds.positive_int, metavar='N')
    max_eval_samples: int | None = flag('evaluate on N dev examples, drawn at random', None,
                                        kinds.positive_int, metavar='N')


@options('calibration')
class OnlyCalibrationOptions(CalibrationOptions):
    """Calibration in a script that also trains."""
    only_calibration: bool = flag('no training: make an INT8 network from the parameters, and '
                                  'compare both on the dev set', False)


@options('output')
class RunOutputOptions(Options):
    output_dir: str | None = flag(
        'folder of this run; default: a new ./output_dir/<task>-<number>', metavar='FOLDER')
    overwrite_output_dir: bool = flag('replace the run in --output_dir', False)
    resume: bool = flag('continue the run in --output_dir from its newest checkpoint, with its '
                        'options; without --output_dir: the newest run of the task', False)
    ckpt_interval: int = flag('optimizer steps between checkpoints; every epoch also ends with a '
                              'checkpoint', 500, kinds.positive_int, metavar='STEPS')
    log_interval: int = flag('micro-batches per log line', 10, kinds.positive_int)
    rules = (excludes('resume', 'overwrite_output_dir'),)

    @property
    def continues_run(self):
        return self.resume


@options('task')
class TaskOptions(Options):
    """The task: its texts, labels and lengths."""
    task_name: str | None = flag(
        'task: MRPC (the default), QQP, QNLI, RTE, STS-B, CoLA, MNLI, WNLI, SST, XNLI, LCQMC, '
        'ChnSentiCorp, RottenTomatoes; or a name for your own files')
    data_dir: str | None = flag(
        'folder of the task, or its parent; default: the script searches GLUE_DIR (Chinese tasks: '
        'BAIDU_ERNIE_DATA_DIR), ./glue_data, . and the cache, then downloads it', metavar='FOLDER')
    train_file: str | None = flag('your own training set: .csv, .tsv or .jsonl', metavar='FILE')
    dev_file: str | None = flag('your own dev set: .csv, .tsv or .jsonl', metavar='FILE')
    test_file: str | None = flag('your own test set: .csv, .tsv or .jsonl', metavar='FILE')
    text_columns: tuple | None = flag(
        'columns of the text or pair in your own files: their names, or their numbers from 0 in '
        'files without a header', None, kinds.text_list, metavar='A[,B]')
    label_column: str | None = flag('column of the label in your own files: its name, or its '
                                    'number from 0 in files without a header', metavar='C')
    classes: tuple | None = flag('classes of your own files in order; default: all classes in the '
                                 'files', None, kinds.text_list, metavar='X,Y,…')
    regression: bool = flag('the labels of your own files are numbers', False)
    multi_label: bool = flag('a text of your own files may have no label, one or several', False)
    label_columns: tuple | None = label_columns_flag()
    label_separator: str = label_separator_flag()
    threshold: float = threshold_flag('lowest probability at which a text has a label', 0.5)
    skip_bad_rows: bool = flag('leave bad rows out and report them, instead of stopping', False)
    max_len: int = flag('maximum length of an example in tokens, special tokens included', 128,
                        kinds.whole_number)
    round_to: int | None = flag('pad each batch to a multiple of N tokens', None,
                                kinds.positive_int, metavar='N')
    pad: bool = flag('pad each batch to --max_len', False)
    dev_batch_size: int = flag('examples per batch in evaluation', 32, kinds.positive_int,
                               names=('--dev_batch_size', '--test_batch_size'))
    only_inference: bool = flag('no training: evaluate the dev set once, and predict the test set',
                                False)
    rules = (excludes('regression', 'classes'), excludes('regression', 'multi_label'),
             excludes('classes', 'label_columns'), *LABEL_COLUMN_RULES,
             only_with(('label_columns', 'label_separator', 'threshold'), 'multi_label'),
             only_with(('text_columns', 'label_column', 'classes', 'regression', 'multi_label'),
                       OWN_FILES, '%s is for files of your own: give --train_file and --dev_file'))


@options('task')
class RankingOptions(Options):
    """A task for a cross-encoder."""
    ranking: bool = flag('train a reranker (cross-encoder) on pairs with scores: STS-B, or files '
                         'of your own', False)
    max_score: float | None = flag('highest score in the files, by which all scores are divided; '
                                   'default: 1; for STS-B: 5', None, kinds.positive_float,
                                   metavar='X')
    rules = (excludes('ranking', 'classes'), excludes('ranking', 'regression'),
             excludes('ranking', 'multi_label'),
             only_with(('max_score',), 'ranking'))


@options('question answering')
class ContextWindowOptions(Options):
    """How contexts are cut and batched."""
    max_seq_length: int | None = flag(
        'maximum length of a window in tokens: question, part of the context and 3 special tokens',
        384, kinds.positive_int)
    doc_stride: int = flag('tokens from the start of one window to the start of the next', 128,
                           kinds.positive_int)
    max_query_length: int = flag('maximum length of a question in tokens; longer questions are cut '
                                 'and counted', 64, kinds.positive_int)
    uncased: bool = flag('convert the text to lower case; default: as the vocabulary of the model '
                         'needs it', False)
    test_batch_size: int = flag('windows per batch in prediction', 24, kinds.positive_int)


@options('question answering')
class SquadOptions(ContextWindowOptions):
    """The SQuAD files, their windows, the training on them and the predictions."""
    version_2: bool = flag('SQuAD 2.0: questions may have no answer', False)
    data_dir: str | None = flag(
        'folder of train-v1.1.json and dev-v1.1.json (SQuAD 2.0: train-v2.0.json and '
        'dev-v2.0.json). Default: the script searches SQUAD_DIR, ./squad, . and the cache, then '
        'downloads them.', metavar='FOLDER')
    train_file: str | None = flag('SQuAD file with the questions to train on', metavar='FILE')
    dev_file: str | None = flag('SQuAD file with the questions to predict', metavar='FILE')
    n_best_size: int = flag('n-best: answers per question in nbest_predictions.json', 20,
                            kinds.positive_int)
    max_answer_length: int = flag('maximum length of an answer in tokens', 30, kinds.positive_int)
    null_score_diff_threshold: float = flag(
        'predict "no answer" if its score exceeds that of the best span by more than this '
        '(logits; typical: -1 to -5)', 0.0, kinds.number)
    threshold_file: str | None = flag(
        'choose --null_score_diff_threshold on this SQuAD file, which must share no question with '
        'the dev set; --max_eval_samples applies to it too', metavar='FILE')
    debug: bool = flag('use 10000 questions to train on and 100 to predict, unless '
                       '--max_train_samples and --max_eval_samples set other numbers', False)
    only_predict: bool = flag(
        'no training: predict the dev set with --model_parameters, or with a --bert_checkpoint '
        'that is a whole question-answering model', False)
    evaluate_epochs: bool = flag('evaluate the dev set after every epoch, and keep the epoch with '
                                 'the best F1. Without this flag, the last epoch is kept, as in '
                                 'the original.', False)
    rules = (needs('threshold_file', 'version_2',
                   '--threshold_file needs --version_2: SQuAD 1.1 has no threshold'),
             needs('null_score_diff_threshold', 'version_2',
                   '--null_score_diff_threshold needs --version_2: SQuAD 1.1 has no threshold'),
             excludes('threshold_file', 'null_score_diff_threshold'))


@options('question answering')
class StaticOptions(ContextWindowOptions):
    """A network with fixed shapes."""
    max_seq_length: int | None = flag(
        'maximum length of a window in tokens: question, part of the context and 3 special tokens; '
        'default: --seq_length', None, kinds.positive_int)
    seq_length: int | None = flag(
        'length of every window in tokens, padding included; default: the environment variable '
        'SEQLENGTH, --max_seq_length, else 384', None, kinds.positive_int, metavar='TOKENS')
    input_size: int | None = flag(
        'width of the vector of a token, which must be that of the model; default: the '
        'environment variable INPUTSIZE, else the width of the model', None, kinds.positive_int,
        metavar='WIDTH')
    export: bool = flag('write the network as static_net-symbol.json and static_net-….params',
                        False)


NO_MODEL = ('--only_calibration: no trained model found: give a run of finetune_classifier.py as '
            '--bert_checkpoint, or use quantize.py --model_dir')


@options()
class FinetuneClassifierOptions(TaskOptions, RankingOptions, ModelOptions, OptimizerOptions,
                                OnlyCalibrationOptions, TrainingDeviceOptions, RunOutputOptions):
    """finetune_classifier.py"""
    unsupported = UNSUPPORTED_TRAINING_FLAGS
    rules = (NO_SEEDS_WITH_CALIBRATION,
             needs('only_calibration', ('bert_checkpoint', 'model_parameters'), NO_MODEL),)

    @property
    def trains(self):
        return not (self.only_inference or self.only_calibration)

    def prepare_mxnet(self):
        prepare_mxnet(self.threads, training=self.gpu is None and self.trains)


@options(lr=5e-5, log_interval=50)
class _FinetuneQuestionAnswererOptions(SquadOptions, ModelOptions, OptimizerOptions,
                                       TrainingDeviceOptions, RunOutputOptions):
    """What both scripts for SQuAD share."""

    @property
    def trains(self):
        return not self.only_predict

    def prepare_mxnet(self):
        prepare_mxnet(self.threads, training=self.gpu is None and self.trains)


@options('question answering')
class DynamicOptions(Options):
    """Windows of any length."""
    round_to: int | None = flag('pad each training batch to a multiple of N tokens', None,
                                kinds.positive_int, metavar='N')


@options(num_calib_batches=10)
class FinetuneSquadOptions(DynamicOptions, _FinetuneQuestionAnswererOptions,
                           OnlyCalibrationOptions):
    """finetune_squad.py"""
    unsupported = UNSUPPORTED_TRAINING_FLAGS
    rules = (NO_SEEDS_WITH_CALIBRATION,)
    export = False          # only of static shapes

    @property
    def trains(self):
        return not (self.only_predict or self.only_calibration)


@options()
class StaticFinetuneSquadOptions(StaticOptions, _FinetuneQuestionAnswererOptions):
    """static_finetune_squad.py"""
    unsupported = dict(UNSUPPORTED_TRAINING_FLAGS, **dict.fromkeys(
        CALIBRATION_FLAGS,
        'this script does not calibrate: use quantize.py --model_dir FOLDER with its run'))
    round_to, only_calibration = None, False     # all windows have one length
