"""Pre-train BERT on what create_pretraining_data.py made: masked tokens and next sentences."""
from bert import options, pretraining_options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__, options.LEFT_OUT_OF_TEXT)
    pretraining_options.add_pretraining_flags(parser)
    group = parser.add_argument_group('device')
    group.add_argument('--gpus', type=options.seed_list, metavar='A,B,…',
                       help='numbers of the GPUs to use; left out: the CPU')
    group.add_argument('--kvstore', choices=('device',), default='device',
                       help='how gradients are summed over GPUs')
    options.add_backend_flag(group, ('device',))
    options.add_threads_flag(group)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads, training=pretraining_options.pretrains_on_cpu(args))
    from bert.jobs import pretraining  # imports mxnet, which reads the threads
    pretraining.run(args)


if __name__ == '__main__':
    run_script(main)
