"""Jobs from Python: keywords and options objects, results, errors, and the depth of the calls."""
import concurrent.futures
import importlib
import inspect
import json
import logging
import random
import sys

import mxnet as mx
import numpy as np
import pytest
from support import tiny

from bert import jobs
from bert.errors import UserError
from bert.flags.finetuning import FinetuneClassifierOptions, FinetuneSquadOptions
from bert.flags.options import parse
from bert.jobs.runs.results import JobResult
from bert.train.step import Stepper

MAX_FRAMES = 7      # of ours, from a script's `main` to `loss.backward()`
SCRIPT_JOBS = {
    'answer': 'predict_answers', 'convert_checkpoint': 'convert_checkpoint',
    'create_pretraining_data': 'create_pretraining_data', 'deploy': 'deploy',
    'embedding': 'embed', 'export.export': 'export_symbol',
    'export.to_onnx': 'export_onnx', 'finetune_classifier': 'finetune_classifier',
    'finetune_ner': 'finetune_ner', 'finetune_squad': 'finetune_squad',
    'predict': 'predict_labels', 'quantize': 'quantize',
    'run_glue_tune': 'run_glue', 'run_pretraining': 'pretrain', 'run_pretraining_hvd': 'pretrain',
    'run_squad_tune': 'run_squad', 'static_export_squad': 'export_static_squad',
    'static_finetune_squad': 'finetune_static_squad'}


@pytest.fixture(autouse=True)
def quiet_log():
    """Jobs replace the handlers of the root logger; this test session keeps its own."""
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


@pytest.fixture(scope='module')
def keywords(tmp_path_factory):
    """Keywords of a small training."""
    folder = tmp_path_factory.mktemp('jobs')
    return dict(bert_checkpoint=tiny.write_checkpoint(folder / 'bert'), task_name='SST',
                data_dir=tiny.write_sst(folder / 'SST'), max_len=12, epochs=1, lr=1e-3, threads=1)


@pytest.fixture(scope='module')
def run(keywords, tmp_path_factory):
    return jobs.finetune_classifier(output_dir=tmp_path_factory.mktemp('run') / 'run', **keywords)


@pytest.mark.parametrize('script, job', SCRIPT_JOBS.items())
def test_every_script_has_its_function(script, job):
    module = importlib.import_module('bert.' + script)
    assert isinstance(getattr(jobs, job), jobs.Job)
    if script != 'run_pretraining_hvd':     # the same job with other options
        assert module.OPTIONS is getattr(jobs, job).options_class
    assert '.py' in module.OPTIONS.__doc__
    assert repr(getattr(jobs, job)) == '<job %s>' % job
    assert set(inspect.signature(getattr(jobs, job)).parameters) == \
        set(getattr(jobs, job).options_class.__dataclass_fields__)
    # evaluate-v2.0.py has a name that can't be imported
    assert jobs.evaluate_predictions.options_class.__doc__ == 'evaluate-v2.0.py'


def test_a_run(run):
    assert isinstance(run, JobResult) and run.exit_status == 0
    with open(run.folder + '/results.json', encoding='utf-8') as file:
        report = json.load(file)
    assert run.report == report
    assert run.metrics == report['metrics'] and set(run.metrics) == {'dev'}
    assert run.report['options']['max_len'] == 12
    assert FinetuneClassifierOptions(output_dir=run.folder).replace(
        **{key: tuple(value) if isinstance(value, list) else value
           for key, value in report['options'].items()}).as_dict().keys() == \
        report['options'].keys()


def test_an_options_object_is_accepted(run, keywords, tmp_path):
    options = FinetuneClassifierOptions(output_dir=str(tmp_path / 'run'), **keywords)
    assert jobs.finetune_classifier(options).metrics == run.metrics
    for arguments, more in (((options,), {'epochs': 2}), (('SST',), {}), (({},), {}),
                            ((FinetuneSquadOptions(),), {})):
        with pytest.raises(TypeError, match='^finetune_classifier: give keywords, or an object of '
                                            'FinetuneClassifierOptions$'):
            jobs.finetune_classifier(*arguments, **more)


def test_the_command_line_gives_the_same(run, keywords, tmp_path):
    arguments = ['--output_dir', str(tmp_path / 'run')]
    for name, value in keywords.items():
        arguments += ['--' + name, str(value)]
    options, explicit = parse(FinetuneClassifierOptions, '', arguments)
    assert jobs.finetune_classifier(options, explicit).metrics == run.metrics


def test_a_run_is_resumed_and_refused(run, keywords):
    with pytest.raises(UserError, match='holds a run: choose another --output_dir'):
        jobs.finetune_classifier(output_dir=run.folder, **keywords)
    with pytest.raises(UserError) as error:
        jobs.finetune_classifier(output_dir=run.folder, resume=True, epochs=5)
    assert str(error.value) == ('--epochs 5: the run in %s was started with 1; leave the flag out, '
                                'or start another run' % run.folder)
    assert jobs.finetune_classifier(output_dir=run.folder, resume=True).metrics == run.metrics


@pytest.mark.parametrize('wrong, problem', [
    ({'epoch': 1}, 'unknown argument --epoch. Did you mean "--epochs"?'),
    ({'learning_rate': 1}, '--learning_rate is called --lr here'),
    ({'epochs': 0}, 'argument --epochs: 0 found, expected a whole number from 1 on'),
    ({'threads': 77}, '--threads 77: MXNet already computes with 1 threads in this process: give '
                      'the number at the first use of bert, or set OMP_NUM_THREADS'),
    ({'resume': True, 'overwrite_output_dir': True},
     '--resume and --overwrite_output_dir: give one of the two'),
    ({'only_calibration': True}, '--only_calibration: no trained model found: give a run of '
     'finetune_classifier.py as --bert_checkpoint, or use quantize.py --model_dir'),
    ({'classes': ['a', 'b']}, '--classes is for files of your own: give --train_file and '
                              '--dev_file')])
def test_mistakes_have_the_line_of_the_script(wrong, problem, keywords, tmp_path):
    with pytest.raises(UserError) as error:
        jobs.finetune_classifier(output_dir=tmp_path / 'run', **dict(keywords, **wrong))
    assert str(error.value) == problem
    assert not (tmp_path / 'run').exists()


def test_jobs_that_predict(run, tmp_path, capsys):
    result = jobs.predict_labels(model_dir=run.folder, texts=['good film', 'bad'],
                                 output=tmp_path / 'labels.tsv')
    assert result.report == {'texts': 2} and result.folder is None
    assert len((tmp_path / 'labels.tsv').read_text().splitlines()) == 3
    vectors = jobs.embed(sentences=['good film'], granularity='sentence',
                         bert_checkpoint=run.folder)
    assert vectors.report == {'texts': 1}
    assert capsys.readouterr().out.startswith('Text: good film\nSentence embedding: array(')


def test_a_job_leaves_the_log_as_it_was(run, tmp_path):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    jobs.predict_labels(model_dir=run.folder, texts=['good'], output=tmp_path / 'labels.tsv')
    with pytest.raises(UserError):
        jobs.embed(query=['good'], index='nowhere.npy')     # opens a log, and fails
    assert root.handlers == handlers and root.level == level


def test_a_job_leaves_the_random_numbers_as_they_were(run, keywords, tmp_path):
    random.seed(7)
    np.random.seed(7)
    expected = random.random(), np.random.random()
    random.seed(7)
    np.random.seed(7)
    jobs.finetune_classifier(output_dir=tmp_path / 'run', **keywords)
    assert (random.random(), np.random.random()) == expected


def test_the_command_of_a_job(run, keywords):
    assert run.report['command'] == (
        'finetune_classifier.py --bert_checkpoint %s --data_dir %s --epochs 1 --lr 0.001 --max_len '
        '12 --output_dir %s --task_name SST'
        % (keywords['bert_checkpoint'], keywords['data_dir'], run.folder))
    assert repr(run) == 'JobResult(folder=%r, metrics=%r)' % (run.folder, run.metrics)


def test_the_working_folder_and_the_environment(run, tmp_path, monkeypatch):
    monkeypatch.setenv('GLUE_DIR', 'caf\udce9')
    with pytest.raises(UserError, match="^GLUE_DIR, 'caf.udce9': half a surrogate pair, or bytes "):
        jobs.predict_labels(model_dir=run.folder, texts=['a'])
    monkeypatch.delenv('GLUE_DIR')
    for name, problem in (('caf\udce9', 'the working folder, .*: half a surrogate pair'),
                          ('gone', 'the working folder: No such file or directory: change to '
                                   'another')):
        (tmp_path / name).mkdir()
        with monkeypatch.context() as context:
            context.chdir(tmp_path / name)
            (tmp_path / name).rmdir()
            with pytest.raises(UserError, match='^' + problem if name == 'gone' else ''):
                jobs.predict_labels(model_dir=run.folder, texts=['a'])


def test_an_output_never_replaces_its_input(run, tmp_path):
    path = tmp_path / 'texts.txt'
    path.write_text('good film\n')
    with pytest.raises(UserError, match='^--output .*: the output would replace the input file'):
        jobs.predict_labels(model_dir=run.folder, file=path, output=path, overwrite=True)
    assert path.read_text() == 'good film\n'


def test_a_training_outside_the_main_thread(run, keywords, tmp_path):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        result = pool.submit(jobs.finetune_classifier, output_dir=tmp_path / 'run',
                             **keywords).result()
    assert result.metrics == run.metrics


def test_a_search_returns_its_hits(run, tmp_path, capsys):
    (tmp_path / 'texts.txt').write_text('good film\nbad plot\nso so\n')
    embedded = jobs.embed(file=tmp_path / 'texts.txt', output=tmp_path / 'x.npy',
                          granularity='sentence', bert_checkpoint=run.folder)
    assert embedded.report['texts'] == 3
    result = jobs.embed(query=['bad plot'], index=tmp_path / 'x.npy', top_k=2)
    (best, second), = result.report['hits']
    assert (best['row'], best['text']) == (1, 'bad plot') and best['score'] == pytest.approx(1)
    assert second['score'] <= best['score']


def test_frames_from_main_to_backward(keywords, tmp_path, monkeypatch):
    """Counts the functions of ours on the stack where `backward` is called."""
    depths = []
    part_loss = Stepper._part_loss

    def record_depth(self, part, divisors):
        frame, names = sys._getframe(1), []
        while frame and frame.f_code.co_name != 'test_frames_from_main_to_backward':
            if '/bert/' in frame.f_code.co_filename.replace('\\', '/'):
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        depths.append(names)
        return part_loss(self, part, divisors)
    monkeypatch.setattr(Stepper, '_part_loss', record_depth)
    arguments = ['--output_dir', str(tmp_path / 'run')]
    for name, value in keywords.items():
        arguments += ['--' + name, str(value)]
    importlib.import_module('bert.finetune_classifier').main(arguments)
    for names in depths:
        frames = [name for name in names if name not in ('<listcomp>',)]
        assert frames[0] == 'step' and frames[-1] == 'main'
        assert len(frames) <= MAX_FRAMES, frames
    assert mx.autograd.is_recording() is False
