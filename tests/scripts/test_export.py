"""export/export.py and export/to_onnx.py: the folder, the comparison, and the errors."""
import os
import shutil

import mxnet as mx
import numpy as np
import pytest
from support import tiny
from support.processes import spawn
from support.small_squad import QUICK, read_json, write_files

from bert import finetune_classifier, finetune_squad
from bert.export import export, to_onnx
from bert.jobs.exporting import serving_folder
from bert.pipelines.exported import open_exported_pipeline
from bert.pipelines.opening import open_pipeline

SYMBOL_FILES = {'%s-symbol.json', '%s-0000.params', 'config.json', 'vocab.txt', 'task.json',
                'options.json', 'results.json', 'hybrid_export_bert.log'}
ONNX_FILES = {'%s.onnx', 'config.json', 'vocab.txt', 'task.json', 'tokenizer_config.json',
              'tokenizer.json', 'options.json', 'results.json', 'hybrid_export_bert.log'}
# {form: (script, its files, tolerance of the outputs)}
SCRIPTS = {'symbol': (export, SYMBOL_FILES, 1e-5), 'onnx': (to_onnx, ONNX_FILES, 1e-4)}


@pytest.fixture(scope='module')
def runs(tmp_path_factory, tiny_bert, sst):
    """A folder with a run for each kind of task."""
    folder = tmp_path_factory.mktemp('runs')
    common = ['--bert_checkpoint', tiny_bert, '--epochs', '1', '--threads', '1']
    pairs = tiny.write_pairs(folder / 'STS-B', ('sentence1', 'sentence2', 'score'),
                             lambda similarity: 5 * similarity)
    finetune_classifier.main(common + ['--task_name', 'SST', '--data_dir', sst, '--max_len', '12',
                                       '--output_dir', str(folder / 'classification')])
    finetune_classifier.main(common + ['--task_name', 'STS-B', '--data_dir', pairs, '--max_len',
                                       '24', '--output_dir', str(folder / 'regression')])
    finetune_squad.main([str(word) for word in write_files(folder) + QUICK] + [
        '--bert_checkpoint', tiny_bert, '--output_dir', str(folder / 'question_answering')])
    return folder


@pytest.mark.parametrize('form', sorted(SCRIPTS))
@pytest.mark.parametrize('kind', ['classification', 'regression', 'question_answering'])
def test_an_exported_folder_is_complete(call, runs, in_tmp, new_process, form, kind):
    script, file_names, tolerance = SCRIPTS[form]
    outcome = call(script, '--model_dir', runs / kind, '--task', kind, '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert set(os.listdir('out')) == {name.replace('%s', kind) for name in file_names}
    report = read_json(in_tmp / 'out' / 'results.json')
    assert report['texts'] == 16 and 0 <= report['largest_difference'] <= tolerance
    model = open_pipeline(str(runs / kind), mx.cpu())
    exported = open_exported_pipeline('out', None, None, mx.cpu(), 1)
    assert (exported.task, exported.max_len) == (model.task, model.max_len)
    batch = serving_folder.sample_text_batch(model)
    outputs, expected = (pipeline.outputs(batch).asnumpy()
                         for pipeline in (exported, model))
    if kind == 'question_answering':
        mask = np.arange(outputs.shape[1]) < batch.valid_length[:, None]
        outputs, expected = outputs[mask], expected[mask]
    np.testing.assert_allclose(outputs, expected, atol=tolerance)


def test_without_output_dir_the_run_gets_the_export(call, runs, in_tmp):
    shutil.copytree(runs / 'classification', 'run')
    assert call(export, '--model_dir', 'run').code == 0
    assert set(os.listdir('run/export')) == {name.replace('%s', 'classification')
                                             for name in SYMBOL_FILES}
    outcome = call(export, '--model_dir', 'run')
    assert outcome.code == 2
    assert 'run/export holds a run: choose another --output_dir' in outcome.error
    assert call(export, '--model_dir', 'run', '--overwrite_output_dir').code == 0
    assert open_pipeline('run', mx.cpu())        # the run itself has not changed
    best = 'run/' + read_json(in_tmp / 'run' / 'checkpoints.json')['best']
    assert call(to_onnx, '--model_dir', 'run').code == 0        # beside the symbol, not over it
    assert set(os.listdir('run/onnx')) == {name.replace('%s', 'classification')
                                           for name in ONNX_FILES}
    for script in (export, to_onnx):
        for folder in ('run', best):
            outcome = call(script, '--model_dir', 'run', '--output_dir', folder)
            assert outcome.error == ('error: --output_dir %s: this is the folder of the model, '
                                     'whose files would be replaced: choose another folder'
                                     % folder)


def test_bare_parameters(call, runs, tiny_bert, in_tmp, caplog):
    """Parameters with config.json and vocabulary beside them, but no names of the classes."""
    best = read_json(runs / 'classification' / 'checkpoints.json')['best']
    (in_tmp / 'bare').mkdir()
    for name in ('model.params', 'config.json', 'vocab.txt'):
        shutil.copy(runs / 'classification' / best / name, in_tmp / 'bare')
    command = ('--task', 'classification', '--model_parameters', 'bare/model.params')
    outcome = call(export, *command, '--output_dir', 'out', '--seq_length', 20)
    assert outcome.code == 0, outcome.err
    assert 'the 2 classes are named by their numbers; set names with --classes' in caplog.text
    task = read_json(in_tmp / 'out' / 'task.json')
    assert (task['labels'], task['max_len'], task['pair']) == (['0', '1'], 20, None)
    assert call(export, *command, '--classes', 'bad,good', '--pair', '--output_dir', 'b').code == 0
    task = read_json(in_tmp / 'b' / 'task.json')
    assert (task['labels'], task['pair']) == (['bad', 'good'], True)
    assert call(export, *command, '--classes', 'a,b,c').error == \
        'error: --classes a,b,c: 3 given, the classifier has 2 outputs'
    # a released model must have the sizes of the config.json beside the parameters
    assert call(export, *command, '--model_name', 'bert_12_768_12').error == (
        'error: --model_name bert_12_768_12: its num_layers is 12, but config.json beside '
        'bare/model.params says 2: leave the flag out')
    assert call(export, *command, '--bert_dataset', 'book_corpus_wiki_en_cased').error.startswith(
        'error: --bert_dataset book_corpus_wiki_en_cased: its vocab_size is 28996, but config.json')


@pytest.mark.parametrize('kind,num_outputs', [('classification', 2), ('regression', 1)])
def test_random_network(call, in_tmp, monkeypatch, tiny_bert, kind, num_outputs, caplog):
    monkeypatch.setattr(serving_folder.zoo, 'get_released_model', _tiny_model)
    outcome = call(export, '--task', kind, '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert 'the network has random weights, so its answers are random' in caplog.text
    exported = open_exported_pipeline('out', None, None, mx.cpu(), 1)
    outputs = exported.network(*(np.ones((3, 5), 'int32'),) * 2, np.full(3, 5.))
    assert outputs.shape == (3, num_outputs)
    assert call(to_onnx, '--task', kind, '--output_dir', 'onnx').code == 0


def test_random_question_answering(call, in_tmp, monkeypatch):
    monkeypatch.setattr(serving_folder.zoo, 'get_released_model', _tiny_model)
    monkeypatch.setattr(serving_folder, 'TASK_DEFAULTS',
                        dict(serving_folder.TASK_DEFAULTS, max_query_length=6, doc_stride=5))
    assert call(export, '--task', 'question_answering', '--output_dir', 'out').code == 0
    assert read_json(in_tmp / 'out' / 'task.json')['max_len'] == 40


def _tiny_model(name, dataset, pretrained, **parts):
    from bert.model.bert import BERTModel
    from bert.vocabulary import make_vocabulary
    assert not pretrained
    return BERTModel(tiny.CONFIG, **parts), make_vocabulary(list(tiny.TOKENS), 'tiny')


def test_refusals(call, runs, tiny_bert, in_tmp):
    def refusal(*arguments, script=export):
        outcome = call(script, *arguments)
        assert outcome.code == 2 and not os.path.exists('output_dir')
        return outcome.error
    run = str(runs / 'classification')
    assert refusal() == ('error: no model found: give --model_dir or --model_parameters, or --task '
                         'for random weights: classification, regression, question_answering')
    assert refusal('--model_dir', run, '--model_parameters', 'x') == \
        'error: --model_dir and --model_parameters: give one of the two'
    assert refusal('--model_dir', run, '--task', 'regression') == (
        'error: task regression: %s/step-0000002/model.params holds a model for classification'
        % run)
    assert 'holds no model for a task; found: encoder. Train a model on it with ' \
        'finetune_classifier.py, finetune_ner.py or finetune_squad.py' in refusal(
            '--model_parameters', tiny_bert)
    assert refusal('--model_dir', run, '--seq_length', 41) == \
        'error: --seq_length 41: this model has 40 positions'
    assert refusal('--model_dir', run, '--seq_length', 2).startswith('error: --seq_length 2 is too')
    for flags in (('--bert_model', 'bert_24_1024_16'), ('--bert_dataset', 'x'), ('--seed', 5)):
        assert refusal('--model_dir', run, *flags) == \
            'error: %s: the model in --model_dir decides this: leave the flag out' % flags[0]
    assert refusal('--task', 'classification', '--classes', 'a') == \
        'error: --classes a: expected two or more different names, for a classifier'
    for length in (41, 15):
        assert refusal('--model_dir', str(runs / 'question_answering'), '--seq_length', length) == \
            'error: --seq_length %d: expected from 16 to 40, the positions of this model' % length
    assert refusal('--model_dir', run, '--pair').endswith(' was trained on single texts')
    squad = str(runs / 'question_answering')
    for flags in (('--classes', 'a,b'), ('--pair',)):
        error = refusal('--model_dir', squad, *flags)
        assert error.startswith('error: %s: %s' % (flags[0], squad))
        assert error.endswith(' holds no text classifier; found: question answering')
    assert refusal('--model_dir', run, '--classes', '1,0') == (
        'error: --classes 1,0: task.json beside the parameters names 0,1: leave the flag out')
    assert refusal('--model_dir', str(runs / 'regression'), '--classes', 'a') == \
        'error: --classes a: expected two or more different names, for a classifier'
    for kind in ('regression', 'question_answering'):
        assert refusal('--task', kind, '--classes', 'a,b') == \
            'error: --classes: it is for --task classification'
    assert refusal('--task', 'question_answering', '--pair') == \
        'error: --pair: questions and passages are always pairs: leave the flag out'
    assert refusal('--model_dir', run, '--gpu', script=to_onnx) == \
        'error: --gpu: ONNX is written and checked on the CPU; leave the flag out'
    assert refusal('--model_dir', run, '--gpu').startswith('error: --gpu 0: no GPU for this MXNet')


def test_parameters_of_another_size(call, runs, tmp_path, in_tmp):
    best = runs / 'classification' / read_json(runs / 'classification' / 'checkpoints.json')['best']
    shutil.copytree(best, 'other')
    config = read_json(in_tmp / 'other' / 'config.json')
    path = in_tmp / 'other' / 'config.json'
    path.write_text(path.read_text().replace('"units": %d' % config['units'], '"units": 16'))
    outcome = call(export, '--model_dir', 'other')
    assert outcome.code == 2 and 'wrong shape: ' in outcome.error
    assert '(8,) in the file, (16,) in the model' in outcome.error


def test_shorter_windows(call, runs, in_tmp):
    assert call(export, '--model_dir', runs / 'question_answering', '--seq_length', 16,
                '--output_dir', 'out').code == 0
    task = read_json(in_tmp / 'out' / 'task.json')
    assert (task['max_len'], task['max_query_length'], task['doc_stride']) == (16, 6, 5)


def test_a_difference_is_an_error(call, runs, in_tmp, monkeypatch):
    monkeypatch.setattr(serving_folder, 'MAX_SYMBOL_DIFFERENCE', -1.0)
    outcome = call(export, '--model_dir', runs / 'classification', '--output_dir', 'out')
    assert outcome.code == 2 and 'the exported network differs by ' in outcome.error
    assert not os.path.exists('out')      # nor files that deploy.py would load


def test_a_process_that_dies_is_an_error(call, runs, in_tmp, new_process, monkeypatch):
    (in_tmp / 'dies.py').write_text('import os\nos.kill(os.getpid(), 9)\n')
    monkeypatch.setattr(serving_folder, 'SYMBOL_WORKER', in_tmp / 'dies.py')
    assert call(export, '--model_dir', runs / 'classification', '--output_dir', 'out').error == (
        'error: classification-symbol.json: a new process could not compute the exported network '
        '(exit status -9): is there enough memory for a second network?')


@pytest.mark.parametrize('script', [export, to_onnx])
def test_another_model_is_not_overwritten(call, runs, tiny_bert, in_tmp, script):
    """A folder of another program keeps its files, unless --overwrite_output_dir is set."""
    shutil.copytree(tiny_bert, 'theirs')
    config = (in_tmp / 'theirs' / 'config.json').read_text()
    command = ('--model_dir', runs / 'classification', '--output_dir', 'theirs')
    assert call(script, *command).error == (
        'error: theirs holds config.json, but no run of export/%s.py: choose another folder, or '
        'replace files with --overwrite_output_dir' % script.__name__.rpartition('.')[2])
    assert (in_tmp / 'theirs' / 'config.json').read_text() == config
    assert not os.path.exists('theirs/options.json')
    assert call(script, *command, '--overwrite_output_dir').code == 0


def test_without_a_runtime_onnx_is_written_unchecked(call, runs, in_tmp, monkeypatch):
    for name in ('onnxruntime', 'openvino'):
        monkeypatch.setitem(serving_folder.sys.modules, name, None)
    outcome = call(to_onnx, '--model_dir', runs / 'classification', '--output_dir', 'out')
    assert outcome.code == 0
    assert 'was checked by onnx, but not run: install onnxruntime or openvino' in outcome.err
    assert 'largest_difference' not in read_json(in_tmp / 'out' / 'results.json')


@pytest.mark.process
def test_as_a_program(runs, in_tmp):
    outcome = spawn('export/export.py', '--model_dir', runs / 'regression', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    assert 'largest difference from the outputs of the network on 16 texts: ' in outcome.err
    assert 'Batch size=1, Throughput=' in outcome.err
