"""Options of predict.py, answer.py, deploy.py and evaluate-v2.0.py."""
from bert.flags import kinds
from bert.flags.common import (
    HUB_NAME,
    DeviceOptions,
    PredictionDeviceOptions,
    TextOutputOptions,
    model_dir_flag,
    threshold_flag,
)
from bert.flags.int8 import EvaluationSetOptions
from bert.flags.option_kinds import ANSWER_OPTIONS, ENTITY_OPTIONS
from bert.flags.options import Options, flag, options
from bert.flags.rules import excludes, not_with, only_with
from bert.flags.threads import prepare_mxnet
from bert.flags.token_classification import AGGREGATIONS, FIRST, SCHEMES

SCORE_OPTIONS = ('task_name', 'data_dir', 'dev_file', 'label_column', 'label_columns',
                 'label_separator', 'max_eval_samples')
THRESHOLD_HELP = 'give a text those of at least this probability; default: as trained'
SPEED_OPTIONS = ('batch_sizes', 'lengths', 'rounds')


@options()
class AnswerOptions(Options):
    """How answers to questions are chosen and how many are reported."""
    top_k: int = flag('answers a question at most', 3, kinds.positive_int)
    version_2: bool = flag('the model may find no answer; for a model of transformers, which '
                           'doesn\'t say', False)
    null_score_diff_threshold: float | None = flag(
        'no answer where that scores better by more than X; default: as trained', None,
        kinds.number, metavar='X')
    max_answer_length: int | None = flag('tokens of an answer; default: as trained', None,
                                         kinds.positive_int, metavar='N')


@options()
class QueryOptions(Options):
    query: str | None = flag('rank the texts as documents by their scores for this query, best '
                             'first, by a cross-encoder or another model of pairs with one output',
                             metavar='TEXT')
    rules = (excludes('query', 'pair', '%s and %s: with a query each text is a document'),)


@options()
class PredictedTextOptions(Options):
    texts: tuple = flag('a text; for a pair model two, the pair', (), kinds.any_text,
                        names=(), nargs='*', metavar='TEXT')
    model_dir: str = model_dir_flag('finetune_classifier.py or finetune_ner.py',
                                    'a model for texts', required=True)
    pair: bool = flag('texts come in pairs; for a model of transformers, which doesn\'t say', False)
    file: str | None = flag(
        '.csv, .tsv or .jsonl with --text_columns, or a .txt with one text a line (pairs: a tab '
        'between the two); "-": standard input, the same', metavar='FILE')
    text_columns: tuple | None = flag('columns of the text or pair in --file', None,
                                      kinds.text_list, metavar='A[,B]')


@options('entities')
class EntityOptions(Options):
    """How entities are found, by a model for token classification."""
    aggregation: str = flag(
        'how tokens become entities: first, average, max: one tag for each word, by its first '
        'token, the mean, or the surest token; simple: by tokens; none: the tokens themselves',
        FIRST, choices=AGGREGATIONS)
    words: bool = flag('--file holds words that are split already, in CoNLL columns or lists in '
                       '.jsonl: write the tag of each', False)
    word_column: str | None = flag('column of the word, from 0; in .jsonl its key; default: 0, '
                                   '"tokens"', metavar='C')
    scheme: str | None = flag('scheme of the tags that are written; default: the model\'s',
                              choices=SCHEMES)
    rules = (only_with(('word_column', 'scheme'), 'words'),
             excludes('words', 'aggregation',
                      '%s and %s: with words each has the tag of its first token'))


@options('masks')
class FillOptions(Options):
    """How masks are filled, by a masked language model."""
    targets: tuple | None = flag('consider only these words', None, kinds.text_list,
                                 metavar='A,B,…')


@options()
class PredictOptions(PredictedTextOptions, QueryOptions, EntityOptions, FillOptions,
                     TextOutputOptions, PredictionDeviceOptions):
    """predict.py"""
    top_k: int | None = flag('documents at most, with --query; default: all; or words a mask; '
                             'default: 5', None, kinds.positive_int, metavar='N')
    format: str = flag('tsv: label, probability, text, or a line an entity, word or document; '
                       'jsonl: a line a text, all probabilities too', 'tsv',
                       choices=('tsv', 'jsonl'))
    batch_size: int = flag('texts a batch', 32, kinds.positive_int)
    threshold: float | None = threshold_flag(THRESHOLD_HELP)


@options()
class QuestionOptions(Options):
    question: str | None = flag('in quotes', None, kinds.any_text, names=(), nargs='?',
                                 metavar='QUESTION')
    documents: tuple = flag('a text to look in; default: --file, else standard input', (),
                            kinds.any_text, names=(), nargs='*', metavar='DOCUMENT')
    model_dir: str = model_dir_flag('finetune_squad.py', 'a question-answering model',
                                    required=True)
    file: tuple | None = flag('text files, a document each; "-": standard input', nargs='+',
                              metavar='FILE')
    jsonl: str | None = flag(
        'many questions: lines {"question": …, "document": …} or {"question": …, "documents": '
        '[…]}, "id" if you like; "-": standard input', metavar='FILE')


@options()
class AnswerQuestionsOptions(QuestionOptions, AnswerOptions, TextOutputOptions,
                             PredictionDeviceOptions):
    """answer.py"""
    format: str = flag('a line an answer, or a line of JSON a question', 'tsv',
                       choices=('tsv', 'jsonl'))
    batch_size: int = flag('windows a batch', 24, kinds.positive_int)


@options()
class DeployedModelOptions(Options):
    texts: tuple = flag('a text; for a pair model two, the pair; for question answering the '
                        'question, and documents to look in', (), kinds.any_text, names=(),
                        nargs='*', metavar='TEXT')
    model_dir: str = flag('what export/export.py, export/to_onnx.py or quantize.py wrote; or '
                          + HUB_NAME + ', which is exported first', metavar='FOLDER',
                          required=True)
    model_prefix: str | None = flag(
        'which model, where the folder holds several: its file name without -symbol.json or .onnx',
        metavar='NAME')
    engine: str | None = flag('default: mxnet for a symbol, onnxruntime for ONNX',
                              choices=('mxnet', 'onnxruntime', 'openvino'))
    file: str | None = flag('texts: as predict.py reads them; documents, or questions in .jsonl: '
                            'as answer.py does', metavar='FILE')
    text_columns: tuple | None = flag('columns of the text or pair in --file, or in --dev_file',
                                      None, kinds.text_list, metavar='A[,B]')
    pair: bool = flag('texts come in pairs', False)
    threshold: float | None = threshold_flag(THRESHOLD_HELP)


@options('scores')
class ScoreOptions(EvaluationSetOptions):
    evaluate: bool = flag('score the dev sets of the task', False)
    # nothing is calibrated
    train_file = max_train_samples = text_columns = None


@options('speed')
class SpeedOptions(Options):
    measure: bool = flag('time batches of random tokens', False)
    batch_sizes: tuple = flag('texts a batch', (1, 32), kinds.positive_int_list, metavar='N,…')
    lengths: tuple = flag('tokens a text', (16, 128), kinds.positive_int_list, metavar='N,…')
    rounds: int = flag('batches of each kind', 50, kinds.positive_int)


@options()
class DeployOptions(DeployedModelOptions, QueryOptions, AnswerOptions, EntityOptions, FillOptions,
                    ScoreOptions, SpeedOptions, TextOutputOptions, DeviceOptions):
    """deploy.py"""
    top_k: int | None = flag('answers a question at most, default 3; words a mask, default 5; '
                             'documents, with --query, default all', None, kinds.positive_int,
                             metavar='N')
    titles = {'data': 'scores'}
    format: str = flag('tsv: a line a text or answer; jsonl: all probabilities too; --evaluate and '
                       '--measure write JSON', 'tsv', choices=('tsv', 'jsonl'))
    rules = (excludes('evaluate', 'measure'),
             *(not_with((name,), action,
                        '--evaluate and --measure take no texts: leave them and --file out')
               for action in ('evaluate', 'measure') for name in ('texts', 'file')),
             only_with(SCORE_OPTIONS, 'evaluate', '%s: it is for {}'),
             only_with(('text_columns',), ('evaluate', 'file'),
                       '%s: it is for --file and --dev_file'),
             not_with(('top_k', 'targets', 'pair', 'query', *ENTITY_OPTIONS), 'evaluate',
                      '%s: it is not for --evaluate'),
             only_with(SPEED_OPTIONS, 'measure', '%s: it is for {}'),
             not_with((*ANSWER_OPTIONS, *ENTITY_OPTIONS, 'targets', 'top_k', 'pair', 'query',
                       'text_columns', 'batch_size', 'threshold'), 'measure',
                      '%s: it is not for --measure'),
             *(not_with(('format',), action, '%s: --evaluate and --measure write JSON')
               for action in ('evaluate', 'measure')))

    def prepare_mxnet(self):
        prepare_mxnet(self.threads, low_latency=True)


@options()
class EvaluateSquadOptions(Options):
    """evaluate-v2.0.py"""
    data_file: str = flag('dev-v2.0.json, or another SQuAD file', names=(), metavar='DATA',
                          required=True)
    pred_file: str = flag('{question id: text}, "" for no answer', names=(),
                          metavar='PREDICTIONS', required=True)
    out_file: str | None = flag('default: standard output', names=('--out-file', '-o'),
                                metavar='FILE')
    na_prob_file: str | None = flag(
        '{question id: number}, larger where no answer is likelier: a null_odds.json; adds the '
        'best thresholds, chosen on these very answers', names=('--na-prob-file', '-n'),
        metavar='FILE')
    na_prob_thresh: float = flag('with --na-prob-file: no answer above it', 1.0, kinds.number,
                                 names=('--na-prob-thresh', '-t'), metavar='X')


@options()
class EvaluateEntitiesOptions(Options):
    """evaluate_ner.py"""
    gold: str = flag('CoNLL file with the right tags: a word and its tags in columns, a line each, '
                     'and a blank line after a sentence', names=(), metavar='GOLD', required=True)
    predictions: str = flag('CoNLL file with the same words and other tags', names=(),
                            metavar='PREDICTIONS', required=True)
    word_column: int = flag('column of the word in both files, from 0', 0, kinds.whole_number,
                            metavar='N')
    tag_column: int | None = flag('column of the tag; default: the last one', None,
                                  kinds.whole_number, metavar='N')
    out_file: str | None = flag('write the scores there, as JSON; default: a table on standard '
                                'output', metavar='FILE')
    json: bool = flag('print JSON instead of the table', False)
    rules = (excludes('out_file', 'json'),)
