"""Dev scores of rerankers that sentence-transformers and ours train, seed by seed.

Both sides train a cross-encoder on the STS benchmark with each seed, from the same weights with a
new head, by binary cross-entropy of its sigmoid: ours by finetune_classifier.py --ranking,
sentence-transformers' CrossEncoder by its BinaryCrossEntropyLoss and AdamW, in shuffled batches.
Finished seeds stay in --output_dir, so a run that was killed goes on. The same code scores both
sides. The last epoch counts: the best epoch is chosen on dev itself, which flatters.
"""
import os
import pathlib

import numpy as np

from benchmarks import harness
from benchmarks.classifier import scores as classifier_scores
from benchmarks.peer_pins import PINS
from bert.data.batches import subsample
from bert.data.glue.download import locate_task
from bert.data.glue.tasks import find_task
from bert.data.text.readers import read_examples
from bert.train.metrics import Metric

PEER = 'peer-ranking'


def make_parser():
    parser = harness.make_parser(__doc__)
    classifier_scores.add_recipe_flags(parser, epochs=3)
    parser.set_defaults(task='STS-B', seeds=[1, 2, 3])
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='bfloat16',
                        help='of either side; of theirs, bfloat16 is autocast')
    parser.add_argument('--max_train_samples', type=int, metavar='N',
                        help='train on N examples, drawn at random')
    parser.add_argument('--output_dir', default='ranking-scores',
                        help='folder of the result, STS-B-scores.json, and of finished seeds')
    return parser


def write_pairs(args, folder, segment):
    """Write [[text, text, share of the highest score]] of a segment; returns the path."""
    task = find_task(args.task).as_ranking()
    encode = task.label_encoder()
    examples, _ = read_examples(locate_task(task, args.data_dir)[segment],
                                task.segments[segment].table, encode)
    if segment == 'train':
        examples = subsample(examples, args.max_train_samples)
    path = folder / (segment + '.json')
    harness.write_json(path, [[*example.texts, float(encode(example.label))]
                              for example in examples])
    return path


def peer_histories(args, folder):
    """{seed: [{metric: value} of each epoch]}; trains the seeds that have no finished run."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    paths = [write_pairs(args, folder, segment) for segment in ('train', 'dev')]
    weights = ours.weights_folder()
    return {seed: _peer_history(args, folder / ('peer-seed-%d.json' % seed), weights, paths, seed)
            for seed in args.seeds}


def _peer_history(args, seed_file, weights, paths, seed):
    recipe = {name: getattr(args, name) for name in (
        'task', 'lr', 'epochs', 'batch_size', 'max_len', 'dtype', 'max_train_samples')}
    recipe['peer'] = list(PINS[PEER])
    seed_result = harness.read_json(seed_file)
    if seed_result and seed_result['recipe'] == recipe:
        return seed_result['history']
    output = seed_file.with_suffix('.npz')
    harness.run_worker(PEER, 'benchmarks.ranking.peer', 'scores', '--weights', weights, '--train',
                       paths[0], '--dev', paths[1], '--seed', seed, '--lr', args.lr, '--epochs',
                       args.epochs, '--batch_size', args.batch_size, '--max_len', args.max_len,
                       '--dtype', args.dtype, '--output', output, threads=args.threads)
    labels = np.array([row[2] for row in harness.read_json(paths[1])])
    with np.load(str(output)) as archive:
        history = [score_epoch(labels, values) for values in archive['scores']]
    harness.write_json(seed_file, {'seed': seed, 'recipe': recipe, 'history': history})
    print('sentence-transformers seed %d: %s' % (seed, history[-1]), flush=True)
    return history


def score_epoch(labels, scores):
    """{metric: value} of the scores (examples,) on dev after an epoch."""
    metric = Metric(('pearsonr', 'spearmanr'))
    metric.update(labels, scores[:, None])
    return dict(metric.get())


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    flags = ['--ranking', '--dtype', args.dtype]
    if args.max_train_samples:
        flags += ['--max_train_samples', str(args.max_train_samples)]
    theirs = peer_histories(args, folder)
    ours = classifier_scores.our_histories(
        classifier_scores.train_ours(args, folder / 'ours', *flags), args.seeds)
    scores = classifier_scores.compare_metrics({'ours': ours, 'sentence-transformers': theirs})
    harness.write_result(os.path.join(folder, '%s-scores.json' % args.task),
                         harness.make_result(args, peer=PEER, scores=scores))
    classifier_scores.print_scores(scores)


if __name__ == '__main__':
    main()
