"""Damaged files of every kind: never a stack trace, never above 5 seconds, and no row is lost
without being counted."""
import collections
import io
import json
import logging
import pathlib
import re
import struct
import time
import zipfile
from typing import NamedTuple

import mxnet as mx
import numpy as np
import pytest
from safetensors.numpy import save_file
from support import fuzzing, tiny

from bert import create_pretraining_data, finetune_classifier, vocabulary
from bert.data.ner.sentences import read_tagged_file
from bert.data.pretraining import corpus, shards
from bert.data.squad import files as squad_files
from bert.data.text import readers
from bert.data.text.label_sets import LabelSetColumns
from bert.data.text.readers import Table
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.flags.pipelines import OpeningOptions
from bert.model.weights import checkpoint_reader, file_formats, tokenizer_files
from bert.pipelines.opening import open_any_pipeline

MAX_SECONDS = 5
TABLE = Table(('text',), 'label')
LABEL_SETS = Table(('text',), LabelSetColumns(('labels',), '|'))
INDICATORS = Table(('text',), LabelSetColumns(('good', 'bad')))


class Reader(NamedTuple):
    """A reader under test. write: function, folder → path of a good file. read: function, path →
    number of rows that it gives or counts. count: function, bytes → number of rows that are in
    them, by slow code of the test's own; None: rows are not what it reads. patch: (object, name,
    function of the original) for a reader that drops a row."""
    write: object
    read: object
    count: object = None
    patch: tuple = ()


# ---- tables

class BlankLineCounter(logging.Handler):
    """Counts the blank lines that the log speaks of."""
    num_lines = 0

    def emit(self, record):
        match = re.search(r': (\d+) blank lines skipped', record.getMessage())
        self.num_lines += int(match[1]) if match else 0


def count_examples(path, table=TABLE):
    handler = BlankLineCounter()
    readers.LOG.addHandler(handler)
    try:
        examples, rejected = readers.read_examples(path, table, None, skip_bad_rows=True)
    finally:
        readers.LOG.removeHandler(handler)
    return len(examples) + len(rejected) + handler.num_lines


def write_table(name, separator):
    def write(folder):
        lines = ['text' + separator + 'label'] + [
            text + separator + 'class %d' % label for text, label in tiny.sentences(12, 1)]
        if name.endswith('.csv'):
            lines.insert(3, '"a ""quoted"" text,\nof two lines",class 1')
        lines.insert(5, '')
        return write_bytes(folder / name, '\n'.join(lines).encode() + b'\n')
    return write


def write_json_lines(folder):
    return write_bytes(folder / 'a.jsonl', b''.join(
        json.dumps({'text': text, 'label': label}).encode() + b'\n'
        for text, label in tiny.sentences(12, 1)) + b'\n\n')


def write_label_sets(folder):
    return write_bytes(folder / 'sets.csv', b'text,labels\n' + b''.join(
        b'%s,%s\n' % (text.encode(), ' | '.join(labels).encode())
        for text, labels in tiny.label_sets(12, 1)))


def write_label_lists(folder):
    return write_bytes(folder / 'sets.jsonl', b''.join(
        json.dumps({'text': text, 'labels': labels}).encode() + b'\n'
        for text, labels in tiny.label_sets(12, 1)))


def write_indicators(folder):
    return write_bytes(folder / 'sets.tsv', b'good\ttext\tbad\n' + b''.join(
        b'%d\t%s\t%d\n' % ('good' in labels, text.encode(), 'bad' in labels)
        for text, labels in tiny.label_sets(12, 1)))


def write_bytes(path, content):
    path.write_bytes(content)
    return str(path)


def lines_of(content):
    """The lines; '' for one that is not UTF-8."""
    content = content.removeprefix(b'\xef\xbb\xbf')
    lines = content.split(b'\n')
    lines = lines if lines[-1] else lines[:-1]
    if len(lines) == 1:
        lines = lines[0].rstrip(b'\n').removesuffix(b'\r').split(b'\r')
    return [line.decode('utf-8', 'ignore') if line.decode('utf-8', 'replace').encode() == line
            else '' for line in lines]


def count_tsv_rows(content):
    return len(lines_of(content)) - 1       # without the header


def count_csv_rows(content):
    """Records by a state machine over characters (RFC 4180)."""
    num_records, state, is_empty = 0, 'start of field', True
    for character in '\n'.join(line.rstrip('\r') for line in lines_of(content)) + '\n':
        if state == 'quoted':
            state = 'quote' if character == '"' else state
        elif character == '\n':
            num_records, state = num_records + 1, 'start of field'
        elif character == ',':
            state = 'start of field'
        elif character == '"' and state in ('start of field', 'quote'):
            state = 'quoted'
        else:
            state = 'in field'
        is_empty = character == '\n'
    assert is_empty
    return num_records - 1 + (state == 'quoted')


def count_json_lines(content):
    return len(lines_of(content))


def drop_third(read):
    """A reader of rows that loses the third."""
    def rows(*arguments):
        for i, row in enumerate(read(*arguments)):
            if i != 2:
                yield row
    return rows


DROPPED_ROW = readers, '_all_rows', drop_third


# ---- other texts

def count_questions(path):
    return len(squad_files.read_squad(path, version_2=None).questions)


def count_json_questions(content):
    value = json.loads(content.decode('utf-8-sig'))
    return sum(len(paragraph['qas']) for article in value['data']
               for paragraph in article['paragraphs'])


def write_flat_squad(folder):
    """SQuAD in the flat layout of the library `datasets`, a row a line."""
    rows = [{'id': str(i), 'context': text, 'question': 'it was',
             'answers': {'text': [text.split()[0]], 'answer_start': [0]}}
            for i, (text, _) in enumerate(tiny.sentences(9, 1))]
    return write_bytes(folder / 'a.jsonl', b''.join(json.dumps(row).encode() + b'\n'
                                                    for row in rows))


def count_flat_rows(content):
    try:
        return count_json_questions(content)
    except (KeyError, TypeError, ValueError):
        return sum(bool(line.strip()) for line in content.decode('utf-8-sig').split('\n'))


def drop_flat_row(read):
    return lambda path, rows: read(path, rows[1:])


def drop_question(read):
    def paragraphs(path, content):
        for context, entries in read(path, content):
            yield context, entries[1:]
    return paragraphs


def count_sentences(path):
    scan = corpus.scan(path, block_size=100)
    documents = [document for block in scan.blocks for document in corpus.read_documents(block)]
    assert sum(block.documents for block in scan.blocks) == len(documents)
    assert scan.lines == sum(map(len, documents))
    return scan.lines


def count_text_lines(content):
    return sum(bool(line.strip()) for line in content.decode('utf-8-sig').split('\n'))


def drop_document(read):
    return lambda block: read(block)[1:] or [[]]


def count_vocabulary_lines(content):
    text = content.decode('utf-8-sig').replace('\r\n', '\n')
    return len(text.rstrip('\r\n').split('\n'))


def drop_token(check):
    return lambda tokens, *arguments: (check(tokens, *arguments), tokens.pop())[0]


# ---- weights and arrays

def tensors():
    rng = np.random.RandomState(0)
    return {'tensor.%d' % i: rng.rand(i + 1, 2).astype('float32') for i in range(5)}


def write_safetensors(folder):
    save_file(tensors(), str(folder / 'a.safetensors'))
    return str(folder / 'a.safetensors')


def count_header_entries(content):
    size, = struct.unpack('<Q', content[:8])
    return len(set(json.loads(content[8:8 + size])) - {'__metadata__'})


def write_params(folder):
    mx.nd.save(str(folder / 'a.params'), {name: mx.nd.array(array)
                                          for name, array in tensors().items()})
    return str(folder / 'a.params')


def count_params(content):
    """Arrays in MXNet's list format: a magic number, 0, and the number of arrays."""
    return struct.unpack('<QQQ', content[:24])[2]


def drop_array(read):
    return lambda *arguments: dict(list(read(*arguments).items())[1:])


def write_shard(folder):
    tiny.write_corpus(folder / 'text.txt', 8)
    (folder / 'vocab.txt').write_text('\n'.join(tiny.TOKENS) + '\n', encoding='utf-8')
    create_pretraining_data.main([
        '--input_file', str(folder / 'text.txt'), '--vocab', str(folder / 'vocab.txt'),
        '--output_dir', str(folder / 'out'), '--num_workers', '1', '--max_seq_length', '32',
        '--max_predictions_per_seq', '5', '--dupe_factor', '1'])
    path, = (folder / 'out').glob('*.npz')
    return str(path)


def count_shard_examples(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive, \
            archive.open('next_sentence_labels.npy') as member:
        return len(np.lib.format.read_array(member, allow_pickle=False))


def drop_example(check):
    def drop(path, examples, vocab_size=None):
        check(path, examples, vocab_size)
        return examples._replace(next_sentence_labels=examples.next_sentence_labels[1:])
    return drop


def count_words(path):
    return sum(len(sentence.words) for sentence in read_tagged_file(path))


def count_conll_lines(content):
    """Lines with a word."""
    return sum(bool(line.split()) and line[:10] != '-DOCSTART-' for line in lines_of(content))


def count_tagged_words(content):
    """Words of lines {"tokens": […], "ner_tags": […]}."""
    return sum(len(json.loads(line)['tokens']) for line in lines_of(content) if line.strip(' '))


def write_tagged_lines(folder):
    return write_bytes(folder / 'a.jsonl', b''.join(json.dumps({
        'tokens': text.split(), 'ner_tags': ['B-X'] + ['O'] * (len(text.split()) - 1)}).encode()
        + b'\n' for text, _ in tiny.sentences(9, 1)))


def drop_line(decode):
    return lambda *arguments: list(decode(*arguments))[:-2]


READERS = {
    'tsv': Reader(write_table('a.tsv', '\t'), count_examples, count_tsv_rows, DROPPED_ROW),
    'csv': Reader(write_table('a.csv', ','), count_examples, count_csv_rows, DROPPED_ROW),
    'jsonl': Reader(write_json_lines, count_examples, count_json_lines, DROPPED_ROW),
    'label sets': Reader(write_label_sets, lambda path: count_examples(path, LABEL_SETS),
                         count_csv_rows, DROPPED_ROW),
    'label lists': Reader(write_label_lists, lambda path: count_examples(path, LABEL_SETS),
                          count_json_lines, DROPPED_ROW),
    'indicators': Reader(write_indicators, lambda path: count_examples(path, INDICATORS),
                         count_tsv_rows, DROPPED_ROW),
    'squad': Reader(lambda folder: tiny.write_squad(folder / 'a.json', 8, 1), count_questions,
                    count_json_questions, (squad_files, '_paragraphs', drop_question)),
    'flat squad': Reader(write_flat_squad, count_questions, count_flat_rows,
                         (squad_files, '_flat_paragraphs', drop_flat_row)),
    'corpus': Reader(lambda folder: tiny.write_corpus(folder / 'a.txt', 6), count_sentences,
                     count_text_lines, (corpus, 'read_documents', drop_document)),
    'conll': Reader(
        lambda folder: write_bytes(folder / 'a.conll', b'-DOCSTART- O\n\n' + b''.join(
            b'%s\tB-X\n%s O\n\n' % tuple(words.encode() for words in text.split()[:2])
            for text, _ in tiny.sentences(9, 1))),
        count_words, count_conll_lines, (readers, 'decode_lines', drop_line)),
    'tagged lines': Reader(write_tagged_lines, count_words, count_tagged_words,
                           (readers, '_lines_and_errors', drop_line)),
    'vocabulary': Reader(
        lambda folder: write_bytes(folder / 'vocab.txt', '\n'.join(tiny.TOKENS).encode() + b'\n'),
        lambda path: len(vocabulary.read_tokens(path)), count_vocabulary_lines,
        (vocabulary, 'check_tokens', drop_token)),
    'safetensors': Reader(
        write_safetensors, lambda path: len(file_formats.read_safetensors(path)),
        count_header_entries, (file_formats, 'read_safetensors', drop_array)),
    'params': Reader(write_params, lambda path: len(file_formats.read_params(path)),
                     count_params, (file_formats, 'read_params', drop_array)),
    'shard': Reader(write_shard, lambda path: len(shards.read_shard(path).next_sentence_labels),
                    count_shard_examples, (shards, 'check_examples', drop_example))}


def check(reader, path, content):
    """Read a damaged file, and compare what is read with what is in it."""
    pathlib.Path(path).write_bytes(content)
    started = time.monotonic()
    try:
        num_rows = reader.read(path)
    except UserError as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 1000
        return 'refused'
    finally:
        assert time.monotonic() - started < MAX_SECONDS
    assert num_rows == reader.count(content)
    return 'read'


def write_good_file(name, folder):
    """(`Reader`, path of a good file, its content)"""
    path = READERS[name].write(folder)
    return READERS[name], path, pathlib.Path(path).read_bytes()


@pytest.mark.parametrize('name', READERS)
def test_damaged_files(name, tmp_path, num_cases):
    reader, path, content = write_good_file(name, tmp_path)
    assert check(reader, path, content) == 'read'
    outcomes = collections.Counter(check(reader, path, mutant) for mutant in
                                   fuzzing.mutants(content, num_cases(100, 3000), seed=7))
    assert outcomes['refused'] and (outcomes['read'] > 5 or name == 'shard'), outcomes


@pytest.mark.parametrize('name', READERS)
def test_a_reader_that_drops_a_row_is_found(name, tmp_path, monkeypatch):
    reader, path, content = write_good_file(name, tmp_path)
    module, attribute, drop = reader.patch
    monkeypatch.setattr(module, attribute, drop(getattr(module, attribute)))
    with pytest.raises(AssertionError):
        check(reader, path, content)


# ---- folders

@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    finetune_classifier.main([
        '--bert_checkpoint', tiny.write_checkpoint(folder / 'bert'), '--task_name', 'SST',
        '--data_dir', tiny.write_sst(folder / 'SST'), '--max_len', '12', '--epochs', '1',
        '--output_dir', str(folder / 'run')])
    return folder / 'run'


def open_folder(folder):
    open_any_pipeline(OpeningOptions(path=str(folder)), {})


@pytest.mark.parametrize('name', ['checkpoints.json', 'config.json', 'task.json', 'vocab.txt',
                                  'model.params'])
def test_damaged_run_folders(name, run_folder, num_cases):
    path, = [path for path in (run_folder, *run_folder.glob('step-*')) if (path / name).exists()]
    path /= name
    content = path.read_bytes()
    outcomes = collections.Counter()
    try:
        for mutant in fuzzing.mutants(content, num_cases(30, 800), seed=3):
            path.write_bytes(mutant)
            started = time.monotonic()
            try:
                open_folder(run_folder)
                outcomes['opened'] += 1
            except UserError as error:
                assert len(str(error).splitlines()) == 1, error
                outcomes['refused'] += 1
            assert time.monotonic() - started < MAX_SECONDS
    finally:
        path.write_bytes(content)
    assert outcomes['refused'] > 3 or name == 'checkpoints.json', outcomes


def test_damaged_configurations_of_transformers(tmp_path, num_cases):
    folder = pathlib.Path(tiny.write_checkpoint(tmp_path / 'bert'))
    tokens = vocabulary.read_vocabulary(str(folder / 'vocab.txt'))
    tokens.tokenizer_json = BertTokenizer(tokens, lower=True).to_json()
    vocabulary.write_tokenizer(tokens, str(folder))     # by a tokenizer.json of its own
    (folder / 'vocab.txt').unlink()
    (folder / 'special_tokens_map.json').write_text('{"cls_token": {"content": "[CLS]"}}')
    (folder / 'added_tokens.json').write_text('{"<ent>": %d}' % len(tokens))
    for name in ('config.json', 'tokenizer_config.json', 'tokenizer.json',
                 'special_tokens_map.json', 'added_tokens.json'):
        content = (folder / name).read_bytes()
        for mutant in fuzzing.mutants(content, num_cases(60, 3000), seed=5):
            (folder / name).write_bytes(mutant)
            started = time.monotonic()
            try:
                mutated, cased = tokenizer_files.read_folder_tokenizer(str(folder))
                checkpoint_reader.read_folder_config(str(folder), mutated, cased)
                tokenizer = BertTokenizer(mutated, lower=not cased)
                tokenizer.frame(pair=True)
            except UserError as error:
                assert len(str(error).splitlines()) == 1, error
            assert time.monotonic() - started < MAX_SECONDS
        (folder / name).write_bytes(content)
