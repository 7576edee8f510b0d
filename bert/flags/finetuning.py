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
    '--deploy': 'an exported model is run by deploy.py --model_dir FOLDER',
    '--model_prefix': 'an exported model is run by deploy.py --model_dir FOLDER',
    '--tune': 'tuning starts from a trained model: quantize.py --tune --model_dir FOLDER'}
CALIBRATION_FLAGS = ('--only_calibration', '--num_calib_batches', '--quantized_dtype',
                     '--calib_mode')
NO_SEEDS_WITH_CALIBRATION = excludes('only_calibration', 'seeds')
OWN_FILES = ('train_file', 'dev_file', 'test_file')


@options('model')
class ModelOptions(Options):
    bert_model: str = flag('which BERT; models.py lists them', 'bert_12_768_12')
    bert_dataset: str | None = flag(
        'corpus it was pre-trained on; default: book_corpus_wiki_en_uncased, wiki_cn_cased for a '
        'Chinese task, or the only one of the model')
    bert_checkpoint: str | None = flag(
        'weights instead of the two above: a folder in Hugging Face layout, one of its files '
        '(.safetensors, .index.json, .bin), a Gluon .params, a checkpoint folder of ours, or '
        + HUB_NAME,
        metavar='PATH')
    pretrained_bert_parameters: str | None = flag('.params of the encoder only', metavar='FILE')
    model_parameters: str | None = flag('.params of the whole model, head included',
                                        metavar='FILE')
    rules = (excludes('pretrained_bert_parameters', 'model_parameters',
                      '%s and %s: the second holds the encoder too; give one of the two'),)


@options('training')
class OptimizerOptions(StepOptions):
    optimizer: str = flag('bertadam, adamw (it, with bias correction), or any of MXNet: lamb, '
                          'sgd …', 'bertadam')
    epochs: int = flag('passes over the training set', 3, kinds.positive_int)
    training_steps: int | None = flag('optimizer steps in all, instead of --epochs', None,
                                      kinds.positive_int)
    batch_size: int = flag('training examples a micro-batch', 32, kinds.positive_int)
    group_by_length: bool = flag(
        'texts of about one length in a batch, which saves padding where there are no fused '
        'operators, such as on a GPU; small data sets may score lower', False)
    early_stop: int | None = flag('stop after N evaluations without a better score', None,
                                  kinds.positive_int, metavar='N')
    seed: int = flag('of every random choice', 2, kinds.whole_number)
    seeds: tuple | None = flag('train once with each seed, print mean and standard deviation', None,
                               kinds.distinct_int_list, metavar='A,B,…')
    max_train_samples: int | None = flag('train on N examples, drawn at random', None,
                                         kinds.positive_int, metavar='N')
    max_eval_samples: int | None = flag('evaluate on N dev examples, drawn at random', None,
                                        kinds.positive_int, metavar='N')


@options('calibration')
class OnlyCalibrationOptions(CalibrationOptions):
    """Calibration in a script that also trains."""
    only_calibration: bool = flag('no training: make an INT8 network of the parameters, compare it '
                                  'with them on dev', False)


@options('output')
class RunOutputOptions(Options):
    output_dir: str | None = flag(
        'folder of this run; default: a new ./output_dir/<task>-<number>', metavar='FOLDER')
    overwrite_output_dir: bool = flag('replace the run that --output_dir holds', False)
    resume: bool = flag('go on from the newest checkpoint of the run in --output_dir, with its '
                        'options; without --output_dir: the newest run of the task', False)
    ckpt_interval: int = flag('optimizer steps between checkpoints; every epoch ends with one too',
                              500, kinds.positive_int, metavar='STEPS')
    log_interval: int = flag('micro-batches a log line', 10, kinds.positive_int)
    rules = (excludes('resume', 'overwrite_output_dir'),)

    @property
    def continues_run(self):
        return self.resume


@options('task')
class TaskOptions(Options):
    """The task: its texts, labels and lengths."""
    task_name: str | None = flag(
        'MRPC (the default), QQP, QNLI, RTE, STS-B, CoLA, MNLI, WNLI, SST, XNLI, LCQMC, '
        'ChnSentiCorp, RottenTomatoes; or a name for your own files')
    data_dir: str | None = flag(
        'folder of the task, or its parent; default: GLUE_DIR (Chinese tasks: '
        'BAIDU_ERNIE_DATA_DIR), ./glue_data, ., the cache, a download', metavar='FOLDER')
    train_file: str | None = flag('your own data: .csv, .tsv or .jsonl', metavar='FILE')
    dev_file: str | None = flag('your own data: .csv, .tsv or .jsonl', metavar='FILE')
    test_file: str | None = flag('your own data: .csv, .tsv or .jsonl', metavar='FILE')
    text_columns: tuple | None = flag(
        'columns of the text or pair in your own files, by name; by number from 0 in files without '
        'a header', None, kinds.text_list, metavar='A[,B]')
    label_column: str | None = flag('column of the label, likewise', metavar='C')
    classes: tuple | None = flag('classes of your own files in order; default: those found', None,
                                 kinds.text_list, metavar='X,Y,…')
    regression: bool = flag('labels of your own files are numbers', False)
    multi_label: bool = flag('a text of your own files has none, one or several labels', False)
    label_columns: tuple | None = label_columns_flag()
    label_separator: str = label_separator_flag()
    threshold: float = threshold_flag('a text has the labels of at least this probability', 0.5)
    skip_bad_rows: bool = flag('leave bad rows out and report them, instead of stopping', False)
    max_len: int = flag('tokens an example at most, special tokens included', 128,
                        kinds.whole_number)
    round_to: int | None = flag('pad each batch to a multiple of N tokens', None,
                                kinds.positive_int, metavar='N')
    pad: bool = flag('pad each batch to --max_len', False)
    dev_batch_size: int = flag('examples a batch in evaluation', 32, kinds.positive_int,
                               names=('--dev_batch_size', '--test_batch_size'))
    only_inference: bool = flag('no training: evaluate on dev once, predict test', False)
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
    max_score: float | None = flag('the highest score in the files; scores are divided by it; '
                                   'default: 1, STS-B: 5', None, kinds.positive_float,
                                   metavar='X')
    rules = (excludes('ranking', 'classes'), excludes('ranking', 'regression'),
             excludes('ranking', 'multi_label'),
             only_with(('max_score',), 'ranking'))


@options('question answering')
class ContextWindowOptions(Options):
    """How contexts are cut and batched."""
    max_seq_length: int | None = flag(
        'tokens of a window: question, part of the context and 3 special ones', 384,
        kinds.positive_int)
    doc_stride: int = flag('tokens from the start of one window to the start of the next', 128,
                           kinds.positive_int)
    max_query_length: int = flag('tokens of a question; the rest is cut off, and counted', 64,
                                 kinds.positive_int)
    uncased: bool = flag('lower-case the text; default: as the vocabulary of the model wants',
                         False)
    test_batch_size: int = flag('windows a batch in prediction', 24, kinds.positive_int)


@options('question answering')
class SquadOptions(ContextWindowOptions):
    """The SQuAD files, their windows, the training on them and the predictions."""
    version_2: bool = flag('SQuAD 2.0: questions may have no answer', False)
    data_dir: str | None = flag(
        'folder of train-v1.1.json, dev-v1.1.json (2.0: train-v2.0.json, dev-v2.0.json); default: '
        'SQUAD_DIR, ./squad, ., the cache, a download', metavar='FOLDER')
    train_file: str | None = flag('the questions to train on', metavar='FILE')
    dev_file: str | None = flag('the questions to predict', metavar='FILE')
    n_best_size: int = flag('answers a question in nbest_predictions.json', 20, kinds.positive_int)
    max_answer_length: int = flag('tokens of an answer', 30, kinds.positive_int)
    null_score_diff_threshold: float = flag(
        'with --version_2: predict no answer where it scores better than the best span by more '
        'than this (logits; typical: -1 to -5)', 0.0, kinds.number)
    threshold_file: str | None = flag(
        'with --version_2: choose that threshold on this SQuAD file, which shares no question with '
        'dev; --max_eval_samples holds for it too', metavar='FILE')
    debug: bool = flag('10000 questions to train on and 100 to predict, unless '
                       '--max_train_samples and --max_eval_samples say otherwise', False)
    only_predict: bool = flag(
        'no training: predict dev with --model_parameters, or with a --bert_checkpoint that is a '
        'whole question-answering model', False)
    evaluate_epochs: bool = flag('score dev after every epoch, and keep the best by F1; without it '
                                 'the last one counts, as in the original', False)
    rules = (needs('threshold_file', 'version_2',
                   '--threshold_file is for --version_2: SQuAD 1.1 has no threshold'),
             needs('null_score_diff_threshold', 'version_2',
                   '--null_score_diff_threshold is for --version_2: SQuAD 1.1 has no threshold'),
             excludes('threshold_file', 'null_score_diff_threshold'))


@options('question answering')
class StaticOptions(ContextWindowOptions):
    """A network with fixed shapes."""
    max_seq_length: int | None = flag(
        'tokens of a window: question, part of the context and 3 special ones; default: '
        '--seq_length', None, kinds.positive_int)
    seq_length: int | None = flag(
        'length of every window, padding included; default: the environment\'s SEQLENGTH, '
        '--max_seq_length, else 384', None, kinds.positive_int, metavar='TOKENS')
    input_size: int | None = flag(
        'width of a token\'s vector, which must be the model\'s; default: the environment\'s '
        'INPUTSIZE, else the model\'s', None, kinds.positive_int, metavar='WIDTH')
    export: bool = flag('write the network as static_net-symbol.json and static_net-….params',
                        False)


@options()
class FinetuneClassifierOptions(TaskOptions, RankingOptions, ModelOptions, OptimizerOptions,
                                OnlyCalibrationOptions, TrainingDeviceOptions, RunOutputOptions):
    """finetune_classifier.py"""
    unsupported = UNSUPPORTED_TRAINING_FLAGS
    rules = (NO_SEEDS_WITH_CALIBRATION,
             needs('only_calibration', 'model_parameters',
                   '--only_calibration: of which parameters? Give --model_parameters, or take '
                   'quantize.py --model_dir'),)

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
        'a static network is not calibrated: quantize.py --model_dir FOLDER takes a run of it'))
    round_to, only_calibration = None, False     # all windows have one length
