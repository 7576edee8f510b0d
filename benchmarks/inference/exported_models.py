"""Exported models side by side: MXNet in float32 and INT8, ONNX Runtime, OpenVINO, PyTorch.

One network with random weights, for all: ours by MXNet's stock operators, by the predictor that
our commands take without the fused kernels, as an exported symbol, in INT8, and by the fused
kernels in float32, bfloat16 and dynamic INT8; the ONNX file that export/to_onnx.py writes on
ONNX Runtime in float32 and in its dynamic INT8, and on OpenVINO in float32, bfloat16 and INT8
(NNCF's post-training quantization, for transformers); transformers on PyTorch in float32 and
bfloat16. In each round they compute the same batch one after the other, some times each (the median
counts), in a process of its own with the same threads. Random tokens, not padded but where a mean
length is given: the mixed lengths of `32x53of128` are 53 on average. The largest
difference of the logits from stock MXNet's is told for each way; exit status 1 when one in float32
is 1e-4. For the fused kernels it also tells how much of what this CPU's products reach alone
(product_limit.py), in the same round, their products reach.
"""
import contextlib
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import harness
from benchmarks.inference.ours import config_of
from benchmarks.kernels.product_limit import Limit, operations

SHAPES = ('1x16', '1x53', '1x128', '32x128', '32x53of128')
OURS = ('network', 'predictor', 'symbol', 'int8', 'fused', 'fused-bfloat16',
        'fused-int8')
PEERS = ('onnxruntime', 'onnxruntime-int8', 'openvino', 'openvino-bfloat16', 'openvino-int8',
         'torch', 'torch-bfloat16')
LIMITED = {'fused': 'float32', 'fused-bfloat16': 'bfloat16', 'fused-int8': 'int8'}
FLOAT32 = ('predictor', 'symbol', 'fused', 'onnxruntime', 'openvino', 'torch')
TOKENS_A_TURN = 4096    # a small batch is repeated until it has computed about as many
SAME = 1e-4     # largest difference of logits, which are around 0.1


def shape(text):
    size, _, lengths = text.partition('x')
    mean, _, length = lengths.rpartition('of')
    size, length = int(size), int(length)
    return {'size': size, 'length': length, 'mean': int(mean) if mean else None,
            'repeats': max(3, TOKENS_A_TURN // (size * length))}


def make_parser():
    parser = harness.make_parser(__doc__, 'inference.json')
    parser.add_argument('--model', choices=('minilm', 'base'), default='minilm',
                        help='sizes of the network')
    parser.add_argument('--shapes', type=harness.comma_list, default=SHAPES, metavar='A,B,…',
                        help='examples x tokens, or x mean of longest')
    parser.add_argument('--ways', type=harness.comma_list, default=OURS + PEERS, metavar='A,B,…',
                        help='who takes part')
    parser.add_argument('--rounds', type=int, default=9, help='the first two of them are warm-up')
    return parser


def start(stack, args, folder):
    """{way: its worker}; the first of ours writes what the peers read."""
    harness.run('ours', 'benchmarks.inference.ours', '--model', args.model, '--write', folder,
                threads=args.threads)
    return {way: stack.enter_context(
        harness.Worker('ours', 'benchmarks.inference.ours', '--model', args.model, '--way', way,
                       threads=args.threads) if way in OURS else
        harness.Worker('peer-inference', 'benchmarks.inference.peer', '--folder', folder, '--way',
                       way, '--threads', args.threads, threads=args.threads))
        for way in args.ways}


def measure(args, workers, limit, text):
    """({way: [answer in each round]}, [limits in each round]) of one shape."""
    found, limits = {way: [] for way in workers}, []
    for _ in range(args.rounds):
        for way, answers in found.items():
            answers.append(workers[way].ask(**shape(text)))
        limits.append(limit.measure() if limit else {})
    return {way: answers[2:] for way, answers in found.items()}, limits[2:]


def summarize(text, found, limits=(), config=None):
    """{way: what came out for one shape}; limits: of `product_limit`, in each round."""
    size = shape(text)['size']
    seconds = {way: np.array([one['seconds'] for one in answers])
               for way, answers in found.items()}
    result = {}
    for way, values in seconds.items():
        result[way] = {'milliseconds': harness.median_and_range(1e3 * values),
                       'examples_per_second': harness.median_and_range(size / values)}
        if 'network' in seconds:
            result[way]['times_stock_float32'] = harness.median_and_range(
                seconds['network'] / values)
            result[way]['difference'] = float(np.abs(np.subtract(
                found[way][0]['logits'], found['network'][0]['logits'])).max())
        dtype = LIMITED.get(way)
        if limits and all(dtype in one for one in limits):
            rate = operations(config, lengths_of(text)) / values / 1e9
            result[way]['share_of_limit'] = harness.median_and_range(
                rate / [one[dtype] for one in limits])
    return result


def lengths_of(text):
    wanted = shape(text)
    return harness.random_batch(wanted['size'], wanted['length'], mean=wanted['mean'])[2]


def show(shapes):
    for text, ways in shapes.items():
        print('\n%-20s %10s %14s %12s %9s   %s' % (
            text, 'ms', 'examples/s', 'difference', '% of limit',
            'times stock float32 of MXNet'))
        for way, found in ways.items():
            ratio, share = found.get('times_stock_float32'), found.get('share_of_limit')
            print('%-20s %10.1f %14.1f %12s %10s   %s' % (
                way, found['milliseconds']['median'], found['examples_per_second']['median'],
                '%.1e' % found['difference'] if ratio else '',
                '%.0f' % (100 * share['median']) if share else '',
                '%.2f (%.2f–%.2f)' % (ratio['median'], ratio['min'], ratio['max'])
                if ratio else ''))
    print('median (lowest–highest) over the rounds; ratios are taken round by round')


def main():
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        workers = start(stack, args, pathlib.Path(folder))
        limit = stack.enter_context(Limit(args.threads)) if set(args.ways) & set(LIMITED) else None
        config = config_of(args.model)
        shapes = {text: summarize(text, *measure(args, workers, limit, text), config)
                  for text in args.shapes}
    result = harness.report(args, shapes=shapes)
    result['peer'] = list(harness.PINS['peer-inference'])
    harness.write_json(args.output, result)
    harness.describe(result)
    show(shapes)
    harness.warn_if_busy(result)
    difference = max([found.get('difference', 0) for ways in shapes.values()
                      for way, found in ways.items() if way in FLOAT32])
    print('largest difference of float32 logits: %.1e' % difference)
    return int(not difference < SAME)


if __name__ == '__main__':
    sys.exit(main())
