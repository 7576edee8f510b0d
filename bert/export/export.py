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
    # imports mxnet, which reads the threads
    from bert.jobs.exporting import serving_folder
    serving_folder.run_symbol(args)


if __name__ == '__main__':
    run_script(main)
