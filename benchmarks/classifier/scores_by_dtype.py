"""Dev scores of fine-tuning in bfloat16, in float32, and with MXNet's own operators, seed by seed.

finetune_classifier.py trains with each seed from the same weights, in each of these ways; a run
that was killed goes on. The last epoch is what counts: the best epoch is chosen on dev itself,
which flatters.
"""
import pathlib

from benchmarks import harness
from benchmarks.classifier.scores import (
    add_recipe_flags,
    compare_all,
    our_history,
    print_scores,
    train_ours,
)
from bert.model.kernels.library import SWITCH

# {way: (--dtype, SWITCH)}; each is compared with the one after it
WAYS = {'bfloat16': ('bfloat16', '1'), 'float32': ('float32', '1'), 'stock': ('float32', '0')}


def make_parser():
    parser = harness.make_parser(__doc__)
    add_recipe_flags(parser, epochs=2)
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=list(WAYS),
                        help='stock: by MXNet\'s own operators, in float32')
    parser.add_argument('--output_dir', default='scores',
                        help='folder of the result, <task>-dtypes.json, and of the runs')
    return parser


def train(args, way, folder):
    """{seed: [{metric: value} of each epoch]}"""
    dtype, kernels = WAYS[way]
    results = train_ours(args, folder / ('%s-%s' % (args.task, way)), '--dtype', dtype,
                         environ={SWITCH: kernels})
    return our_history(results, args.seeds)


def main():
    args = make_parser().parse_args()
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    histories = {way: train(args, way, folder) for way in args.ways}
    pairs = list(zip(args.ways, args.ways[1:]))
    result = harness.report(args, scores={
        ' - '.join(pair): compare_all({way: histories[way] for way in pair}) for pair in pairs})
    harness.write_json(folder / ('%s-dtypes.json' % args.task), result)
    harness.describe(result)
    for scores in result['scores'].values():
        print_scores(scores)


if __name__ == '__main__':
    main()
