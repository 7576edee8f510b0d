"""The embedder and the texts that the options name."""
import logging
import os

from bert.data.text import readers
from bert.errors import UserError
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
    return dict(options.as_dict(), max_seq_length=options.max_tokens, layers=list(options.layers))


def make_embedder(options):
    """The `BertEmbedding` for a dictionary of options, such as a plan."""
    return BertEmbedding(
        ctx=pick_device(options['gpu'], options['dtype']), dtype=options['dtype'],
        model=options['model'], dataset_name=options['dataset_name'],
        params_path=options['params_path'], bert_checkpoint=options['bert_checkpoint'],
        max_seq_length=options['max_seq_length'], batch_size=options['batch_size'],
        layers=options['layers'], combine=options['combine'], long_text=options['long_text'])


def warn_of_cut_texts(embedder, num_cut, num_texts):
    """Log one warning that says how many texts were cut."""
    if num_cut:
        hint = '' if embedder.max_seq_length == embedder.config.max_length else \
            '--max_seq_length %d reads more, ' % embedder.config.max_length
        logging.warning('%d of %d texts were cut at %d tokens, [CLS] and [SEP] included: %s'
                        '--long_text split all', num_cut, num_texts, embedder.max_seq_length, hint)
