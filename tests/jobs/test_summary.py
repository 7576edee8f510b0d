"""The end of fine-tuning in terminals of other widths, scripts and encodings."""
import io
import os
import sys
import types

import pytest

from bert.jobs.finetuning import summary


@pytest.mark.parametrize('text, width, expected', [
    ('so very good', 40, 'so very good'),
    ('the film was good and the plot was bad', 30, 'the film was good and the …'),
    ('x' * 50, 30, 'x' * 28 + ' …'),                    # one long word
    ('好' * 50, 30, '好' * 14 + ' …'),                   # two columns a character
    ('good', 2, 'good'), ('x' * 50, 2, 'x' * 18 + ' …')])     # a terminal of no width
def test_a_sample_fits_into_the_terminal(text, width, expected, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', io.TextIOWrapper(io.BytesIO(), 'utf-8'))
    assert summary._shorten(text, width) == expected


@pytest.mark.parametrize('stream', [
    io.TextIOWrapper(io.BytesIO(), 'ascii'), types.SimpleNamespace(write=print)])
def test_three_dots_where_the_output_has_no_ellipsis(stream, monkeypatch):
    monkeypatch.setattr(sys, 'stdout', stream)
    assert summary._shorten('x' * 50, 30) == 'x' * 26 + ' ...'


def task(pair, kind='classification'):
    return types.SimpleNamespace(pair=pair, kind=kind)


def test_the_commands_are_those_of_this_installation(tmp_path, monkeypatch):
    options = types.SimpleNamespace(bert_checkpoint=None, bert_model='bert_6_384_12', dev_file=None)
    root = os.path.dirname(os.path.dirname(os.path.abspath(summary.bert.__file__)))
    monkeypatch.chdir(root)
    assert summary._next_commands('a b', task(True), options) == [
        './run predict.py --model_dir \'a b\' "The first text." "The second text."',
        "./run serve.py --model_dir 'a b'",
        './run finetune_classifier.py --train_file train.csv --dev_file dev.csv '
        '--text_columns text,text_2 --label_column label --bert_model bert_6_384_12']
    monkeypatch.chdir(tmp_path)
    assert summary._next_commands('run', task(False), options)[1] == \
        '%s serve.py --model_dir run' % os.path.relpath(os.path.join(root, 'run'))
    monkeypatch.setattr(summary.bert, '__file__', str(tmp_path / 'bert' / '__init__.py'))
    assert summary._next_commands('run', task(False), options)[1] == \
        'python -m bert.serve --model_dir run'


def test_after_own_files_their_model_is_quantized():
    options = types.SimpleNamespace(
        bert_checkpoint='owner/name', train_file='a b.csv', dev_file='dev.csv',
        text_columns=('x', 'y'), label_column=None, label_columns=('c', 'd'), label_separator='|')
    assert summary._next_commands('my run', task(True, 'multi_label'), options)[2].endswith(
        " quantize.py --calib_mode fused --dev_file dev.csv --label_columns c,d --label_separator "
        "'|' --model_dir 'my run' --text_columns x,y --train_file 'a b.csv'")


def test_other_kinds_of_labels_need_other_flags():
    options = types.SimpleNamespace(bert_checkpoint='owner/name', bert_model=None, dev_file=None)
    for kind, number in (('classification', 3), ('regression', 2), ('multi_label', 2)):
        assert len(summary._next_commands('run', task(False, kind), options)) == number
