"""Dev scores of fine-tuning in bfloat16, in float32, and with MXNet's own operators, seed by seed.

finetune_classifier.py trains with each seed from the same weights, in each of these ways. A run
that was killed goes on. The last epoch counts: the best epoch is chosen on dev itself, which
flatters.
"""
import pathlib

from benchmarks import harness
from benchmarks.classifier.scores import (
    add_recipe_flags,
    compare_metrics,
    our_histories,
    print_scores,
    train_ours,
)
from bert.model.kernels.library import KERNELS_VARIABLE

# {way: (--dtype, value of KERNELS_VARIABLE)}; each way is compared with the next
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
                         environ={KERNELS_VARIABLE: kernels})
    return our_histories(results, args.seeds)


def main():
    args = make_parser().parse_args()
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    histories = {way: train(args, way, folder) for way in args.ways}
    pairs = list(zip(args.ways, args.ways[1:]))
    scores_of_pairs = {' - '.join(pair): compare_metrics({way: histories[way] for way in pair})
                       for pair in pairs}
    harness.write_result(folder / ('%s-dtypes.json' % args.task),
                         harness.make_result(args, scores=scores_of_pairs))
    for scores in scores_of_pairs.values():
        print_scores(scores)


if __name__ == '__main__':
    main()
