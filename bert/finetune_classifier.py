"""Fine-tune BERT on a sentence or sentence-pair task: GLUE, Chinese tasks, or your own files."""
from bert import jobs
from bert.errors import run_script
from bert.flags.finetuning import FinetuneClassifierOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.finetune_classifier(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
