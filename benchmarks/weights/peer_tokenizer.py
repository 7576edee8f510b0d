"""The peer's side of tokenizer.py: BertTokenizer of the installed transformers."""
import argparse
import json

import numpy as np
from transformers import BertTokenizer


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.weights.tokenizer')
    parser.add_argument('--vocabulary', required=True)
    parser.add_argument('--texts', required=True, help='JSON: list of texts')
    parser.add_argument('--lower', action='store_true')
    parser.add_argument('--output', required=True, help='.npz: ids end to end, and lengths')
    args = parser.parse_args()
    tokenizer = BertTokenizer(args.vocabulary, do_lower_case=args.lower)
    with open(args.texts, encoding='utf-8') as texts:
        ids = [tokenizer(text, add_special_tokens=False)['input_ids'] for text in json.load(texts)]
    np.savez(args.output, ids=np.array([i for row in ids for i in row], dtype='int32'),
             lengths=np.array([len(row) for row in ids], dtype='int32'))


if __name__ == '__main__':
    main()
