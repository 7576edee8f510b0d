"""The gain of the predictor over the network, and of keeping freed memory over returning it.

For each shape of a batch, in each round, one after the other: prediction by the network as it was
trained, prediction by the predictor that all our commands use (bert/model/inference.py), with and
without the mask for padding, and the gradients of a training step. Each runs once with freed memory
kept, as in our commands (bert/flags/allocator.py), and once without, in a process of its own.
Weights and tokens are random, in float32; there is no peer. Exit status 1 when the scores of
network and predictor differ by 1e-4. Compare within one run only.
"""
import contextlib
import sys

import numpy as np

from benchmarks import harness

SHAPES = ('1x16', '1x64', '1x128', '1x384', '8x32', '8x64', '4x128', '8x128', '24x64', '3x180',
          '8x180', '24x180', '8x384')
WAYS = ('network', 'predictor', 'unmasked', 'gradients')
TOLERANCE = 1e-4    # of the difference of scores, which are around 1


def shape(text):
    size, length = text.split('x')
    return {'size': int(size), 'length': int(length)}


def make_parser():
    parser = harness.make_parser(__doc__, 'predictor.json')
    harness.add_model_flag(parser, default='minilm')
    parser.add_argument('--shapes', type=harness.comma_list, default=SHAPES, metavar='A,B,…',
                        help='examples x tokens')
    parser.add_argument('--rounds', type=int, default=7, help='the first of them is warm-up')
    return parser


def measure(args, workers, shape_name):
    """{(way, whether memory is kept): [answer in each round]} of one shape, without warm-up."""
    rounds = {key: [] for key in workers}
    for _ in range(args.rounds):
        for key, answers in rounds.items():
            answers.append(workers[key].ask(**shape(shape_name)))
    return {key: answers[1:] for key, answers in rounds.items()}


def summarize(rounds):
    """The row of the table of one shape."""
    seconds = {key: [answer['seconds'] for answer in answers] for key, answers in rounds.items()}
    predictor_seconds = seconds['predictor', True]
    return {
        'seconds': {way: harness.median_and_range(seconds[way, True]) for way in WAYS},
        'network_over_predictor': harness.ratio_range(seconds['network', True],
                                                      predictor_seconds),
        'masked_over_unmasked': harness.ratio_range(predictor_seconds, seconds['unmasked', True]),
        'given_back_over_kept': {
            way: harness.ratio_range(seconds[way, False], seconds[way, True]) for way in WAYS},
        'difference': float(np.max([
            np.abs(np.subtract(network['scores'], predictor['scores'])).max()
            for network, predictor in zip(rounds['network', True], rounds['predictor', True])]))}


def print_table(shapes):
    columns = ('network', 'predictor', 'gradients')
    print('\n%-8s %12s %8s %18s %18s | time with memory given back / kept' % (
        '', 'predictor ms', 'μs/token', 'network/predictor', 'masked/unmasked'))
    print('%-8s %12s %8s %18s %18s | %18s %18s %18s' % (('shape', '', '', '', '') + columns))
    for name, row in shapes.items():
        seconds = row['seconds']['predictor']['median']
        print('%-8s %12.1f %8.0f %18s %18s | %18s %18s %18s' % (
            (name, 1e3 * seconds, 1e6 * seconds / np.prod(list(shape(name).values())),
             harness.format_range(row['network_over_predictor']),
             harness.format_range(row['masked_over_unmasked'])) +
            tuple(harness.format_range(row['given_back_over_kept'][way]) for way in columns)))
    print(harness.RANGE_NOTE)


def main():
    args = make_parser().parse_args()
    with contextlib.ExitStack() as stack:
        workers = {(way, keeps_memory): stack.enter_context(harness.Worker(
            'ours', 'benchmarks.inference.ours_predictor', '--model', args.model, '--way', way,
            *(['--keep_memory'] if keeps_memory else []), threads=args.threads))
            for way in WAYS for keeps_memory in (True, False)}
        shapes = {name: summarize(measure(args, workers, name)) for name in args.shapes}
    result = harness.make_result(args, shapes=shapes)
    harness.write_result(args.output, result)
    print_table(shapes)
    harness.warn_if_busy(result)
    difference = np.max([row['difference'] for row in shapes.values()])
    print('largest difference of scores: %.1e' % difference)
    return int(not difference < TOLERANCE)


if __name__ == '__main__':
    sys.exit(main())
