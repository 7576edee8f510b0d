"""finetune_classifier.py --only_inference on a run: its head and its classes count."""
import json
import pathlib

import pytest
from support import tiny
from support.small_squad import read_json

from bert import finetune_classifier, jobs

FLAGS = '--text_columns', 'review', '--label_column', 'mood'


@pytest.fixture(scope='module')
def run(tmp_path_factory, tiny_bert):
    """A run on files of three classes, beside its dev.tsv."""
    folder = tmp_path_factory.mktemp('moods')
    for name, seed in (('train', 1), ('dev', 2)):
        tiny.write_tsv(folder / (name + '.tsv'), ('review', 'mood'), [
            (text, ('sad', 'glad', 'mad')[(label + i) % 3])
            for i, (text, label) in enumerate(tiny.sentences(24, seed))])
    return jobs.finetune_classifier(
        train_file=str(folder / 'train.tsv'), dev_file=str(folder / 'dev.tsv'),
        text_columns='review', label_column='mood', bert_checkpoint=tiny_bert, max_len=24, epochs=1,
        output_dir=str(folder / 'run')).folder


@pytest.fixture
def evaluate(call, run, in_tmp):
    """evaluate(dev file, *flags) → (Outcome, metrics of dev, or None)"""
    def evaluate(path, *flags):
        outcome = call(finetune_classifier, '--only_inference', '--dev_file', path, '--max_len', 24,
                       *FLAGS, *flags, '--output_dir', 'scores', '--overwrite_output_dir')
        results = in_tmp / 'scores' / 'results.json'
        return outcome, read_json(results)['metrics']['dev'] if results.exists() else None
    return evaluate


@pytest.mark.parametrize('flags', [('--bert_checkpoint', '{run}'),
                                   ('--bert_checkpoint', '{run}', '--model_parameters', '{run}'),
                                   ('--bert_checkpoint', '{run}/{best}', '--model_parameters',
                                    '{run}/{best}/model.params')])
def test_the_scores_are_those_of_the_run(evaluate, run, flags):
    best = read_json(pathlib.Path(run, 'checkpoints.json'))['best']
    outcome, metrics = evaluate(run + '/../dev.tsv',
                                *[flag.format(run=run, best=best) for flag in flags])
    assert outcome.code == 0, outcome.err
    assert metrics == read_json(pathlib.Path(run, 'results.json'))['metrics']['dev']
    assert 'untrained' not in outcome.err


def test_a_file_without_one_of_the_classes_is_scored(evaluate, run, in_tmp):
    rows = [line for line in open(run + '/../dev.tsv') if not line.endswith('\tmad\n')]
    (in_tmp / 'few.tsv').write_text(''.join(rows))
    outcome, metrics = evaluate('few.tsv', '--bert_checkpoint', run)
    assert outcome.code == 0, outcome.err
    model = jobs.predict_labels(model_dir=run, file='few.tsv', text_columns='review',
                                format='jsonl', output='out.jsonl')
    assert model.report['texts'] == len(rows) - 1
    labels = [json.loads(line)['label'] for line in open('out.jsonl')]
    right = [line.endswith('\t%s\n' % label) for line, label in zip(rows[1:], labels)]
    assert metrics['accuracy'] == pytest.approx(sum(right) / len(right))


def test_a_converted_run_has_its_head_too(evaluate, run, in_tmp):
    jobs.convert_checkpoint(input=run, output='converted')
    outcome, metrics = evaluate(run + '/../dev.tsv', '--bert_checkpoint', 'converted')
    assert outcome.code == 0, outcome.err
    assert metrics == read_json(pathlib.Path(run, 'results.json'))['metrics']['dev']


def test_classes_in_another_order(evaluate, run):
    outcome, metrics = evaluate(run + '/../dev.tsv', '--bert_checkpoint', run, '--classes',
                                'sad,glad,mad')
    assert metrics is None
    assert outcome.error == ('error: --classes sad,glad,mad: the trained model has glad,mad,sad: '
                             'expected these, in this order')


def test_a_class_that_the_model_lacks(evaluate, run, in_tmp):
    (in_tmp / 'other.tsv').write_text('review\tmood\nso good\tglad\nbad plot\tzany\n')
    outcome, metrics = evaluate('other.tsv', '--bert_checkpoint', run)
    assert metrics is None
    assert outcome.error == (
        'error: other.tsv:3: label "zany": expected one of glad, mad, sad')
