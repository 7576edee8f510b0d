"""Entity F1 on dev of fine-tuning with transformers and with ours, seed by seed.

Both sides train with each seed from the same weights on the words of WNUT-17, each by its own
recipe and with its own tokenizer: transformers as its token-classification example does (AdamW, a
label on the first piece of each word, batches padded to their longest), ours by finetune_ner.py.
Finished seeds stay in --output_dir, so a run that was killed goes on. The same code scores both
sides. The last epoch counts: the best epoch is chosen on dev itself, which flatters.
"""
import os
import pathlib
import subprocess
import sys

from benchmarks import harness
from benchmarks.classifier.scores import compare_metrics, our_histories, print_scores
from benchmarks.peer_pins import PINS
from bert.data.ner.metric import EntityScore
from bert.data.ner.schemes import make_labels
from bert.data.ner.sentences import read_tagged_file
from bert.data.ner.tasks import find_tag_task, locate_tag_task

METRICS = 'f1', 'precision', 'recall'


def make_parser():
    parser = harness.make_parser(__doc__)
    parser.add_argument('--task', default='WNUT17', help='a task of finetune_ner.py')
    parser.add_argument('--seeds', type=harness.int_list, default=[1, 2, 3])
    parser.add_argument('--lr', type=float, default=5e-5, help='peak learning rate')
    parser.add_argument('--epochs', type=int, default=3)
    parser.add_argument('--batch_size', type=int, default=16)
    parser.add_argument('--max_len', type=int, default=128)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='bfloat16',
                        help='of both sides; of transformers bfloat16 is autocast')
    parser.add_argument('--output_dir', default='ner-scores',
                        help='folder of the result, <task>-scores.json, and of finished seeds')
    return parser


def write_words(args, folder):
    """Write the words and tags of train and dev as JSON for the peer; (paths, dev sentences)."""
    task = find_tag_task(args.task)
    files = locate_tag_task(task, args.data_dir)
    sentences = {name: read_tagged_file(files[name]) for name in ('train', 'dev')}
    paths = {name: folder / ('%s-%s.json' % (args.task, name)) for name in sentences}
    for name, path in paths.items():
        harness.write_json(path, {'labels': make_labels(task.types, 'IOB2'), 'sentences': [
            [sentence.words, sentence.tags] for sentence in sentences[name]]})
    return paths, sentences['dev']


def peer_histories(args, folder):
    """{seed: [{metric: value} of each epoch]}; trains the seeds that have no finished run."""
    from benchmarks.classifier import ours  # imports mxnet, which reads the threads
    paths, dev = write_words(args, folder)
    weights, histories = ours.weights_folder(), {}
    recipe = {name: getattr(args, name) for name in ('task', 'lr', 'epochs', 'batch_size',
                                                     'max_len', 'dtype')}
    recipe['peer'] = list(PINS['peer'])
    for seed in args.seeds:
        seed_file = folder / ('%s-peer-seed-%d.json' % (args.task, seed))
        result = harness.read_json(seed_file)
        if not (result and result['recipe'] == recipe):
            output = folder / ('%s-peer-tags-%d.json' % (args.task, seed))
            harness.run_worker('peer', 'benchmarks.ner.peer', 'scores', '--weights', weights,
                               '--words', paths['train'], '--dev', paths['dev'], '--seed', seed,
                               '--lr', args.lr, '--epochs', args.epochs, '--batch_size',
                               args.batch_size, '--max_len', args.max_len, '--dtype', args.dtype,
                               '--output', output, threads=args.threads)
            answer = harness.read_json(output)
            result = {'seed': seed, 'recipe': recipe, 'training_seconds': answer['seconds'],
                      'history': [score_tags(dev, tags) for tags in answer['tags']]}
            harness.write_json(seed_file, result)
        print('transformers seed %d: %s' % (seed, result['history'][-1]), flush=True)
        histories[seed] = result['history']
    return histories


def score_tags(sentences, predicted_tags):
    """{metric: value} of the tags of each sentence."""
    score = EntityScore()
    for sentence, tags in zip(sentences, predicted_tags):
        score.add(sentence.tags, tags)
    return {name: score.scores()[name] for name in METRICS}


def train_ours(args, folder):
    """Run finetune_ner.py with the same options; path of its results.json."""
    command = [sys.executable, '-m', 'bert.finetune_ner', '--task_name', args.task, '--bert_model',
               harness.WEIGHTS[0], '--bert_dataset', harness.WEIGHTS[1], '--optimizer', 'adamw',
               '--seeds', ','.join(map(str, args.seeds)), '--output_dir', str(folder)]
    for name in ('lr', 'epochs', 'batch_size', 'max_len', 'threads', 'dtype'):
        command += ['--' + name, str(getattr(args, name))]
    if args.data_dir:
        command += ['--data_dir', os.path.abspath(args.data_dir)]
    command += ['--resume'] if (folder / 'options.json').exists() else []
    if subprocess.run(command).returncode:
        sys.exit('finetune_ner.py failed')
    return folder / 'results.json'


def main():
    args = make_parser().parse_args()
    harness.use_threads(args.threads)
    folder = pathlib.Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    ours = our_histories(train_ours(args, folder / ('%s-ours' % args.task)), args.seeds)
    scores = compare_metrics({'ours': ours, 'transformers': peer_histories(args, folder)})
    harness.write_result(folder / ('%s-scores.json' % args.task),
                         harness.make_result(args, scores=scores))
    print_scores(scores)


if __name__ == '__main__':
    main()
