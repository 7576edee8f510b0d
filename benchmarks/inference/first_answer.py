"""The time from the start of a process to its first label, vector and answer, ours and others'.

Both sides open the same folder of MiniLM, with a random head for labels and for answers, by the
call that their pages print first: ours `bert.open`, theirs `pipeline` and `AutoModel…` of
transformers, and `SentenceTransformer`. A process is started, and the clock stops when its first
result is printed. Each round takes all contenders in turn. Warm: the files are in the system's
cache; --cold drops those of the environments and the model from it before each process, which
takes root. Compare within one run only, on a machine without other work.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import harness

PEER = 'peer-ranking'
# {contender: (environment, module)}
SIDES = {'ours': ('ours', 'benchmarks.inference.first_answer_ours'),
         'theirs': (PEER, 'benchmarks.inference.first_answer_peer')}
# {kind: (architecture, {tensor of the head: shape}) of the model, None for MiniLM as it is}
HEADS = {
    'label': ('BertForSequenceClassification', {'classifier.weight': (2, harness.WEIGHTS_WIDTH),
                                                'classifier.bias': (2,)}),
    'vector': None,
    'answer': ('BertForQuestionAnswering', {'qa_outputs.weight': (2, harness.WEIGHTS_WIDTH),
                                            'qa_outputs.bias': (2,)})}
TEXT, QUESTION = 'A film of quiet wonder .', 'What is it ?'
DROP_CACHES = pathlib.Path('/proc/sys/vm/drop_caches')
GOAL = 2.5      # times as fast as theirs


def make_parser():
    parser = harness.make_parser(__doc__, 'first-answer.json')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--cold', action='store_true', help='drop the system\'s cache of files '
                                                            'before each process; takes root')
    return parser


def write_model(kind, folder):
    """Write MiniLM with a random head; returns the folder. MiniLM itself for a kind without one."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    if HEADS[kind] is None:
        return ours.weights_folder()
    return ours.write_with_head(folder, *HEADS[kind])


def seconds_to_answer(side, kind, folder, threads):
    """Seconds from the start of a process to the line with its result."""
    environment, module = SIDES[side]
    command = harness.worker_command(environment, module, kind, folder, TEXT, QUESTION)
    started = time.perf_counter()
    with subprocess.Popen(command, env=harness.worker_environ(threads), stdout=subprocess.PIPE,
                          text=True) as process:
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        process.communicate()
    if process.returncode or not line.startswith('result: '):
        sys.exit('%s failed' % ' '.join(map(str, command)))
    return seconds


def measure(args, folders):
    """{kind: {side: [seconds of each round]}}; the first round is warm-up, unless it is cold."""
    seconds = {kind: {side: [] for side in SIDES} for kind in folders}
    for round_number in range(args.rounds + (not args.cold)):
        for kind, folder in folders.items():
            for side in SIDES:
                if args.cold:
                    os.sync()
                    DROP_CACHES.write_text('3')
                taken = seconds_to_answer(side, kind, folder, args.threads)
                if round_number or args.cold:
                    seconds[kind][side].append(taken)
    return seconds


def print_table(seconds):
    print('%-8s  %-22s  %-22s  %s' % ('first', 'ours, s', 'theirs, s', 'ratio'))
    for kind, sides in seconds.items():
        print('%-8s  %-22s  %-22s  %s' % (
            kind, *(harness.format_range(harness.median_and_range(sides[side])) for side in SIDES),
            harness.format_range(harness.ratio_range(sides['theirs'], sides['ours']))))
    print(harness.RANGE_NOTE)


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folders = {kind: write_model(kind, pathlib.Path(scratch) / kind) for kind in HEADS}
        seconds = measure(args, folders)
    harness.write_result(args.output, harness.make_result(args, peer=PEER, seconds=seconds))
    print_table(seconds)
    slow = [kind for kind, sides in seconds.items()
            if harness.ratio_range(sides['theirs'], sides['ours'])['median'] < GOAL]
    if slow:
        sys.exit('less than %g times as fast: %s' % (GOAL, ', '.join(slow)))


if __name__ == '__main__':
    main()
