"""Dev scores of fine-tuning on SQuAD 1.1 with transformers, and with ours beside them.

Trains transformers with each seed from the same weights on the same file, by its own recipe: its
windows, AdamW with bias correction, shuffled batches padded to their longest, and its own search
for answers. A finished seed is kept in --output_dir, so a run that was killed goes on. Ours is
trained beforehand by finetune_squad.py. The predictions of both are scored by the same code.
"""
import pathlib
import sys

from benchmarks import harness
from benchmarks.classifier.scores import compare, last, print_comparison
from bert import files
from bert.data.squad import metric as squad_metric
from bert.data.squad.files import read_squad

RECIPE = ('lr', 'epochs', 'batch_size', 'peer_dtype', 'group_by_length')


def make_parser():
    parser = harness.make_parser(__doc__)
    harness.add_squad_flags(parser)
    parser.add_argument('--seeds', type=harness.seed_list, default=[1])
    parser.add_argument('--lr', type=float, default=1e-4, help='peak learning rate')
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--batch_size', type=int, default=12)
    parser.add_argument('--peer_dtype', choices=('float32', 'bfloat16'), default='bfloat16',
                        help='of transformers\' training; bfloat16 is autocast')
    parser.add_argument('--group_by_length', action='store_true',
                        help='have transformers batch windows of about equal length; its Trainer '
                             'does not by default')
    parser.add_argument('--ours', metavar='RESULTS', nargs='+',
                        help='results.json of finished runs of finetune_squad.py, which are those '
                             'of --seeds; default: transformers alone')
    parser.add_argument('--output_dir', default='scores',
                        help='folder of the result, SQuAD-scores.json, and of finished seeds')
    return parser


# Transformers


def peer_predictions(args, folder, train, dev):
    """{seed: {question id: text}}, trained where no finished run lies."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    weights = ours.weights_folder()
    recipe = {name: getattr(args, name) for name in RECIPE}
    recipe.update(peer=list(harness.PINS['peer']),
                  **{name: files.digest(path, 'sha256')
                     for name, path in (('train', train), ('dev', dev))})
    return {seed: peer_seed(args, folder / ('SQuAD-peer-seed-%d.json' % seed), recipe, weights,
                            train, dev, seed)
            for seed in args.seeds}


def peer_seed(args, kept, recipe, weights, train, dev, seed):
    """{question id: text} of one seed, from the file `kept` or trained now."""
    found = harness.read_json(kept)
    if found and found['recipe'] == recipe:
        return found['predictions']
    output = kept.with_suffix('.new.json')
    grouped = ['--group_by_length'] if args.group_by_length else []
    print('transformers seed %d: training' % seed, flush=True)
    harness.run('peer', 'benchmarks.squad.peer', 'scores', '--weights', weights, '--dtype',
                args.peer_dtype, '--train', train, '--dev', dev, '--seed', seed, '--lr', args.lr,
                '--epochs', args.epochs, '--batch_size', args.batch_size, '--output', output,
                *grouped, threads=args.threads)
    found = dict(harness.read_json(output), seed=seed, recipe=recipe)
    harness.write_json(kept, found)
    harness.write_json(folder_of(kept) / 'predictions.json', found['predictions'])
    output.unlink()
    return found['predictions']


def folder_of(kept):
    """Where the predictions of a seed lie as a file of SQuAD's own kind."""
    return kept.parent / kept.stem


# Ours


def our_predictions(results, seeds):
    """{seed: {question id: text}} of finished runs of finetune_squad.py."""
    folders = {}
    for path in map(pathlib.Path, results):
        report = harness.read_json(path)
        if report is None:
            sys.exit('--ours: no %s' % path)
        folders.update({seed: path.parent / ('seed-%d' % seed) for seed in report['seeds']}
                       if 'seeds' in report else {report['seed']: path.parent})
    if not set(seeds) <= set(folders):
        sys.exit('--ours: no run with seed %s' % min(set(seeds) - set(folders)))
    found = {seed: harness.read_json(folders[seed] / 'predictions.json') for seed in seeds}
    for seed, predictions in found.items():
        if predictions is None:
            sys.exit('--ours: no predictions.json in %s' % folders[seed])
    return found


# The comparison


def score(squad, predictions):
    """{seed: [{metric: percent}]}, in the form that `compare` takes."""
    return {seed: [squad_metric.evaluate(squad.answers(), texts)]
            for seed, texts in predictions.items()}


def print_alone(scores):
    for seed, (values,) in scores.items():
        print('transformers seed %d: %s' % (seed, ', '.join(
            '%s %.2f' % item for item in values.items())), flush=True)


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    train, dev = harness.squad_file(args, 'train'), harness.squad_file(args, 'dev')
    squad = read_squad(dev)
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    mine = score(squad, our_predictions(args.ours, args.seeds)) if args.ours else None
    theirs = score(squad, peer_predictions(args, folder, train, dev))
    print_alone(theirs)
    found = {'transformers': theirs}
    if mine:
        found['scores'] = {metric: compare({'ours': mine, 'transformers': theirs}, metric, last)
                           for metric in ('exact_match', 'f1')}
    result = harness.report(args, **found)
    harness.write_json(folder / 'SQuAD-scores.json', result)
    harness.describe(result)
    for metric, values in found.get('scores', {}).items():
        print_comparison(metric, 'last', values)


if __name__ == '__main__':
    main()
