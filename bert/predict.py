"""Label texts of your own with a fine-tuned model: arguments, a file, or standard input."""
from bert.errors import run_script
from bert.flags import common


def make_parser():
    parser = common.Parser(__doc__)
    parser.add_argument('texts', nargs='*', metavar='TEXT',
                        help='a text; for a pair model two, the pair')
    parser.add_argument('--model_dir', required=True, metavar='FOLDER',
                        help='folder of a run of finetune_classifier.py, one of its checkpoints, '
                             'or a classifier saved by transformers')
    parser.add_argument('--pair', action='store_true',
                        help='texts come in pairs; for a model of transformers, which doesn\'t say')
    parser.add_argument('--file', metavar='FILE',
                        help='.csv, .tsv or .jsonl with --text_columns, or a .txt with one text a '
                             'line (pairs: a tab between the two); "-": standard input, the same')
    parser.add_argument('--text_columns', type=common.comma_list, metavar='A[,B]',
                        help='columns of the text or pair in --file')
    common.add_text_output_flags(
        parser, 'tsv: label, probability, text; jsonl: all probabilities too', batch_size=32,
        unit='texts')
    common.add_prediction_device_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads)
    from bert.jobs.prediction import classification  # imports mxnet, so after prepare_mxnet
    classification.predict_labels(args)


if __name__ == '__main__':
    run_script(main)
