"""The classifier comparisons: files of examples, scores, speed, and the steps of killed runs."""
import numpy as np
import pytest

from benchmarks import harness
from benchmarks.classifier import kill_and_resume, ours, scores, speed


def test_examples_go_through_a_file(tmp_path):
    examples = [ours.Features(np.arange(n, dtype='int32'), np.zeros(n, dtype='int32'), n,
                              np.float32(n / 2), n) for n in (3, 1, 5)]
    ours.save_features(tmp_path / 'examples.npz', examples)
    loaded = ours.load_features(tmp_path / 'examples.npz')
    assert [example.valid_length for example in loaded] == [3, 1, 5]
    assert [example.label for example in loaded] == [1.5, 0.5, 2.5]
    for before, after in zip(examples, loaded):
        np.testing.assert_array_equal(before.token_ids, after.token_ids)
        np.testing.assert_array_equal(before.segment_ids, after.segment_ids)


def test_the_interval_of_paired_differences_is_scipys(tmp_path):
    from scipy import stats
    our_values, their_values = [0.75, 0.71, 0.78], [0.74, 0.73, 0.72]
    for seed, value in enumerate(our_values, 1):
        harness.write_json(tmp_path / ('seed-%d' % seed) / 'results.json', {'history': [
            {'metrics': {'dev': {'f1': 0.9}}}, {'metrics': {'dev': {'f1': value}}}]})
    histories = {
        'ours': scores.our_histories(tmp_path / 'results.json', [1, 2, 3]),
        'transformers': {seed: [{'f1': value}] for seed, value in enumerate(their_values, 1)}}
    comparison = scores.compare_metric(histories, 'f1', scores.last_value)
    low, high = stats.t.interval(0.95, 2, loc=0.05 / 3,
                                 scale=stats.sem(comparison['differences']))
    assert comparison['values'] == {'ours': our_values, 'transformers': their_values}
    assert comparison['mean'] == pytest.approx(0.05 / 3)
    assert comparison['interval'] == pytest.approx([low, high])
    assert scores.compare_metrics(histories)['f1']['best']['values']['ours'] == [0.9] * 3
    with pytest.raises(SystemExit, match='seed-4'):
        scores.our_histories(tmp_path / 'results.json', [4])


def test_a_round_draws_the_same_examples_for_all():
    first = speed.draw_indices(100, 32, seed=1, round_number=1)
    assert first == speed.draw_indices(100, 32, seed=1, round_number=1)
    assert first != speed.draw_indices(100, 32, seed=1, round_number=2)
    assert len(set(first)) == 32


def test_speed_is_summarized_round_by_round():
    rates = dict(zip(speed.CONTENDERS, (
        [20.0, 40.0, 30.0], [10.0, 10.0, 10.0], [40.0] * 3, [5.0] * 3)))
    summary = speed.summarize(rates)[speed.CONTENDERS[1]]
    assert summary['ours_over_it'] == {'median': 3.0, 'min': 2.0, 'max': 4.0}
    assert summary['examples_per_second']['median'] == 10.0


@pytest.mark.parametrize('run, line, step', [
    ('ClassifierRun', 'INFO:root:10:00:00 [Epoch 2 Batch 3/5] loss=0.6', 8),
    ('ClassifierRun', 'INFO:root:10:00:00 [Batch 3/5] loss=0.6', 0),
    ('HorovodRun', '[0]<stderr>:INFO:root:10:00:00 [step 12]\tmlm_loss=6.1', 12),
    ('PretrainingRun', 'INFO:root:10:00:00 Eval mlm_loss=6.1', 0)])
def test_when_a_run_is_killed(run, line, step):
    run = object.__new__(getattr(kill_and_resume, run))
    assert run.logged_step(line) == step
