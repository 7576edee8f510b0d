"""Flags and tiny SQuAD files for the tests of the question-answering scripts."""
import json

from support import tiny

SIZES = ('--max_seq_length', 20, '--doc_stride', 5, '--max_query_length', 6)
# about three windows per step, and a learning rate high enough to learn something
QUICK = SIZES + ('--lr', 1e-3, '--epochs', 2, '--batch_size', 8, '--log_interval', 2,
                 '--threads', 1)


def read_json(path):
    return json.loads(path.read_text(encoding='utf-8'))


def write_files(folder, version_2=False, train=24, dev=11):
    """Write tiny train and dev files. Returns the flags that name them."""
    return ('--train_file', tiny.write_squad(folder / 'train.json', train, 1, version_2),
            '--dev_file', tiny.write_squad(folder / 'dev.json', dev, 2, version_2)) + (
                ('--version_2',) if version_2 else ())
