"""Fine-tune BERT on a sentence or sentence-pair task: GLUE, Chinese tasks, your own files."""
from bert import finetuning_options, options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__, options.LEFT_OUT_OF_TRAINING)
    finetuning_options.add_classifier_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    args.only_inference = args.only_inference or args.only_calibration
    options.prepare_mxnet(args.threads, training=args.gpu is None and not args.only_inference)
    from bert.jobs import classification  # imports mxnet, which reads the threads
    classification.run(args)


if __name__ == '__main__':
    run_script(main)
