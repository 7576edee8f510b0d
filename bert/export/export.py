"""Export a fine-tuned BERT as a symbol that MXNet runs without its Python class."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import deployment as deployment_flags


def make_parser():
    parser = common.Parser(__doc__)
    deployment_flags.add_export_flags(parser, 'export')
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads)
    from bert.jobs.exporting import serving_folder  # imports mxnet, so after prepare_mxnet
    serving_folder.export_symbol(args)


if __name__ == '__main__':
    run_script(main)
