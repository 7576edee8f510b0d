"""embedding.py: what it prints, files of vectors, resume, search, mistakes."""
import dataclasses
import json
import os
import re
import shutil
import time

import numpy as np
import pytest
from reference import numpy_bert
from support import tiny
from support.processes import spawn, start

from bert import embedding as script
from bert import locks
from bert.embedding import BertEmbedding, similarity
from bert.jobs.embedding import command as embedding_command
from bert.jobs.embedding import vector_files
from bert.pipelines.embedder import CHUNK

TEXTS = [text for text, _ in tiny.sentences(23, 5)] + ['', 'the films zzz', 'so ' * 60]
TEXTS_PER_PART = 5


@pytest.fixture
def texts(in_tmp, monkeypatch):
    monkeypatch.setattr(BertEmbedding, 'texts_at_once', lambda self, sentence: TEXTS_PER_PART)
    (in_tmp / 'texts.txt').write_text('\n'.join(TEXTS) + '\n', encoding='utf-8')
    return 'texts.txt'


@pytest.fixture
def embed(call, tiny_bert, texts):
    """Function: flags → Outcome of embedding.py on the file."""
    return lambda *flags: call(script, '--file', texts, '--bert_checkpoint', tiny_bert,
                               '--threads', 1, *flags)


def check(outcome):
    assert outcome.code == 0, outcome.err
    return outcome


def read_json(path):
    with open(path, encoding='utf-8') as file:
        return json.load(file)


# ---- files


def test_one_vector_a_text(embed, tiny_bert, in_tmp):
    outcome = check(embed('--granularity', 'sentence', '--output', 'out.npy'))
    vectors = np.load('out.npy', allow_pickle=False)
    np.testing.assert_allclose(vectors, BertEmbedding(bert_checkpoint=tiny_bert).sentence(TEXTS),
                               atol=1e-6)
    assert sorted(os.listdir()) == ['out.npy', 'out.npy.json', 'texts.txt']
    np.save('expected.npy', vectors)
    assert (in_tmp / 'out.npy').read_bytes() == (in_tmp / 'expected.npy').read_bytes()
    report = read_json('out.npy.json')
    assert (report['texts'], report['width'], report['cut']) == (len(TEXTS), 8, 1)
    assert report['source'] == str(in_tmp / 'texts.txt')
    assert '1 of 26 texts were cut' in outcome.err


@pytest.mark.parametrize('granularity', ['word', 'token'])
def test_a_vector_for_each_word(embed, tiny_bert, granularity):
    check(embed('--granularity', granularity, '--output', 'out.npz', '--max_seq_length', 12))
    archive = np.load('out.npz', allow_pickle=False)
    characters, name_offsets = archive['names'].tobytes(), archive['name_offsets']
    names = [characters[a:b].decode() for a, b in zip(name_offsets, name_offsets[1:])]
    embedder = BertEmbedding(bert_checkpoint=tiny_bert, max_seq_length=12)
    expected = list(embedder.embed_iter(TEXTS, pieces=granularity == 'token'))
    offsets = archive['offsets']
    assert len(offsets) == len(TEXTS) + 1 and offsets[-1] == len(archive['vectors']) == len(names)
    for (words, vectors), a, b in zip(expected, offsets, offsets[1:]):
        assert names[a:b] == words
        np.testing.assert_allclose(archive['vectors'][a:b].reshape(-1, 8),
                                   np.reshape(vectors, (-1, 8)), atol=1e-6)


@pytest.mark.parametrize('granularity, key, names', [('sentence', 'vector', None),
                                                     ('word', 'vectors', 'words'),
                                                     ('token', 'vectors', 'tokens')])
def test_lines_of_json(embed, granularity, key, names):
    check(embed('--granularity', granularity, '--output', 'out.jsonl'))
    with open('out.jsonl', encoding='utf-8') as file:
        rows = [json.loads(line) for line in file]
    assert [row['text'] for row in rows] == TEXTS
    check(embed('--granularity', granularity, '--output', 'out.npz'))
    vectors = np.load('out.npz', allow_pickle=False)['vectors']
    actual = [row[key] for row in rows] if names is None else [v for row in rows for v in row[key]]
    np.testing.assert_allclose(actual, vectors, rtol=1e-6)
    assert names is None or all(len(row[names]) == len(row[key]) for row in rows)


def test_vectors_of_half_the_bytes(embed):
    check(embed('--granularity', 'sentence', '--output', 'full.npy'))
    check(embed('--granularity', 'sentence', '--output', 'half.npy', '--precision', 'float16'))
    vectors, half_vectors = np.load('full.npy'), np.load('half.npy')
    assert half_vectors.dtype == np.float16
    np.testing.assert_array_equal(half_vectors, vectors.astype('float16'))


def test_a_column_of_a_table(call, tiny_bert, in_tmp):
    (in_tmp / 'a.csv').write_text('id,review\n1,"so good, it was"\n2,bad\n')
    (in_tmp / 'a.jsonl').write_text('{"review": "so good, it was"}\n{"review": "bad"}\n')
    for name in ('a.csv', 'a.jsonl'):
        check(call(script, '--file', name, '--text_column', 'review', '--bert_checkpoint',
                   tiny_bert, '--granularity', 'sentence', '--output', name + '.npy'))
    np.testing.assert_array_equal(np.load('a.csv.npy'), np.load('a.jsonl.npy'))
    np.testing.assert_allclose(np.load('a.csv.npy'), BertEmbedding(
        bert_checkpoint=tiny_bert).sentence(['so good, it was', 'bad']), atol=1e-6)


@pytest.mark.parametrize('name, content', [
    ('a.csv', 'review\n"so\n\ngood"\n\nbad\n  \n""\n'), ('a.tsv', 'review\ngood\n\nbad\n \n'),
    ('b.csv', 'review,id\n"so\n\ngood",1\n\nbad,2\n  \n"",3\n'),
    ('b.tsv', 'id\treview\n1\tgood\n\n2\tbad\n \n3\t\n'),
    ('a.jsonl', '{"review": "so"}\n\n\n{"review": "bad"}\n')])
def test_blank_lines_of_a_table_are_rows_or_counted(call, tiny_bert, in_tmp, name, content):
    """In a table of one column they are rows, so that rows keep their numbers."""
    (in_tmp / name).write_text(content)
    outcome = check(call(script, '--file', name, '--text_column', 'review', '--bert_checkpoint',
                         tiny_bert, '--granularity', 'sentence', '--output', 'out.npy'))
    texts, blanks, first = {'a.csv': (5, 0, 0), 'a.tsv': (4, 0, 0), 'b.csv': (3, 2, 5),
                            'b.tsv': (3, 2, 3), 'a.jsonl': (2, 2, 2)}[name]
    assert len(np.load('out.npy')) == texts
    line = '%s: %d blank lines skipped, the first is line %d' % (name, blanks, first)
    assert (line in outcome.err) == bool(blanks)


# ---- resume


@pytest.mark.parametrize('form, granularity', [('npy', 'sentence'), ('npz', 'word'),
                                               ('jsonl', 'token')])
def test_a_run_that_ended_goes_on_with_the_same_bytes(embed, monkeypatch, form, granularity,
                                                      in_tmp):
    flags = ('--granularity', granularity, '--output', 'out.' + form)
    check(embed(*flags))
    expected = (in_tmp / ('out.' + form)).read_bytes()
    os.remove('out.' + form)
    os.remove('out.%s.json' % form)
    indices, embed_part = [], vector_files.embed_part

    def count_part(embedder, plan, work, index):
        indices.append(index)
        return embed_part(embedder, plan, work, index)

    def fail_at_part_3(*arguments):
        return 1 / 0 if len(indices) == 3 else count_part(*arguments)
    with monkeypatch.context() as context, pytest.raises(ZeroDivisionError):
        context.setattr(vector_files, 'embed_part', fail_at_part_3)
        embed(*flags)
    assert indices == [0, 1, 2] and not os.path.exists('out.' + form)
    assert embed(*flags).error == ('error: out.%s.work: an unfinished run: continue it with '
                                   '--resume, or replace it with --overwrite' % form)
    monkeypatch.setattr(vector_files, 'embed_part', count_part)
    outcome = check(embed(*flags, '--resume'))
    assert '3 of 6 parts already exist' in outcome.err
    assert indices == [0, 1, 2, 3, 4, 5]
    assert '26 texts, 11 of them embedded now, ' in outcome.err
    assert read_json('out.%s.json' % form)['embedded'] == 11
    assert (in_tmp / ('out.' + form)).read_bytes() == expected
    assert not os.path.exists('out.%s.work' % form)


@pytest.mark.process
@pytest.mark.parametrize('form, granularity', [('npy', 'sentence'), ('npz', 'word')])
def test_processes_and_kills_change_no_byte(tiny_bert, in_tmp, form, granularity):
    """Runs of one and of two processes, and a run of two that is killed halfway and resumed."""
    texts = [' '.join(TEXTS[k % 25] for k in (i, i * 7)) for i in range(5 * CHUNK)]
    (in_tmp / 'many.txt').write_text('\n'.join(texts) + '\n', encoding='utf-8')

    def command(name, num_workers, *flags):
        return ('embedding.py', '--file', 'many.txt', '--bert_checkpoint', tiny_bert,
                '--granularity', granularity, '--output', '%s.%s' % (name, form), '--num_workers',
                num_workers, '--threads', num_workers) + flags
    for name, num_workers in (('one', 1), ('two', 2)):
        check(spawn(*command(name, num_workers)))
    process = start(*command('killed', 2))
    while not list(in_tmp.glob('killed.*.work/part-*.npz')):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not list(in_tmp.glob('killed.' + form))
    assert ' of 5 parts already exist' in check(spawn(*command('killed', 2, '--resume'))).err
    expected, parallel_output, resumed_output = (
        (in_tmp / ('%s.%s' % (name, form))).read_bytes() for name in ('one', 'two', 'killed'))
    assert len(expected) > 4 * 8 * len(texts)
    assert expected == parallel_output == resumed_output


@pytest.mark.parametrize('extra_flags, problem', [
    (['--pooling', 'max'], '--pooling mean, not with --pooling max: give the same, or start again'),
    (['--no_normalize'], '--normalize, not with --no_normalize: give the same'),
    (['--dimensions', 3], 'no --dimensions, not with --dimensions 3: give the same'),
    (['--prompt', 'so '], "--prompt '', not with --prompt so : give the same"),
    (['--batch_size', 3], '--batch_size 256, not with --batch_size 3: give the same'),
    (['--layers', -1, -2], '--layers -1, not with --layers -1 -2: give the same')])
def test_other_options_are_refused(embed, monkeypatch, extra_flags, problem):
    flags = ('--granularity', 'sentence', '--output', 'out.npy')
    end_early(embed, monkeypatch, flags)
    assert embed(*flags, '--resume', *extra_flags).error.startswith(
        'error: --resume: the run in out.npy.work was started with ' + problem)


def test_other_texts_are_refused(embed, monkeypatch, in_tmp):
    flags = ('--granularity', 'sentence', '--output', 'out.npy')
    end_early(embed, monkeypatch, flags)
    (in_tmp / 'texts.txt').write_text('other\n')
    assert embed(*flags, '--resume').error == (
        'error: --resume: the texts of texts.txt are not those that the run in out.npy.work was '
        'started with: start again with --overwrite instead of --resume')


def test_other_weights_are_refused(embed, monkeypatch, tiny_bert, in_tmp):
    flags = ('--granularity', 'sentence', '--output', 'out.npy')
    end_early(embed, monkeypatch, flags)
    with monkeypatch.context() as context:
        context.setattr(BertEmbedding, 'digest', lambda self, pooling: 'that of others')
        assert embed(*flags, '--resume').error == (
            'error: --resume: the weights are not those that the run in out.npy.work was started '
            'with: start again with --overwrite instead of --resume')
    check(embed(*flags, '--resume'))


def test_one_process_at_a_time(embed, in_tmp):
    with locks.own_folder('out.npy.work'):
        for flags in ([], ['--overwrite']):
            assert embed('--granularity', 'sentence', '--output', 'out.npy', *flags
                         ).error.startswith(
                'error: --output out.npy.work: in use by another run (process %d on ' % os.getpid())
    check(embed('--granularity', 'sentence', '--output', 'out.npy'))
    assert sorted(os.listdir()) == ['out.npy', 'out.npy.json', 'texts.txt']


@pytest.mark.parametrize('form, granularity', [('npy', 'sentence'), ('npz', 'word')])
@pytest.mark.parametrize('damage', ['part cut', 'part junk', 'other run', 'rows cut', 'texts'])
def test_damaged_work_is_computed_again(embed, monkeypatch, in_tmp, form, granularity, damage):
    flags = ('--granularity', granularity, '--output', 'out.' + form)
    check(embed(*flags))
    expected = (in_tmp / ('out.' + form)).read_bytes()
    os.remove('out.' + form)
    os.remove('out.%s.json' % form)
    end_early(embed, monkeypatch, flags)
    work = in_tmp / ('out.%s.work' % form)
    part = work / 'part-000002.npz'
    content = part.read_bytes()
    if damage == 'rows cut' and form == 'npy':
        (work / 'rows.npy').write_bytes(b'')
    elif damage == 'other run':
        with np.load(str(part)) as archive:
            arrays = dict(archive, key='another')
        np.savez(str(part), **arrays)
    elif damage == 'texts':
        (work / 'texts.utf8').write_bytes(b'')
    else:
        part.write_bytes(content[:len(content) // 2] if damage == 'part cut' else b'junk')
    check(embed(*flags, '--resume'))
    assert (in_tmp / ('out.' + form)).read_bytes() == expected


def test_a_damaged_plan(embed, monkeypatch, in_tmp):
    flags = ('--granularity', 'sentence', '--output', 'out.npy')
    end_early(embed, monkeypatch, flags)
    (in_tmp / 'out.npy.work' / 'plan.json').write_text('{')
    assert re.match('error: out.npy.work/plan.json: not JSON: .*: start again with --overwrite '
                    'instead of --resume$', embed(*flags, '--resume').error)
    check(embed(*flags, '--overwrite'))


def test_missing_rows_are_computed_again(embed, monkeypatch, in_tmp):
    """As after a kill just after the file was renamed."""
    flags = ('--granularity', 'sentence', '--output', 'out.npy')
    check(embed(*flags))
    expected = (in_tmp / 'out.npy').read_bytes()
    with monkeypatch.context() as context, pytest.raises(ZeroDivisionError):
        context.setattr(vector_files.results, 'write_report', lambda *a, **b: 1 / 0)
        embed(*flags, '--overwrite')
    (in_tmp / 'out.npy').write_bytes(b'')
    check(embed(*flags, '--resume'))
    assert (in_tmp / 'out.npy').read_bytes() == expected


def test_a_bad_line_leaves_nothing_behind(embed, in_tmp):
    (in_tmp / 'texts.txt').write_bytes(b'good\n\xff\n')
    assert embed('--output', 'out.npz').error.startswith('error: texts.txt:2: not UTF-8')
    assert os.listdir() == ['texts.txt']


def test_the_digest_for_resume_and_search(tiny_bert, tmp_path):
    tensors = numpy_bert.random_tensors(tiny.CONFIG)
    name = 'bert.encoder.layer.1.output.LayerNorm.bias'
    tensors[name] = tensors[name].copy()
    tensors[name][3] += 1e-6
    other_weights = tiny.write_transformers(tmp_path / 'other', {
        name: tensor for name, tensor in tensors.items() if not name.startswith('cls.')})
    tokens = list(tiny.TOKENS)
    tokens[7], tokens[8] = tokens[8], tokens[7]
    other_vocabulary = tiny.write_checkpoint(tmp_path / 'words', tokens=tokens)
    digests = [BertEmbedding(bert_checkpoint=path).digest()
               for path in (tiny_bert, tiny_bert, other_weights, other_vocabulary)]
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_the_digest_includes_the_pooler_if_it_is_used(tiny_bert, tmp_path):
    tensors = numpy_bert.random_tensors(tiny.CONFIG)
    tensors['bert.pooler.dense.bias'] = tensors['bert.pooler.dense.bias'] + 1
    path = tiny.write_transformers(tmp_path / 'other', {
        name: tensor for name, tensor in tensors.items() if not name.startswith('cls.')})
    embedder, other_embedder = (BertEmbedding(bert_checkpoint=p) for p in (tiny_bert, path))
    assert embedder.digest() == other_embedder.digest()
    assert embedder.digest('pooler') != other_embedder.digest('pooler')


def end_early(embed, monkeypatch, flags):
    with monkeypatch.context() as context, pytest.raises(ZeroDivisionError):
        context.setattr(vector_files, 'assemble_output', lambda *a: 1 / 0)
        embed(*flags)


# ---- on the terminal


def test_the_original_form(call, tiny_bert, in_tmp):
    outcome = check(call(script, '--sentences', 'The films was good.', '--bert_checkpoint',
                         tiny_bert))
    title, arrays = outcome.out.split('\n', 1)
    assert title == 'Text: The films was good.'
    assert re.match(r'Tokens embedding: \[array\(\[', arrays)
    assert arrays.count('array(') == 5 and 'dtype=float32' in arrays
    (words, vectors), = BertEmbedding(bert_checkpoint=tiny_bert)('The films was good.')
    values = [float(text) for text in re.findall(r'-?\d+\.\d+', arrays.split('array(')[1])]
    np.testing.assert_allclose(values, [*vectors[0][:3], *vectors[0][-3:]], atol=1e-6)


def test_a_text_on_the_terminal(call, tiny_bert, in_tmp):
    outcome = check(call(script, '--sentences', 'so good', 'bad', '--granularity', 'sentence',
                         '--bert_checkpoint', tiny_bert))
    assert outcome.out.count('Sentence embedding: array(') == 2


# ---- search


def test_search_is_exact(embed, call, tiny_bert, monkeypatch):
    check(embed('--granularity', 'sentence', '--output', 'out.npy'))
    monkeypatch.setattr(embedding_command, 'BLOCK', 4)
    queries = ['so good it was', 'bad plot']
    outcome = check(call(script, '--query', *queries, '--index', 'out.npy', '--top_k', 3))
    embedder = BertEmbedding(bert_checkpoint=tiny_bert)
    cosines = similarity(embedder.sentence(queries), embedder.sentence(TEXTS))
    blocks = outcome.out.split('Query: ')[1:]
    for query, block, row in zip(queries, blocks, cosines):
        head, *lines = block.splitlines()
        assert head == query and len(lines) == 3
        for line, i in zip(lines, np.argsort(-row, kind='stable')):
            score, line_number, text = line.split('\t')
            assert (int(line_number), text) == (i + 1, TEXTS[i])
            assert abs(float(score) - row[i]) < 1e-4
    assert call(script, '--query', '', '--index', 'out.npy').error == 'error: --query: it is empty'


def test_search_after_things_have_moved(embed, call, tiny_bert, in_tmp):
    """Flags name the moved weights and texts. Other weights or texts are an error."""
    shutil.copytree(tiny_bert, 'bert')
    check(call(script, '--file', 'texts.txt', '--bert_checkpoint', 'bert', '--granularity',
               'sentence', '--output', 'out.npy'))
    command = (script, '--query', 'so good', '--index', str(in_tmp / 'out.npy'))
    output = check(call(*command)).out
    os.rename('bert', 'moved')
    os.rename('texts.txt', 'moved.txt')
    assert 'bert: no such file' in call(*command).error
    assert check(call(*command, '--bert_checkpoint', 'moved', '--file', 'moved.txt')).out == output
    lines = (in_tmp / 'moved.txt').read_text().splitlines()
    (in_tmp / 'moved.txt').write_text('\n'.join(lines[::-1]) + '\n')
    assert call(*command, '--bert_checkpoint', 'moved', '--file', 'moved.txt').error.startswith(
        'error: moved.txt: these are not the texts of the index ')
    tokens = list(tiny.TOKENS)
    tokens[7], tokens[8] = tokens[8], tokens[7]
    tiny.write_checkpoint(in_tmp / 'words', tokens=tokens)
    assert call(*command, '--bert_checkpoint', 'words').error.startswith(
        'error: --index %s: the index was made with other weights or another vocabulary than %s '
        'has now'
        % (in_tmp / 'out.npy', 'words'))


def test_blank_texts_are_counted(call, tiny_bert, in_tmp):
    (in_tmp / 'blank.txt').write_text('good film\n\n  \nbad film\n')
    outcome = check(call(script, '--file', 'blank.txt', '--bert_checkpoint', tiny_bert,
                         '--granularity', 'sentence', '--output', 'out.npy'))
    assert 'blank.txt: 2 blank texts found: their vectors mean nothing' in outcome.err
    assert np.load('out.npy').shape == (4, 8)


CUT_INDEX = '--index out.npy: not an .npy file, or cut off: make it again'
NO_INDEX = ('--index out.npy: out.npy.json is not of vectors of texts: expected the files that '
            'embedding.py --granularity sentence wrote')


@pytest.mark.parametrize('name, content, problem', [
    ('out.npy', b'junk', CUT_INDEX), ('out.npy', None, CUT_INDEX), ('out.npy', b'', CUT_INDEX),
    ('out.npy.json', b'{}', NO_INDEX), ('out.npy.json', b'{"options": []}', NO_INDEX),
    ('out.npy.json', b'[', 'out.npy.json: not JSON: ')])
def test_a_damaged_index(embed, call, in_tmp, name, content, problem):
    check(embed('--granularity', 'sentence', '--output', 'out.npy'))
    original = (in_tmp / name).read_bytes()
    (in_tmp / name).write_bytes(original[:-4] if content is None else content)
    error = call(script, '--query', 'a', '--index', 'out.npy').error
    assert error.startswith('error: ' + problem), error


def test_an_index_of_other_vectors(embed, call, in_tmp):
    check(embed('--granularity', 'sentence', '--output', 'out.npy'))
    rows = np.load('out.npy')
    np.save('out.npy', rows[1:])
    assert call(script, '--query', 'a', '--index', 'out.npy').error == (
        'error: --index out.npy: float32 %s found, and out.npy.json describes vectors %s: make '
        'both again' % (rows[1:].shape, rows.shape))


def test_an_index_with_a_file_missing(embed, call, in_tmp):
    check(embed('--granularity', 'sentence', '--output', 'out.npy'))
    os.remove('out.npy.json')
    assert call(script, '--query', 'a', '--index', 'out.npy').error == (
        'error: --index out.npy: no file out.npy.json: expected the .npy and the .json that '
        'embedding.py --granularity sentence wrote')
    os.remove('out.npy')
    os.mkdir('out.npy.work')
    assert call(script, '--query', 'a', '--index', 'out.npy').error == (
        'error: --index out.npy: its run was interrupted: go on with the same command and --resume')


def test_a_query_model_that_the_options_do_not_fit(embed, call, in_tmp):
    check(embed('--granularity', 'sentence', '--max_seq_length', 30, '--output', 'out.npy'))
    tiny.write_checkpoint(in_tmp / 'short', dataclasses.replace(tiny.CONFIG, max_length=20))
    assert call(script, '--query', 'a', '--index', 'out.npy', '--bert_checkpoint',
                'short').error.startswith(
        'error: --index out.npy: a model for its queries, with the options of its vectors: '
        'max_seq_length 30: expected from 3 to 20')


def test_equal_rows_come_in_their_order():
    rows = np.array([[1, 0], [0, 1]] * 6, 'float32')
    scores, indices = embedding_command.top_rows(rows, np.array([[1, 0]], 'float32'), 4)
    assert indices.tolist() == [[0, 2, 4, 6]] and scores.tolist() == [[1, 1, 1, 1]]


# ---- mistakes


@pytest.mark.parametrize('flags, problem', [
    ([], 'give one of --sentences, --file and --query'),
    (['--sentences', 'a', '--file', 'texts.txt'], '--sentences and --file: give one of the two'),
    (['--query', 'a'], '--query and --index: a search needs both'),
    (['--sentences', 'a', '--output', 'x.npy'], '--output: it needs --file'),
    (['--file', 'texts.txt', '--resume'], '--resume: it needs --output'),
    (['--sentences', 'a', '--precision', 'float16'], '--precision: it needs --output'),
    (['--sentences', 'a', '--top_k', 3], '--top_k: it needs --query'),
    (['--sentences', 'a', '--text_column', 'b'], '--text_column: it needs --file'),
    (['--query', 'a', '--index', 'x.npy', '--output', 'y.npy'],
     '--output: leave it out: --query prints its results'),
    (['--query', 'a', '--index', 'x.npy', '--pooling', 'max'],
     '--pooling: leave it out: --query uses that of --index'),
    (['--query', 'a', '--index', 'x.npy', '--sentences', 'b'], '--sentences and --query: give one'),
    (['--file', 'texts.txt', '--output', 'x.npz', '--resume', '--overwrite'],
     '--resume and --overwrite: give one of the two'),
    (['--file', 'a.csv', '--text_column', 'a', '--output', 'folder.npz'],
     '--output folder.npz: folder.npz is a folder: choose another name'),
    (['--file', 'a.jsonl', '--text_column', 'a', '--output', 'a.jsonl', '--overwrite'],
     '--output a.jsonl: it would replace --file a.jsonl: choose another name'),
    (['--file', 'a.jsonl', '--text_column', 'a', '--output', 'x.npz'],
     'a.jsonl:2: half a surrogate pair, or bytes that are not UTF-8, in a text'),
    (['--file', 'head.csv', '--text_column', 'a'], 'head.csv: no text in it'),
    (['--file', 'head.csv', '--text_column', '²'], 'head.csv: no column "²"; its columns are a.'),
    (['--file', 'texts.txt', '--long_text', 'error', '--output', 'x.npz', '--max_seq_length', 12],
     'texts.txt: text 25 (from 0): 62 tokens, special tokens included, but max_seq_length is 12: '
     'shorten the text, raise the length, or choose long_text warn or split'),
    (['--file', 'texts.txt', '--output', 'x.txt'], '--output x.txt: expected a name that ends in '
                                                   '.npy, .npz, .jsonl'),
    (['--file', 'texts.txt', '--output', 'x.npy'], '--output x.npy: an .npy holds one vector per '
                                                   'text: for --granularity word choose .npz or'),
    (['--file', 'texts.txt', '--output', 'x.npz', '--resume'],
     '--resume: there is no unfinished run in x.npz.work'),
    (['--file', 'texts.txt', '--output', 'there.npz'], '--output there.npz: it exists: '),
    (['--file', 'none.txt', '--output', 'x.npz'], 'none.txt: can\'t be read: No such file'),
    (['--file', 'empty.txt', '--output', 'x.npz'], 'empty.txt: no text in it'),
    (['--file', 'bytes.txt', '--output', 'x.npz'], 'bytes.txt:2: not UTF-8 at byte 1 of the line'),
    (['--file', 'a.csv', '--output', 'x.npz'], '--file a.csv: name the column of the texts with'),
    (['--file', 'a.csv', '--text_column', 'b', '--output', 'x.npz'], 'a.csv: no column "b"'),
    (['--query', 'a', '--index', 'there.npz'], '--index there.npz: expected an .npy file, '),
    (['--query', 'a', '--index', 'none.npy'], '--index none.npy: no file none.npy: '),
    (['--sentences', 'a', '--layers', 3], 'layers 3: expected numbers from -3 to 2: '),
    (['--sentences', 'a', '--sentencepiece', 'x'], '--sentencepiece: SentencePiece models are not'),
    (['--sentences', 'a', '--gpu'], '--gpu 0: no GPU for this MXNet: it is the CPU build'),
    (['--sentences', 'a', '--max_seq_length', 41], 'max_seq_length 41: expected from 3 to 40')])
def test_mistakes_give_one_line(call, texts, tiny_bert, in_tmp, flags, problem):
    (in_tmp / 'there.npz').write_bytes(b'kept')
    (in_tmp / 'empty.txt').write_text('')
    (in_tmp / 'bytes.txt').write_bytes(b'good\n\xff\n')
    (in_tmp / 'a.csv').write_text('a\nx\n')
    (in_tmp / 'head.csv').write_text('a\n')
    (in_tmp / 'a.jsonl').write_text('{"a": "good"}\n{"a": "bad \\ud800"}\n')
    (in_tmp / 'folder.npz').mkdir()
    expected_files = sorted(in_tmp.iterdir())
    outcome = call(script, *flags, '--bert_checkpoint', tiny_bert)
    assert outcome.code == 2
    assert outcome.error.startswith('error: ' + problem), outcome.error
    assert (in_tmp / 'there.npz').read_bytes() == b'kept'
    assert sorted(in_tmp.iterdir()) == expected_files
