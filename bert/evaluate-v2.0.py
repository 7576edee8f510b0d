"""Score a predictions.json as SQuAD 2.0's official evaluator does, whose rules it follows."""
from bert.errors import run_script
from bert.flags import common


def make_parser():
    parser = common.Parser(__doc__)
    parser.add_argument('data_file', metavar='DATA', help='dev-v2.0.json, or another SQuAD file')
    parser.add_argument('pred_file', metavar='PREDICTIONS',
                        help='{question id: text}, "" for no answer')
    parser.add_argument('--out-file', '-o', metavar='FILE', help='default: standard output')
    parser.add_argument('--na-prob-file', '-n', metavar='FILE',
                        help='{question id: number}, larger where no answer is likelier: a '
                             'null_odds.json; adds the best thresholds, chosen on these very '
                             'answers')
    parser.add_argument('--na-prob-thresh', '-t', metavar='X', default=1.0,
                        type=common.number_type(float, 'a number'),
                        help='with --na-prob-file: no answer above it')
    return parser


def main(arguments=None):
    from bert.jobs.prediction import squad_evaluation
    squad_evaluation.evaluate_predictions(make_parser().parse_args(arguments))


if __name__ == '__main__':
    run_script(main)
