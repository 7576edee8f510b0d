"""Fine-tune BERT on SQuAD with fixed shapes, and export the network as a symbol."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import finetuning as finetuning_flags


def make_parser():
    parser = common.Parser(__doc__, common.UNSUPPORTED_STATIC_TRAINING_FLAGS)
    group = finetuning_flags.add_squad_flags(parser, max_seq_length=None)
    finetuning_flags.add_squad_training_flags(group)
    finetuning_flags.add_static_flags(group)
    finetuning_flags.add_model_flags(parser)
    finetuning_flags.add_optimizer_flags(parser, learning_rate=5e-5, epochs=3, batch_size=32)
    common.add_training_device_flags(parser)
    finetuning_flags.add_run_output_flags(parser, log_interval=50)
    # this script has no such flags: all windows have one length, and nothing is calibrated
    parser.set_defaults(round_to=None, only_calibration=False, calib_mode='customize')
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads, training=args.gpu is None and not args.only_predict)
    from bert.jobs.finetuning import question_answering  # imports mxnet, so after prepare_mxnet
    question_answering.finetune_question_answerer(args, question_answering.STATIC_SCRIPT)


if __name__ == '__main__':
    run_script(main)
