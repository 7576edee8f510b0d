"""Score a predictions.json by the rules of the official SQuAD 2.0 evaluator."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.prediction import EvaluateSquadOptions as OPTIONS


def main(arguments=None):
    return jobs.evaluate_predictions(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
