"""Dev scores of fine-tuning on SQuAD 1.1 with transformers, and with ours beside them.

Trains transformers with each seed from the same weights on the same file, by its own recipe: its
windows, AdamW with bias correction, shuffled batches padded to their longest, and its own search
for answers. Finished seeds stay in --output_dir, so a run that was killed goes on. Ours is trained
beforehand by finetune_squad.py. The same code scores the predictions of both.
"""
import pathlib
import sys

from benchmarks import harness
from benchmarks.classifier.scores import compare_metric, last_value, print_comparison
from benchmarks.peer_pins import PINS
from bert import files
from bert.data.squad import metric as squad_metric
from bert.data.squad.files import read_squad

RECIPE = ('lr', 'epochs', 'batch_size', 'peer_dtype', 'group_by_length')


def make_parser():
    parser = harness.make_parser(__doc__)
    harness.add_squad_flags(parser)
    parser.add_argument('--seeds', type=harness.int_list, default=[1])
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
    """{seed: {question id: text}}; trains the seeds that have no finished run."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    weights = ours.weights_folder()
    recipe = {name: getattr(args, name) for name in RECIPE}
    recipe.update(peer=list(PINS['peer']),
                  **{name: files.digest_file(path, 'sha256')
                     for name, path in (('train', train), ('dev', dev))})
    return {seed: peer_predictions_of(args, folder / ('SQuAD-peer-seed-%d.json' % seed), recipe,
                                      weights, train, dev, seed)
            for seed in args.seeds}


def peer_predictions_of(args, seed_file, recipe, weights, train, dev, seed):
    """{question id: text} of one seed, from `seed_file` or trained now.

    The folder of the seed gets the same predictions in SQuAD's own format."""
    seed_result = harness.read_json(seed_file)
    if seed_result and seed_result['recipe'] == recipe:
        return seed_result['predictions']
    output = seed_file.with_suffix('.new.json')
    flags = ['--group_by_length'] if args.group_by_length else []
    print('transformers seed %d: training' % seed, flush=True)
    harness.run_worker('peer', 'benchmarks.squad.peer', 'scores', '--weights', weights, '--dtype',
                       args.peer_dtype, '--train', train, '--dev', dev, '--seed', seed, '--lr',
                       args.lr, '--epochs', args.epochs, '--batch_size', args.batch_size,
                       '--output', output, *flags, threads=args.threads)
    seed_result = dict(harness.read_json(output), seed=seed, recipe=recipe)
    predictions = seed_result['predictions']
    harness.write_json(seed_file, seed_result)
    harness.write_json(seed_file.parent / seed_file.stem / 'predictions.json', predictions)
    output.unlink()
    return predictions


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
    predictions = {seed: harness.read_json(folders[seed] / 'predictions.json') for seed in seeds}
    for seed, texts in predictions.items():
        if texts is None:
            sys.exit('--ours: no predictions.json in %s' % folders[seed])
    return predictions


# The comparison


def score(squad, predictions):
    """{seed: [{metric: percent}]}: histories of one epoch, for `compare_metric`."""
    return {seed: [squad_metric.evaluate_v1(squad.answers(), texts)]
            for seed, texts in predictions.items()}


def print_peer_scores(scores):
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
    ours = score(squad, our_predictions(args.ours, args.seeds)) if args.ours else None
    theirs = score(squad, peer_predictions(args, folder, train, dev))
    print_peer_scores(theirs)
    values = {'transformers': theirs}
    if ours:
        values['scores'] = {metric: compare_metric({'ours': ours, 'transformers': theirs}, metric,
                                                   last_value)
                            for metric in ('exact_match', 'f1')}
    harness.write_result(folder / 'SQuAD-scores.json', harness.make_result(args, **values))
    for metric, comparison in values.get('scores', {}).items():
        print_comparison(metric, 'last', comparison)


if __name__ == '__main__':
    main()
