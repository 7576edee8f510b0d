"""Dev scores of fine-tuning with transformers and with ours, seed by seed.

Both sides train with each seed from the same weights on the same examples, each by its own recipe:
transformers with AdamW with bias correction and shuffled batches padded to their longest, ours by
finetune_classifier.py. Finished seeds stay in --output_dir, so a run that was killed goes on. The
same code scores both sides. The last epoch counts: the best epoch is chosen on dev itself, which
flatters.
"""
import os
import pathlib
import statistics
import subprocess
import sys

import numpy as np

from benchmarks import harness
from benchmarks.peer_pins import PINS
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
    """The flags of `train_ours`. epochs: the default."""
    parser.add_argument('--task', default='MRPC', help='a task of finetune_classifier.py')
    parser.add_argument('--seeds', type=harness.int_list, default=[1, 2, 3, 4, 5])
    parser.add_argument('--lr', type=float, default=5e-5, help='peak learning rate')
    parser.add_argument('--epochs', type=int, default=epochs)
    parser.add_argument('--optimizer', default='adamw',
                        help='of ours, where it is trained here; transformers has AdamW')
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--max_len', type=int, default=128)


# Transformers


def peer_histories(args, folder):
    """{seed: [{metric: value} of each epoch]}; trains the seeds that have no finished run."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    task = find_task(args.task)
    train, dev = (ours.read_features(task, segment, args.data_dir, args.max_len)
                  for segment in ('train', 'dev'))
    paths = [folder / ('%s-%s.npz' % (args.task, segment)) for segment in ('train', 'dev')]
    for path, features in zip(paths, (train, dev)):
        ours.save_features(path, features)
    weights = ours.weights_folder()
    return {seed: peer_history(args, folder / ('%s-peer-seed-%d.json' % (args.task, seed)), weights,
                               paths, task, dev, seed)
            for seed in args.seeds}


def peer_history(args, seed_file, weights, paths, task, dev, seed):
    """[{metric: value} of each epoch] of one seed, from `seed_file` or trained now."""
    recipe = {name: getattr(args, name) for name in ('task', 'lr', 'epochs', 'batch_size',
                                                     'max_len', 'peer_dtype')}
    recipe['peer'] = list(PINS['peer'])
    seed_result = harness.read_json(seed_file)
    if seed_result and seed_result['recipe'] == recipe:
        return seed_result['history']
    outputs_path = seed_file.with_suffix('.npz')
    harness.run_worker('peer', 'benchmarks.classifier.peer', 'scores', '--weights', weights,
                       '--num_outputs', task.num_outputs, '--dtype', args.peer_dtype,
                       '--examples', paths[0], '--dev', paths[1], '--seed', seed,
                       '--lr', args.lr, '--epochs', args.epochs, '--batch_size', args.batch_size,
                       '--output', outputs_path, threads=args.threads)
    with np.load(str(outputs_path)) as archive:
        history = [score(task, dev, outputs) for outputs in archive['outputs']]
        seconds = float(archive['seconds'])
    harness.write_json(seed_file, {'seed': seed, 'recipe': recipe, 'history': history,
                                   'training_seconds': seconds})
    print('transformers seed %d: %s' % (seed, history[-1]), flush=True)
    return history


def score(task, dev, outputs):
    """{metric: value} of the outputs on dev after an epoch."""
    metric = Metric(task.metrics)
    metric.update(np.array([feature.label for feature in dev]), outputs)
    return dict(metric.get())


# Ours


def train_ours(args, folder, *flags, environ=None):
    """Run finetune_classifier.py with the same options and `flags`; path of its results.json.
    environ: additional environment variables."""
    command = [sys.executable, '-m', 'bert.finetune_classifier', '--task_name', args.task,
               '--bert_model', harness.WEIGHTS[0], '--bert_dataset', harness.WEIGHTS[1],
               '--seeds', ','.join(map(str, args.seeds)), '--output_dir', str(folder)]
    for name in ('lr', 'epochs', 'batch_size', 'max_len', 'threads', 'optimizer'):
        command += ['--' + name, str(getattr(args, name))]
    if args.data_dir:
        command += ['--data_dir', os.path.abspath(args.data_dir)]
    command += ['--resume'] if (folder / 'options.json').exists() else []
    command += flags
    if subprocess.run(command, env=dict(os.environ, **environ or {})).returncode:
        sys.exit('finetune_classifier.py failed')
    return folder / 'results.json'


def our_histories(results, seeds):
    """{seed: [{metric: value} of each epoch]} of a finished run of finetune_classifier.py."""
    histories = {}
    for seed in seeds:
        path = pathlib.Path(results).parent / ('seed-%d' % seed) / 'results.json'
        report = harness.read_json(path)
        if report is None:
            sys.exit('--ours: no %s' % path)
        histories[seed] = [next(iter(entry['metrics'].values())) for entry in report['history']]
    return histories


# The comparison


def compare_metric(histories, metric, choose):
    """Paired differences of one metric between two sides, the first minus the second.

    histories: {side: {seed: [{metric: value} of each epoch]}}; choose: the values of all epochs →
    the value that counts."""
    seeds = sorted(next(iter(histories.values())))
    values = {side: [choose([epoch[metric] for epoch in history[seed]]) for seed in seeds]
              for side, history in histories.items()}
    differences = [a - b for a, b in zip(*values.values())]
    return {'seeds': seeds, 'values': values, 'differences': differences,
            'mean': statistics.mean(differences), 'interval': interval(differences)}


def interval(differences):
    """The 95 % t-interval of the mean; None with fewer than two differences."""
    from scipy import stats
    count = len(differences)
    if count < 2:
        return None
    half = stats.t.ppf(0.975, count - 1) * statistics.stdev(differences) / count ** 0.5
    mean = statistics.mean(differences)
    return [mean - half, mean + half]


def last_value(values):
    return values[-1]


def compare_metrics(histories):
    """{metric: {'last': `compare_metric`'s result, 'best': the same of the best epochs}}"""
    epoch = next(iter(next(iter(histories.values())).values()))[0]
    return {metric: {'last': compare_metric(histories, metric, last_value),
                     'best': compare_metric(histories, metric, max)} for metric in epoch}


def print_scores(scores):
    for metric, epochs in scores.items():
        for epoch, comparison in epochs.items():
            print_comparison(metric, epoch, comparison)


def print_comparison(metric, epoch, comparison):
    values = comparison['values']
    print('\n%s, %s epoch\n%6s %9s %13s %11s' % (metric, epoch, 'seed', *values, 'difference'))
    for row in zip(comparison['seeds'], *values.values(), comparison['differences']):
        print('%6d %9.4f %13.4f %+11.4f' % row)
    means = map(statistics.mean, values.values())
    print('%6s %9.4f %13.4f %+11.4f' % ('mean', *means, comparison['mean']))
    if comparison['interval']:
        print('95 %% interval of the mean difference: %+.4f to %+.4f'
              % tuple(comparison['interval']))


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    theirs = peer_histories(args, folder)
    if args.peer_only:
        return
    ours = our_histories(args.ours or train_ours(args, folder / ('%s-ours' % args.task)),
                         args.seeds)
    scores = compare_metrics({'ours': ours, 'transformers': theirs})
    harness.write_result(folder / ('%s-scores.json' % args.task),
                         harness.make_result(args, scores=scores))
    print_scores(scores)


if __name__ == '__main__':
    main()
