"""The job of embedding.py: embed texts of the command line or of a file, or search in vectors."""
import logging
import os

import numpy as np

from bert import files
from bert.data.text import store
from bert.errors import UserError
from bert.flags.embedding import INDEX_OPTIONS, SENTENCE_OPTIONS
from bert.jobs.embedding import inputs, vector_files
from bert.jobs.runs import results
from bert.pipelines.embedder import chunk_texts
from bert.pipelines.pooling import compare_rows
from bert.train.log import open_log

BLOCK = 1 << 16         # rows compared at once; bounds the memory
PRINT_THRESHOLD = 5          # numpy's threshold: arrays with more numbers are printed abbreviated
LOG = logging.getLogger(__name__)
# Options that indexes of earlier versions have, too
OLD_OPTIONS = set(INDEX_OPTIONS) - {'dimensions'}
# Options with which an index was made. A search may name another place of the same model
MODEL_OPTIONS = {'model', 'dataset_name', 'params_path', 'bert_checkpoint', 'dtype'}


def embed(options, explicit):
    """Search, embed into a file, or print vectors. Returns a `JobResult`. Raises `UserError`."""
    open_log()
    if options.query:
        return results.JobResult({'hits': search(options, explicit)})
    if options.output:
        return results.JobResult(vector_files.embed_file(options))
    return results.JobResult({'texts': print_vectors(options)})


# On the terminal


def print_vectors(options):
    """Print each text and the vectors of its words, in the format of the original; returns the
    number of texts."""
    values = inputs.embedder_options(options)
    embedder = inputs.make_embedder(values)
    model = inputs.select_model(embedder, values)
    if model is not None:
        embedder.log_sentence_model(model)
    num_cut = num_texts = 0
    # legacy: numpy 2.2 adds shape=(768,), which the original does not print
    with np.printoptions(threshold=PRINT_THRESHOLD, legacy='1.25'):
        for texts in chunk_texts(options.sentences or inputs.read_file_texts(
                options.file, options.text_column)):
            num_cut += print_chunk(options, embedder, model, texts, num_texts)
            num_texts += len(texts)
    if not num_texts:
        raise UserError('%s: no text in it' % options.file)
    inputs.warn_of_cut_texts(embedder, (model or embedder).max_seq_length, num_cut, num_texts)
    return num_texts


def print_chunk(options, embedder, model, texts, first):
    """Print some texts; returns how many were cut. model: `SentenceModel`, None for vectors of
    words; first: index of the first text."""
    if model is not None:
        vectors, num_cut = embedder.sentence_chunk(texts, model, first)
        for text, vector in zip(texts, vectors):
            print('Text: %s\nSentence embedding: %r' % (text, vector))
        return num_cut
    words, num_cut = embedder.embed_chunk(texts, options.oov_way, options.granularity == 'token',
                                          first)
    for text, (_, vectors) in zip(texts, words):
        print('Text: %s\nTokens embedding: %r' % (text, list(vectors)))
    return num_cut


# Search


def search(options, explicit):
    """Print the --top_k texts of --index for each --query, with their similarities. Returns for
    each query a list of {'score', 'row' (from 0), 'text'}, best first."""
    if not all(query.strip() for query in options.query):
        raise UserError('--query: it is empty')
    report, rows = read_index(options.index)
    values = dict(report['options'], gpu=options.gpu, batch_size=options.batch_size)
    if MODEL_OPTIONS & explicit.keys():
        values.update({name: getattr(options, name) for name in MODEL_OPTIONS})
    try:
        embedder = inputs.make_embedder(values)
    except UserError as error:
        raise UserError('--index %s: a model for its queries, with the options of its vectors: %s'
                        % (options.index, error)) from None
    if embedder.digest(values['pooling']) != report['weights_sha256']:
        raise UserError('--index %s: the index was made with other weights or another vocabulary '
                        'than %s has now: name the right model, or make the index again'
                        % (options.index, values['bert_checkpoint'] or values['model']))
    model = query_model(options, values, embedder)
    queries, _ = embedder.sentence_chunk(list(options.query), model)
    scores, indices = top_rows(rows, queries, min(options.top_k, len(rows)),
                               report.get('similarity', 'cosine'))
    texts = pick_texts(options, report, set(indices.ravel().tolist()))
    hits = [[{'score': float(score), 'row': int(index), 'text': texts[index]}
             for score, index in zip(query_scores, query_indices)]
            for query_scores, query_indices in zip(scores, indices)]
    for query, query_hits in zip(options.query, hits):
        print('Query: %s' % query)
        for hit in query_hits:
            print('%.4f\t%d\t%s' % (hit['score'], hit['row'] + 1, ' '.join(hit['text'].split())))
    return hits


def query_model(options, values, embedder):
    """The `SentenceModel` for queries: that of the index, whose options are `values`, with the
    prompt for queries."""
    model = inputs.select_model(embedder, values).for_queries(options.prompt_name, options.prompt)
    if values['prompt'] and not model.prompt and options.prompt is None:
        LOG.warning('the index was made with the prompt "%s", but the queries have none: give one '
                    "with --prompt, or '' for none", values['prompt'])
    return model


def read_index(path):
    """(report beside an embedded file, rows of the file). Raises `UserError` if the file can't be
    searched."""
    report_path = path + vector_files.REPORT_ENDING
    check_index_files(path, report_path)
    report = files.read_json(report_path)
    try:
        options = report['options']
        is_report = (options['granularity'] == 'sentence'
                     and MODEL_OPTIONS.union(OLD_OPTIONS, {'text_column'}) <= set(options)
                     and {'source', 'texts_sha256', 'weights_sha256'} <= set(report))
        shape = report['texts'], report['width']
    except (KeyError, TypeError):
        is_report = False
    if not is_report:
        raise UserError('--index %s: %s is not of vectors of texts: expected the files that '
                        'embedding.py --granularity sentence wrote' % (path, report_path))
    try:
        rows = np.load(path, mmap_mode='r', allow_pickle=False)
    except (OSError,) + files.NPZ_ERRORS:
        raise UserError('--index %s: not an .npy file, or cut off: make it again' % path) from None
    if rows.shape != shape or rows.dtype.kind != 'f':
        raise UserError('--index %s: %s %s found, and %s describes vectors %s: make both again'
                        % (path, rows.dtype, rows.shape, report_path, shape))
    report['options'] = dict(dict.fromkeys(SENTENCE_OPTIONS), **options)
    return report, rows


def check_index_files(path, report_path):
    """Raises `UserError` unless both files of an index are there."""
    if not path.endswith('.npy'):
        raise UserError('--index %s: expected an .npy file, which embedding.py --granularity '
                        'sentence --output NAME.npy writes' % path)
    if os.path.isdir(path + vector_files.WORK_ENDING) and not os.path.isfile(path):
        raise UserError('--index %s: its run was interrupted: go on with the same command and '
                        '--resume' % path)
    for name in (path, report_path):
        if not os.path.isfile(name):
            raise UserError('--index %s: no file %s: expected the .npy and the .json that '
                            'embedding.py --granularity sentence wrote' % (path, name))


def top_rows(rows, queries, count, function='cosine'):
    """The `count` best rows for each query: (similarities, row indices), both (queries, count), the
    best first; of equal rows the first comes first. The search is exact, in blocks.

    rows: (texts, width), queries: (queries, width); function: of `SIMILARITIES`.
    """
    scores = np.empty((len(queries), 0), 'float32')
    indices = np.empty((len(queries), 0), 'int64')
    for start in range(0, len(rows), BLOCK):
        block = rows[start:start + BLOCK].astype('float32')
        scores = np.concatenate([scores, compare_rows(queries, block, function)], axis=1)
        block_indices = np.broadcast_to(np.arange(start, start + len(block)),
                                        (len(queries), len(block)))
        indices = np.concatenate([indices, block_indices], axis=1)
        best = np.argsort(-scores, axis=1, kind='stable')[:, :count]
        scores, indices = (np.take_along_axis(array, best, axis=1)
                           for array in (scores, indices))
    return scores, indices


def pick_texts(options, report, indices):
    """{index: text} of the texts with these indices, from --file or the file that was embedded.
    Raises `UserError` if its texts have changed."""
    path = options.file or report['source']
    column = options.text_column or report['options']['text_column']
    texts, digest = {}, store.TextDigest()
    for i, text in enumerate(inputs.read_file_texts(path, column)):
        digest.add(text.encode('utf-8'))
        if i in indices:
            texts[i] = text
    if digest.hexdigest() != report['texts_sha256']:
        raise UserError('%s: these are not the texts of the index %s: name the original file with '
                        '--file, or make the index again' % (path, options.index))
    return texts
