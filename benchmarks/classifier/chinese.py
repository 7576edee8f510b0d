"""Train a small BERT from random weights on ChnSentiCorp: a check of the Chinese path.

PyPI has no Chinese BERT, so this says nothing about bert-base-chinese. An accuracy far above chance
shows that the vocabulary, the tokenizer, the reader and the training loop work.
"""
import os
import subprocess
import sys
import tempfile

import mxnet as mx

from benchmarks import harness
from bert.model.bert import BertConfig, BERTModel
from bert.vocabulary import read_vocabulary, write_tokenizer


def make_parser():
    parser = harness.make_bare_parser(__doc__)
    parser.add_argument('--vocabulary', required=True, help='vocab.txt of bert-base-chinese')
    parser.add_argument('--data_dir', required=True, help='folder of ChnSentiCorp, or its parent')
    parser.add_argument('--output_dir', default='chinese_path', help='folder of the run')
    parser.add_argument('--epochs', default='3', help='passes over the training set')
    parser.add_argument('--max_len', default='128', help='tokens an example at most')
    return parser


def write_random_model(folder, vocabulary):
    """A BERT of 2 layers and width 128 (Google's "tiny") with random weights."""
    mx.random.seed(1)
    config = BertConfig(num_layers=2, units=128, hidden_size=512, num_heads=2,
                        vocab_size=len(vocabulary), cased=True)
    network = BERTModel(config)
    network.initialize(mx.init.Normal(0.02))
    network.save_parameters(os.path.join(folder, 'model.params'))
    write_tokenizer(vocabulary, folder)
    with open(os.path.join(folder, 'config.json'), 'w', encoding='utf-8') as out:
        out.write(config.to_json())


def main():
    args = make_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_random_model(folder, read_vocabulary(args.vocabulary))
        return subprocess.call([
            sys.executable, str(harness.REPOSITORY / 'bert' / 'finetune_classifier.py'),
            '--task_name', 'ChnSentiCorp', '--bert_checkpoint', folder, '--data_dir',
            args.data_dir, '--lr', '3e-4', '--epochs', args.epochs, '--max_len', args.max_len,
            '--output_dir', args.output_dir, '--log_interval', '100'])


if __name__ == '__main__':
    sys.exit(main())
