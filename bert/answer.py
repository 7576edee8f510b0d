"""Answer questions from documents of your own: arguments, files, or standard input."""
from bert.errors import run_script
from bert.flags import common
from bert.flags import deployment as deployment_flags


def make_parser():
    parser = common.Parser(__doc__)
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
    deployment_flags.add_answer_flags(parser)
    common.add_text_output_flags(
        parser, 'a line an answer, or a line of JSON a question', batch_size=24,
        unit='windows')
    common.add_prediction_device_flags(parser)
    return parser


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    common.prepare_mxnet(args.threads)
    from bert.jobs.prediction import question_answering  # imports mxnet, so after prepare_mxnet
    question_answering.predict_answers(args)


if __name__ == '__main__':
    run_script(main)
