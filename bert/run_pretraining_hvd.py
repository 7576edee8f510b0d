"""Pre-train BERT in several processes on one machine or many, by Horovod."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import pretraining as pretraining_flags


def make_parser():
    parser = common.Parser(__doc__, common.UNSUPPORTED_TEXT_FLAGS)
    pretraining_flags.add_pretraining_flags(parser)
    common.add_threads_flag(parser.add_argument_group('device'))
    parser.set_defaults(comm_backend='horovod', gpus=None)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads, training=pretraining_flags.pretrains_on_cpu(args))
    from bert.jobs.pretraining import training  # imports mxnet, so after prepare_mxnet
    training.pretrain(args)


if __name__ == '__main__':
    run_script(main)
