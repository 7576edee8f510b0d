"""Every script with every kind of output that can't be written: one line, and nothing replaced."""
import importlib.util
import os
import pathlib
import re
import stat
import subprocess
import sys

import pytest
from support import tiny
from support.entries import entries
from support.processes import PACKAGE

from bert import (
    answer,
    convert_checkpoint,
    create_pretraining_data,
    deploy,
    embedding,
    evaluate_ner,
    finetune_classifier,
    finetune_ner,
    finetune_squad,
    locks,
    models,
    predict,
    quantize,
    run_glue_tune,
    run_pretraining,
    run_squad_tune,
    static_export_squad,
    static_finetune_squad,
)
from bert.export import export, to_onnx

TEXTS = 'so good', 'the plot was bad'
QUESTION = 'the film was', 'so the film was good and so .'


def evaluate_squad():
    """The module of evaluate-v2.0.py, whose name can't be imported."""
    spec = importlib.util.spec_from_file_location('evaluate_v2', PACKAGE / 'evaluate-v2.0.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def inputs(tmp_path_factory, tiny_bert, sst, dataset):
    """A folder with inputs for all scripts."""
    folder = tmp_path_factory.mktemp('inputs')
    tiny.write_classifier(folder / 'classifier')
    tiny.write_question_answerer(folder / 'qa')
    export.main(['--model_dir', str(folder / 'classifier'), '--output_dir', str(folder / 'symbol')])
    (folder / 'texts.txt').write_text('\n'.join(TEXTS) + '\n')
    tiny.write_squad(folder / 'squad.json', 2, 1)
    tiny.write_squad(folder / 'train-v1.1.json', 6, 1)
    tiny.write_squad(folder / 'dev-v1.1.json', 4, 2)
    (folder / 'gold.conll').write_text('EU B-ORG\nrejects O\n')
    (folder / 'predictions.json').write_text('{"1-0-0": "good", "1-0-1": "bad"}')
    (folder / 'three.csv').write_text('text,label\n' + ''.join(
        '%s,%s\n' % (text, ('bad', 'fine', 'good')[i % 3])
        for i, (text, _) in enumerate(tiny.sentences(24, 1))))
    return folder


def file_commands(inputs, bert):
    """{name: (script, its words, the flag of its output, the flag to replace a file)}"""
    overwrite = '--overwrite',
    return {
        'predict': (predict, ['--model_dir', inputs / 'classifier', *TEXTS], '--output', overwrite),
        'answer': (answer, ['--model_dir', inputs / 'qa', *QUESTION], '--output', overwrite),
        'deploy': (deploy, ['--model_dir', inputs / 'symbol', *TEXTS], '--output', overwrite),
        'evaluate': (evaluate_squad(), [inputs / 'squad.json', inputs / 'predictions.json'],
                     '--out-file', ()),
        'evaluate_ner': (evaluate_ner, [inputs / 'gold.conll'] * 2, '--out_file', ()),
        'embedding': (embedding, ['--file', inputs / 'texts.txt', '--granularity', 'sentence',
                                  '--bert_checkpoint', bert], '--output', overwrite)}


def folder_commands(inputs, bert, roomy_bert, sst, dataset):
    """{name: (script, its words, the flag of its folder)}"""
    squad = ['--train_file', inputs / 'train-v1.1.json', '--dev_file', inputs / 'dev-v1.1.json',
             '--bert_checkpoint', bert, '--max_seq_length', 24, '--doc_stride', 8,
             '--max_query_length', 6, '--epochs', 1]
    pretraining = ['--data', dataset / 'out/*.npz', '--num_steps', 2, '--bert_config',
                   dataset / 'sizes.json']
    own_files = [word for kind in ('train', 'dev') for word in (
        '--%s_file' % kind, inputs / 'three.csv')][2:]
    lpot = ['--model_name_or_path', roomy_bert, '--do_train']
    return {
        'finetune_classifier': (finetune_classifier, [
            '--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint', bert, '--max_len', 24,
            '--epochs', 1], '--output_dir'),
        'finetune_ner': (finetune_ner, [
            '--train_file', inputs / 'gold.conll', '--dev_file', inputs / 'gold.conll',
            '--bert_checkpoint', bert, '--max_len', 24, '--epochs', 1], '--output_dir'),
        'finetune_squad': (finetune_squad, squad, '--output_dir'),
        'static_finetune_squad': (static_finetune_squad, squad, '--output_dir'),
        'run_pretraining': (run_pretraining, pretraining, '--ckpt_dir'),
        'create_pretraining_data': (create_pretraining_data, [
            '--input_file', dataset / 'text.txt', '--vocab', dataset / 'vocab.txt',
            '--num_workers', 1], '--output_dir'),
        'export': (export, ['--model_dir', inputs / 'classifier'], '--output_dir'),
        'to_onnx': (to_onnx, ['--model_dir', inputs / 'classifier'], '--output_dir'),
        'static_export_squad': (static_export_squad, [
            '--export', '--bert_checkpoint', inputs / 'qa', '--max_seq_length', 24,
            '--max_query_length', 6, '--doc_stride', 8], '--output_dir'),
        'quantize': (quantize, ['--model_dir', inputs / 'classifier', '--calib_mode', 'none',
                                *own_files, '--text_columns', 'text', '--label_column', 'label'],
                     '--output_dir'),
        'convert_checkpoint': (convert_checkpoint, [inputs / 'classifier'], None),
        'run_glue_tune': (run_glue_tune, ['--task_name', 'SST-2', '--data_dir', sst, *lpot],
                          '--output_dir'),
        'run_squad_tune': (run_squad_tune, ['--data_dir', inputs, *lpot],
                           '--output_dir')}


FILE_SCRIPTS = 'predict', 'answer', 'deploy', 'evaluate', 'evaluate_ner', 'embedding'
FOLDER_SCRIPTS = (
    # run_pretraining_hvd.py does the job of run_pretraining.py, and needs Horovod first
    'finetune_classifier', 'finetune_ner', 'finetune_squad', 'static_finetune_squad',
    'run_pretraining', 'create_pretraining_data', 'export', 'to_onnx', 'static_export_squad',
    'quantize', 'convert_checkpoint', 'run_glue_tune', 'run_squad_tune')


def assert_one_line(outcome, problem):
    assert outcome.code == 2, outcome
    assert re.fullmatch('error: .*(%s).*' % problem, outcome.err.splitlines()[-1]), outcome.err
    assert 'Traceback' not in outcome.err


def write_old_file(path, mode=0o644):
    path.write_text('old')
    path.chmod(mode)


BROKEN_FILES = {
    'a folder': (pathlib.Path.mkdir, 'folder'),
    'a read-only file': (lambda path: write_old_file(path, 0o444), 'read-only'),
    'a circle of links': (lambda path: path.symlink_to(path.name), 'Too many levels'),
    'below a file': (lambda path: write_old_file(path.parent), 'Not a directory|part of the path'),
    'in /dev': (None, 'no file is made in /dev'), 'in /proc': (None, "can't write")}


@pytest.mark.parametrize('kind', BROKEN_FILES)
@pytest.mark.parametrize('name', FILE_SCRIPTS)
def test_a_file_that_cannot_be_written(name, kind, call, inputs, tiny_bert, in_tmp):
    script, words, flag, overwrite = file_commands(inputs, tiny_bert)[name]
    make, problem = BROKEN_FILES[kind]
    folder = {'in /dev': '/dev', 'in /proc': '/proc', 'below a file': 'file'}.get(kind, '.')
    path = pathlib.Path(folder, 'bert-output.npy')
    if make:
        make(path)
    before = entries()
    assert_one_line(call(script, *words, flag, path, *overwrite), problem)
    assert before == entries()
    assert make or not path.exists()


@pytest.mark.parametrize('name', FILE_SCRIPTS)
def test_a_link_and_a_pipe_stay(name, call, inputs, tiny_bert, in_tmp):
    script, words, flag, overwrite = file_commands(inputs, tiny_bert)[name]
    os.symlink('target', 'link.npy')
    outcome = call(script, *words, flag, 'link.npy')
    assert outcome.code == 0, outcome.err
    assert os.path.islink('link.npy') and os.path.getsize('target')
    content = (in_tmp / 'target').read_bytes()
    os.mkfifo('pipe.npy')
    if name == 'embedding':
        assert_one_line(call(script, *words, flag, 'pipe.npy', *overwrite), 'a pipe')
    else:
        with subprocess.Popen(['cat', 'pipe.npy'], stdout=subprocess.PIPE) as reader:
            assert call(script, *words, flag, 'pipe.npy').code == 0
            assert reader.stdout.read() == content
    assert stat.S_ISFIFO(os.stat('pipe.npy').st_mode)


BROKEN_FOLDERS = {
    'a file': (write_old_file, 'file|folder|it exists'),
                  'a pipe': (os.mkfifo, 'file|folder|it exists'),
    'below a file': (lambda path: write_old_file(path.parent), 'Not a directory|part of the path'),
    'in /proc': (None, "can't write|can't be created")}


@pytest.mark.parametrize('kind', BROKEN_FOLDERS)
@pytest.mark.parametrize('name', FOLDER_SCRIPTS)
def test_a_folder_that_cannot_be_made(name, kind, call, inputs, tiny_bert, roomy_bert, sst,
                                       dataset, in_tmp):
    script, words, flag = folder_commands(inputs, tiny_bert, roomy_bert, sst, dataset)[name]
    make, problem = BROKEN_FOLDERS[kind]
    path = pathlib.Path({'in /proc': '/proc', 'below a file': 'x'}.get(kind, '.'), 'run')
    if make:
        make(path)
    before = entries()
    flags = ([] if flag is None else [flag]) + [path] + (
        [] if name == 'run_pretraining' else [
            '--overwrite' if flag is None else '--overwrite_output_dir'])
    assert_one_line(call(script, *words, *flags), problem)
    assert before == entries()


@pytest.mark.parametrize('name', [
    name for name in FOLDER_SCRIPTS if name != 'convert_checkpoint'])  # it renames a whole folder
def test_a_folder_of_another_run(name, call, inputs, tiny_bert, roomy_bert, sst, dataset,
                                 in_tmp):
    script, words, flag = folder_commands(inputs, tiny_bert, roomy_bert, sst, dataset)[name]
    with locks.own_folder('run'):
        assert_one_line(call(script, *words, flag, 'run'),
                        r'in use by another run \(process %d on ' % os.getpid())
        assert os.listdir('run') == ['.lock']


@pytest.mark.parametrize('name', FILE_SCRIPTS + FOLDER_SCRIPTS)
def test_a_full_disk(name, root, call, inputs, tiny_bert, roomy_bert, sst, dataset, in_tmp, disk):
    """One line, and neither the output nor a temporary file is left."""
    if name in FILE_SCRIPTS:
        script, words, flag, _ = file_commands(inputs, tiny_bert)[name]
        path = disk.path / 'out.npy'
    else:
        script, words, flag = folder_commands(inputs, tiny_bert, roomy_bert, sst, dataset)[name]
        path = disk.path / 'run'
    disk.fill(0)
    outcome = call(script, *words, *([] if flag is None else [flag]), path)
    left = [entry.name for entry in disk.path.rglob('*')]
    disk.free()
    assert_one_line(outcome, 'No space left on device|File too large')
    assert not [entry for entry in left if entry.endswith('.tmp') or entry == 'out.npy'], left


PRINTING = {'predict': ['--model_dir', 'classifier', *TEXTS],
            'answer': ['--model_dir', 'qa', *QUESTION],
            'deploy': ['--model_dir', 'symbol', *TEXTS], 'models': [],
            'embedding': ['--sentences', *TEXTS, '--bert_checkpoint', 'classifier'],
            'evaluate-v2.0': ['squad.json', 'predictions.json'],
            'evaluate_ner': ['gold.conll', 'gold.conll'],
            'convert_checkpoint': ['classifier', 'converted', '--overwrite']}


@pytest.mark.process
@pytest.mark.parametrize('redirection, problem', [
    ('>/dev/full', "can't write: No space left on device"), ('>&-', 'is closed: name a file by')])
@pytest.mark.parametrize('name', PRINTING)
def test_standard_output_that_takes_nothing(name, redirection, problem, inputs):
    command = [sys.executable, PACKAGE / (name + '.py'), *PRINTING[name]]
    process = subprocess.run(['bash', '-c', '"$@" ' + redirection, 'bash', *map(str, command)],
                             cwd=inputs, capture_output=True, text=True)
    assert process.returncode == 2 and 'Traceback' not in process.stderr
    assert process.stderr.splitlines()[-1].startswith('error: standard output ' + problem[:2]) or \
        process.stderr.splitlines()[-1].startswith('error: standard output: ' + problem)


def test_models_prints_its_table(call):
    assert call(models).out.startswith('model ')
