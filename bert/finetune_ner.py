"""Fine-tune BERT to find entities: on WNUT-17, CoNLL-2003 or your own files."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.token_classification import FinetuneNerOptions as OPTIONS


def main(arguments=None):
    return jobs.finetune_ner(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
