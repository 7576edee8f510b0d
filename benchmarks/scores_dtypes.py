"""Dev scores of fine-tuning in bfloat16 and in float32, seed by seed.

finetune_classifier.py trains with each seed from the same weights, in both; a run that was killed
goes on. The last epoch is what counts: the best epoch is chosen on dev itself, which flatters.
"""
import pathlib

import peer
from scores_classifier import add_recipe_flags, compare_all, our_history, print_scores, train_ours

DTYPES = ('bfloat16', 'float32')


def make_parser():
    parser = peer.make_parser(__doc__)
    add_recipe_flags(parser, epochs=2)
    parser.add_argument('--output_dir', default='scores',
                        help='folder of the result, <task>-dtypes.json, and of the runs')
    return parser


def main():
    args = make_parser().parse_args()
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    histories = {}
    for dtype in DTYPES:
        results = train_ours(args, folder / ('%s-%s' % (args.task, dtype)), '--dtype', dtype)
        histories[dtype] = our_history(results, args.seeds)
    result = peer.report(args, scores=compare_all(histories))
    peer.write_json(folder / ('%s-dtypes.json' % args.task), result)
    peer.describe(result)
    print_scores(result['scores'])


if __name__ == '__main__':
    main()
