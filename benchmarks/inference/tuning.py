"""Accuracy-driven INT8 tuning side by side: ours and Intel's neural-compressor 2.6, on MXNet both.

neural-compressor is what became of the tool of the fourth seed; 2.6 is its last release with MXNet.
Both get the same symbol of a model that finetune_classifier.py trained, the same calibration
batches, the same function that scores (accuracy on the examples to search on) and the same goal.
Then the two networks are scored on examples that neither has seen, and timed in turns.
"""
import pathlib
import sys
import tempfile

import numpy as np

from benchmarks import harness

SHAPES = ('1x128', '32x128')


def make_parser():
    parser = harness.make_parser(__doc__, 'tuning.json')
    parser.add_argument('--model_dir', required=True, metavar='FOLDER',
                        help='run of finetune_classifier.py on a task with classes')
    parser.add_argument('--loss', type=float, default=0.01, help='accepted, relative')
    parser.add_argument('--max_trials', type=int, default=30, help='networks that are tried')
    parser.add_argument('--shapes', type=harness.comma_list, default=SHAPES, metavar='A,B,…',
                        help='examples x tokens that are timed')
    parser.add_argument('--rounds', type=int, default=15, help='of the timing')
    return parser


def tune(args, folder):
    """Both searches, one after the other; {side: what it tells}."""
    goal = ['--folder', folder, '--loss', args.loss, '--max_trials', args.max_trials]
    harness.run('ours', 'benchmarks.inference.ours_tuning', 'write', '--folder', folder,
                '--model_dir', args.model_dir,
                *['--data_dir', args.data_dir] if args.data_dir else [], threads=args.threads)
    harness.run('ours', 'benchmarks.inference.ours_tuning', 'tune', *goal, threads=args.threads)
    harness.run('peer-tuning', 'benchmarks.inference.peer_tuning', *goal, threads=args.threads)
    harness.run('ours', 'benchmarks.inference.ours_tuning', 'conclude', '--folder', folder,
                '--shapes', ','.join(args.shapes), '--rounds', args.rounds, threads=args.threads)
    return {side: harness.read_json(folder / (side + '.json')) for side in ('ours', 'peer')}


def summarize(searches, found):
    """{side: search, score on the report's examples, times the speed of float for each shape}"""
    result = {}
    for side, search in searches.items():
        result[side] = dict(search, report=found['report'].get(side), times_float={
            text: harness.median_and_range(np.divide(seconds['float'], seconds[side]))
            for text, seconds in found['seconds'].items() if side in seconds})
    return result


def show(result, found):
    print('float: %.4f to search on, %.4f on %d examples to report' % (
        result['ours']['scores'][0], found['report']['float'], found['examples']))
    for side, one in result.items():
        print('%s: %s in %d trials and %.0f s%s' % (
            side, 'goal reached' if one['reached'] else 'goal missed', len(one['scores']) - 1,
            one['seconds'], '' if one['report'] is None else
            '; on the report\'s %.4f' % one['report']))
        for text, ratio in one['times_float'].items():
            print('    %s: %.2f (%.2f–%.2f) times float' % (
                text, ratio['median'], ratio['min'], ratio['max']))


def main():
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        searches = tune(args, folder)
        found = harness.read_json(folder / 'found.json')
    sides = summarize(searches, found)
    result = harness.report(args, sides=sides, report=found['report'], examples=found['examples'])
    result['peer'] = list(harness.PINS['peer-tuning'])
    harness.write_json(args.output, result)
    harness.describe(result)
    show(sides, found)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    sys.exit(main())
