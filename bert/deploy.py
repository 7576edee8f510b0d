"""Run an exported model: label texts or answer questions, score a dev set, or measure latency."""
from bert import jobs
from bert.errors import run_script
from bert.flags.options import parse
from bert.flags.prediction import DeployOptions as OPTIONS


def main(arguments=None):
    return jobs.deploy(*parse(OPTIONS, __doc__, arguments)).exit_status


if __name__ == '__main__':
    run_script(main)
