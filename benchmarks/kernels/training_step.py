"""Training steps of ours and of PyTorch, side by side in one run: speed and memory.

A step is forward, backward, gradient clipping and AdamW, on a classifier with random weights and
dropout, and one batch of random tokens without padding. Ours computes in bfloat16 and float32,
transformers in float32 and in bfloat16 autocast. In each round, all contenders compute some steps
one after the other, each in a process of its own with the same number of threads. For ours, the
speed of its matrix products is also given as a share of the limit that product_limit.py measures
on this CPU in the same round. Memory is the peak of the process after all rounds.
"""
import contextlib
import pathlib
import tempfile

import numpy as np

from benchmarks import harness
from benchmarks.inference.ours import config_of
from benchmarks.kernels.product_limit import ProductLimit, count_operations, share_of_limit

CONTENDERS = ('ours bfloat16', 'ours float32', 'transformers float32', 'transformers bfloat16')
FORWARD_PASSES = 3      # that a step costs: backward has two products for each of forward


def make_parser():
    parser = harness.make_parser(__doc__, 'training_step.json')
    harness.add_model_flag(parser, default='base')
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--length', type=int, default=128, help='tokens of a text')
    parser.add_argument('--steps', type=int, default=2, help='in a round')
    parser.add_argument('--rounds', type=int, default=6, help='the first of them is warm-up')
    return parser


def start_workers(stack, args, folder):
    """{contender: its worker}"""
    harness.run_worker('ours', 'benchmarks.inference.ours', '--model', args.model, '--write',
                       folder, threads=args.threads)
    workers = {}
    for contender in CONTENDERS:
        side, dtype = contender.split()
        flags = ('--dtype', dtype, '--batch_size', args.batch_size, '--length', args.length)
        command = (('ours', 'benchmarks.kernels.ours_step', '--model', args.model)
                   if side == 'ours' else
                   ('peer', 'benchmarks.kernels.peer_step', '--folder', folder))
        workers[contender] = stack.enter_context(
            harness.Worker(*command, *flags, threads=args.threads))
    return workers


def measure(args, workers, limit):
    """({contender: [answer in each round]}, [limits in each round]) without warm-up."""
    rounds, limits = {contender: [] for contender in workers}, []
    for round_number in range(args.rounds):
        for contender, answers in rounds.items():
            answers.append(workers[contender].ask(steps=args.steps))
        limits.append(limit.measure())
        harness.print_round('round %d' % round_number, {
            contender: answers[-1]['seconds'] for contender, answers in rounds.items()}, '%.2f s')
    return {contender: answers[1:] for contender, answers in rounds.items()}, limits[1:]


def summarize(args, rounds, limits):
    """{contender: {'seconds', 'examples_per_second', 'ours_over_it', 'bytes', and for ours
    'share_of_limit'}}"""
    seconds = {contender: np.array([answer['seconds'] for answer in answers])
               for contender, answers in rounds.items()}
    num_operations = FORWARD_PASSES * count_operations(config_of(args.model),
                                                       [args.length] * args.batch_size)
    result = {}
    for contender, values in seconds.items():
        result[contender] = {
            'seconds': harness.median_and_range(values),
            'examples_per_second': harness.median_and_range(args.batch_size / values),
            'ours_over_it': harness.median_and_range(values / seconds[CONTENDERS[0]]),
            'bytes': rounds[contender][-1]['bytes']}
        side, dtype = contender.split()
        share = share_of_limit(num_operations, values, limits, dtype)
        if side == 'ours' and share:
            result[contender]['share_of_limit'] = share
    return result


def print_table(contenders):
    print('\n%-22s %12s %12s %10s %8s   %s' % ('', 's a step', 'examples/s', '% of limit', 'GB',
                                              'ours bfloat16 over it'))
    for contender, values in contenders.items():
        share = values.get('share_of_limit')
        print('%-22s %12.2f %12.2f %10s %8.2f   %s' % (
            contender, values['seconds']['median'], values['examples_per_second']['median'],
            '%.0f' % (100 * share['median']) if share else '', values['bytes'] / 1e9,
            harness.format_range(values['ours_over_it'])))
    print(harness.RANGE_NOTE)


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        limit = stack.enter_context(ProductLimit(args.threads))
        workers = start_workers(stack, args, pathlib.Path(folder))
        contenders = summarize(args, *measure(args, workers, limit))
    result = harness.make_result(args, contenders=contenders)
    harness.write_result(args.output, result)
    print_table(contenders)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
