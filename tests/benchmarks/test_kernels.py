"""The comparisons of the kernels: training steps, limits, and shares of the time."""
import pathlib
import re

import pytest

from benchmarks.inference.ours import config_of
from benchmarks.kernels import product_limit, training_step, where_time_goes
from bert.model.kernels import targets


def test_operations_of_a_forward_pass():
    config = config_of('base')
    # BERT base: 85 million weights in its layers, each multiplied and added once a token
    assert product_limit.count_operations(config, [1]) == 2 * 84934656 + 12 * 4 * 768
    # the last layer computes queries, and all that follows its attention, for 2 of 60 tokens
    all_tokens = 60 * 2 * 84934656 + 12 * 4 * 768 * (50 ** 2 + 10 ** 2)
    assert product_limit.count_operations(config, [50, 10]) == (
        all_tokens - 58 * 2 * 10 * 768 ** 2 - 4 * 768 * (50 * 49 + 10 * 9))


def test_a_share_needs_a_limit_of_every_round():
    limits = [{'float32': 100}, {'float32': 50, 'int8': 200}]
    assert product_limit.share_of_limit(1e11, [2, 4], limits, 'float32') == {
        'median': 0.5, 'min': 0.5, 'max': 0.5}
    assert product_limit.share_of_limit(1e11, [2, 4], limits, 'int8') is None
    assert product_limit.share_of_limit(1e11, [2, 4], (), 'float32') is None


def test_training_steps(capsys):
    args = training_step.make_parser().parse_args(['--model', 'minilm', '--batch_size', '4',
                                                   '--length', '9'])
    summary = training_step.summarize(args, {
        contender: [{'seconds': seconds, 'bytes': 5}, {'seconds': 2 * seconds, 'bytes': 6}]
        for contender, seconds in zip(training_step.CONTENDERS, (1, 2, 8, 4))},
        [{'float32': 100, 'bfloat16': 200}] * 2)
    expected = 3 * product_limit.count_operations(config_of('minilm'), [9] * 4) / 1e9
    assert summary['ours bfloat16']['share_of_limit'] == pytest.approx(
        {'median': expected * 0.75 / 200, 'min': expected / 400, 'max': expected / 200})
    assert summary['transformers bfloat16']['ours_over_it'] == {'median': 4, 'min': 4, 'max': 4}
    assert 'share_of_limit' not in summary['transformers bfloat16']
    assert summary['ours float32']['bytes'] == 6
    assert summary['ours float32']['examples_per_second'] == {'median': 1.5, 'min': 1, 'max': 2}
    training_step.print_table(summary)
    assert capsys.readouterr().out.splitlines()[-2].split()[:4] == [
        'transformers', 'bfloat16', '6.00', '0.75']


def test_the_patterns_name_functions_of_the_kernels():
    """A function that is renamed in the C++ would be counted as another part."""
    source = '\n'.join(path.read_text(encoding='utf-8')
                       for path in pathlib.Path(targets.SOURCE_FOLDER).iterdir())
    for _, pattern in where_time_goes.FUNCTIONS:
        for name in re.findall(r'[A-Za-z_]\w{3,}', pattern.replace('\\b', ' ')):
            assert name in source


def test_where_time_goes():
    """`perf script` prints one line for each sample of a thread."""
    name = 'bert::compute_tile<bert::Bfloat16, bert::multiply<bert::Bfloat16, bert::%s>>'
    lines = ['    7f47 %s (%s)' % line for line in (
        ('bert::micro_kernel<bert::Bfloat16, 8, 3>', '/x/kernels/avx512_bf16.so'),
        ('bert::micro_kernel<bert::Bfloat16, 1, 2>', '/x/kernels/avx512_bf16.so'),
        (name % 'Attention<bert::Bfloat16>::compute_scores(int)', '/x/kernels/avx512_bf16.so'),
        (name % 'BackwardPass<bert::Bfloat16>::backward_hidden(int)', '/x/kernels/avx512_bf16.so'),
        ('bert::ForwardPass<bert::Bfloat16, bert::PackedWeights<bert::Bfloat16> >::compute_output',
         '/y.so'),
        ('bert::pack_b<bert::Bfloat16, bert::PackedWeights<bert::Bfloat16>::x>', '/y.so'),
        ('bert::for_all<bert::update(bert::Adam const&)>', '/y.so'),
        ('[unknown]', '/x/kernels/avx2.so'), ('mxnet::NDArray::NDArray', '/x/libmxnet.so'),
        ('_PyEval_EvalFrameDefault', '/usr/lib/libpython3.11.so.1.0'),
        ('[unknown]', '/usr/lib/libgomp.so.1.0.0'), ('clear_page_erms', '[kernel.kallsyms]'))]
    shares = where_time_goes.time_shares(lines + ['', 'x'], threads=2,
                                         seconds=12 / where_time_goes.FREQUENCY)
    assert {part: round(24 * share) for part, share in shares.items()} == {
        'products': 2, 'packing': 1, 'attention': 1, 'element-wise': 3, 'optimizer': 1, 'MXNet': 1,
        'Python': 1, 'waiting awake': 1, 'system and others': 1, 'waiting': 12}
