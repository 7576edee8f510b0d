"""Options of finetune_ner.py, and of other scripts about the tags of words."""
from bert.flags import kinds
from bert.flags.common import TrainingDeviceOptions
from bert.flags.finetuning import (
    NO_SEEDS_WITH_CALIBRATION,
    OWN_FILES,
    UNSUPPORTED_TRAINING_FLAGS,
    ModelOptions,
    OnlyCalibrationOptions,
    OptimizerOptions,
    RunOutputOptions,
)
from bert.flags.options import Options, flag, options
from bert.flags.rules import needs, needs_one, not_with, only_with
from bert.flags.threads import prepare_mxnet

# The schemes of tags; the ways in which tokens become entities (bert/data/ner)
IOB1, IOB2, BIOES = SCHEMES = 'IOB1', 'IOB2', 'BIOES'
NONE, SIMPLE, FIRST, AVERAGE, MAX = AGGREGATIONS = 'none', 'simple', 'first', 'average', 'max'
OWN_FILE_HELP = 'your own %s set: CoNLL columns, or .jsonl with lists of words and tags'
# The flags of the NER script of GluonNLP that have other names here
GLUONNLP_FLAGS = {
    'train_file': ('--train-path',), 'dev_file': ('--dev-path',), 'test_file': ('--test-path',),
    'max_len': ('--seq-len',), 'dev_batch_size': ('--test_batch_size',),
    'bert_model': ('--bert-model',), 'dropout': ('--dropout-prob',), 'batch_size':
    ('--batch-size',), 'epochs': ('--num-epochs',), 'lr': ('--learning-rate',), 'warmup_ratio':
    ('--warmup-ratio',), 'output_dir': ('--save-checkpoint-prefix',)}


@options('task')
class TagColumnOptions(Options):
    """Where the words and tags of the user's own files stand."""
    word_column: str | None = flag(
        'column of the word, from 0, or its key in .jsonl; default: 0, "tokens"', metavar='C')
    tag_column: str | None = flag(
        'column of the tag, from 0, or its key in .jsonl; default: the last column, "ner_tags" or '
        '"tags"', metavar='C')


@options('task')
class TagTaskOptions(TagColumnOptions):
    """The task: its words, tags and lengths."""
    task_name: str | None = flag('task: WNUT17, CoNLL2003, or a name for your own files')
    data_dir: str | None = flag('folder of the task, or its parent; default: the script searches '
                                'NER_DIR, ./ner_data, . and the cache, then downloads WNUT17',
                                metavar='FOLDER')
    train_file: str | None = flag(OWN_FILE_HELP % 'training', metavar='FILE')
    dev_file: str | None = flag(OWN_FILE_HELP % 'dev', metavar='FILE')
    test_file: str | None = flag(OWN_FILE_HELP % 'test', metavar='FILE')
    input_scheme: str | None = flag('scheme of the tags in the files; default: the scheme that '
                                    'most tags fit', choices=SCHEMES)
    scheme: str = flag('scheme of the tags that the model learns and writes', IOB2,
                       choices=SCHEMES)
    max_len: int = flag('maximum length of a window in tokens, special tokens included; longer '
                        'sentences are read in several windows', 128, kinds.positive_int)
    round_to: int | None = flag('pad each batch to a multiple of N tokens', None,
                                kinds.positive_int, metavar='N')
    dev_batch_size: int = flag('windows per batch in evaluation', 32, kinds.positive_int)
    only_inference: bool = flag(
        'no training: evaluate the dev set once, and predict the test set; --bert_checkpoint must '
        'be a whole model for token classification', False)
    rules = (only_with(('word_column', 'tag_column'), OWN_FILES,
                       '%s is for files of your own: give --train_file and --dev_file'),
             needs_one(('task_name', *OWN_FILES),
                       'no data: give --task_name, or --train_file and --dev_file'))


@options(lr=5e-5, aliases=GLUONNLP_FLAGS)
class FinetuneNerOptions(TagTaskOptions, ModelOptions, OptimizerOptions, OnlyCalibrationOptions,
                         TrainingDeviceOptions, RunOutputOptions):
    """finetune_ner.py"""
    unsupported = dict(UNSUPPORTED_TRAINING_FLAGS, **{
        '--cased': 'the vocabulary decides: give --bert_dataset book_corpus_wiki_en_cased'})
    rules = (NO_SEEDS_WITH_CALIBRATION,
             needs('only_calibration', 'bert_checkpoint',
                   '--only_calibration: no model found: give --bert_checkpoint, or use '
                   'quantize.py --model_dir'),
             needs('only_inference', 'bert_checkpoint',
                   '--only_inference: no model found: give --bert_checkpoint'),
             *(not_with(('max_len', 'scheme', 'model_parameters', 'pretrained_bert_parameters',
                         'bert_model', 'bert_dataset', 'dropout'), action,
                        '%s: nothing is trained, and the model in --bert_checkpoint decides: '
                        'leave it out')
               for action in ('only_inference', 'only_calibration')))

    @property
    def trains(self):
        return not (self.only_inference or self.only_calibration)

    def prepare_mxnet(self):
        prepare_mxnet(self.threads, training=self.gpu is None and self.trains)
