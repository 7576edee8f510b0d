"""Each user mistake gives one clear error line and exit code 2, and loses no data."""
import dataclasses
import os
import resource
import subprocess
import sys
import time

import mxnet as mx
import numpy as np
import pytest
from support import tiny
from support.processes import PACKAGE, spawn, start

from bert import finetune_classifier, predict
from bert.flags.threads import MIN_ADDRESS_SPACE
from bert.train import devices


@pytest.fixture
def fail(call, tiny_bert, in_tmp):
    """Function: flags → the error line of finetune_classifier.py with the tiny model."""
    def fail(*flags, checkpoint=tiny_bert):
        outcome = call(finetune_classifier, '--bert_checkpoint', checkpoint, '--max_len', 24,
                       '--epochs', 1, '--output_dir', 'run', '--overwrite_output_dir', *flags)
        assert outcome.code == 2
        assert outcome.err.count('error: ') == 1 and 'Traceback' not in outcome.err
        return outcome.error
    return fail


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


OWN_FLAGS = ('--text_columns', 't', '--label_column', 'c', '--train_file', 'a.tsv',
             '--dev_file', 'a.tsv')


@pytest.mark.parametrize('content,message', [
    (None, 'a.tsv: can\'t be read: No such file or directory'),
    (b'', 'a.tsv: empty file, expected a header and examples'),
    (b't\tc\n', 'a.tsv: no examples in it'),
    (b't\tc\ngood\tx\nbad\n', 'a.tsv:3: 1 column found, expected 2'),
    (b't\tc\ngood\tx\nb\xe4d\ty\n', 'a.tsv:3: not UTF-8 at byte 2 of the line: save the file '
                                    'as UTF-8'),
    (b't\tlabel\ngood\tx\n', 'a.tsv: no column "c"; its columns are t, label.'),
    (b't\tc\ngood\tx\n', 'column "c" holds only one class (x); for numbers, give --regression'),
], ids=['missing', 'empty', 'header only', 'columns', 'encoding', 'column name', 'one class'])
def test_own_file(content, message, fail, in_tmp):
    if content is not None:
        write(in_tmp / 'a.tsv', content)
    assert fail(*OWN_FLAGS) == 'error: ' + message


def test_own_label_that_is_no_class(fail, in_tmp):
    write(in_tmp / 'a.tsv', 't\tc\ngood\tx\nbad\ty\n')
    assert fail(*OWN_FLAGS, '--classes', 'x,z') == 'error: a.tsv:3: label "y": expected one of x, z'


def test_own_classes(fail, in_tmp):
    write(in_tmp / 'a.tsv', 't\tc\ngood\tx\nbad\ty\n')
    for classes in ('x', 'x,x'):
        assert fail(*OWN_FLAGS, '--classes', classes) == \
            'error: --classes %s: expected two or more different names' % classes


@pytest.mark.parametrize('flags,message', [
    (('--classes', 'a,b'), '--classes is for files of your own: give --train_file and --dev_file'),
    (('--regression',), '--regression is for files of your own: give --train_file and --dev_file'),
    (OWN_FLAGS + ('--regression', '--classes', 'a,b'),
     '--regression and --classes: give one of the two'),
    (('--pretrained_bert_parameters', 'a', '--model_parameters', 'b'),
     '--pretrained_bert_parameters and --model_parameters: the second holds the encoder too; give '
     'one of the two'),
    (OWN_FLAGS + ('--task_name', 'a/b'),
     '--task_name a/b: this becomes the name of files: give a name without "/"'),
])
def test_flags_that_contradict_each_other(flags, message, fail):
    assert fail(*flags) == 'error: ' + message


def test_numbers_are_not_taken_for_classes(fail, in_tmp):
    write(in_tmp / 'a.tsv', 't\tc\n' + ''.join('good\t%d.5\n' % i for i in range(21)))
    assert fail(*OWN_FLAGS) == (
        'error: column "c" holds 21 different numbers: --regression learns them as numbers, '
        '--classes as classes')


def test_corrected_command_takes_the_folder_of_the_mistake(call, sst, tiny_bert, in_tmp):
    flags = ('--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint', tiny_bert, '--epochs',
             1, '--output_dir', 'run', '--max_len')
    assert call(finetune_classifier, *flags, 500).code == 2
    assert call(finetune_classifier, *flags, 20).code == 0


def test_own_label_that_is_no_number(fail, in_tmp):
    write(in_tmp / 'a.tsv', 't\tc\ngood\t1\nbad\tnan\n')
    assert fail(*OWN_FLAGS, '--regression') == 'error: a.tsv:3: label "nan": expected a number'


def test_own_files_need_their_columns(fail, in_tmp):
    assert fail('--train_file', 'a.tsv', '--dev_file', 'a.tsv') == \
        'error: --text_columns is needed with files of your own: name the columns'
    assert fail('--train_file', 'a.tsv', '--text_columns', 't', '--label_column', 'c') == \
        'error: training on files of your own needs --train_file and --dev_file'
    assert fail(*OWN_FLAGS, '--text_columns', 'a,b,c') == \
        'error: --text_columns a,b,c: give one column, or two for pairs, separated by a comma'


def test_unknown_names(fail, call, in_tmp):
    assert fail('--task_name', 'MRCP').startswith(
        'error: no task "MRCP". Did you mean "MRPC"? The tasks are MRPC, QQP')
    assert fail('--optimizer', 'bertadan', '--task_name', 'SST', '--data_dir',
                tiny.write_sst(in_tmp / 'SST-2')).startswith(
        'error: --optimizer bertadan: no such optimizer. Did you mean "bertadam"? Known are')
    assert call(finetune_classifier, '--taskname', 'SST').error.startswith(
        'error: unknown argument --taskname. Did you mean "--task_name"? (')


def test_unknown_model_and_corpus(call, in_tmp):
    tiny.write_sst(in_tmp / 'SST-2')
    sst = ('--task_name', 'SST')
    error = call(finetune_classifier, *sst, '--bert_model', 'bert_12_768').error
    assert 'bert_12_768' in error and 'Did you mean "bert_12_768_12"?' in error
    error = call(finetune_classifier, *sst, '--bert_dataset', 'book_corpus_wiki_uncased').error
    assert 'Did you mean "book_corpus_wiki_en_uncased"?' in error
    error = call(finetune_classifier, *sst, '--bert_model', 'bert_24_1024_16', '--bert_dataset',
                 'wiki_cn_cased').error
    assert 'book_corpus_wiki_en_uncased' in error and 'book_corpus_wiki_en_cased' in error


def test_unsupported_flags_of_the_original_are_explained(call):
    for flag in ('--sentencepiece', '--custom_pass_lib', '--deploy', '--tune'):
        outcome = call(finetune_classifier, flag)
        assert outcome.code == 2 and outcome.error.startswith('error: %s: ' % flag)
        assert 'unknown' not in outcome.error


def test_missing_data(fail, in_tmp, monkeypatch):
    monkeypatch.setenv('MXNET_GLUON_REPO', 'http://127.0.0.1:9/')
    error = fail('--task_name', 'RTE')
    assert error.startswith('error: RTE is not in glue_data/RTE, ./RTE, ')
    assert error.endswith('Put train.tsv, dev.tsv, test.tsv in a folder, and give this '
                          'folder as --data_dir')
    assert fail('--task_name', 'RTE', '--data_dir', 'nothing') == (
        'error: --data_dir nothing: no files of RTE in this folder or in nothing/RTE; expected '
        'train.tsv, dev.tsv, test.tsv')


@pytest.mark.parametrize('length,message', [
    (3, '--max_len 3 is too small: 3 special tokens and at least one token of each text need 5'),
    (41, '--max_len 41 is more than the 40 positions of this model: use --max_len 40 or less'),
])
def test_max_len(length, message, fail, in_tmp):
    tiny.write_pairs(in_tmp / 'MRPC', ('#1 String', '#2 String', 'Quality'),
                     lambda similarity: int(similarity > 0.5))
    assert fail('--task_name', 'MRPC', '--max_len', length) == 'error: ' + message


# Weights

@pytest.fixture
def weights(in_tmp, call, sst, tiny_bert):
    """Path of the parameters of a tiny classifier."""
    assert call(finetune_classifier, '--bert_checkpoint', tiny_bert, '--task_name', 'SST',
                '--data_dir', sst, '--max_len', 24, '--epochs', 1, '--output_dir', 'w').code == 0
    return next((in_tmp / 'w').glob('step-*')) / 'model.params'


def test_truncated_params(weights, fail, sst, in_tmp):
    content = weights.read_bytes()
    for size in (0, 5, 100, len(content) // 2, len(content) - 3):
        write(in_tmp / 'cut.params', content[:size])
        error = fail('--task_name', 'SST', '--data_dir', sst, '--model_parameters', 'cut.params')
        assert error.startswith('error: cut.params: ')


def test_truncated_safetensors(fail, sst, tiny_bert, in_tmp):
    folder = in_tmp / 'broken'
    folder.mkdir()
    for name in os.listdir(tiny_bert):
        with open(os.path.join(tiny_bert, name), 'rb') as file:
            content = file.read()
        write(folder / name, content[:-100] if name.endswith('.safetensors') else content)
    error = fail('--task_name', 'SST', '--data_dir', sst, checkpoint='broken')
    assert error.startswith('error: broken/model.safetensors: ')


def test_weights_of_another_size(fail, sst, in_tmp):
    config = dataclasses.replace(tiny.CONFIG, units=12, hidden_size=24)
    folder = tiny.write_checkpoint(in_tmp / 'wide', config)
    error = fail('--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint', folder,
                 '--model_parameters', _classifier_params(in_tmp))
    assert 'bert.encoder.layer_norm.beta: (8,) in the file, (12,) in the model' in error
    assert error.endswith('check --bert_model, or the config.json beside the file')


def _classifier_params(folder):
    """Parameters of a tiny classifier, 8 units wide."""
    from bert.model.bert import BERTModel
    from bert.model.classification import BERTClassifier
    network = BERTClassifier(BERTModel(tiny.CONFIG), dropout=0.1)
    network.initialize()
    ids = mx.nd.zeros((1, 3))
    network(ids, ids, mx.nd.array([3]))
    path = str(folder / 'narrow.params')
    network.save_parameters(path)
    return path


def test_missing_and_unknown_tensors_are_named(fail, sst, in_tmp):
    arrays = mx.nd.load(_classifier_params(in_tmp))
    del arrays['bert.pooler.bias']
    arrays['bert.pooler.tias'] = mx.nd.zeros(8)
    mx.nd.save('odd.params', arrays)
    error = fail('--task_name', 'SST', '--data_dir', sst, '--model_parameters', 'odd.params')
    assert 'bert.pooler.bias' in error and 'bert.pooler.tias' in error


def test_folder_without_a_checkpoint(fail, sst, in_tmp):
    (in_tmp / 'empty').mkdir()
    assert 'empty' in fail('--task_name', 'SST', '--data_dir', sst, checkpoint='empty')
    assert 'nowhere' in fail('--task_name', 'SST', '--data_dir', sst, checkpoint='nowhere')


# Devices

def test_gpu_with_the_cpu_build(fail):
    line = ('error: --gpu %d: no GPU for this MXNet: it is the CPU build, GPUs need '
            'mxnet-cu112 or mxnet-cu117; leave --gpu out to run on the CPU')
    assert fail('--gpu') == line % 0
    assert fail('--gpu', 3) == line % 3


def test_gpu_newer_than_the_wheel(fail, monkeypatch):
    monkeypatch.setattr(mx.context, 'num_gpus', lambda: 1)
    monkeypatch.setattr(devices, 'compute_capability', lambda gpu: (9, 0))
    assert fail('--gpu', 0) == (
        'error: --gpu 0: the GPU has compute capability 9.0, but MXNet 1.9.1 supports 5.0 to '
        '8.9 (Maxwell to Ada); leave --gpu out to run on the CPU')
    assert fail('--gpu', 1) == 'error: --gpu 1: there are 1 GPUs, numbered 0 to 0'


def test_float16_on_the_cpu(fail):
    assert fail('--dtype', 'float16') == (
        'error: --dtype float16 needs a GPU: MXNet\'s CPU operators don\'t support it; leave '
        '--dtype out')


# While training

def test_loss_that_is_not_finite_keeps_the_last_checkpoint(fail, sst, in_tmp, monkeypatch):
    # the rate grows without bound from step 3 on
    monkeypatch.setattr('bert.train.trainer.linear_warmup_decay',
                        lambda step, *args: 1e-4 if step < 3 else 1e30)
    error = fail('--task_name', 'SST', '--data_dir', sst, '--batch_size', 8, '--ckpt_interval',
                 2, '--log_interval', 1)
    assert error.startswith('error: the loss of step 4 is nan: training stopped; the checkpoint '
                            'of step 2 is kept.')
    assert [name for name in os.listdir('run') if name.startswith('step-')] == ['step-0000002']
    arrays = mx.nd.load(os.path.join('run', 'step-0000002', 'model.params'))
    assert all(np.isfinite(array.asnumpy()).all() for array in arrays.values())


@pytest.mark.process
def test_disk_full_while_saving_keeps_the_old_checkpoint(sst, tiny_bert, tmp_path):
    """After the first checkpoint no file may grow beyond 6,000 bytes: writing the next checkpoint
    fails, and the run resumes when the limit is gone."""
    folder = tmp_path / 'run'
    process = start('finetune_classifier.py', '--task_name', 'SST', '--data_dir', sst,
                    '--bert_checkpoint', tiny_bert, '--max_len', 24, '--epochs', 30,
                    '--ckpt_interval', 1, '--threads', 1, '--output_dir', folder)
    while not list(folder.glob('step-???????')):
        assert process.poll() is None
        time.sleep(0.01)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (6000, 6000))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert 'Traceback' not in err
    assert 'the checkpoint could not be written: ' in err.strip().splitlines()[-1]
    checkpoint = max(path.name for path in folder.glob('step-???????'))
    assert np.isfinite(mx.nd.load(str(folder / checkpoint / 'model.params'))['classifier.1.bias']
                       .asnumpy()).all()
    outcome = spawn('finetune_classifier.py', '--resume', '--output_dir', folder)
    assert outcome.code == 0 and 'resumed from %s' % (folder / checkpoint) in outcome.err


def test_output_dir_that_cannot_be_made(fail, in_tmp):
    tiny.write_sst(in_tmp / 'SST-2')
    write(in_tmp / 'file', 'x')
    assert fail('--task_name', 'SST', '--output_dir', 'file/run') == \
        'error: file/run: can\'t write: Not a directory; a part of the path is a file: choose ' \
        'another path'


def test_an_address_space_that_is_too_small_for_mxnet(tiny_bert):
    process = subprocess.run(
        ['bash', '-c', 'ulimit -v 800000; exec "$@"', 'bash', sys.executable,
         str(PACKAGE / 'predict.py'), '--model_dir', tiny_bert, 'text'],
        capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (2, (
        'error: a process may use 800000 kB of address space, and MXNet alone needs 1400000 kB: '
        'raise the limit, for example with ulimit -v unlimited\n'))


@pytest.mark.process
def test_the_smallest_address_space(tiny_bert, sst, tmp_path):
    """With as much as the check asks for, a small model is trained."""
    process = subprocess.run(
        ['bash', '-c', 'ulimit -v %d; exec "$@"' % (MIN_ADDRESS_SPACE // 1024), 'bash',
         sys.executable, str(PACKAGE / 'finetune_classifier.py'), '--bert_checkpoint', tiny_bert,
         '--task_name', 'SST', '--data_dir', sst, '--max_len', '24', '--epochs', '1', '--threads',
         '2', '--output_dir', str(tmp_path / 'run')], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert (tmp_path / 'run' / 'results.json').exists()


# predict.py

def test_predict_without_a_model(call, in_tmp):
    (in_tmp / 'empty').mkdir()
    assert call(predict, '--model_dir', 'empty', 'text').error == (
        'error: --model_dir empty: no checkpoint in this folder: name the folder of a run of '
        'finetune_classifier.py or finetune_ner.py, or of a transformers model of this kind')
    assert call(predict, '--model_dir', 'nowhere', 'text').error.startswith(
        'error: nowhere: no such file or folder here; as a model of the hub it is not in the cache')
