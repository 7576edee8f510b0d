"""Convert a BERT of transformers into a Gluon checkpoint folder, or one of Gluon back."""
from bert.errors import run_script
from bert.flags import common

FORMATS = ('gluon', 'transformers')


def make_parser():
    parser = common.Parser(__doc__)
    parser.add_argument('input', metavar='INPUT',
                        help='a folder in Hugging Face layout or one of its files (.safetensors, '
                             '.bin, .index.json); a Gluon .params; a run or checkpoint of ours')
    parser.add_argument('output', metavar='OUTPUT', help='the folder to make')
    parser.add_argument('--to', choices=FORMATS,
                        help='format of OUTPUT; default: the one that INPUT has not')
    parser.add_argument('--overwrite', action='store_true',
                        help='replace an OUTPUT that an earlier conversion made')
    group = parser.add_argument_group('what a bare file of weights does not say')
    group.add_argument('--bert_model',
                       help='released model of the same sizes; models.py lists them')
    group.add_argument('--bert_dataset', help='corpus with the same vocabulary')
    group.add_argument('--classes', type=common.comma_list, metavar='X,Y,…',
                       help='the classes of a classifier in order; default: those found beside it')
    group.add_argument('--pair', action='store_true', help='the classifier reads pairs of texts')
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    from bert.jobs.exporting import conversion  # imports mxnet
    conversion.convert_checkpoint(args)


if __name__ == '__main__':
    run_script(main)
