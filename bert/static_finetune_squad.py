"""Fine-tune BERT on SQuAD with fixed shapes, and export the network as a symbol."""
from bert import finetuning_options, options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__, options.LEFT_OUT_OF_STATIC_TRAINING)
    group = finetuning_options.add_squad_flags(parser, max_seq_length=None)
    finetuning_options.add_squad_training_flags(group)
    finetuning_options.add_static_flags(group)
    finetuning_options.add_model_flags(parser)
    finetuning_options.add_optimizer_flags(parser, learning_rate=5e-5, epochs=3, batch_size=32)
    options.add_training_device_flags(parser)
    finetuning_options.add_output_flags(parser, log_interval=50)
    # all windows have one length anyhow
    parser.set_defaults(round_to=None, only_calibration=False, calib_mode='customize')
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads, training=args.gpu is None and not args.only_predict)
    from bert.jobs import question_answering  # imports mxnet, which reads the threads
    question_answering.run(args, question_answering.STATIC)


if __name__ == '__main__':
    run_script(main)
