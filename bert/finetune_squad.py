"""Fine-tune BERT on SQuAD 1.1 or 2.0 and predict its questions, or only predict them."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import finetuning as finetuning_flags


def make_parser():
    parser = common.Parser(__doc__, common.UNSUPPORTED_TRAINING_FLAGS)
    finetuning_flags.add_question_answering_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    args.only_predict = args.only_predict or args.only_calibration
    common.prepare_mxnet(args.threads, training=args.gpu is None and not args.only_predict)
    from bert.jobs.finetuning import question_answering  # imports mxnet, so after prepare_mxnet
    question_answering.finetune_question_answerer(args)


if __name__ == '__main__':
    run_script(main)
