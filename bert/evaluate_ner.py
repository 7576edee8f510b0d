"""Score the entities of one CoNLL file against those of another, as conlleval and seqeval do."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.prediction import EvaluateEntitiesOptions as OPTIONS


def main(arguments=None):
    return jobs.evaluate_entities(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
