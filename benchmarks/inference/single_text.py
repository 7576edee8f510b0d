"""How long a single text takes, and how near that is to what the CPU can do.

A classifier with random weights computes texts of one length, one at a time. Two limits stand
beside its time: that of the matrix products alone (product_limit.py), and that of reading the
weights from memory once (memory_limit.py). "paused" is the time of the pipeline after a pause of 20
milliseconds. "call" is the time of a pipeline around a network that costs next to nothing:
tokenizer, MXNet and Python. Compare within one run only, on a machine
without other work.
"""
import contextlib

from benchmarks import harness
from benchmarks.inference.ours import config_of
from benchmarks.kernels.memory_limit import measure_bandwidth
from benchmarks.kernels.product_limit import ProductLimit, count_operations

SMALLEST = 'smallest'
COLUMNS = 'pipeline', 'paused', 'network', 'call'
BYTES = {'float32': 4, 'bfloat16': 2, 'int8': 1}    # of a weight
GIGA = 1e9


def make_parser():
    parser = harness.make_parser(__doc__, 'single-text.json')
    harness.add_model_flag(parser, default='base')
    parser.add_argument('--lengths', type=harness.int_list, default=[16, 53, 128], metavar='A,B,…',
                        help='tokens of a text')
    parser.add_argument('--dtypes', type=harness.comma_list, metavar='A,B,…',
                        help='default: all in which this CPU multiplies')
    parser.add_argument('--rounds', type=int, default=7, help='the first two are warm-up')
    return parser


def count_weight_bytes(config, dtype):
    """Bytes of the weights of all layers. A text reads them once."""
    layer = 4 * config.units ** 2 + 2 * config.units * config.hidden_size
    return BYTES[dtype] * config.num_layers * layer


def measure(args, dtypes, limit, stack):
    """{(dtype, length): [seconds of each round: {name: value}, the names of `COLUMNS` and the
    limits 'products' and 'memory']}"""
    config = config_of(args.model)
    workers = {(model, dtype): stack.enter_context(harness.Worker(
        'ours', 'benchmarks.inference.single_text_ours', '--model', model, '--dtype', dtype,
        threads=args.threads)) for dtype in dtypes for model in (args.model, SMALLEST)}
    rounds = {(dtype, length): [] for dtype in dtypes for length in args.lengths}
    for _ in range(args.rounds):
        products, bandwidth = limit.measure(), measure_bandwidth(args.threads)
        for (dtype, length), values in rounds.items():
            answer = workers[args.model, dtype].ask(length=length)
            answer['call'] = workers[SMALLEST, dtype].ask(length=length)['pipeline']
            answer['products'] = count_operations(config, [length]) / GIGA / products[dtype]
            answer['memory'] = count_weight_bytes(config, dtype) / GIGA / bandwidth
            values.append(answer)
    return {key: values[2:] for key, values in rounds.items()}


def summarize(values):
    """Milliseconds of each part, and the share of the nearer limit that the pipeline reaches."""
    summary = {name: harness.median_and_range([1000 * value[name] for value in values])
               for name in values[0]}
    summary['share_of_limit'] = harness.median_and_range(
        [max(value['products'], value['memory']) / value['pipeline'] for value in values])
    return summary


def print_table(results):
    print('\n%-18s %20s %20s %20s %18s %10s %8s %16s' % (
        'ms', *COLUMNS, 'products', 'memory', '% of the limit'))
    for (dtype, length), row in results.items():
        print('%-18s %20s %20s %20s %18s %10.1f %8.1f %16.0f' % (
            '%s, 1 x %d' % (dtype, length), *[harness.format_range(row[name], 1)
                                              for name in COLUMNS],
            row['products']['median'], row['memory']['median'],
            100 * row['share_of_limit']['median']))
    print(harness.RANGE_NOTE)


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with contextlib.ExitStack() as stack:
        limit = stack.enter_context(ProductLimit(args.threads))
        dtypes = args.dtypes or list(limit.dtypes)
        results = {key: summarize(values)
                   for key, values in measure(args, dtypes, limit, stack).items()}
    result = harness.make_result(args, results={'%s %d' % key: row
                                                for key, row in results.items()})
    harness.write_result(args.output, result)
    print_table(results)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
