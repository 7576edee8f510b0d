"""Answer questions from your own documents: arguments, files, or standard input."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.prediction import AnswerQuestionsOptions as OPTIONS


def main(arguments=None):
    return jobs.predict_answers(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
