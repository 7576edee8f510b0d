"""Export a question-answering BERT with fixed shapes as a symbol, and time it."""
from bert import jobs
from bert.errors import run_script
from bert.flags.exporting import StaticExportOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.export_static_squad(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
