"""The job of embedding.py: embed texts of the command line or of a file, or search in vectors."""
import numpy as np

from bert import files
from bert.data.text import store
from bert.errors import UserError
from bert.flags.common import refuse_flags
from bert.jobs.embedding import vector_files
from bert.pipelines.embedding import iterate_chunks
from bert.pipelines.pooling import normalize_rows
from bert.train.log import open_log

BLOCK = 1 << 16         # rows compared at once; bounds the memory
PRINT_THRESHOLD = 5          # numpy's threshold: arrays with more numbers are printed abbreviated
# Options with which an index was made. A search may name another place of the same model
MODEL_OPTIONS = {'model', 'dataset_name', 'params_path', 'bert_checkpoint', 'dtype'}
INDEX_OPTIONS = {'granularity', 'oov_way', 'pooling', 'normalize', 'layers', 'combine',
                 'max_seq_length', 'long_text'}


def embed(args):
    """Search, embed into a file, or print vectors, as the parsed flags say. Raises `UserError`."""
    open_log()
    check_embedding_flags(args)
    if args.query:
        return search(args)
    if args.output:
        return vector_files.embed_file(args)
    return print_vectors(args)


def check_embedding_flags(args):
    """Raises `UserError` unless the flags ask for one action, and each of them belongs to it."""
    if bool(args.query) != bool(args.index):
        raise UserError('--query and --index: a search needs both')
    if not (args.query or args.sentences or args.file):
        raise UserError('give one of --sentences, --file and --query')
    if args.sentences and (args.query or args.file):
        raise UserError('--sentences and %s: give one of the two'
                        % ('--query' if args.query else '--file'))
    if args.query:
        refuse_flags(args, INDEX_OPTIONS, '--query takes what --index was made with')
    if args.query or not args.file:
        refuse_flags(args, {'output'}, 'it is for --file')
    if not args.output:
        refuse_flags(args, {'resume', 'overwrite', 'num_workers', 'precision'},
                     'it is for --output')
    if not args.query:
        refuse_flags(args, {'top_k'}, 'it is for --query')
    if not args.file:
        refuse_flags(args, {'text_column'}, 'it is for --file')


# On the terminal


def print_vectors(args):
    """Print each text and the vectors of its words, in the format of the original."""
    embedder = vector_files.make_embedder(vars(args))
    num_cut = num_texts = 0
    # legacy: numpy 2.2 adds shape=(768,), which the original does not print
    with np.printoptions(threshold=PRINT_THRESHOLD, legacy='1.25'):
        for texts in iterate_chunks(args.sentences or vector_files.read_file_texts(args)):
            num_cut += print_chunk(args, embedder, texts, num_texts)
            num_texts += len(texts)
    if not num_texts:
        raise UserError('%s: no text in it' % args.file)
    vector_files.warn_of_cut_texts(embedder, num_cut, num_texts)


def print_chunk(args, embedder, texts, first):
    """Print some texts; returns how many were cut. first: index of the first one."""
    if args.granularity == 'sentence':
        vectors, num_cut = embedder.sentence_chunk(texts, args.pooling, args.normalize,
                                                   args.max_seq_length, first)
        for text, vector in zip(texts, vectors):
            print('Text: %s\nSentence embedding: %r' % (text, vector))
        return num_cut
    results, num_cut = embedder.embed_chunk(texts, args.oov_way, args.granularity == 'token', first)
    for text, (_, vectors) in zip(texts, results):
        print('Text: %s\nTokens embedding: %r' % (text, list(vectors)))
    return num_cut


# Search


def search(args):
    """Print the --top_k texts of --index for each --query, with their cosines."""
    report, rows = read_index(args.index)
    options = dict(report['options'], gpu=args.gpu, batch_size=args.batch_size)
    if MODEL_OPTIONS & args.explicit_flags.keys():
        options.update({name: getattr(args, name) for name in MODEL_OPTIONS})
    embedder = vector_files.make_embedder(options)
    if embedder.digest(options['pooling']) != report['weights_sha256']:
        raise UserError('--index %s: it was made with other weights or another vocabulary than %s '
                        'has now: name the right one, or make it anew'
                        % (args.index, options['bert_checkpoint'] or options['model']))
    queries = embedder.sentence(args.query, options['pooling'], True, options['max_seq_length'])
    scores, indices = top_rows(rows, queries, min(args.top_k, len(rows)))
    texts = pick_texts(args, report, set(indices.ravel().tolist()))
    for query, query_scores, query_indices in zip(args.query, scores, indices):
        print('Query: %s' % query)
        for score, index in zip(query_scores, query_indices):
            print('%.4f\t%d\t%s' % (score, index + 1, ' '.join(texts[index].split())))


def read_index(path):
    """(report beside an embedded file, rows of the file). Raises `UserError` if the file can't be
    searched."""
    problem = UserError('--index %s: an .npy expected that embedding.py --granularity sentence '
                        'wrote, with its %s%s' % (path, path, vector_files.REPORT_ENDING))
    try:
        report = files.read_json(path + vector_files.REPORT_ENDING)
        rows = np.load(path, mmap_mode='r', allow_pickle=False)
        options = report['options']
        is_index = (path.endswith('.npy') and options['granularity'] == 'sentence'
                    and MODEL_OPTIONS | INDEX_OPTIONS | {'text_column'} <= set(options)
                    and {'source', 'texts_sha256', 'weights_sha256'} <= set(report)
                    and rows.shape == (report['texts'], report['width'])
                    and rows.dtype.kind == 'f')
    except (OSError, UserError) + files.NPZ_ERRORS:
        raise problem from None
    if not is_index:
        raise problem
    return report, rows


def top_rows(rows, queries, count):
    """The `count` best rows for each query: (cosines, row indices), both (queries, count), the best
    first; of equal rows the first comes first. The search is exact, in blocks.

    rows: (texts, width), vectors of any length; queries: (queries, width), vectors of length 1.
    """
    scores = np.empty((len(queries), 0), 'float32')
    indices = np.empty((len(queries), 0), 'int64')
    for start in range(0, len(rows), BLOCK):
        block = normalize_rows(rows[start:start + BLOCK].astype('float32'))
        scores = np.concatenate([scores, queries @ block.T], axis=1)
        block_indices = np.broadcast_to(np.arange(start, start + len(block)),
                                        (len(queries), len(block)))
        indices = np.concatenate([indices, block_indices], axis=1)
        best = np.argsort(-scores, axis=1, kind='stable')[:, :count]
        scores, indices = (np.take_along_axis(array, best, axis=1)
                           for array in (scores, indices))
    return scores, indices


def pick_texts(args, report, indices):
    """{index: text} of the texts with these indices, from --file or the file that was embedded.
    Raises `UserError` if its texts have changed."""
    args.file = args.file or report['source']
    args.text_column = args.text_column or report['options']['text_column']
    texts, digest = {}, store.TextDigest()
    for i, text in enumerate(vector_files.read_file_texts(args)):
        digest.add(text.encode('utf-8'))
        if i in indices:
            texts[i] = text
    if digest.hexdigest() != report['texts_sha256']:
        raise UserError('%s: its texts are not those that %s was made of: name the file of then '
                        'with --file, or make it anew' % (args.file, args.index))
    return texts
