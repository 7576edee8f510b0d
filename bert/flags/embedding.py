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
        return next(('%s: it is for --granularity sentence' % explicit[name] for name in names
                     if is_explicit(options, explicit, name)), None)
    return Rule(find_problem, dict.fromkeys(names, 'only with --granularity sentence'),
                can_mend=True)


@options('texts')
class TextOptions(Options):
    sentences: tuple | None = flag('texts', None, kinds.any_text, nargs='+',
                                   metavar='TEXT')
    file: str | None = flag('.txt with one text a line; .csv, .tsv or .jsonl with --text_column',
                            metavar='FILE')
    text_column: str | None = flag('of --file, by name; by number from 0 in files without a header',
                                   metavar='C')
    rules = (only_with(('text_column',), 'file'),)


# An option that changes vectors stands in INDEX_OPTIONS and in PLAN_OPTIONS of
# jobs/embedding/vector_files.py too: an index and a resumed run must have the same value.
@options('vectors')
class VectorOptions(Options):
    granularity: str = flag('a vector for each word, word piece, or text', 'word',
                            choices=('word', 'token', 'sentence'))
    oov_way: str = flag('how the vectors of pieces become a word\'s vector', 'avg',
                        choices=OOV_WAYS)
    pooling: tuple | None = flag(
        'how the vectors of tokens become a text\'s vector: one of %s, or several, which are '
        'concatenated; default: as a model of sentence-transformers says, else mean'
        % ', '.join(POOLINGS), None, choices=POOLINGS, nargs='+', metavar='WAY')
    normalize: bool | None = flag(
        'scale a text\'s vector to length 1, or leave it as it is; default: as a model of '
        'sentence-transformers says, else length 1', None,
        names=('--normalize', '--no_normalize'), switch=True)
    dimensions: int | None = flag('keep only the first N numbers of a text\'s vector', None,
                                  kinds.positive_int, metavar='N')
    prompt_name: str | None = flag(
        'the prompt before each text, by its name in a model of sentence-transformers; default: '
        'the model\'s default prompt; for --query: its prompt "query"', None, metavar='NAME')
    prompt: str | None = flag('the prompt itself; \'\' for none', None, kinds.any_text,
                              metavar='TEXT')
    layers: tuple = flag('hidden states to take, -1 the last, 0 the input of the first layer',
                         DEFAULT_LAYERS, kinds.whole_number, nargs='+', metavar='N')
    combine: str = flag('how several hidden states become one', 'concat', choices=COMBINATIONS)
    max_seq_length: int | None = flag(
        'of a text at most, [CLS] and [SEP] included; default: %d for words and word pieces, as in '
        'the original; for texts as a model of sentence-transformers says, else all positions'
        % WORD_VECTORS_MAX_LENGTH, None, kinds.positive_int, metavar='TOKENS')
    long_text: str = flag('longer texts are cut and counted, are an error, or are read in '
                          'windows whose vectors are averaged', 'warn', choices=LONG_TEXT_MODES)
    precision: str = flag('of the numbers in --output', 'float32', choices=PRECISIONS)
    rules = (excludes('prompt_name', 'prompt'),
             _only_for_sentences(('dimensions', 'prompt_name', 'prompt')))


@options('model')
class EmbeddingModelOptions(Options):
    model: str = flag('which BERT; models.py lists them', DEFAULT_MODEL)
    dataset_name: str | None = flag('corpus it was pre-trained on; default: the first one of the '
                                    'model', metavar='NAME')
    params_path: str | None = flag('other weights for --model', metavar='FILE')
    bert_checkpoint: str | None = flag('instead of --model: a folder in Hugging Face layout, one '
                                       'of its files, a checkpoint folder of ours, or ' + HUB_NAME,
                                       metavar='PATH')
    dtype: str = dtype_flag(*DTYPE_DESCRIPTIONS)
    batch_size: int = flag('texts a batch', DEFAULT_BATCH_SIZE, kinds.positive_int)


@options('output')
class VectorOutputOptions(Options):
    output: str | None = flag('.npy (one row a text), .npz or .jsonl; FILE.json beside it records '
                              'the options', metavar='FILE')
    num_workers: int = flag('processes, which share --threads; what is written does not depend on '
                            'it', 1, kinds.positive_int, metavar='N')
    resume: bool = flag('go on with an unfinished run; finished parts are kept', False)
    overwrite: bool = flag('replace an --output that exists', False)
    verbose: bool = flag('no meaning: all is logged', False, hidden=True)


@options('search')
class SearchOptions(Options):
    query: tuple | None = flag('print the texts of an embedded file that are most like these',
                               None, kinds.any_text, nargs='+', metavar='TEXT')
    index: str | None = flag('the embedded file', metavar='FILE.npy')
    top_k: int = flag('texts a query', 5, kinds.positive_int)


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
             not_with(INDEX_OPTIONS, 'query', '%s: --query takes what --index was made with'),
             not_with(('output',), 'query', '%s: it is for --file'),
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
