"""Our losses against transformers': same weights, same batches, no dropout, float32.

Both sides train for some steps with the same optimizer and learning rates. Exit status 1 when the
losses of a step differ by 1e-4.
"""
import sys
import tempfile

import numpy as np

from benchmarks import harness
from bert.data.batches import collate, training_batches
from bert.data.glue.tasks import find_task
from bert.train.schedule import linear_warmup_decay

BOUND = 1e-4        # largest difference of two losses that passes


def make_parser():
    parser = harness.make_parser(__doc__, 'parity_classifier.json')
    parser.add_argument('--task', default='MRPC', help='a task of finetune_classifier.py')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--lr', type=float, default=2e-5, help='peak learning rate')
    parser.add_argument('--max_len', type=int, default=128)
    parser.add_argument('--seed', type=int, default=1, help='of the batches and of the head')
    return parser


def make_batches(args, task):
    """The first batches of our training, padded."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    features = ours.read_features(task, 'train', args.data_dir, args.max_len)
    batches = training_batches([example.valid_length for example in features], args.batch_size,
                               args.seed, epoch=0)
    return [collate([features[i] for i in indices], ours.PADDING_ID)
            for indices in batches[:args.steps]]


def write_peer_inputs(path, batches, rates, network):
    """Everything that the peer needs: batches, learning rates and the weights of the head."""
    dense = network.classifier[-1]
    arrays = {'%s_%d' % (name, i): getattr(batch, name) for i, batch in enumerate(batches)
              for name in batch._fields}
    np.savez(path, rates=rates, head_weight=dense.weight.data().asnumpy(),
             head_bias=dense.bias.data().asnumpy(), **arrays)


def train_ours(stepper, batches, rates):
    """[loss of each step]"""
    return [float(stepper.step(step, [batch], rate).loss.asscalar())
            for step, (batch, rate) in enumerate(zip(batches, rates), 1)]


def compare(args):
    """(our losses, transformers' losses), one per step."""
    import mxnet as mx

    from benchmarks.classifier import ours
    task = find_task(args.task)
    mx.random.seed(args.seed)
    network = ours.make_network(task, dropout=0.0)
    network(mx.nd.zeros((1, 1)), mx.nd.zeros((1, 1)), mx.nd.ones((1,)))     # shapes the head
    batches = make_batches(args, task)
    rates = [linear_warmup_decay(step, len(batches), 0.1, args.lr)
             for step in range(1, len(batches) + 1)]
    with tempfile.TemporaryDirectory() as folder:
        inputs_path, losses_path = folder + '/batches.npz', folder + '/losses.npz'
        write_peer_inputs(inputs_path, batches, rates, network)
        our_losses = train_ours(ours.make_stepper(task, network, args.lr, args.seed), batches,
                                rates)
        harness.run_worker('peer', 'benchmarks.classifier.peer', 'losses', '--weights',
                           ours.weights_folder(), '--num_outputs', task.num_outputs, '--batches',
                           inputs_path, '--output', losses_path, threads=args.threads)
        with np.load(losses_path) as archive:
            return np.array(our_losses), archive['losses']


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    ours, theirs = compare(args)
    difference = np.abs(ours - theirs).max()
    result = harness.make_result(args, bound=BOUND, ours=ours.tolist(),
                                 transformers=theirs.tolist(),
                                 largest_difference=float(difference))
    harness.write_result(args.output, result)
    print('\n' + args.task)
    harness.print_losses(zip(ours, theirs))
    is_below = difference < BOUND
    print('largest difference %.1e: %s the bound %.0e'
          % (difference, 'below' if is_below else 'NOT below', BOUND))
    return 0 if is_below else 1


if __name__ == '__main__':
    sys.exit(main())
