"""Run an exported model: label texts or answer questions, score a dev set, or measure latency."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import deployment as deployment_flags


def make_parser():
    parser = common.Parser(__doc__)
    parser.add_argument('texts', nargs='*', metavar='TEXT',
                        help='a text; for a pair model two, the pair; for question answering the '
                             'question, and documents to look in')
    parser.add_argument('--model_dir', required=True, metavar='FOLDER',
                        help='what export/export.py, export/to_onnx.py or quantize.py wrote')
    parser.add_argument('--model_prefix', metavar='NAME',
                        help='which model, where the folder holds several: its file name without '
                             '-symbol.json or .onnx')
    parser.add_argument('--engine', choices=('mxnet', 'onnxruntime', 'openvino'),
                        help='default: mxnet for a symbol, onnxruntime for ONNX')
    parser.add_argument('--file', metavar='FILE',
                        help='texts: as predict.py reads them; documents, or questions in .jsonl: '
                             'as answer.py does')
    parser.add_argument('--text_columns', type=common.comma_list, metavar='A[,B]',
                        help='columns of the text or pair in --file, or in --dev_file')
    parser.add_argument('--pair', action='store_true', help='texts come in pairs')
    deployment_flags.add_answer_flags(parser)
    group = parser.add_argument_group('scores')
    group.add_argument('--evaluate', action='store_true', help='score the dev sets of the task')
    deployment_flags.add_evaluation_set_flags(group)
    parser.set_defaults(train_file=None)
    group = parser.add_argument_group('speed')
    group.add_argument('--measure', action='store_true', help='time batches of random tokens')
    group.add_argument('--batch_sizes', type=common.int_list, default=(1, 32), metavar='N,…',
                       help='texts a batch')
    group.add_argument('--lengths', type=common.int_list, default=(16, 128), metavar='N,…',
                       help='tokens a text')
    group.add_argument('--rounds', type=common.positive_int, default=50,
                       help='batches of each kind')
    common.add_text_output_flags(
        parser, 'tsv: a line a text or answer; jsonl: all probabilities too; --evaluate and '
                '--measure write JSON', batch_size=32, unit='texts or windows')
    common.add_device_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads, low_latency=True)
    from bert.jobs.prediction import deployment  # imports mxnet, so after prepare_mxnet
    deployment.deploy(args)


if __name__ == '__main__':
    run_script(main)
