"""Training speed of ours and of transformers, side by side in one run.

Examples per second of whole training steps (forward, backward, clip, update): ours in bfloat16 and
float32, transformers in float32 and in bfloat16 autocast. Each round draws training examples at
random, and all contenders train on these examples one after the other, in random batches. Theirs
are padded to their longest, as by its Trainer; the fused operators of ours skip padding. Compare
within one run only, on a machine without other work.
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


def write_examples(args, name, path):
    """Write a task's training examples to `path`; (number of examples, of outputs, weights)."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    task = find_task(name)
    features = ours.read_features(task, 'train', args.data_dir, args.max_len)
    ours.save_features(path, features)
    return len(features), task.num_outputs, ours.weights_folder()


def start_worker(contender, args, name, path, num_outputs, weights):
    """The `Worker` of a contender."""
    side, dtype = contender.split()
    flags = ('--examples', path, '--batch_size', args.batch_size, '--dtype', dtype)
    if side == 'ours':
        return harness.Worker('ours', 'benchmarks.classifier.ours', '--task', name, *flags,
                              threads=args.threads)
    return harness.Worker('peer', 'benchmarks.classifier.peer', 'speed', '--weights', weights,
                          '--num_outputs', num_outputs, *flags, threads=args.threads)


def measure(args, name):
    """{contender: [examples a second of each round]} of one task."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        path = os.path.join(folder, 'train.npz')
        num_examples, num_outputs, weights = write_examples(args, name, path)
        workers = {contender: stack.enter_context(
            start_worker(contender, args, name, path, num_outputs, weights))
            for contender in CONTENDERS}
        for worker in workers.values():
            worker.ask(indices=draw_indices(num_examples, args.warmup * args.batch_size,
                                            args.seed, 0))
        rates = {contender: [] for contender in CONTENDERS}
        for round_number in range(1, args.rounds + 1):
            indices = draw_indices(num_examples, args.batches * args.batch_size, args.seed,
                                   round_number)
            for contender, worker in workers.items():
                rates[contender].append(len(indices) / worker.ask(indices=indices)['seconds'])
            harness.print_round('%s round %d' % (name, round_number), {
                contender: values[-1] for contender, values in rates.items()}, '%.1f')
    return rates


def draw_indices(num_examples, count, seed, round_number):
    """`count` of `num_examples` indices in random order, always the same for a round."""
    order = np.random.RandomState([seed, round_number]).permutation(num_examples)
    return order[:count].tolist()


def summarize(rates):
    """Median and range of each contender, and of our fastest over it, round by round."""
    ours = rates[CONTENDERS[0]]
    return {contender: {'examples_per_second': harness.median_and_range(values), 'rounds': values,
                        'ours_over_it': harness.ratio_range(ours, values)}
            for contender, values in rates.items()}


def print_table(tasks):
    print('\n%-6s %-22s %26s %27s' % ('task', '', 'examples a second', 'ours over it'))
    for name, contenders in tasks.items():
        for contender, summary in contenders.items():
            print('%-6s %-22s %26s %27s' % (
                name, contender, harness.format_range(summary['examples_per_second'], 1),
                harness.format_range(summary['ours_over_it'])))
    print(harness.RANGE_NOTE)


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    tasks = {name: summarize(measure(args, name)) for name in args.tasks}
    result = harness.make_result(args, tasks=tasks)
    harness.write_result(args.output, result)
    print_table(tasks)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
