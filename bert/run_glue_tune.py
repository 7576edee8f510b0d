"""Fine-tune, evaluate and tune BERT on a GLUE task, with the flags of lpot's BERT example."""
from bert import jobs
from bert.errors import run_script
from bert.flags.lpot_example import RunGlueTuneOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.run_glue(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
