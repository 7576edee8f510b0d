"""Options of predict.py, answer.py, deploy.py and evaluate-v2.0.py."""
from bert.file_names import SCORE_ACTIVATIONS
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
THRESHOLD_HELP = 'lowest probability at which a text has a label; default: as in training'
SPEED_OPTIONS = ('batch_sizes', 'lengths', 'rounds')


@options()
class AnswerOptions(Options):
    """How answers to questions are chosen and how many are reported."""
    top_k: int = flag('maximum number of answers per question', 3, kinds.positive_int)
    version_2: bool = flag('the model may find no answer; needed for models of transformers, '
                           'whose files do not say this', False)
    null_score_diff_threshold: float | None = flag(
        'give "no answer" if its score exceeds that of the best answer by more than X; default: '
        'as in training', None, kinds.number, metavar='X')
    max_answer_length: int | None = flag('maximum length of an answer in tokens; default: as in '
                                         'training', None, kinds.positive_int, metavar='N')


@options()
class QueryOptions(Options):
    query: str | None = flag('rank the texts as documents for this query, best first; the model is '
                             'a cross-encoder or another model of pairs with one output',
                             metavar='TEXT')
    activation: str | None = flag('how the output of a cross-encoder becomes its score; default: '
                                  'as its files say', choices=SCORE_ACTIVATIONS)
    rules = (excludes('query', 'pair', '%s and %s: with a query each text is a document'),)


@options()
class PredictedTextOptions(Options):
    texts: tuple = flag('a text; for a model of pairs, the two texts of a pair', (),
                        kinds.any_text, names=(), nargs='*', metavar='TEXT')
    model_dir: str = model_dir_flag('finetune_classifier.py or finetune_ner.py',
                                    'a model for texts', required=True)
    pair: bool = flag('the texts come in pairs; needed for models of transformers, whose files do '
                      'not say this', False)
    file: str | None = flag(
        'file of texts. With --text_columns: .csv, .tsv or .jsonl. Without: .txt with one text per '
        'line (pairs: a tab between both); "-": standard input, in the format of .txt',
        metavar='FILE')
    text_columns: tuple | None = flag('columns of the text or pair in --file', None,
                                      kinds.text_list, metavar='A[,B]')


@options('entities')
class EntityOptions(Options):
    """How entities are found, by a model for token classification."""
    aggregation: str = flag(
        'how tokens become entities. With first, average and max, each word has one tag: by its '
        'first token, the mean, or the surest token. With simple, each token has its own tag. '
        'With none, the tokens themselves are the result', FIRST, choices=AGGREGATIONS)
    words: bool = flag('--file holds sentences split into words, in CoNLL columns or lists in '
                       '.jsonl: write the tag of each word', False)
    word_column: str | None = flag('column of the word, from 0, or its key in .jsonl; default: 0, '
                                   '"tokens"', metavar='C')
    scheme: str | None = flag('scheme of the tags in the output; default: that of the model',
                              choices=SCHEMES)
    rules = (only_with(('word_column', 'scheme'), 'words'),
             excludes('words', 'aggregation',
                      '%s and %s: with --words, each word has the tag of its first token'))


@options('masks')
class FillOptions(Options):
    """How masks are filled, by a masked language model."""
    targets: tuple | None = flag('consider only these words for a mask', None, kinds.text_list,
                                 metavar='A,B,…')


@options()
class PredictOptions(PredictedTextOptions, QueryOptions, EntityOptions, FillOptions,
                     TextOutputOptions, PredictionDeviceOptions):
    """predict.py"""
    top_k: int | None = flag('maximum number of documents with --query (default: all), or of words '
                             'per mask (default: 5)', None, kinds.positive_int, metavar='N')
    format: str = flag('tsv: label, probability and text, or one line per entity, word or '
                       'document; jsonl: one line per text, with all probabilities', 'tsv',
                       choices=('tsv', 'jsonl'))
    batch_size: int = flag('texts per batch', 32, kinds.positive_int)
    threshold: float | None = threshold_flag(THRESHOLD_HELP)


@options()
class QuestionOptions(Options):
    question: str | None = flag('the question, in quotes', None, kinds.any_text, names=(),
                                nargs='?', metavar='QUESTION')
    documents: tuple = flag('a text that may hold the answer; default: --file, else standard '
                            'input', (), kinds.any_text, names=(), nargs='*', metavar='DOCUMENT')
    model_dir: str = model_dir_flag('finetune_squad.py', 'a question-answering model',
                                    required=True)
    file: tuple | None = flag('text files, each one document; "-": standard input', nargs='+',
                              metavar='FILE')
    jsonl: str | None = flag(
        'file with many questions, one per line: {"question": …, "document": …} or {"question": …, '
        '"documents": […]}, "id" if you like; "-": standard input', metavar='FILE')


@options()
class AnswerQuestionsOptions(QuestionOptions, AnswerOptions, TextOutputOptions,
                             PredictionDeviceOptions):
    """answer.py"""
    format: str = flag('tsv: one line per answer; jsonl: one line per question', 'tsv',
                       choices=('tsv', 'jsonl'))
    batch_size: int = flag('windows per batch', 24, kinds.positive_int)


@options()
class DeployedModelOptions(Options):
    texts: tuple = flag('a text; for a model of pairs, the two texts of a pair; for question '
                        'answering, the question and then documents', (), kinds.any_text, names=(),
                        nargs='*', metavar='TEXT')
    model_dir: str = flag('folder that export/export.py, export/to_onnx.py or quantize.py wrote, '
                          'or ' + HUB_NAME + ', which is exported first', metavar='FOLDER',
                          required=True)
    model_prefix: str | None = flag(
        'model to use if the folder holds several: its file name without -symbol.json or .onnx',
        metavar='NAME')
    engine: str | None = flag('runtime of the model; default: mxnet for a symbol, onnxruntime for '
                              'ONNX', choices=('mxnet', 'onnxruntime', 'openvino'))
    file: str | None = flag('file of texts, as for predict.py; for question answering: a document, '
                            'or questions in .jsonl, as for answer.py', metavar='FILE')
    text_columns: tuple | None = flag('columns of the text or pair in --file, or in --dev_file',
                                      None, kinds.text_list, metavar='A[,B]')
    pair: bool = flag('the texts come in pairs', False)
    threshold: float | None = threshold_flag(THRESHOLD_HELP)


@options('scores')
class ScoreOptions(EvaluationSetOptions):
    evaluate: bool = flag('compute the scores on the dev sets of the task', False)
    # nothing is calibrated
    train_file = max_train_samples = text_columns = None


@options('speed')
class SpeedOptions(Options):
    measure: bool = flag('measure the time of batches of random tokens', False)
    batch_sizes: tuple = flag('sizes of the batches: texts per batch', (1, 32),
                              kinds.positive_int_list, metavar='N,…')
    lengths: tuple = flag('lengths of the texts: tokens per text', (16, 128),
                          kinds.positive_int_list, metavar='N,…')
    rounds: int = flag('number of batches of each size and length', 50, kinds.positive_int)


@options()
class DeployOptions(DeployedModelOptions, QueryOptions, AnswerOptions, EntityOptions, FillOptions,
                    ScoreOptions, SpeedOptions, TextOutputOptions, DeviceOptions):
    """deploy.py"""
    top_k: int | None = flag('maximum number of answers per question (default: 3), of words per '
                             'mask (default: 5), or of documents with --query (default: all)', None,
                             kinds.positive_int, metavar='N')
    titles = {'data': 'scores'}
    format: str = flag('tsv: one line per text or answer; jsonl: all probabilities too; --evaluate '
                       'and --measure write JSON', 'tsv', choices=('tsv', 'jsonl'))
    rules = (excludes('evaluate', 'measure'),
             *(not_with((name,), action,
                        '--evaluate and --measure read no texts: leave out TEXT and --file')
               for action in ('evaluate', 'measure') for name in ('texts', 'file')),
             only_with(SCORE_OPTIONS, 'evaluate'),
             only_with(('text_columns',), ('evaluate', 'file'),
                       '%s: it needs --file or --dev_file'),
             not_with(('top_k', 'targets', 'pair', 'query', 'activation', *ENTITY_OPTIONS),
                      'evaluate',
                      '%s: it is not for --evaluate'),
             only_with(SPEED_OPTIONS, 'measure'),
             not_with((*ANSWER_OPTIONS, *ENTITY_OPTIONS, 'targets', 'top_k', 'pair', 'query',
                       'activation', 'text_columns', 'batch_size', 'threshold'), 'measure',
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
    pred_file: str = flag('JSON file {question id: text}, "" for no answer', names=(),
                          metavar='PREDICTIONS', required=True)
    out_file: str | None = flag('JSON file for the scores; default: standard output',
                                names=('--out-file', '-o'), metavar='FILE')
    na_prob_file: str | None = flag(
        'JSON file {question id: number}, such as null_odds.json; a larger number means that no '
        'answer is more likely. It adds the best thresholds, chosen on these same answers.',
        names=('--na-prob-file', '-n'), metavar='FILE')
    na_prob_thresh: float = flag('with --na-prob-file: predict no answer if its number is larger '
                                 'than X', 1.0, kinds.number, names=('--na-prob-thresh', '-t'),
                                 metavar='X')


@options()
class EvaluateEntitiesOptions(Options):
    """evaluate_ner.py"""
    gold: str = flag('CoNLL file with the correct tags: one word per line with its tags in '
                     'columns, and a blank line after each sentence', names=(), metavar='GOLD',
                     required=True)
    predictions: str = flag('CoNLL file with the same words and the predicted tags', names=(),
                            metavar='PREDICTIONS', required=True)
    word_column: int = flag('column of the word in both files, from 0', 0, kinds.whole_number,
                            metavar='N')
    tag_column: int | None = flag('column of the tag; default: the last one', None,
                                  kinds.whole_number, metavar='N')
    out_file: str | None = flag('JSON file for the scores; default: a table on standard output',
                                metavar='FILE')
    json: bool = flag('print JSON instead of the table', False)
    rules = (excludes('out_file', 'json'),)
