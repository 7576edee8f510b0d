"""Dev scores of fine-tuning with transformers and with ours, seed by seed.

Trains transformers with each seed from the same weights on the same examples, each side by its
own recipe: theirs is AdamW with bias correction and shuffled batches padded to their longest,
ours is what finetune_classifier.py does. A finished seed is kept in --output_dir, so a run that
was killed goes on. Both sides' scores come from the same code. The last epoch is what counts:
the best epoch is chosen on dev itself, which flatters.
"""
import os
import pathlib
import statistics
import subprocess
import sys

import numpy as np

from benchmarks import harness
from bert.data.glue.tasks import find_task
from bert.train.metrics import Metric


def make_parser():
    parser = harness.make_parser(__doc__)
    add_recipe_flags(parser, epochs=3)
    parser.add_argument('--peer_dtype', choices=('float32', 'bfloat16'), default='bfloat16',
                        help='of transformers; bfloat16 is autocast')
    parser.add_argument('--ours', metavar='RESULTS',
                        help='results.json of a finished run of ours with --seeds; default: '
                             'train here')
    parser.add_argument('--peer_only', action='store_true', help='train transformers, no more')
    parser.add_argument('--output_dir', default='scores',
                        help='folder of the result, <task>-scores.json, and of finished seeds')
    return parser


def add_recipe_flags(parser, epochs):
    """How `train_ours` trains. epochs: the default."""
    parser.add_argument('--task', default='MRPC', help='a task of finetune_classifier.py')
    parser.add_argument('--seeds', type=harness.seed_list, default=[1, 2, 3, 4, 5])
    parser.add_argument('--lr', type=float, default=5e-5, help='peak learning rate')
    parser.add_argument('--epochs', type=int, default=epochs)
    parser.add_argument('--optimizer', default='adamw',
                        help='of ours, where it is trained here; transformers has AdamW')
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--max_len', type=int, default=128)


# Transformers


def peer_history(args, folder):
    """{seed: [{metric: value} of each epoch]}, trained where no finished run lies."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    task = find_task(args.task)
    train, dev = (ours.read_features(task, segment, args.data_dir, args.max_len)
                  for segment in ('train', 'dev'))
    paths = [folder / ('%s-%s.npz' % (args.task, segment)) for segment in ('train', 'dev')]
    for path, features in zip(paths, (train, dev)):
        ours.save_features(path, features)
    weights = ours.weights_folder()
    return {seed: peer_seed(args, kept_file(args, folder, seed), weights, paths, task, dev,
                            seed)
            for seed in args.seeds}


def kept_file(args, folder, seed):
    return folder / ('%s-peer-seed-%d.json' % (args.task, seed))


def peer_seed(args, kept, weights, paths, task, dev, seed):
    """[{metric: value} of each epoch] of one seed, from the file `kept` or trained now."""
    recipe = {name: getattr(args, name) for name in ('task', 'lr', 'epochs', 'batch_size',
                                                     'max_len', 'peer_dtype')}
    recipe['peer'] = list(harness.PINS['peer'])
    found = harness.read_json(kept)
    if found and found['recipe'] == recipe:
        return found['history']
    outputs = kept.with_suffix('.npz')
    harness.run('peer', 'benchmarks.classifier.peer', 'scores', '--weights', weights,
                '--num_outputs', task.num_outputs, '--dtype', args.peer_dtype,
                '--examples', paths[0], '--dev', paths[1], '--seed', seed,
                '--lr', args.lr, '--epochs', args.epochs, '--batch_size', args.batch_size,
                '--output', outputs, threads=args.threads)
    with np.load(str(outputs)) as saved:
        history = [score(task, dev, epoch) for epoch in saved['outputs']]
        seconds = float(saved['seconds'])
    harness.write_json(kept, {'seed': seed, 'recipe': recipe, 'history': history,
                              'training_seconds': seconds})
    print('transformers seed %d: %s' % (seed, history[-1]), flush=True)
    return history


def score(task, dev, outputs):
    metric = Metric(task.metrics)
    metric.update(np.array([feature.label for feature in dev]), outputs)
    return dict(metric.get())


# Ours


def train_ours(args, folder, *more, environ=None):
    """Run finetune_classifier.py with the same options and `more`; path of its results.json.
    environ: environment variables beside ours."""
    command = [sys.executable, '-m', 'bert.finetune_classifier', '--task_name', args.task,
               '--bert_model', harness.WEIGHTS[0], '--bert_dataset', harness.WEIGHTS[1],
               '--seeds', ','.join(map(str, args.seeds)), '--output_dir', str(folder)]
    for name in ('lr', 'epochs', 'batch_size', 'max_len', 'threads', 'optimizer'):
        command += ['--' + name, str(getattr(args, name))]
    if args.data_dir:
        command += ['--data_dir', os.path.abspath(args.data_dir)]
    command += ['--resume'] if (folder / 'options.json').exists() else []
    command += more
    if subprocess.run(command, env=dict(os.environ, **environ or {})).returncode:
        sys.exit('finetune_classifier.py failed')
    return folder / 'results.json'


def our_history(results, seeds):
    """{seed: [{metric: value} of each epoch]} of a finished run of finetune_classifier.py."""
    found = {}
    for seed in seeds:
        path = pathlib.Path(results).parent / ('seed-%d' % seed) / 'results.json'
        report = harness.read_json(path)
        if report is None:
            sys.exit('--ours: no %s' % path)
        found[seed] = [next(iter(entry['metrics'].values())) for entry in report['history']]
    return found


# The comparison


def compare(histories, metric, pick):
    """Paired differences (the first minus the second) of one metric; histories: {'ours': {seed:
    history}, another's name: …}, pick: history → value."""
    seeds = sorted(next(iter(histories.values())))
    values = {name: [pick([epoch[metric] for epoch in side[seed]]) for seed in seeds]
              for name, side in histories.items()}
    differences = [a - b for a, b in zip(*values.values())]
    return {'seeds': seeds, 'values': values, 'differences': differences,
            'mean': statistics.mean(differences), 'interval': interval(differences)}


def interval(differences):
    """The 95 % t-interval of the mean; None with fewer than two."""
    from scipy import stats
    number = len(differences)
    if number < 2:
        return None
    half = stats.t.ppf(0.975, number - 1) * statistics.stdev(differences) / number ** 0.5
    mean = statistics.mean(differences)
    return [mean - half, mean + half]


def last(values):
    return values[-1]


def compare_all(histories):
    """{metric: {'last': …, 'best': …}} of `compare`, for all metrics."""
    epoch = next(iter(next(iter(histories.values())).values()))[0]
    return {metric: {'last': compare(histories, metric, last),
                     'best': compare(histories, metric, max)} for metric in epoch}


def print_scores(scores):
    for metric, epochs in scores.items():
        for epoch, found in epochs.items():
            print_comparison(metric, epoch, found)


def print_comparison(metric, epoch, found):
    names = list(found['values'])
    print('\n%s, %s epoch\n%6s %9s %13s %11s' % (metric, epoch, 'seed', *names, 'difference'))
    for row in zip(found['seeds'], *found['values'].values(), found['differences']):
        print('%6d %9.4f %13.4f %+11.4f' % row)
    means = map(statistics.mean, found['values'].values())
    print('%6s %9.4f %13.4f %+11.4f' % ('mean', *means, found['mean']))
    if found['interval']:
        print('95 %% interval of the mean difference: %+.4f to %+.4f' % tuple(found['interval']))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    theirs = peer_history(args, folder)
    if args.peer_only:
        return
    ours = our_history(args.ours or train_ours(args, folder / ('%s-ours' % args.task)), args.seeds)
    scores = compare_all({'ours': ours, 'transformers': theirs})
    result = harness.report(args, scores=scores)
    harness.write_json(folder / ('%s-scores.json' % args.task), result)
    harness.describe(result)
    print_scores(scores)


if __name__ == '__main__':
    main()
