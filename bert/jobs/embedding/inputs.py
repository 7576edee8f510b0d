"""The embedder and the texts that the options name."""
import logging
import os

from bert.data.text import readers
from bert.errors import UserError
from bert.flags.embedding import SENTENCE_OPTIONS
from bert.pipelines.embedding import BertEmbedding
from bert.train.devices import pick_device

TABLE_ENDINGS = set(readers.FORMATS) - {'.txt'}     # files with columns; all others have lines


def ending_of(path):
    """The ending of a file's name, dot included, which names its format."""
    return os.path.splitext(path)[1]


def read_file_texts(path, column):
    """Yield the texts of --file: its lines, or a column of a table."""
    if column is not None:
        yield from readers.read_column(path, column)
    elif ending_of(path).lower() in TABLE_ENDINGS:
        raise UserError('--file %s: name the column of the texts with --text_column' % path)
    else:
        for _, line in readers.read_lines(path):
            yield line


def embedder_options(options):
    """The options that `make_embedder` takes, as values for JSON."""
    return dict(options.as_dict(), max_seq_length=options.max_tokens, layers=list(options.layers),
                pooling=options.pooling and list(options.pooling))


def make_embedder(options):
    """The `BertEmbedding` for a dictionary of options, such as a plan."""
    return BertEmbedding(
        ctx=pick_device(options['gpu'], options['dtype']), dtype=options['dtype'],
        model=options['model'], dataset_name=options['dataset_name'],
        params_path=options['params_path'], bert_checkpoint=options['bert_checkpoint'],
        max_seq_length=options['max_seq_length'], batch_size=options['batch_size'],
        layers=options['layers'], combine=options['combine'], long_text=options['long_text'])


def select_model(embedder, options):
    """The `SentenceModel` for a dictionary of options; None for vectors of words."""
    if options['granularity'] != 'sentence':
        return None
    return embedder.select_sentence_model(max_seq_length=options['max_seq_length'],
                                          **{name: options[name] for name in SENTENCE_OPTIONS})


def record_model(options, model):
    """The options with the values that a `SentenceModel` has; unchanged for None."""
    if model is None:
        return options
    return options.replace(
        pooling=model.pooling, normalize=model.normalize, dimensions=model.dimensions,
        max_seq_length=model.max_seq_length, prompt_name=None, prompt=model.prompt)


def warn_of_cut_texts(embedder, limit, num_cut, num_texts):
    """Log one warning that says how many texts were cut. limit: tokens of a text."""
    if num_cut:
        hint = '' if limit == embedder.config.max_length else \
            '--max_seq_length %d reads more, ' % embedder.config.max_length
        logging.warning('%d of %d texts were cut at %d tokens, special tokens included: %s'
                        '--long_text split reads whole texts', num_cut, num_texts, limit, hint)
