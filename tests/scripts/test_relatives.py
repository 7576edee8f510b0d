"""BERT's relatives in the commands: trained and resumed, as INT8, exported, at all positions."""
import os
import pathlib
import signal

import numpy as np
import pytest
from support import tiny, tiny_relatives
from support.cross_encoders import write_sts
from support.small_squad import QUICK, write_files

import bert
from bert import (
    answer,
    convert_checkpoint,
    deploy,
    finetune_classifier,
    finetune_ner,
    finetune_squad,
    predict,
    quantize,
)
from bert.data.ner.windows import tokenize_words
from bert.export import export, to_onnx
from bert.jobs import finetune_classifier as train_classifier
from bert.train.trainer import Trainer

TEXTS = ['the film was so good .', 'bad', 'plot and scene was awful']
PAIRS = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1]))
QUESTIONS = [('so was it', 'the film was good .'), ('the film was', 'awful actor and scene .')]


def main_families(main, others):
    """The parameters of a test: `main` always, `others` where the tests are exhaustive."""
    return [*main, *(pytest.param(*values, marks=pytest.mark.exhaustive) for values in others)]


def numbers(model, task):
    """All that a pipeline gives for texts of its kind, as one array."""
    if task == 'embedding':
        return model(TEXTS)
    if task == 'question_answering':
        return np.array([(item.probability, item.start) for question, text in QUESTIONS
                         for item in model(question, text).answers])
    if task == 'token_classification':
        sequences = tokenize_words(model.tokenizer, [text.split() for text in TEXTS])
        return np.concatenate(model.compute_logits(sequences, batch_size=2))
    if task == 'ranking':
        return np.array([record.score for record in model(PAIRS)])
    return np.array([list(record.probabilities.values()) for record in model(TEXTS)])


# Training


STEPS = ('--threads', 1, '--log_interval', 1, '--lr', 1e-3)
TASKS = {'classification': finetune_classifier, 'ranking': finetune_classifier,
         'question_answering': finetune_squad, 'token_classification': finetune_ner}


def task_flags(task, folder):
    """The flags of a run on a task, whose files this writes into a folder."""
    if task == 'question_answering':
        return [*write_files(folder), *QUICK]
    if task == 'token_classification':
        data = pathlib.Path(tiny.write_ner(folder / 'ner'))
        return ['--train_file', data / 'train.conll', '--dev_file', data / 'dev.conll',
                '--max_len', 24, '--epochs', 1, '--batch_size', 16, *STEPS]
    if task == 'ranking':
        return ['--ranking', '--task_name', 'STS-B', '--data_dir', write_sts(folder), '--max_len',
                24, '--epochs', 1, '--batch_size', 8, *STEPS]
    return ['--task_name', 'SST', '--data_dir', tiny.write_sst(folder / 'SST'), '--max_len', 24,
            '--epochs', 1, '--batch_size', 16, *STEPS]


MAIN = [('distilbert', 'classification'), ('electra', 'question_answering'),
        ('ernie', 'token_classification'), ('electra', 'ranking')]


@pytest.mark.parametrize('family, task', main_families(MAIN, [
    (family, task) for family in ('distilbert', 'electra', 'ernie') for task in TASKS
    if (family, task) not in MAIN]))
def test_a_run_is_interrupted_resumed_and_opened_again(call, in_tmp, monkeypatch, family, task):
    model = tiny_relatives.write_relative(in_tmp / 'model', family)
    flags = [*task_flags(task, in_tmp), '--bert_checkpoint', model]
    script = TASKS[task]
    outcome = call(script, *flags, '--output_dir', 'whole')
    assert outcome.code == 0, outcome.err

    def interrupt(trainer, step):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return learning_rate(trainer, step)
    learning_rate = Trainer.learning_rate
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, 'learning_rate', interrupt)
        assert call(script, *flags, '--output_dir', 'run').code == 130
    assert not os.path.exists('run/results.json')
    outcome = call(script, '--resume', '--output_dir', 'run')
    assert outcome.code == 0 and 'resumed from run' in outcome.err, outcome.err
    model = bert.open('run')
    assert (model.config.family, len(numbers(model, task)) > 0) == (family, True)
    np.testing.assert_array_equal(numbers(model, task), numbers(bert.open('whole'), task))
    assert call(convert_checkpoint, 'run', 'hf').code == 0
    np.testing.assert_allclose(numbers(bert.open('hf'), task), numbers(model, task), atol=1e-5)


# INT8


@pytest.mark.parametrize('family, mode', main_families(
    [('roberta', 'naive'), ('electra', 'naive'), ('distilbert', 'fused'), ('electra', 'fused')],
    [('distilbert', 'naive'), ('ernie', 'naive'), ('roberta', 'fused'), ('ernie', 'fused')]))
def test_int8(call, kernels, in_tmp, sst, family, mode):
    narrow = {'embedding_size': 32} if family == 'electra' else {}
    model = tiny_relatives.write_relative(in_tmp / 'model', family, units=64, hidden_size=96,
                                          **narrow)
    train_classifier(bert_checkpoint=model, task_name='SST', data_dir=sst, max_len=24, epochs=1,
                     output_dir='run')
    outcome = call(quantize, '--model_dir', 'run', '--data_dir', sst, '--calib_mode', mode,
                   '--output_dir', 'int8')
    assert outcome.code == 0, outcome.err
    expected = numbers(bert.open('run'), 'classification')
    found = numbers(bert.open('int8'), 'classification')
    assert np.abs(found - expected).max() > 1e-6
    np.testing.assert_allclose(found, expected, atol=0.06)


# Exports


HEADS = {'embedding': ('Model', None), 'question_answering': ('ForQuestionAnswering', None),
         'token_classification': ('ForTokenClassification', tiny_relatives.TAGS),
         'ranking': ('ForSequenceClassification', ('LABEL_0',))}
MAIN_EXPORTS = [('distilbert', 'question_answering'), ('distilbert', 'token_classification'),
                ('electra', 'embedding'), ('electra', 'ranking')]
EXPORTS = {'symbol': export, 'onnx': to_onnx}


@pytest.mark.parametrize('form', EXPORTS)
@pytest.mark.parametrize('family, task', main_families(MAIN_EXPORTS, [
    (family, task) for family in ('distilbert', 'electra') for task in HEADS
    if (family, task) not in MAIN_EXPORTS]))
def test_exports(call, new_process, in_tmp, family, task, form):
    head, labels = HEADS[task]
    model = tiny_relatives.write_relative(in_tmp / 'model', family, head, labels)
    keywords = {'task': 'ranking'} if task == 'ranking' else {}
    outcome = call(EXPORTS[form], '--model_dir', model, '--task', task, '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    expected = numbers(bert.open(model, **keywords), task)
    assert len(expected)
    np.testing.assert_allclose(numbers(bert.open('out'), task), expected, atol=1e-4)
    if task != 'embedding':
        texts = {'question_answering': QUESTIONS[0],
                 'ranking': ('--query', *TEXTS)}.get(task, TEXTS)
        script = answer if task == 'question_answering' else predict
        expected = call(script, '--model_dir', model, *texts)
        outcome = call(deploy, '--model_dir', 'out', *texts)
        assert outcome.code == expected.code == 0, outcome.err + expected.err
        assert outcome.out == expected.out


@pytest.mark.parametrize('family', ['roberta', 'distilbert'])
def test_onnx_of_masks(call, new_process, in_tmp, family):
    model = tiny_relatives.write_relative(in_tmp / 'model', family, 'ForMaskedLM')
    outcome = call(to_onnx, '--model_dir', model, '--task', 'fill_mask', '--output_dir', 'out')
    assert outcome.code == 0, outcome.err
    mask = '<mask>' if family == 'roberta' else '[MASK]'
    texts = ['the film was ' + mask, '%s plot %s' % (mask, mask)]
    filled, expected = (bert.open(path, **keywords)(texts) for path, keywords in (
        ('out', {}), (model, {'task': 'fill_mask'})))
    for words, others in zip((filled[0], *filled[1]), (expected[0], *expected[1]), strict=True):
        assert [word.token for word in words] == [word.token for word in others]
        np.testing.assert_allclose([word.score for word in words],
                                   [word.score for word in others], atol=1e-5)


# Positions


def test_a_table_of_514_rows_holds_512_tokens(call, in_tmp, sst):
    model = tiny_relatives.write_relative(in_tmp / 'model', 'roberta', max_length=512)
    flags = ('--bert_checkpoint', model, '--task_name', 'SST', '--data_dir', sst, '--epochs', 1,
             '--max_train_samples', 4, '--max_eval_samples', 4, '--batch_size', 4)
    outcome = call(finetune_classifier, *flags, '--max_len', 513)
    assert outcome.code == 2
    assert '--max_len 513' in outcome.error and '512 positions' in outcome.error
    assert call(finetune_classifier, *flags, '--max_len', 512, '--output_dir', 'x').code == 0


@pytest.mark.parametrize('family', ['roberta', 'distilbert', 'electra', 'ernie'])
def test_a_text_of_all_positions_and_one_more(in_tmp, family):
    """The last token of 40 counts, and one more is cut off."""
    model = bert.open(tiny_relatives.write_relative(in_tmp / 'model', family,
                                                    'ForSequenceClassification', ('a', 'b')))
    words = 'good fine bad film ' * 10
    full, changed, longer = (numbers_of(model, ' '.join(text)) for text in (
        words.split()[:38], [*words.split()[:37], 'awful'], words.split()[:39]))
    assert np.abs(full - changed).max() > 1e-6
    np.testing.assert_array_equal(full, longer)


def numbers_of(model, text):
    record, = model([text])
    return np.array(list(record.probabilities.values()))
