"""Fine-tune BERT on SQuAD with fixed shapes, and export the network as a symbol."""
from bert import jobs
from bert.errors import run_script
from bert.flags.finetuning import StaticFinetuneSquadOptions as OPTIONS
from bert.flags.options import parse


def main(arguments=None):
    return jobs.finetune_static_squad(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
