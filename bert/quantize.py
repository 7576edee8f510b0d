"""Make an INT8 model for CPUs from a fine-tuned BERT: calibrate it, or tune it to a goal."""
from bert import jobs
from bert.errors import run_script
from bert.flags.int8 import QuantizeOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.quantize(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
