"""Export a fine-tuned BERT as an ONNX file, of open batch size and length."""
from bert import deployment_options, options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__)
    deployment_options.add_export_flags(parser, 'onnx')
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads)
    from bert.jobs import exporting  # imports mxnet, which reads the threads
    exporting.run_onnx(args)


if __name__ == '__main__':
    run_script(main)
