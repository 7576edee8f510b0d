"""curves.png with no, one, three and twenty evaluations."""
import types

import pytest
from matplotlib import image, pyplot

from bert.jobs.runs import curves


def make_state(num_evaluations, best_step):
    return types.SimpleNamespace(
        curve=[{'step': step, 'loss': 1 / step, 'lr': 1e-5 * step} for step in range(1, 41)],
        history=[{'step': 2 * i + 2, 'metrics': {'dev': {'accuracy': 0.5 + i / 50, 'f1': i / 40}}}
                 for i in range(num_evaluations)],
        best_step=best_step)


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn; the function that closes them does nothing."""
    drawn = []
    monkeypatch.setattr(pyplot, 'close', drawn.append)
    return drawn


@pytest.mark.parametrize('number', [1, 3, 20])
def test_the_scores_and_the_best_checkpoint(tmp_path, figures, number):
    best_step = 2 * number
    curves.draw_curves(str(tmp_path / 'curves.png'), make_state(number, best_step), 'MRPC, seed 1')
    losses, scores, rates = figures[0].axes
    assert figures[0].get_suptitle() == 'MRPC, seed 1'
    assert [axes.get_ylabel() for axes in (losses, scores, rates)] == [
        'training loss', 'dev scores', 'learning rate (dotted)']
    assert scores.get_xlabel() == 'optimizer step'
    lines = {line.get_label(): line for line in scores.get_lines()}
    assert set(lines) == {'dev accuracy', 'dev f1', 'best checkpoint'}
    assert list(lines['best checkpoint'].get_xdata()) == [best_step, best_step]
    assert list(lines['dev f1'].get_ydata()) == [i / 40 for i in range(number)]
    texts = [text.get_text() for text in scores.texts]
    assert len(texts) == (2 * number if number <= curves.MAX_VALUES else 0)
    if texts:
        assert texts[0] == '0.5'
    assert image.imread(tmp_path / 'curves.png').shape[:2] == (600, 700)
    assert (tmp_path / 'curves.png').stat().st_size < 100000


def test_without_an_evaluation(tmp_path, figures):
    curves.draw_curves(str(tmp_path / 'curves.png'), make_state(0, None))
    assert [text.get_text() for text in figures[0].axes[1].texts] == ['no evaluation']
