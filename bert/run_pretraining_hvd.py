"""Pre-train BERT in several processes on one machine or many, by Horovod."""
from bert import options, pretraining_options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__, options.LEFT_OUT_OF_TEXT)
    pretraining_options.add_pretraining_flags(parser)
    options.add_threads_flag(parser.add_argument_group('device'))
    parser.set_defaults(comm_backend='horovod', gpus=None)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads, training=pretraining_options.pretrains_on_cpu(args))
    from bert.jobs import pretraining  # imports mxnet, which reads the threads
    pretraining.run(args)


if __name__ == '__main__':
    run_script(main)
