"""Answer questions from documents of your own: arguments, files, or standard input."""
from bert import deployment_options, options
from bert.errors import run_script


def make_parser():
    parser = options.Parser(__doc__)
    parser.add_argument('question', nargs='?', metavar='QUESTION', help='in quotes')
    parser.add_argument('documents', nargs='*', metavar='DOCUMENT',
                        help='a text to look in; default: --file, else standard input')
    parser.add_argument('--model_dir', required=True, metavar='FOLDER',
                        help='folder of a run of finetune_squad.py, one of its checkpoints, or a '
                             'question-answering model saved by transformers')
    parser.add_argument('--file', nargs='+', metavar='FILE',
                        help='text files, a document each; "-": standard input')
    parser.add_argument('--jsonl', metavar='FILE',
                        help='many questions: lines {"question": …, "document": …} or '
                             '{"question": …, "documents": […]}, "id" if you like; "-": standard '
                             'input')
    deployment_options.add_answer_flags(parser)
    options.add_text_output_flags(
        parser, 'a line an answer, or a line of JSON a question', batch_size=24,
        unit='windows')
    options.add_prediction_device_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    options.prepare_mxnet(args.threads)
    from bert.jobs import answering  # imports mxnet, which reads the threads
    answering.run(args)


if __name__ == '__main__':
    run_script(main)
