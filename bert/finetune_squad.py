"""Fine-tune BERT on SQuAD 1.1 or 2.0 and predict the dev set, or only predict it."""
from bert import jobs
from bert.errors import run_script
from bert.flags.finetuning import FinetuneSquadOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.finetune_squad(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
