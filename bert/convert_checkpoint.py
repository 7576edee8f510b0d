"""Convert a BERT model of transformers into a Gluon checkpoint folder, or a Gluon model back."""
from bert import jobs
from bert.errors import run_script
from bert.flags.exporting import ConvertCheckpointOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.convert_checkpoint(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
