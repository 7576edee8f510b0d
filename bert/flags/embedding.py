"""Options of embedding.py, and choices and defaults of `BertEmbedding`."""
import os

from bert.flags import kinds
from bert.flags.common import DTYPE_DESCRIPTIONS, HUB_NAME, DeviceOptions, dtype_flag
from bert.flags.options import Options, flag, options
from bert.flags.rules import Rule, excludes, is_explicit, needs, needs_one, not_with, only_with
from bert.flags.threads import prepare_mxnet

OOV_WAYS = ('avg', 'sum', 'last')       # from word pieces to a word
# From tokens to a text: sentence-transformers' ways, and the model's own pooled vector
POOLER = 'pooler'
POOLINGS = ('mean', 'cls', 'max', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken', POOLER)
SIMILARITIES = ('cosine', 'dot', 'euclidean', 'manhattan')
COMBINATIONS = ('concat', 'sum', 'mean')        # from several hidden states to one
LONG_TEXT_MODES = ('warn', 'error', 'split')
PRECISIONS = ('float32', 'float16')
DEFAULT_MODEL = 'bert_12_768_12'        # of the original
DEFAULT_LAYERS = (-1,)            # the default hidden state: the last one
WORD_VECTORS_MAX_LENGTH = 25       # tokens per text for word vectors, as in the original
DEFAULT_BATCH_SIZE = 256        # texts per batch, as in the original
# Options with which an index was made; a search takes them from the index.
INDEX_OPTIONS = ('granularity', 'oov_way', 'pooling', 'normalize', 'layers', 'combine',
                 'max_seq_length', 'long_text', 'dimensions')
# Options of a text's vector
SENTENCE_OPTIONS = ('pooling', 'normalize', 'dimensions', 'prompt_name', 'prompt')


def _only_for_sentences(names):
    """The options `names` have no effect on vectors of words; a search is one of texts."""
    def find_problem(options, explicit):
        if options.granularity == 'sentence' or options.query:
            return None
        return next(('%s: it needs --granularity sentence' % explicit[name] for name in names
                     if is_explicit(options, explicit, name)), None)
    return Rule(find_problem, dict.fromkeys(names, 'only with --granularity sentence'),
                can_mend=True)


@options('texts')
class TextOptions(Options):
    sentences: tuple | None = flag('texts to embed', None, kinds.any_text, nargs='+',
                                   metavar='TEXT')
    file: str | None = flag('file of texts: .txt with one text per line, or .csv, .tsv or .jsonl '
                            'with --text_column', metavar='FILE')
    text_column: str | None = flag('column of the text in --file: its name, or its number from 0 '
                                   'in files without a header', metavar='C')
    rules = (only_with(('text_column',), 'file'),)


# An option that changes vectors stands in INDEX_OPTIONS and in PLAN_OPTIONS of
# jobs/embedding/vector_files.py too: an index and a resumed run must have the same value.
@options('vectors')
class VectorOptions(Options):
    granularity: str = flag('what gets a vector: each word, each token (word piece) or each text '
                            '(sentence)', 'word', choices=('word', 'token', 'sentence'))
    oov_way: str = flag('how the vectors of word pieces become the vector of a word', 'avg',
                        choices=OOV_WAYS)
    pooling: tuple | None = flag(
        'how the vectors of tokens become the vector of a text: one or more of %s. Several are '
        'concatenated. Default: that of a sentence-transformers model, else mean'
        % ', '.join(POOLINGS), None, choices=POOLINGS, nargs='+', metavar='WAY')
    normalize: bool | None = flag(
        'scale the vector of a text to length 1, or leave it as it is; default: as a '
        'sentence-transformers model says, else length 1', None,
        names=('--normalize', '--no_normalize'), switch=True)
    dimensions: int | None = flag('keep only the first N numbers of a text\'s vector', None,
                                  kinds.positive_int, metavar='N')
    prompt_name: str | None = flag(
        'name of the prompt before each text, in a sentence-transformers model; default: the '
        'default prompt of the model; for --query: its prompt "query"', None, metavar='NAME')
    prompt: str | None = flag('text of the prompt before each text; \'\': no prompt', None,
                              kinds.any_text, metavar='TEXT')
    layers: tuple = flag('hidden states to use: -1 is the last one, 0 the input of the first layer',
                         DEFAULT_LAYERS, kinds.whole_number, nargs='+', metavar='N')
    combine: str = flag('how several hidden states are combined', 'concat', choices=COMBINATIONS)
    max_seq_length: int | None = flag(
        'maximum length of a text in tokens, special tokens included. Default: %d for words and '
        'word pieces, as in the original; for texts the length of a sentence-transformers model, '
        'else all positions' % WORD_VECTORS_MAX_LENGTH, None, kinds.positive_int, metavar='TOKENS')
    long_text: str = flag('for longer texts: warn cuts and counts them, error stops, split reads '
                          'them in windows and averages the vectors', 'warn',
                          choices=LONG_TEXT_MODES)
    precision: str = flag('precision of the numbers in --output', 'float32', choices=PRECISIONS)
    rules = (excludes('prompt_name', 'prompt'),
             _only_for_sentences(('dimensions', 'prompt_name', 'prompt')))


@options('model')
class EmbeddingModelOptions(Options):
    model: str = flag('name of the BERT model; models.py lists the names', DEFAULT_MODEL)
    dataset_name: str | None = flag('pre-training corpus of --model; default: the first corpus of '
                                    'the model', metavar='NAME')
    params_path: str | None = flag('file with other weights for --model', metavar='FILE')
    bert_checkpoint: str | None = flag('model to use instead of --model: a folder in Hugging Face '
                                       'layout or one of its files; a checkpoint folder of these '
                                       'scripts; ' + HUB_NAME, metavar='PATH')
    dtype: str = dtype_flag(*DTYPE_DESCRIPTIONS)
    batch_size: int = flag('texts per batch', DEFAULT_BATCH_SIZE, kinds.positive_int)


@options('output')
class VectorOutputOptions(Options):
    output: str | None = flag('file for the vectors: .npy (one row per text), .npz or .jsonl; '
                              'FILE.json beside it records the options', metavar='FILE')
    num_workers: int = flag('number of processes, which share --threads; the output does not '
                            'depend on it', 1, kinds.positive_int, metavar='N')
    resume: bool = flag('continue an unfinished run; finished parts are kept', False)
    overwrite: bool = flag('replace the --output file if it exists', False)
    verbose: bool = flag('no meaning: all is logged', False, hidden=True)


@options('search')
class SearchOptions(Options):
    query: tuple | None = flag('print the texts of an embedded file that are most similar to each '
                               'TEXT', None, kinds.any_text, nargs='+', metavar='TEXT')
    index: str | None = flag('the embedded file that --query searches', metavar='FILE.npy')
    top_k: int = flag('number of texts to print per query', 5, kinds.positive_int)


@options()
class EmbedOptions(TextOptions, VectorOptions, EmbeddingModelOptions, VectorOutputOptions,
                   SearchOptions, DeviceOptions):
    """embedding.py"""
    unsupported = {'--vocab': 'name the model with --model and --dataset_name, or '
                              '--bert_checkpoint'}
    rules = (needs('query', 'index', '--query and --index: a search needs both'),
             needs('index', 'query', '--query and --index: a search needs both'),
             needs_one(('query', 'sentences', 'file'), 'give one of --sentences, --file and '
                                                       '--query'),
             excludes('sentences', 'query'),
             excludes('sentences', 'file'),
             not_with(INDEX_OPTIONS, 'query', '%s: leave it out: --query uses that of --index'),
             not_with(('output',), 'query', '%s: leave it out: --query prints its results'),
             only_with(('output',), 'file'),
             only_with(('resume', 'overwrite', 'num_workers', 'precision'), 'output'),
             only_with(('top_k',), 'query'),
             excludes('resume', 'overwrite'))

    @property
    def max_tokens(self):
        """Tokens of a text at most; None: as many as the model takes."""
        if self.max_seq_length is None and self.granularity != 'sentence':
            return WORD_VECTORS_MAX_LENGTH
        return self.max_seq_length

    @property
    def checkpoint_paths(self):
        """{option: absolute path} of the weights, for readers in other folders."""
        return {name: os.path.abspath(getattr(self, name))
                for name in ('params_path', 'bert_checkpoint')
                if os.path.exists(getattr(self, name) or '')}

    def prepare_mxnet(self):
        prepare_mxnet(max(1, self.threads // self.num_workers))
