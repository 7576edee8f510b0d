"""Export a fine-tuned BERT as a symbol that MXNet runs without its Python class."""
from bert import jobs
from bert.errors import run_script
from bert.flags.exporting import ExportOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.export_symbol(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
