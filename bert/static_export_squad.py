"""Export a question-answering BERT with fixed shapes as a symbol, and time it."""
from bert import finetuning_options, options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__)
    group = parser.add_argument_group('network')
    finetuning_options.add_window_flags(group, max_seq_length=None)
    finetuning_options.add_static_flags(group)
    group.add_argument('--evaluate', action='store_true',
                       help='time prediction on batches of random tokens')
    group.add_argument('--num_batches', type=options.positive_int, default=10,
                       help='batches that --evaluate times')
    finetuning_options.add_model_flags(parser)
    options.add_device_flags(parser)
    group = parser.add_argument_group('output')
    group.add_argument('--output_dir', metavar='FOLDER',
                       help='default: a new ./output_dir/static-export-<number>')
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace what a run left in --output_dir')
    group.add_argument('--seed', type=int, default=2, help='of the random tokens')
    parser.set_defaults(dropout=0.0)    # nothing is trained
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads)
    from bert.jobs import static_export  # imports mxnet, which reads the threads
    static_export.run(args)


if __name__ == '__main__':
    run_script(main)
