"""Training steps of ours and of PyTorch, side by side in one run: speed and memory.

Forward, backward, the bound of the gradient's norm and AdamW, on a classifier with random weights
and dropout, on one batch of random tokens without padding; ours in bfloat16 and float32,
transformers in float32 and in bfloat16 autocast. In each round all compute some steps one after the
other, in a process of its own with the same threads. For ours it tells how much of what this
CPU's products reach alone (product_limit.py), in the same round, its products reach. Memory is the
most that a process had after all rounds.
"""
import contextlib
import pathlib
import tempfile

import numpy as np

from benchmarks import harness
from benchmarks.inference.ours import config_of
from benchmarks.kernels.product_limit import Limit, operations

CONTENDERS = ('ours bfloat16', 'ours float32', 'transformers float32', 'transformers bfloat16')
PASSES = 3      # in forward passes: backward has two products for each of forward


def make_parser():
    parser = harness.make_parser(__doc__, 'training_step.json')
    parser.add_argument('--model', choices=('minilm', 'base'), default='base',
                        help='sizes of the network')
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--length', type=int, default=128, help='tokens of a text')
    parser.add_argument('--steps', type=int, default=2, help='in a round')
    parser.add_argument('--rounds', type=int, default=6, help='the first of them is warm-up')
    return parser


def start(stack, args, folder):
    """{contender: its worker}"""
    harness.run('ours', 'benchmarks.inference.ours', '--model', args.model, '--write', folder,
                threads=args.threads)
    workers = {}
    for contender in CONTENDERS:
        side, dtype = contender.split()
        given = ('--dtype', dtype, '--batch_size', args.batch_size, '--length', args.length)
        command = (('ours', 'benchmarks.kernels.ours_step', '--model', args.model)
                   if side == 'ours' else
                   ('peer', 'benchmarks.kernels.peer_step', '--folder', folder))
        workers[contender] = stack.enter_context(
            harness.Worker(*command, *given, threads=args.threads))
    return workers


def measure(args, workers, limit):
    """({contender: [answer in each round]}, [limits in each round])"""
    found, limits = {contender: [] for contender in workers}, []
    for number in range(args.rounds):
        for contender, answers in found.items():
            answers.append(workers[contender].ask(steps=args.steps))
        limits.append(limit.measure())
        print('round %d: %s' % (number, ', '.join('%s %.2f s' % (contender, answers[-1]['seconds'])
                                                  for contender, answers in found.items())),
              flush=True)
    return {contender: answers[1:] for contender, answers in found.items()}, limits[1:]


def summarize(args, found, limits):
    """{contender: what came out}"""
    seconds = {contender: np.array([one['seconds'] for one in answers])
               for contender, answers in found.items()}
    result = {}
    for contender, values in seconds.items():
        result[contender] = {
            'seconds': harness.median_and_range(values),
            'examples_per_second': harness.median_and_range(args.batch_size / values),
            'ours_over_it': harness.median_and_range(values / seconds[CONTENDERS[0]]),
            'bytes': found[contender][-1]['bytes']}
        side, dtype = contender.split()
        if side == 'ours' and all(dtype in one for one in limits):
            needed = PASSES * operations(config_of(args.model), [args.length] * args.batch_size)
            result[contender]['share_of_limit'] = harness.median_and_range(
                needed / 1e9 / values / [one[dtype] for one in limits])
    return result


def show(found):
    print('\n%-22s %12s %12s %10s %8s   %s' % ('', 's a step', 'examples/s', '% of limit', 'GB',
                                              'ours bfloat16 over it'))
    for contender, one in found.items():
        share, ratio = one.get('share_of_limit'), one['ours_over_it']
        print('%-22s %12.2f %12.2f %10s %8.2f   %.2f (%.2f–%.2f)' % (
            contender, one['seconds']['median'], one['examples_per_second']['median'],
            '%.0f' % (100 * share['median']) if share else '', one['bytes'] / 1e9,
            ratio['median'], ratio['min'], ratio['max']))
    print('median (lowest–highest) over the rounds; ratios are taken round by round')


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        limit = stack.enter_context(Limit(args.threads))
        workers = start(stack, args, pathlib.Path(folder))
        found = summarize(args, *measure(args, workers, limit))
    result = harness.report(args, contenders=found)
    harness.write_json(args.output, result)
    harness.describe(result)
    show(found)
    harness.warn_if_busy(result)


if __name__ == '__main__':
    main()
