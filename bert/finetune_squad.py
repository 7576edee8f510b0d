"""Fine-tune BERT on SQuAD 1.1 or 2.0 and predict its questions, or only predict them."""
from bert import options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__, options.LEFT_OUT_OF_TRAINING)
    group = options.add_squad_flags(parser)
    options.add_squad_training_flags(group)
    group.add_argument('--round_to', type=options.positive_int, metavar='N',
                       help='pad each training batch to a multiple of N tokens')
    options.add_model_flags(parser)
    options.add_optimizer_flags(parser, learning_rate=5e-5, epochs=3, batch_size=32)
    options.add_only_calibration_flags(parser, num_calib_batches=10)
    options.add_training_device_flags(parser)
    options.add_output_flags(parser, log_interval=50)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    args.only_predict = args.only_predict or args.only_calibration
    options.prepare_mxnet(args.threads, training=args.gpu is None and not args.only_predict)
    from bert.jobs import question_answering  # imports mxnet, which reads the threads
    question_answering.run(args)


if __name__ == '__main__':
    run_script(main)
