"""Pre-train BERT in several processes on one or more machines, with Horovod."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.pretraining import RunPretrainingHorovodOptions as OPTIONS


def main(arguments=None):
    return jobs.pretrain(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
