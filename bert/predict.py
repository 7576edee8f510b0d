"""Predict on your own texts: labels, scores, entities, words for masks, ranked documents."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.prediction import PredictOptions as OPTIONS


def main(arguments=None):
    return jobs.predict_labels(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
