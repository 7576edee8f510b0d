"""What inference.py and tuning.py make of times, logits and scores."""
import pytest

from benchmarks import harness
from benchmarks.inference import exported_models
from benchmarks.inference import tuning as inference_tuning
from benchmarks.kernels import product_limit, training_step, where_time_goes


def _answers(seconds, logits):
    return [{'seconds': one, 'logits': logits} for one in seconds]


def test_ways_are_compared_round_by_round(capsys):
    assert exported_models.shape('1x16') == {'size': 1, 'length': 16, 'mean': None, 'repeats': 256}
    assert exported_models.shape('64x128')['repeats'] == 3
    found = exported_models.summarize('2x128', {
        'network': _answers([4, 8, 4], [[1, 2]]), 'int8': _answers([2, 2, 1], [[1.5, 1]])})
    assert found['network']['milliseconds'] == {'median': 4000, 'min': 4000, 'max': 8000}
    assert found['network']['times_stock_float32'] == {'median': 1, 'min': 1, 'max': 1}
    assert found['int8']['examples_per_second'] == {'median': 1, 'min': 1, 'max': 2}
    assert found['int8']['times_stock_float32'] == {'median': 4, 'min': 2, 'max': 4}
    assert (found['network']['difference'], found['int8']['difference']) == (0, 1)
    exported_models.show({'2x128': found})
    row = capsys.readouterr().out.splitlines()[3]
    assert row.split() == ['int8', '2000.0', '1.0', '1.0e+00', '4.00', '(2.00–4.00)']


def test_shares_of_the_limit(capsys):
    config = exported_models.config_of('base')
    # BERT base: 85 million weights in its layers, each multiplied and added once a token
    assert product_limit.operations(config, [1]) == 2 * 84934656 + 12 * 4 * 768
    # the last layer has queries, and all behind its attention, of 2 of 60 tokens
    whole = 60 * 2 * 84934656 + 12 * 4 * 768 * (50 ** 2 + 10 ** 2)
    assert product_limit.operations(config, [50, 10]) == (
        whole - 58 * 2 * 10 * 768 ** 2 - 4 * 768 * (50 * 49 + 10 * 9))
    found = exported_models.summarize('2x128', {'fused-int8': _answers([0.5, 1], [[0]])},
                                [{'int8': 100, 'float32': 1}, {'int8': 200, 'float32': 1}], config)
    needed = product_limit.operations(config, [128, 128]) / 1e9
    assert found['fused-int8']['share_of_limit'] == pytest.approx(
        {'median': (needed / 50 + needed / 200) / 2, 'min': needed / 200, 'max': needed / 50})
    exported_models.show({'2x128': found})
    assert '%.0f' % (100 * (needed / 50 + needed / 200) / 2) in capsys.readouterr().out


def test_training_steps(capsys):
    args = training_step.make_parser().parse_args(['--model', 'minilm', '--batch_size', '4',
                                          '--length', '9'])
    found = training_step.summarize(args, {
        contender: [{'seconds': seconds, 'bytes': 5}, {'seconds': 2 * seconds, 'bytes': 6}]
        for contender, seconds in zip(training_step.CONTENDERS, (1, 2, 8, 4))},
        [{'float32': 100, 'bfloat16': 200}] * 2)
    needed = 3 * product_limit.operations(training_step.config_of('minilm'), [9] * 4) / 1e9
    assert found['ours bfloat16']['share_of_limit'] == pytest.approx(
        {'median': needed * 0.75 / 200, 'min': needed / 400, 'max': needed / 200})
    assert found['transformers bfloat16']['ours_over_it'] == {'median': 4, 'min': 4, 'max': 4}
    assert 'share_of_limit' not in found['transformers bfloat16']
    assert found['ours float32']['bytes'] == 6
    assert found['ours float32']['examples_per_second'] == {'median': 1.5, 'min': 1, 'max': 2}
    training_step.show(found)
    assert capsys.readouterr().out.splitlines()[-2].split()[:4] == [
        'transformers', 'bfloat16', '6.00', '0.75']


def test_where_time_goes():
    """Lines of `perf script`, in which each look at a thread is one."""
    name = 'bert::compute_tile<bert::Bfloat16, bert::multiply<bert::Bfloat16, bert::%s>>'
    lines = ['    7f47 %s (%s)' % line for line in (
        ('bert::multiply_tile<bert::Bfloat16, 8, 3>', '/x/kernels/avx512_bf16.so'),
        ('bert::multiply_tile<bert::Bfloat16, 1, 2>', '/x/kernels/avx512_bf16.so'),
        (name % 'Attention<bert::Bfloat16>::score(int)', '/x/kernels/avx512_bf16.so'),
        (name % 'BackwardPass<bert::Bfloat16>::multiply_hidden(int)', '/x/kernels/avx512_bf16.so'),
        ('bert::ForwardPass<bert::Bfloat16, bert::PackedWeights<bert::Bfloat16> >::go_on', '/y.so'),
        ('bert::pack<bert::Bfloat16, bert::PackedWeights<bert::Bfloat16>::x>', '/y.so'),
        ('bert::for_all<bert::update(bert::Adam const&)>', '/y.so'),
        ('[unknown]', '/x/kernels/avx2.so'), ('mxnet::NDArray::NDArray', '/x/libmxnet.so'),
        ('_PyEval_EvalFrameDefault', '/usr/lib/libpython3.11.so.1.0'),
        ('[unknown]', '/usr/lib/libgomp.so.1.0.0'), ('clear_page_erms', '[kernel.kallsyms]'))]
    shares = where_time_goes.count(lines + ['', 'x'], threads=2,
                                   seconds=12 / where_time_goes.FREQUENCY)
    assert {part: round(24 * share) for part, share in shares.items()} == {
        'products': 2, 'packing': 1, 'attention': 1, 'element-wise': 3, 'optimizer': 1, 'MXNet': 1,
        'Python': 1, 'waiting awake': 1, 'system and others': 1, 'waiting': 12}


def test_mixed_lengths():
    lengths = exported_models.lengths_of('32x53of128')
    assert len(lengths) == 32 and lengths.max() == 128 and 45 < lengths.mean() < 61
    assert exported_models.shape('32x53of128')['mean'] == 53
    tokens, _, found = harness.random_batch(32, 128, mean=53)
    assert (tokens != 0).sum() == found.sum() == lengths.sum()


def test_without_the_stock_network_nothing_is_compared(capsys):
    found = exported_models.summarize('1x16', {'int8': _answers([2], [[0]])})
    assert set(found['int8']) == {'milliseconds', 'examples_per_second'}
    exported_models.show({'1x16': found})
    assert capsys.readouterr().out.splitlines()[2].split() == ['int8', '2000.0', '0.5']


def test_tuned_networks_are_timed_against_the_float_one(capsys):
    searches = {'ours': {'reached': True, 'seconds': 12, 'scores': [0.9, 0.89]},
                'peer': {'reached': False, 'seconds': 5, 'scores': [0.9, 0.8, 0.7]}}
    found = {'report': {'float': 0.91, 'ours': 0.88}, 'examples': 50,
             'seconds': {'1x128': {'float': [4, 6], 'ours': [2, 2]}}}
    sides = inference_tuning.summarize(searches, found)
    assert sides['ours']['report'] == 0.88 and sides['peer']['report'] is None
    assert sides['ours']['times_float']['1x128'] == pytest.approx(
        {'median': 2.5, 'min': 2, 'max': 3})
    assert sides['peer']['times_float'] == {}
    inference_tuning.show(sides, found)
    assert capsys.readouterr().out.splitlines() == [
        'float: 0.9000 to search on, 0.9100 on 50 examples to report',
        'ours: goal reached in 1 trials and 12 s; on the report\'s 0.8800',
        '    1x128: 2.50 (2.00–3.00) times float',
        'peer: goal missed in 2 trials and 5 s']
