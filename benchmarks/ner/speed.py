"""Speed of finding entities in sentences of mixed lengths, beside transformers' pipeline.

Both sides have the weights of one run of finetune_ner.py. Each round draws sentences of WNUT-17's
test set, and all contenders tag them one after the other, from text to entities: ours sorts by
length and skips padding, transformers' pipeline pads each batch to its longest, in the order of the
texts. Exit status 1 when ours in bfloat16 is less than 1.9 times as fast as transformers in
bfloat16, where both are measured, and with --agree when the entities in float32 differ. Compare
within one run only, on a machine without other work.
"""
import contextlib
import os
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks import harness

CONTENDERS = ('ours bfloat16', 'ours float32', 'ours int8', 'transformers float32',
              'transformers bfloat16')
MAX_SCORE_DIFFERENCE = 1e-4
# Least ratio of speed (issue 28 of this project)
GOALS = {('ours bfloat16', 'transformers bfloat16'): 1.9}


def make_parser():
    parser = harness.make_parser(__doc__, 'ner-speed.json')
    parser.add_argument('--model_dir', required=True, help='a run of finetune_ner.py')
    parser.add_argument('--contenders', type=harness.comma_list, default=list(CONTENDERS),
                        help='comma-separated; bfloat16 and int8 need a CPU with kernels for them')
    parser.add_argument('--sentences', type=int, default=500, help='a round')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--agree', action='store_true',
                        help='fail if the entities in float32 differ')
    return parser


def read_texts(data_dir):
    from bert.data.ner.sentences import read_tagged_file
    from bert.data.ner.tasks import find_tag_task, locate_tag_task
    path = locate_tag_task(find_tag_task('WNUT17'), data_dir)['test']
    return [' '.join(sentence.words) for sentence in read_tagged_file(path)]


def start_worker(contender, args, weights):
    side, dtype = contender.split()
    if side == 'ours':
        return harness.Worker('ours', 'benchmarks.ner.ours', '--model_dir', args.model_dir,
                              '--dtype', dtype, threads=args.threads)
    return harness.Worker('peer', 'benchmarks.ner.peer', 'speed', '--weights', weights, '--dtype',
                          dtype, threads=args.threads)


def measure(args, weights):
    """({contender: [seconds of each round]}, whether float32 agreed in all rounds)"""
    texts, agrees = read_texts(args.data_dir), True
    with contextlib.ExitStack() as stack:
        workers = {contender: stack.enter_context(start_worker(contender, args, weights))
                   for contender in args.contenders}
        seconds = {contender: [] for contender in workers}
        for round_number in range(args.rounds + 1):
            order = np.random.RandomState(round_number).permutation(len(texts))
            question = {'texts': [texts[i] for i in order[:args.sentences]],
                        'batch_size': args.batch_size}
            answers = {contender: worker.ask(**question) for contender, worker in workers.items()}
            agrees &= has_same_entities(answers)
            if round_number:        # the first one warms up
                for contender, answer in answers.items():
                    seconds[contender].append(answer['seconds'])
                harness.print_round('round %d' % round_number, {
                    contender: args.sentences / values[-1]
                    for contender, values in seconds.items()}, '%.1f/s')
    return seconds, agrees


def has_same_entities(answers):
    """Whether ours and transformers find the same entities in float32, with scores that differ by
    at most `MAX_SCORE_DIFFERENCE`."""
    sides = [answers[name]['entities'] for name in ('ours float32', 'transformers float32')
             if name in answers]
    return len(sides) < 2 or all(
        len(a) == len(b) and all(
            x[:3] == y[:3] and abs(x[3] - y[3]) <= MAX_SCORE_DIFFERENCE for x, y in zip(a, b))
        for a, b in zip(*sides))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, 'transformers')
        subprocess.run([sys.executable, '-m', 'bert.convert_checkpoint', args.model_dir, weights],
                       check=True, stdout=subprocess.DEVNULL)
        seconds, agrees = measure(args, weights)
    first = args.contenders[0]
    summary = {contender: {
        'sentences_per_second': harness.median_and_range([args.sentences / s for s in values]),
        'first_over_it': harness.ratio_range(values, seconds[first])}
        for contender, values in seconds.items()}
    result = harness.make_result(args, speed=summary, same_entities=agrees)
    harness.write_result(args.output, result)
    print('\n%-24s %26s %27s' % ('', 'sentences a second', '%s over it' % first))
    for contender, values in summary.items():
        print('%-24s %26s %27s' % (contender, harness.format_range(
            values['sentences_per_second'], 1), harness.format_range(values['first_over_it'])))
    print(harness.RANGE_NOTE)
    print('entities in float32: %s' % ('equal' if agrees else 'different'))
    harness.warn_if_busy(result)
    misses = ['the entities differ'] * (args.agree and not agrees)
    misses += harness.missed_goals(summary, GOALS)
    if misses:
        sys.exit('missed: ' + '; '.join(misses))


if __name__ == '__main__':
    main()
