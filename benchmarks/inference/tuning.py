"""Accuracy-driven INT8 tuning side by side: ours and Intel's neural-compressor 2.6, both on MXNet.

neural-compressor is the successor to the tool of the fourth seed; 2.6 is its last release with
MXNet. Both get the same symbol of a model that finetune_classifier.py trained, the same calibration
batches, the same scoring function (accuracy on the examples to search on) and the same goal. Then
both networks are scored on examples that neither has seen, and timed in turns.
"""
import pathlib
import sys
import tempfile

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
    """Run both searches, one after the other; {side: {'scores', 'seconds', 'reached', …}}."""
    goal = ['--folder', folder, '--loss', args.loss, '--max_trials', args.max_trials]
    ours = ('ours', 'benchmarks.inference.ours_tuning')
    harness.run_worker(*ours, 'write', '--folder', folder, '--model_dir', args.model_dir,
                       *['--data_dir', args.data_dir] if args.data_dir else [],
                       threads=args.threads)
    harness.run_worker(*ours, 'tune', *goal, threads=args.threads)
    harness.run_worker('peer-tuning', 'benchmarks.inference.peer_tuning', *goal,
                       threads=args.threads)
    harness.run_worker(*ours, 'conclude', '--folder', folder, '--shapes', ','.join(args.shapes),
                       '--rounds', args.rounds, threads=args.threads)
    return {side: harness.read_json(folder / (side + '.json')) for side in ('ours', 'peer')}


def summarize(searches, measurements):
    """{side: its search, with 'report': score on the examples to report, and 'times_float':
    {shape: speed over the float network's}}; measurements: of ours_tuning.score_and_time."""
    sides = {}
    for side, search in searches.items():
        sides[side] = dict(search, report=measurements['report'].get(side), times_float={
            shape: harness.ratio_range(seconds['float'], seconds[side])
            for shape, seconds in measurements['seconds'].items() if side in seconds})
    return sides


def print_results(sides, measurements):
    print('float: %.4f to search on, %.4f on %d examples to report' % (
        sides['ours']['scores'][0], measurements['report']['float'], measurements['examples']))
    for side, values in sides.items():
        print('%s: %s in %d trials and %.0f s%s' % (
            side, 'goal reached' if values['reached'] else 'goal missed',
            len(values['scores']) - 1, values['seconds'], '' if values['report'] is None else
            '; on the report\'s %.4f' % values['report']))
        for shape, ratio in values['times_float'].items():
            print('    %s: %s times float' % (shape, harness.format_range(ratio)))


def main():
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        searches = tune(args, folder)
        measurements = harness.read_json(folder / 'found.json')
    sides = summarize(searches, measurements)
    result = harness.make_result(args, peer='peer-tuning', sides=sides,
                                 report=measurements['report'], examples=measurements['examples'])
    harness.write_result(args.output, result)
    print_results(sides, measurements)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    sys.exit(main())
