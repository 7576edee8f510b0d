"""create_pretraining_data.py: files, equal bytes for any number of workers, resume, mistakes."""
import json
import os
import shutil
import time

import numpy as np
import pytest
from support import tiny
from support.processes import die, spawn, start

from bert import create_pretraining_data as script
from bert.data.pretraining import worker_tasks
from bert.data.pretraining.shards import read_shard

SIZE_FLAGS = ['--max_seq_length', 32, '--max_predictions_per_seq', 5, '--dupe_factor', 3]


@pytest.fixture
def corpus(in_tmp, monkeypatch):
    """Text and vocabulary in the current folder. The text is cut into several blocks."""
    (in_tmp / 'vocab.txt').write_text(''.join(token + '\n' for token in tiny.TOKENS))
    monkeypatch.setattr('bert.jobs.pretraining.tokenized_corpus.SMALLEST_BLOCK', 500)
    return tiny.write_corpus(in_tmp / 'text.txt')


def run(call, *flags, folder='out', text='text.txt'):
    return call(script, '--input_file', text, '--vocab', 'vocab.txt', '--output_dir', folder,
                '--num_workers', 1, *SIZE_FLAGS, *flags)


def create(call, *flags, **paths):
    """Like `run`, but the script must succeed."""
    outcome = run(call, *flags, **paths)
    assert outcome.code == 0, outcome.err
    return outcome


def read_data(folder):
    """{file name: content} of a folder without results.json, which holds times."""
    return {path.name: path.read_bytes() for path in folder.iterdir()
            if path.name != 'results.json'}


def read_manifest(folder):
    return json.loads((folder / 'manifest.json').read_text())


# ---- output


def test_files_and_manifest(call, corpus, in_tmp):
    outcome = create(call, '--num_outputs', 4)
    names = ['part-%03d.npz' % i for i in range(4)]
    assert sorted(os.listdir('out')) == ['manifest.json'] + names + ['results.json', 'vocab.txt']
    manifest = read_manifest(in_tmp / 'out')
    text = (in_tmp / 'text.txt').read_text()
    assert manifest['format'] == 'bert-pretraining-1'
    assert manifest['vocabulary'] == {'file': 'vocab.txt', 'size': len(tiny.TOKENS),
                                      'cased': False, 'sha256': manifest['vocabulary']['sha256']}
    assert manifest['inputs'][0]['documents'] == manifest['text']['documents'] == 30
    assert manifest['text']['sentences'] == len(text.split('\n')) - 30
    assert manifest['text']['tokens'] == len(text.split())
    assert manifest['options']['dupe_factor'] == 3
    shards = [read_shard('out/' + name) for name in names]
    for shard, entry in zip(shards, manifest['shards']):
        assert entry['examples'] == shard.size and entry['tokens'] == len(shard.input_ids)
    num_examples = sum(shard.size for shard in shards)
    assert manifest['examples']['examples'] == num_examples
    assert 'Wrote %d total instances in 4 files: out' % num_examples in outcome.err
    assert '*** Reading from 1 input files ***' in outcome.err
    report = json.loads((in_tmp / 'out' / 'results.json').read_text())
    assert report['sentences_per_second'] > 0 and report['peak_memory']['this'] > 1 << 20
    assert set(report['seconds']) == {'scan', 'tokenize', 'examples'}


def test_twice_the_copies_are_twice_the_examples(call, corpus, in_tmp):
    create(call)
    shard = read_shard('out/part-000.npz')
    assert not os.path.exists('out/part-001.npz')       # a small text: one file
    create(call, '--dupe_factor', 6, folder='twice')
    ratio = read_shard('twice/part-000.npz').size / shard.size
    assert abs(ratio - 2) < 0.1
    lengths = np.diff(shard.token_offsets)
    assert lengths.max() == 32 and lengths.min() >= 5


def test_verbose_shows_the_first_example(call, corpus):
    outcome = create(call, '--verbose')
    shard = read_shard('out/part-000.npz')
    ids = shard.input_ids[:shard.token_offsets[1]]
    assert 'tokens: ' + ' '.join(tiny.TOKENS[i] for i in ids) in outcome.err
    assert 'input_ids: ' + ' '.join(map(str, ids)) in outcome.err
    assert 'next_sentence_label: %d' % shard.next_sentence_labels[0] in outcome.err


def test_another_seed_gives_other_examples(call, corpus, in_tmp):
    create(call)
    create(call, '--seed', 1, folder='other')
    create(call, '--random_seed', 12345, folder='same')
    assert read_data(in_tmp / 'out') == read_data(in_tmp / 'same')
    assert read_data(in_tmp / 'out')['part-000.npz'] != read_data(in_tmp / 'other')['part-000.npz']


def test_files_are_read_one_after_the_other(call, corpus, in_tmp):
    tiny.write_corpus(in_tmp / 'text-2.txt', 5, seed=1)
    create(call, text='text*.txt')
    assert [entry['path'] for entry in read_manifest(in_tmp / 'out')['inputs']] == [
        'text-2.txt', 'text.txt']
    assert read_manifest(in_tmp / 'out')['text']['documents'] == 35


def test_case_and_unknown_words(call, corpus, in_tmp):
    (in_tmp / 'upper.txt').write_text('The FILM was good .\n\nso BAD\nwas it\n')
    outcome = create(call, text='upper.txt')
    assert '[UNK]' not in outcome.err
    outcome = create(call, '--cased', text='upper.txt', folder='cased')
    assert '--cased: the vocabulary of vocab.txt has no upper-case letters' in outcome.err
    assert '3 tokens (33.33 %) are not in the vocabulary and become [UNK]' in outcome.err
    assert read_manifest(in_tmp / 'cased')['vocabulary']['cased'] is True


def test_text_that_is_tokens_already(call, corpus, in_tmp):
    (in_tmp / 'tokens.txt').write_text('film ##s . nothing\n\nso [MASK]\n')
    outcome = create(call, '--tokenized', '--dupe_factor', 1, text='tokens.txt')
    assert '1 tokens (16.67 %) are not in the vocabulary' in outcome.err
    counts = read_manifest(in_tmp / 'out')['text']
    assert (counts['tokens'], counts['documents'], counts['sentences']) == (6, 2, 2)


def test_prose_is_split(call, corpus, in_tmp, monkeypatch):
    monkeypatch.setattr('nltk.data.path', [])
    (in_tmp / 'prose.txt').write_text('The film was good. It was so\nvery fine. So it was.\n\n'
                                      'The plot was bad. It was poor.\n')
    outcome = create(call, '--sentence_splitter', 'nltk', text='prose.txt')
    assert 'split by Punkt, trained on the first ' in outcome.err
    manifest = read_manifest(in_tmp / 'out')
    assert manifest['text']['sentences'] == 5
    assert manifest['sentence_splitter'].startswith('trained on the first ')


def test_text_without_tokens_is_left_out_and_counted(call, corpus, in_tmp):
    (in_tmp / 'odd.txt').write_text('so it was\n\u200b\nfine\n\n\u200b\n\nthe film\n')
    outcome = create(call, text='odd.txt')
    assert '2 sentences and 1 documents hold no token and are left out' in outcome.err
    assert read_manifest(in_tmp / 'out')['text']['documents'] == 2


def test_fewer_masks_than_requested_cause_a_warning(call, corpus):
    outcome = create(call, '--max_predictions_per_seq', 4)
    assert ('--max_predictions_per_seq 4 is less than --masked_lm_prob 0.15 of 32 tokens: long '
            'examples get fewer masks') in outcome.err


def test_the_sample_text_is_in_the_package(in_tmp, data_dir):
    outcome = spawn('create_pretraining_data.py', '--input_file', 'sample_text.txt', '--vocab',
                    data_dir / 'vocab' / 'bert-base-uncased.txt', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    manifest = read_manifest(in_tmp / 'out')
    assert manifest['text']['documents'] == 12 and manifest['text']['unknown'] == 0
    assert manifest['examples']['examples'] > 100


# ---- number of workers


def test_the_same_bytes_by_one_process_and_by_three(call, corpus, in_tmp):
    create(call, '--num_outputs', 3)
    create(call, '--num_outputs', 3, '--num_workers', 3, folder='many')
    assert read_data(in_tmp / 'out') == read_data(in_tmp / 'many')
    assert len(read_data(in_tmp / 'out')) == 5


def test_the_same_bytes_on_a_dask_cluster(call, corpus, in_tmp):
    distributed = pytest.importorskip('distributed')
    with distributed.LocalCluster(2, threads_per_worker=1, processes=True,
                                  dashboard_address=None) as cluster:
        create(call, '--num_outputs', 3)
        create(call, '--num_outputs', 3, '--engine', 'dask', '--scheduler',
               cluster.scheduler_address, folder='dask')
        # the cluster reports mistakes, too
        (in_tmp / 'bad.txt').write_text('\u200b\n\n\u200b\n')
        outcome = run(call, '--engine', 'dask', '--scheduler', cluster.scheduler_address,
                      text='bad.txt', folder='bad')
        assert outcome.code == 2 and '0 documents with tokens' in outcome.err
    assert read_data(in_tmp / 'out') == read_data(in_tmp / 'dask')


# ---- resume


@pytest.mark.process
def test_finished_files_stay_after_a_kill(corpus, in_tmp, call):
    """kill -9 while the run writes shards. The resumed run leaves the finished shards alone."""
    tiny.write_corpus(in_tmp / 'long.txt', 3000)
    flags = ['--input_file', 'long.txt', '--vocab', 'vocab.txt', '--num_workers', 1,
             '--num_outputs', 12] + SIZE_FLAGS
    assert spawn('create_pretraining_data.py', *flags, '--output_dir', 'whole').code == 0
    process = start('create_pretraining_data.py', *flags, '--output_dir', 'out')
    while len(list(in_tmp.glob('out/part-*.npz'))) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    process.kill()
    process.communicate()
    mtimes = {path.name: path.stat().st_mtime_ns for path in in_tmp.glob('out/part-*.npz')}
    assert 3 <= len(mtimes) < 12, 'killed too late to test anything'
    outcome = spawn('create_pretraining_data.py', *flags, '--output_dir', 'out')
    assert outcome.code == 2
    assert outcome.error == (
        'error: out holds pre-training data: choose another --output_dir, continue an unfinished '
        'run with --resume, or replace the data with --overwrite_output_dir')
    outcome = spawn('create_pretraining_data.py', *flags, '--output_dir', 'out', '--resume')
    assert outcome.code == 0, outcome.err
    assert '%d of 12 shards already exist' % len(mtimes) in outcome.err
    assert {name: (in_tmp / 'out' / name).stat().st_mtime_ns for name in mtimes} == mtimes
    assert read_data(in_tmp / 'out') == read_data(in_tmp / 'whole')


@pytest.mark.parametrize('task', ['tokenize_block', 'make_shard'])
def test_a_run_that_ends_at_any_task_goes_on(call, corpus, in_tmp, monkeypatch, task):
    create(call, '--num_outputs', 4, folder='whole')
    original = getattr(worker_tasks, task)
    first_tasks = []

    def interrupt(*arguments):
        if len(first_tasks) == 2:
            raise KeyboardInterrupt
        first_tasks.append(arguments[-1])
        return original(*arguments)
    monkeypatch.setattr(worker_tasks, task, interrupt)
    assert run(call, '--num_outputs', 4).code == 130
    last_tasks = []
    monkeypatch.setattr(worker_tasks, task,
                        lambda *arguments: last_tasks.append(arguments[-1]) or original(*arguments))
    create(call, '--num_outputs', 4, '--resume')
    assert first_tasks and last_tasks and not set(first_tasks) & set(last_tasks)
    assert read_data(in_tmp / 'out') == read_data(in_tmp / 'whole')


def test_a_run_goes_on_with_its_own_options_and_text_only(call, corpus, in_tmp, monkeypatch):
    with monkeypatch.context() as context, pytest.raises(ZeroDivisionError):
        context.setattr(worker_tasks, 'make_shard', lambda *arguments: 1 / 0)
        run(call)
    problem = ('error: --resume: the run in out was started with another text, vocabulary or '
               'other options: give the same ones, or --overwrite_output_dir')
    assert run(call, '--resume', '--seed', 3).error == problem
    tiny.write_corpus(in_tmp / 'text.txt', seed=8)
    assert run(call, '--resume').error == problem


def test_nothing_is_overwritten_without_the_flag(call, corpus, in_tmp):
    create(call, '--num_outputs', 2)
    (in_tmp / 'out' / 'mine.txt').write_text('mine')
    assert run(call).error.startswith('error: out holds pre-training data')
    assert run(call, '--num_outputs', 2, '--resume').error == \
        'error: --resume: the run in out is complete'
    assert run(call, '--resume', '--overwrite_output_dir').error == \
        'error: --resume and --overwrite_output_dir: give one of the two'
    create(call, '--overwrite_output_dir')
    assert sorted(os.listdir('out')) == ['manifest.json', 'mine.txt', 'part-000.npz',
                                         'results.json', 'vocab.txt']
    shutil.rmtree('out')
    os.mkdir('out')
    shutil.copy('vocab.txt', 'out/part-000.npz')     # of another program
    assert run(call).error.startswith('error: out holds pre-training data')
    assert run(call, '--resume').error == 'error: --resume: out holds no unfinished run'


@pytest.mark.parametrize('name', ['vocab.txt', 'results.json', 'manifest.json'])
@pytest.mark.parametrize('flags', [[], ['--overwrite_output_dir']])
def test_files_of_the_user_stay(call, corpus, in_tmp, name, flags):
    """Also if the folder is the current one, or holds another script's run."""
    os.mkdir('out')
    (in_tmp / 'out' / name).write_text('{"mine": 1}')
    assert run(call, *flags).error == (
        'error: out/%s: create_pretraining_data.py did not write this file, but needs its name: '
        'choose another --output_dir' % name)
    assert os.listdir('out') == [name]
    assert (in_tmp / 'out' / name).read_text() == '{"mine": 1}'


def test_remains_of_a_killed_removal_are_not_used(call, corpus, in_tmp):
    create(call)
    expected = read_data(in_tmp / 'out')
    shutil.rmtree('out')
    os.makedirs('out/.work')
    for kind in ('tokens', 'sentences', 'documents', 'json'):   # of another text
        (in_tmp / 'out' / '.work' / ('block-000000.' + kind)).write_bytes(b'{}')
    create(call)
    assert read_data(in_tmp / 'out') == expected


# ---- mistakes


@pytest.mark.parametrize('flags, problem', [
    (['--input_file', 'none*.txt'], 'none*.txt: no such file: expected text files: names or '
                                    'wildcards, separated by commas'),
    (['--input_file', 'empty.txt'], 'empty.txt: no text in it'),
    (['--input_file', 'one.txt'],
     'one.txt: one document in 3 lines, expected two or more: put an empty line between '
     'documents. Random next sentences come from another document'),
    (['--input_file', 'bytes.txt'], 'bytes.txt: not UTF-8 at byte 6: save the file as UTF-8'),
    (['--vocab', 'none.txt'], 'none.txt: can\'t read the vocabulary: No such file or directory'),
    (['--vocab', 'one.txt'], 'one.txt: no [UNK], [PAD], [CLS], [SEP], [MASK] among its 3 tokens'),
    (['--vocab', 'book_corpus'], 'unknown corpus "book_corpus". Did you mean'),
    (['--max_predictions_per_seq', 30],
     '--max_predictions_per_seq 30: only 29 tokens of --max_seq_length 32 are not special '
     'tokens; expected about 5'),
    (['--max_seq_length', 4], '--max_seq_length 4: expected 5 or more, for two'),
    (['--num_outputs', 1000], '--num_outputs 1000: this text with --dupe_factor 3 makes'),
    (['--engine', 'dask'], '--engine dask needs --scheduler ADDRESS, such as tcp://host:8786'),
    (['--scheduler', 'tcp://localhost:1'], '--scheduler needs --engine dask'),
    (['--format', 'recordio'], 'argument --format: invalid choice: \'recordio\''),
    (['--sentencepiece', 'a.model'], '--sentencepiece: SentencePiece models are not supported'),
    (['--sp_nbest', 1], '--sp_nbest: SentencePiece models are not supported'),
    (['--masked_lm_prob', 1.5], 'argument --masked_lm_prob: 1.5 found, expected a number from'),
    (['--output_dir', 'text.txt/out'], 'text.txt/out')])
def test_mistakes_give_one_line(call, corpus, in_tmp, flags, problem):
    (in_tmp / 'empty.txt').write_text('\n \n')
    (in_tmp / 'one.txt').write_text('so\nit\nwas\n')
    (in_tmp / 'bytes.txt').write_bytes(b'so\n\nit\xffwas\n')
    outcome = run(call, *flags)
    assert outcome.code == 2
    assert outcome.error.startswith('error: ' + problem), outcome.error
    assert 'Traceback' not in outcome.err and not list(in_tmp.glob('out/part-*'))


def test_a_vocabulary_must_be_named(call, corpus):
    outcome = call(script, '--input_file', 'text.txt', '--output_dir', 'out')
    assert outcome.code == 2
    assert 'the following arguments are required: --vocab/--dataset_name' in outcome.err


def test_two_runs_in_one_folder(call, corpus, in_tmp):
    """The tasks of one run don't follow the plan of another run."""
    create(call)
    (in_tmp / 'out' / '.work').mkdir()
    (in_tmp / 'out' / '.work' / 'plan.json').write_text('{"digest": "of the second"}')
    with pytest.raises(Exception, match='out: another run has changed the plan there'):
        worker_tasks.make_shard('out', 'of the first', 0)


def test_a_worker_that_dies(call, corpus, monkeypatch):
    monkeypatch.setattr(worker_tasks, 'tokenize_block', die)
    outcome = run(call, '--num_workers', 2)
    assert outcome.code == 2
    assert outcome.error == (
        'error: a worker process died, perhaps out of memory: finished parts are kept; continue '
        'with --resume and fewer workers')
