"""Exported models side by side: MXNet in float32 and INT8, ONNX Runtime, OpenVINO, PyTorch.

All compute one network with random weights. Ours: MXNet's stock operators, the predictor that our
commands use without the fused kernels, an exported symbol, INT8, and the fused kernels in float32,
bfloat16 and dynamic INT8. The ONNX file that export/to_onnx.py writes: ONNX Runtime in float32 and
in its dynamic INT8, OpenVINO in float32, bfloat16 and INT8 (NNCF's post-training quantization, for
transformers). transformers: PyTorch in float32 and bfloat16. In each round, they compute the same
batch one after the other, several times each (the median counts), each in a process of its own with
the same number of threads. Tokens are random, and padded only where the shape has a mean length:
`32x53of128` mixes lengths of 53 on average. The table has, for each way, the largest difference of
the logits from stock MXNet's; exit status 1 when one in float32 is 1e-4. For the fused kernels it
also has the speed of their matrix products, as a share of the limit that product_limit.py measures
on this CPU in the same round. --model also has the sizes of two relatives of BERT.
"""
import contextlib
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import harness
from benchmarks.inference.ours import MODELS, config_of
from benchmarks.kernels.product_limit import ProductLimit, count_operations, share_of_limit

SHAPES = ('1x16', '1x53', '1x128', '32x128', '32x53of128')
OURS = ('network', 'predictor', 'symbol', 'int8', 'fused', 'fused-bfloat16',
        'fused-int8')
PEERS = ('onnxruntime', 'onnxruntime-int8', 'openvino', 'openvino-bfloat16', 'openvino-int8',
         'torch', 'torch-bfloat16')
FUSED_DTYPES = {'fused': 'float32', 'fused-bfloat16': 'bfloat16', 'fused-int8': 'int8'}
FLOAT32 = ('predictor', 'symbol', 'fused', 'onnxruntime', 'openvino', 'torch')
TOKENS_PER_TURN = 4096  # a small batch is repeated for about so many tokens
TOLERANCE = 1e-4        # of the difference of logits, which are around 0.1


def shape(text):
    """'32x53of128' → what a worker is asked: 'size', 'length', 'mean' (None without), 'repeats'."""
    size, _, lengths = text.partition('x')
    mean, _, length = lengths.rpartition('of')
    size, length = int(size), int(length)
    return {'size': size, 'length': length, 'mean': int(mean) if mean else None,
            'repeats': max(3, TOKENS_PER_TURN // (size * length))}


def make_parser():
    parser = harness.make_parser(__doc__, 'inference.json')
    harness.add_model_flag(parser, default='minilm', choices=MODELS)
    parser.add_argument('--shapes', type=harness.comma_list, default=SHAPES, metavar='A,B,…',
                        help='examples x tokens, or x mean of longest')
    parser.add_argument('--ways', type=harness.comma_list, default=OURS + PEERS, metavar='A,B,…',
                        help='who takes part')
    parser.add_argument('--rounds', type=int, default=9, help='the first two of them are warm-up')
    return parser


def start_workers(stack, args, folder):
    """{way: its worker}. Writes the weights for the peers first."""
    harness.run_worker('ours', 'benchmarks.inference.ours', '--model', args.model, '--write',
                       folder, threads=args.threads)
    return {way: stack.enter_context(
        harness.Worker('ours', 'benchmarks.inference.ours', '--model', args.model, '--way', way,
                       threads=args.threads) if way in OURS else
        harness.Worker('peer-inference', 'benchmarks.inference.peer', '--folder', folder, '--way',
                       way, '--threads', args.threads, threads=args.threads))
        for way in args.ways}


def measure(args, workers, limit, shape_name):
    """({way: [answer in each round]}, [limits in each round]) of one shape, without warm-up."""
    rounds, limits = {way: [] for way in workers}, []
    for _ in range(args.rounds):
        for way, answers in rounds.items():
            answers.append(workers[way].ask(**shape(shape_name)))
        limits.append(limit.measure() if limit else {})
    return {way: answers[2:] for way, answers in rounds.items()}, limits[2:]


def summarize(shape_name, rounds, limits=(), config=None):
    """{way: its row of the table} of one shape; limits: of `ProductLimit`, in each round."""
    size = shape(shape_name)['size']
    seconds = {way: np.array([answer['seconds'] for answer in answers])
               for way, answers in rounds.items()}
    result = {}
    for way, values in seconds.items():
        result[way] = {'milliseconds': harness.median_and_range(1e3 * values),
                       'examples_per_second': harness.median_and_range(size / values)}
        if 'network' in seconds:
            result[way]['times_stock_float32'] = harness.median_and_range(
                seconds['network'] / values)
            result[way]['difference'] = float(np.abs(np.subtract(
                rounds[way][0]['logits'], rounds['network'][0]['logits'])).max())
        if limits and way in FUSED_DTYPES:
            share = share_of_limit(count_operations(config, lengths_of(shape_name)), values,
                                   limits, FUSED_DTYPES[way])
            if share:
                result[way]['share_of_limit'] = share
    return result


def lengths_of(shape_name):
    """valid_length of the random batch of a shape."""
    batch_shape = shape(shape_name)
    return harness.random_batch(batch_shape['size'], batch_shape['length'],
                                mean=batch_shape['mean'])[2]


def print_tables(shapes):
    for shape_name, ways in shapes.items():
        print('\n%-20s %10s %14s %12s %9s   %s' % (
            shape_name, 'ms', 'examples/s', 'difference', '% of limit',
            'times stock float32 of MXNet'))
        for way, row in ways.items():
            ratio, share = row.get('times_stock_float32'), row.get('share_of_limit')
            print('%-20s %10.1f %14.1f %12s %10s   %s' % (
                way, row['milliseconds']['median'], row['examples_per_second']['median'],
                '%.1e' % row['difference'] if ratio else '',
                '%.0f' % (100 * share['median']) if share else '',
                harness.format_range(ratio) if ratio else ''))
    print(harness.RANGE_NOTE)


def main():
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        workers = start_workers(stack, args, pathlib.Path(folder))
        limit = (stack.enter_context(ProductLimit(args.threads))
                 if set(args.ways) & set(FUSED_DTYPES) else None)
        config = config_of(args.model)
        shapes = {name: summarize(name, *measure(args, workers, limit, name), config)
                  for name in args.shapes}
    result = harness.make_result(args, peer='peer-inference', shapes=shapes)
    harness.write_result(args.output, result)
    print_tables(shapes)
    harness.warn_if_busy(result)
    return report_difference(shapes)


def report_difference(shapes):
    """Prints the largest difference in float32 of stock MXNet; the exit status."""
    differences = [row['difference'] for ways in shapes.values() for way, row in ways.items()
                   if way in FLOAT32 and 'difference' in row]
    if not differences:
        print('logits were not compared: that needs the way "network" and another in float32')
        return 0
    print('largest difference of float32 logits: %.1e' % max(differences))
    return int(not max(differences) < TOLERANCE)


if __name__ == '__main__':
    sys.exit(main())
