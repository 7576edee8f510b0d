"""Fine-tune BERT on a sentence or sentence-pair task: GLUE, Chinese tasks, your own files."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import finetuning as finetuning_flags


def make_parser():
    parser = common.Parser(__doc__, common.UNSUPPORTED_TRAINING_FLAGS)
    finetuning_flags.add_classifier_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    args.only_inference = args.only_inference or args.only_calibration
    common.prepare_mxnet(args.threads, training=args.gpu is None and not args.only_inference)
    from bert.jobs.finetuning import classification  # imports mxnet, so after prepare_mxnet
    classification.finetune_classifier(args)


if __name__ == '__main__':
    run_script(main)
