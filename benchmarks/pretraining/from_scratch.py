"""A small BERT from random weights: pre-trained on a corpus, then fine-tuned.

Every tenth document is held out. The loss on the masked tokens of these is compared with the loss
of a model that knows no context: the entropy of words drawn by their share in the training text.
Then a task with few examples is learnt with each seed, from the pre-trained weights and from random
ones: from which quarter of the documents, which are in the order of time, does a sentence come? The
task is trained on sentences of the first part and scored on sentences of the documents held out.
What --output_dir holds already is not computed again. Exit status 1 when the loss is not below the
entropy by 1, or fine-tuning is not better from the pre-trained weights.
"""
import json
import pathlib
import random
import sys

import numpy as np

from benchmarks import harness

SIZES = {'num_layers': 2, 'units': 128, 'hidden_size': 512, 'num_heads': 4, 'max_length': 64}
MAX_PREDICTIONS = 10    # of 64 tokens
INIT_STD = 0.05         # 0.02 of 768 units, for 128
MIN_GAIN = 1.0  # of the loss, below the entropy, in nats
MIN_WORDS = 8   # of a sentence of the task


def make_parser():
    parser = harness.make_parser(__doc__, 'from-scratch/pretraining.json')
    harness.add_corpus_flags(parser)
    parser.add_argument('--num_steps', type=int, default=8000)
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--lr', type=float, default=1e-3)
    parser.add_argument('--eval_interval', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=1, help='of pre-training')
    parser.add_argument('--examples', type=int, default=1000,
                        help='sentences to fine-tune on, and as many for dev')
    parser.add_argument('--tuning_lr', type=float, default=3e-4)
    parser.add_argument('--tuning_epochs', type=int, default=10)
    parser.add_argument('--tuning_seeds', type=harness.int_list, default=[1, 2, 3])
    parser.add_argument('--output_dir', default='from-scratch', help='everything is kept there')
    return parser


def read_documents(args):
    return pathlib.Path(args.input_file).read_text(encoding='utf-8').strip().split('\n\n')


def make_data(args, work):
    """{part: pattern of its files of examples}; the parts are 'train' and 'held'."""
    documents = read_documents(args)
    parts = {'train': [text for i, text in enumerate(documents) if i % 10],
             'held': documents[::10]}
    for name, texts in parts.items():
        if (work / name / 'manifest.json').exists():
            continue
        (work / (name + '.txt')).write_text('\n\n'.join(texts) + '\n', encoding='utf-8')
        harness.run_script('create_pretraining_data.py', '--input_file', work / (name + '.txt'),
                           '--vocab', args.vocab, '--output_dir', work / name, '--dupe_factor',
                           5 if name == 'train' else 1, '--max_seq_length', SIZES['max_length'],
                           '--max_predictions_per_seq', MAX_PREDICTIONS)
    return {name: work / name / '*.npz' for name in parts}


def unigram_loss(work):
    """Loss on the held-out masked tokens of a model that predicts each token by its share in the
    training text, with one added to each count: the mean of −log share."""
    from bert.data.pretraining.shards import read_shard
    from bert.vocabulary import read_tokens
    size = len(read_tokens(str(work / 'train' / 'vocab.txt')))
    masked = {name: np.concatenate([read_shard(str(path)).masked_lm_ids
                                    for path in sorted((work / name).glob('*.npz'))])
              for name in ('train', 'held')}
    counts = np.bincount(masked['train'], minlength=size) + 1
    return float(-np.log(counts[masked['held']] / counts.sum()).mean())


def make_task(args, work):
    """Write train.jsonl and dev.jsonl: sentences of MIN_WORDS or more, with their quarter."""
    documents, rng = read_documents(args), random.Random(args.seed)
    for segment, is_in_segment in (('train', lambda i: i % 10), ('dev', lambda i: not i % 10)):
        rows = [{'text': line.strip(), 'quarter': 'quarter %d' % (4 * i // len(documents) + 1)}
                for i, text in enumerate(documents) if is_in_segment(i)
                for line in text.split('\n') if len(line.split()) >= MIN_WORDS]
        rng.shuffle(rows)
        (work / (segment + '.jsonl')).write_text(
            ''.join(json.dumps(row) + '\n' for row in rows[:args.examples]), encoding='utf-8')


def pretrain(args, work, name, data, num_steps, lr, *flags):
    """results.json of a run of run_pretraining.py, from before or run now."""
    if (work / name / 'results.json').exists():
        return harness.read_json(work / name / 'results.json')
    harness.run_script('run_pretraining.py', '--ckpt_dir', work / name, '--data', data['train'],
                       '--bert_config', work / 'sizes.json', '--dataset_name',
                       work / 'train' / 'vocab.txt', '--num_steps', num_steps, '--lr', lr,
                       '--batch_size', args.batch_size, '--warmup_ratio', 0.05, '--optimizer',
                       'adamw', '--dropout', 0, '--init_std', INIT_STD, '--num_buckets', 10,
                       '--seed', args.seed, '--threads', args.threads, *flags)
    return harness.read_json(work / name / 'results.json')


def finetune(args, work, name):
    """{seed: accuracy on dev} from the weights of a run."""
    folder = work / ('tuned-' + name)
    harness.run_script('finetune_classifier.py', '--train_file', work / 'train.jsonl', '--dev_file',
                       work / 'dev.jsonl', '--text_columns', 'text', '--label_column', 'quarter',
                       '--bert_checkpoint', work / name, '--max_len', SIZES['max_length'],
                       '--epochs', args.tuning_epochs, '--lr', args.tuning_lr, '--seeds',
                       ','.join(map(str, args.tuning_seeds)), '--threads', args.threads,
                       '--output_dir', folder, '--overwrite_output_dir')
    accuracy = harness.read_json(folder / 'results.json')['metrics']['dev']['accuracy']
    return dict(zip(args.tuning_seeds, accuracy['values']))


def main():
    args = make_parser().parse_args()
    work = pathlib.Path(args.output_dir)
    work.mkdir(parents=True, exist_ok=True)
    (work / 'sizes.json').write_text(json.dumps(SIZES))
    data = make_data(args, work)
    make_task(args, work)
    report = pretrain(args, work, 'pretrained', data, args.num_steps, args.lr, '--data_eval',
                      data['held'], '--batch_size_eval', 32, '--eval_interval',
                      args.eval_interval, '--log_interval', 100)
    pretrain(args, work, 'random', data, 1, 1e-12)      # leaves the weights as they were drawn
    result = harness.make_result(
        args, unigram_loss=unigram_loss(work), seconds=report['seconds'],
        curve=[dict(entry['metrics']['eval'], step=entry['step']) for entry in report['history']],
        tuned={name: finetune(args, work, name) for name in ('pretrained', 'random')})
    harness.write_result(args.output, result)
    print('entropy without context: %.3f' % result['unigram_loss'])
    for point in result['curve']:
        print('step %(step)5d: mlm_loss %(mlm_loss).3f, mlm_acc %(mlm_acc).1f, '
              'nsp_loss %(nsp_loss).3f, nsp_acc %(nsp_acc).1f' % point)
    means = {name: float(np.mean(list(accuracies.values())))
             for name, accuracies in result['tuned'].items()}
    for name, accuracies in result['tuned'].items():
        print('quarters from %s weights: %s' % (name, ', '.join(
            '%.4f' % value for value in accuracies.values())))
    return int(report['metrics']['eval']['mlm_loss'] > result['unigram_loss'] - MIN_GAIN
               or means['pretrained'] <= means['random'])


if __name__ == '__main__':
    sys.exit(main())
