"""Serve models over HTTP, with a page to try them: vectors, labels, scores, answers, entities."""
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.serving import ServingOptions as OPTIONS
from bert.serving import serve


def main(arguments=None):
    serve(*parse(OPTIONS, __doc__, arguments))


if __name__ == '__main__':
    run_script(main)
