"""Training speed of ours and of transformers, side by side in one run.

Examples a second of whole training steps (forward, backward, clip, update): ours in bfloat16 and
float32, transformers in float32 and in bfloat16 autocast. Each round draws training examples at
random; all contenders train on those same examples one after the other, each batched in its own
way: ours groups equal lengths, theirs pads random batches to their longest, as its Trainer does.
Compare within one run only; where other work runs, not even that is fair.
"""
import contextlib
import os
import tempfile

import numpy as np

from benchmarks import harness
from bert.data.glue.tasks import find_task

CONTENDERS = ('ours bfloat16', 'ours float32', 'transformers float32', 'transformers bfloat16')


def make_parser():
    parser = harness.make_parser(__doc__, 'finetune_classifier.json')
    parser.add_argument('--tasks', type=harness.comma_list, default=['MRPC', 'STS-B'])
    parser.add_argument('--batches', type=int, default=50,
                        help='training steps a round; ours sorts by length among 50 batches')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--warmup', type=int, default=10, help='steps before the first round')
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--max_len', type=int, default=128)
    parser.add_argument('--seed', type=int, default=1, help='of the examples of each round')
    return parser


def prepare(args, name, path):
    """Write the training examples of a task to `path`; (number of them, outputs, weights)."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    task = find_task(name)
    features = ours.read_features(task, 'train', args.data_dir, args.max_len)
    ours.save_features(path, features)
    return len(features), task.num_outputs, ours.weights_folder()


def start(contender, args, name, path, num_outputs, weights):
    """The waiting `Worker` of a contender."""
    side, dtype = contender.split()
    common = ('--examples', path, '--batch_size', args.batch_size, '--dtype', dtype)
    if side == 'ours':
        return harness.Worker('ours', 'benchmarks.classifier.ours', '--task', name, *common,
                              threads=args.threads)
    return harness.Worker('peer', 'benchmarks.classifier.peer', 'speed', '--weights', weights,
                          '--num_outputs', num_outputs, *common,
                          threads=args.threads)


def measure(args, name):
    """{contender: [examples a second of each round]} of one task."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = os.path.join(folder, 'train.npz')
        number, num_outputs, weights = prepare(args, name, path)
        workers = {contender: stack.enter_context(start(contender, args, name, path, num_outputs,
                                                        weights))
                   for contender in CONTENDERS}
        for worker in workers.values():
            worker.ask(indices=draw(number, args.warmup * args.batch_size, args.seed, 0))
        rates = {contender: [] for contender in CONTENDERS}
        for round_number in range(1, args.rounds + 1):
            indices = draw(number, args.batches * args.batch_size, args.seed, round_number)
            for contender, worker in workers.items():
                rates[contender].append(len(indices) / worker.ask(indices=indices)['seconds'])
            print('%s round %d: %s' % (name, round_number, ', '.join(
                '%s %.1f' % (contender, rate[-1]) for contender, rate in rates.items())),
                flush=True)
    return rates


def draw(number, wanted, seed, round_number):
    """`wanted` of `number` examples in random order, the same for the same round."""
    order = np.random.RandomState([seed, round_number]).permutation(number)
    return order[:wanted].tolist()


def summarize(rates):
    """Median and range of each contender; our fastest over each, round by round."""
    mine = rates[CONTENDERS[0]]
    return {contender: {'examples_per_second': harness.median_and_range(found), 'rounds': found,
                        'ours_over_it': harness.median_and_range(
                            [a / b for a, b in zip(mine, found)])}
            for contender, found in rates.items()}


def print_table(tasks):
    print('\n%-6s %-22s %26s %27s' % ('task', '', 'examples a second', 'ours over it'))
    for name, contenders in tasks.items():
        for contender, found in contenders.items():
            cells = ['%.*f (%.*f–%.*f)' % (digits, value['median'], digits, value['min'],
                                         digits, value['max'])
                     for digits, value in ((1, found['examples_per_second']),
                                           (2, found['ours_over_it']))]
            print('%-6s %-22s %26s %27s' % (name, contender, cells[0], cells[1]))
    print('median (lowest–highest) over the rounds; ratios are taken round by round')


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    tasks = {name: summarize(measure(args, name)) for name in args.tasks}
    result = harness.report(args, tasks=tasks)
    harness.write_json(args.output, result)
    harness.describe(result)
    print_table(tasks)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
