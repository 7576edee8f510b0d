"""What embedding.py does: vectors of texts given on the command line, of a file, or a search."""
import numpy as np

from bert import files
from bert.data.text import store
from bert.errors import UserError
from bert.flags.common import refuse
from bert.jobs.embedding import vector_files
from bert.pipelines.embedding import chunks
from bert.pipelines.pooling import normalized
from bert.train.log import open_log

BLOCK = 1 << 16         # rows compared at once; bounds the memory
EDGE_ITEMS = 5          # of arrays that are printed: more numbers than twice that are elided
# Options by which an index was made; another place of the same model may be named for a search
MODEL = {'model', 'dataset_name', 'params_path', 'bert_checkpoint', 'dtype'}
SEARCHED = {'granularity', 'oov_way', 'pooling', 'normalize', 'layers', 'combine', 'max_seq_length',
            'long_text'}


def run(args):
    """One of the three, as the parsed flags say. Raises `UserError`."""
    open_log()
    check_flags(args)
    if args.query:
        return search(args)
    if args.output:
        return vector_files.run(args)
    return print_vectors(args)


def check_flags(args):
    """Raises `UserError` unless the flags ask for one thing, and all of them for that."""
    if bool(args.query) != bool(args.index):
        raise UserError('--query and --index: a search needs both')
    if not (args.query or args.sentences or args.file):
        raise UserError('give one of --sentences, --file and --query')
    if args.sentences and (args.query or args.file):
        raise UserError('--sentences and %s: give one of the two'
                        % ('--query' if args.query else '--file'))
    if args.query:
        refuse(args, SEARCHED, '--query takes what --index was made with')
    if args.query or not args.file:
        refuse(args, {'output'}, 'it is for --file')
    if not args.output:
        refuse(args, {'resume', 'overwrite', 'num_workers', 'precision'}, 'it is for --output')
    if not args.query:
        refuse(args, {'top_k'}, 'it is for --query')
    if not args.file:
        refuse(args, {'text_column'}, 'it is for --file')


# On the terminal


def print_vectors(args):
    """The form of the original: each text, and the vectors of its words."""
    embedder = vector_files.make_embedder(vars(args))
    cut = total = 0
    # legacy: numpy 2.2 adds shape=(768,), which the original does not print
    with np.printoptions(threshold=EDGE_ITEMS, legacy='1.25'):
        for texts in chunks(args.sentences or vector_files.read_texts(args)):
            cut += print_chunk(args, embedder, texts, total)
            total += len(texts)
    if not total:
        raise UserError('%s: no text in it' % args.file)
    vector_files.warn_of_cut(embedder, cut, total)


def print_chunk(args, embedder, texts, first):
    """Returns how many of these texts were cut. first: the number of the first one."""
    if args.granularity == 'sentence':
        vectors, cut = embedder.sentence_chunk(texts, args.pooling, args.normalize,
                                               args.max_seq_length, first)
        for text, vector in zip(texts, vectors):
            print('Text: %s\nSentence embedding: %r' % (text, vector))
        return cut
    found, cut = embedder.embed_chunk(texts, args.oov_way, args.granularity == 'token', first)
    for text, (_, vectors) in zip(texts, found):
        print('Text: %s\nTokens embedding: %r' % (text, list(vectors)))
    return cut


# Search


def search(args):
    """Print the --top_k texts of --index for each --query, with their cosines."""
    about, rows = read_index(args.index)
    options = dict(about['options'], gpu=args.gpu, batch_size=args.batch_size)
    if MODEL & args.given.keys():
        options.update({name: getattr(args, name) for name in MODEL})
    embedder = vector_files.make_embedder(options)
    if embedder.digest(options['pooling']) != about['weights_sha256']:
        raise UserError('--index %s: it was made with other weights or another vocabulary than %s '
                        'has now: name the right one, or make it anew'
                        % (args.index, options['bert_checkpoint'] or options['model']))
    queries = embedder.sentence(args.query, options['pooling'], True, options['max_seq_length'])
    scores, numbers = top_rows(rows, queries, min(args.top_k, len(rows)))
    texts = pick_texts(args, about, set(numbers.ravel().tolist()))
    for query, found, places in zip(args.query, scores, numbers):
        print('Query: %s' % query)
        for score, number in zip(found, places):
            print('%.4f\t%d\t%s' % (score, number + 1, ' '.join(texts[number].split())))


def read_index(path):
    """(what stands beside an embedded file, its rows); `UserError` for one that can't be
    searched."""
    problem = UserError('--index %s: an .npy expected that embedding.py --granularity sentence '
                        'wrote, with its %s%s' % (path, path, vector_files.ABOUT))
    try:
        about = files.read_json(path + vector_files.ABOUT)
        rows = np.load(path, mmap_mode='r', allow_pickle=False)
        options = about['options']
        good = (path.endswith('.npy') and options['granularity'] == 'sentence'
                and MODEL | SEARCHED | {'text_column'} <= set(options)
                and {'source', 'texts_sha256', 'weights_sha256'} <= set(about)
                and rows.shape == (about['texts'], about['width']) and rows.dtype.kind == 'f')
    except (OSError, UserError) + files.NPZ_ERRORS:
        raise problem from None
    if not good:
        raise problem
    return about, rows


def top_rows(rows, queries, number):
    """((queries, number) cosines, the rows' numbers), best first, of equal ones the first: exact,
    in blocks.

    rows: (texts, width), of any length; queries: (queries, width), of length 1.
    """
    scores = np.empty((len(queries), 0), 'float32')
    numbers = np.empty((len(queries), 0), 'int64')
    for start in range(0, len(rows), BLOCK):
        block = normalized(rows[start:start + BLOCK].astype('float32'))
        scores = np.concatenate([scores, queries @ block.T], axis=1)
        here = np.broadcast_to(np.arange(start, start + len(block)), (len(queries), len(block)))
        numbers = np.concatenate([numbers, here], axis=1)
        best = np.argsort(-scores, axis=1, kind='stable')[:, :number]
        scores, numbers = (np.take_along_axis(array, best, axis=1)
                           for array in (scores, numbers))
    return scores, numbers


def pick_texts(args, about, wanted):
    """{number: text} of those wanted, from --file or the file that was embedded."""
    args.file = args.file or about['source']
    args.text_column = args.text_column or about['options']['text_column']
    found, digest = {}, store.Digest()
    for i, text in enumerate(vector_files.read_texts(args)):
        digest.add(text.encode('utf-8'))
        if i in wanted:
            found[i] = text
    if digest.hexdigest() != about['texts_sha256']:
        raise UserError('%s: its texts are not those that %s was made of: name the file of then '
                        'with --file, or make it anew' % (args.file, args.index))
    return found
