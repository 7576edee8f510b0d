"""What the predictor gains over the network, and kept memory over memory given back.

For each shape of a batch, in each round one after the other: prediction by the network, as trained,
and by the predictor that all our commands use (bert/model/inference.py), with and without the mask
that padding needs; then the gradients of a training step. Each with freed memory kept, as our
commands do (bert/flags/allocator.py), and without, all in processes of their own. Random weights
and tokens, float32, no peer. Exit status 1 when the scores of network and predictor differ by 1e-4.
Compare within one run only.
"""
import contextlib
import sys

import numpy as np

from benchmarks import harness

SHAPES = ('1x16', '1x64', '1x128', '1x384', '8x32', '8x64', '4x128', '8x128', '24x64', '3x180',
          '8x180', '24x180', '8x384')
WAYS = ('network', 'predictor', 'unmasked', 'gradients')
SAME = 1e-4     # largest difference of scores, which are around 1


def shape(text):
    size, length = text.split('x')
    return {'size': int(size), 'length': int(length)}


def make_parser():
    parser = harness.make_parser(__doc__, 'predictor.json')
    parser.add_argument('--model', choices=('minilm', 'base'), default='minilm',
                        help='sizes of the network')
    parser.add_argument('--shapes', type=harness.comma_list, default=SHAPES, metavar='A,B,…',
                        help='examples x tokens')
    parser.add_argument('--rounds', type=int, default=7, help='the first of them is warm-up')
    return parser


def measure(args, workers, text):
    """{(way, whether memory is kept): [answer of the worker in each round]} of one shape."""
    found = {key: [] for key in workers}
    for _ in range(args.rounds):
        for key, answers in found.items():
            answers.append(workers[key].ask(**shape(text)))
    return {key: answers[1:] for key, answers in found.items()}


def ratio(numerator, denominator):
    """Seconds of one over seconds of the other, round by round."""
    return harness.median_and_range([a['seconds'] / b['seconds']
                             for a, b in zip(numerator, denominator)])


def summarize(found):
    """What came out for one shape."""
    network, predictor = found['network', True], found['predictor', True]
    return {
        'seconds': {way: harness.median_and_range([one['seconds'] for one in found[way, True]])
                    for way in WAYS},
        'network_over_predictor': ratio(network, predictor),
        'masked_over_unmasked': ratio(predictor, found['unmasked', True]),
        'given_back_over_kept': {way: ratio(found[way, False], found[way, True])
                                 for way in WAYS},
        'difference': float(np.max([np.abs(np.subtract(a['scores'], b['scores'])).max()
                                    for a, b in zip(network, predictor)]))}


def show(shapes):
    shown = ('network', 'predictor', 'gradients')
    print('\n%-8s %12s %8s %18s %18s | time with memory given back / kept' % (
        '', 'predictor ms', 'μs/token', 'network/predictor', 'masked/unmasked'))
    print('%-8s %12s %8s %18s %18s | %18s %18s %18s' % (('shape', '', '', '', '') + shown))
    for text, found in shapes.items():
        seconds = found['seconds']['predictor']['median']
        print('%-8s %12.1f %8.0f %18s %18s | %18s %18s %18s' % (
            (text, 1e3 * seconds, 1e6 * seconds / np.prod(list(shape(text).values())),
             harness.cell(found['network_over_predictor']),
             harness.cell(found['masked_over_unmasked'])) +
            tuple(harness.cell(found['given_back_over_kept'][way]) for way in shown)))
    print('median (lowest–highest) over the rounds; ratios are taken round by round')


def main():
    args = make_parser().parse_args()
    with contextlib.ExitStack() as stack:
        workers = {(way, kept): stack.enter_context(harness.Worker(
            'ours', 'benchmarks.inference.ours_predictor', '--model', args.model, '--way', way,
            *(['--keep_memory'] if kept else []), threads=args.threads))
            for way in WAYS for kept in (True, False)}
        shapes = {text: summarize(measure(args, workers, text)) for text in args.shapes}
    result = harness.report(args, shapes=shapes)
    harness.write_json(args.output, result)
    harness.describe(result)
    show(shapes)
    harness.warn_if_busy(result)
    difference = np.max([found['difference'] for found in shapes.values()])
    print('largest difference of scores: %.1e' % difference)
    return int(not difference < SAME)


if __name__ == '__main__':
    sys.exit(main())
