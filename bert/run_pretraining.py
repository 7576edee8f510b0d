"""Pre-train BERT on files of create_pretraining_data.py: masked tokens and next sentences."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.pretraining import RunPretrainingOptions as OPTIONS


def main(arguments=None):
    return jobs.pretrain(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
