"""Pre-train BERT on what create_pretraining_data.py made: masked tokens and next sentences."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import pretraining as pretraining_flags


def make_parser():
    parser = common.Parser(__doc__, common.UNSUPPORTED_TEXT_FLAGS)
    pretraining_flags.add_pretraining_flags(parser)
    group = parser.add_argument_group('device')
    group.add_argument('--gpus', type=common.seed_list, metavar='A,B,…',
                       help='numbers of the GPUs to use; left out: the CPU')
    group.add_argument('--kvstore', choices=('device',), default='device',
                       help='how gradients are summed over GPUs')
    common.add_backend_flag(group, ('device',))
    common.add_threads_flag(group)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads, training=pretraining_flags.pretrains_on_cpu(args))
    from bert.jobs.pretraining import training  # imports mxnet, so after prepare_mxnet
    training.pretrain(args)


if __name__ == '__main__':
    run_script(main)
