"""Create examples for pre-training BERT from text: masked tokens and next sentences."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.pretraining import CreatePretrainingDataOptions as OPTIONS


def main(arguments=None):
    return jobs.create_pretraining_data(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
