"""Turn a fine-tuned BERT into an INT8 one for CPUs: calibrate it, or tune it to a goal."""
from bert import deployment_options, options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__)
    parser.add_argument('--model_dir', required=True, metavar='FOLDER',
                        help='folder of a run of finetune_classifier.py or finetune_squad.py, one '
                             'of its checkpoints, or such a model saved by transformers')
    deployment_options.add_calibration_flags(parser, num_calib_batches=5)
    group = parser.add_argument_group('data')
    deployment_options.add_labelled_flags(group)
    group.add_argument('--text_columns', type=options.comma_list, metavar='A[,B]',
                       help='columns of the text or pair in files of your own')
    group.add_argument('--max_train_samples', type=options.positive_int, metavar='N',
                       help='calibrate on some of N training examples, drawn at random')
    group.add_argument('--dev_batch_size', type=options.positive_int, default=32,
                       help='texts or windows a batch where scores are computed')
    deployment_options.add_tuning_flags(parser)
    group = parser.add_argument_group('output')
    group.add_argument('--output_dir', metavar='FOLDER',
                       help='default: quantized, or tuned, in --model_dir')
    group.add_argument('--overwrite_output_dir', action='store_true',
                       help='replace what an earlier run left there')
    group.add_argument('--resume', action='store_true',
                       help='go on with the tuning run in --output_dir')
    parser.add_argument('--seed', type=int, default=2, help='of the bootstrap')
    options.add_threads_flag(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads, low_latency=True)
    from bert.jobs import quantization, tuning  # import mxnet, which reads the threads
    if args.tune:
        return tuning.run(args)[1]
    quantization.run(args)


if __name__ == '__main__':
    run_script(main)
