"""Export a question-answering BERT with fixed shapes as a symbol, and time it."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import finetuning as finetuning_flags


def make_parser():
    parser = common.Parser(__doc__)
    group = parser.add_argument_group('network')
    finetuning_flags.add_window_flags(group, max_seq_length=None)
    finetuning_flags.add_static_flags(group)
    group.add_argument('--evaluate', action='store_true',
                       help='time prediction on batches of random tokens')
    group.add_argument('--num_batches', type=common.positive_int, default=10,
                       help='batches that --evaluate times')
    finetuning_flags.add_model_flags(parser)
    common.add_device_flags(parser)
    group = parser.add_argument_group('output')
    group.add_argument('--output_dir', metavar='FOLDER',
                       help='default: a new ./output_dir/static-export-<number>')
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace what a run left in --output_dir')
    group.add_argument('--seed', type=int, default=2, help='of the random tokens')
    parser.set_defaults(dropout=0.0)    # there is no training
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads)
    from bert.jobs.exporting import static_shapes  # imports mxnet, so after prepare_mxnet
    static_shapes.export_static_squad(args)


if __name__ == '__main__':
    run_script(main)
