"""The peer's side of speed.py: transformers' BertForPreTraining on PyTorch.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`: the file of examples is
plain arrays.
"""
import argparse
import json
import os
import time

import numpy as np
import torch
from transformers import BertConfig, BertForPreTraining

from benchmarks import harness
from benchmarks.classifier.peer import adamw, train_step

LEARNING_RATE = 1e-4
IGNORED_LABEL = -100    # of a position that isn't masked


def make_model(path):
    """A model of these sizes with random weights."""
    with open(path, encoding='utf-8') as file:
        sizes = json.load(file)
    return BertForPreTraining(BertConfig(
        vocab_size=sizes['vocab_size'], hidden_size=sizes['units'],
        num_hidden_layers=sizes['num_layers'], num_attention_heads=sizes['num_heads'],
        intermediate_size=sizes['hidden_size'], max_position_embeddings=sizes['max_length']))


class Examples:
    """Examples of create_pretraining_data.py, batched and padded here: to `pad_to`, or with 0 to
    the longest of a batch."""

    def __init__(self, path, pad_to):
        with np.load(path) as archive:
            arrays = dict(archive)
        ends, masked_ends = arrays['token_offsets'][1:-1], arrays['masked_offsets'][1:-1]
        self._rows = {name: np.split(arrays[name], ends) for name in ('input_ids', 'segment_ids')}
        self._masked = {name: np.split(arrays[name], masked_ends)
                        for name in ('masked_lm_positions', 'masked_lm_ids')}
        self._next_sentence_labels = arrays['next_sentence_labels']
        self._pad_to = pad_to

    def __len__(self):
        return len(self._next_sentence_labels)

    def batch(self, indices):
        """The model's keyword arguments."""
        lengths = [len(self._rows['input_ids'][i]) for i in indices]
        shape = len(indices), self._pad_to or max(lengths)
        tokens, segments, mask = (np.zeros(shape, dtype='int64') for _ in range(3))
        labels = np.full(shape, IGNORED_LABEL, dtype='int64')
        for row, (i, length) in enumerate(zip(indices, lengths)):
            tokens[row, :length] = self._rows['input_ids'][i]
            segments[row, :length] = self._rows['segment_ids'][i]
            mask[row, :length] = 1
            positions = self._masked['masked_lm_positions'][i].astype('int64')
            labels[row, positions] = self._masked['masked_lm_ids'][i]
        return {name: torch.from_numpy(array) for name, array in (
            ('input_ids', tokens), ('token_type_ids', segments), ('attention_mask', mask),
            ('labels', labels),
            ('next_sentence_label', self._next_sentence_labels[indices].astype('int64')))}


class TrainingTimer:
    """Times training on random batches, epoch after epoch."""

    def __init__(self, args):
        torch.manual_seed(1)
        self._rng = np.random.RandomState(1)
        self._examples = Examples(args.examples, args.pad_to)
        self._batch_size = args.batch_size
        self._model = make_model(args.sizes)
        self._model.train()
        self._dtype = args.dtype
        self._optimizer = adamw(self._model, LEARNING_RATE)
        self._batches = self._all_batches()

    def _all_batches(self):
        while True:
            order = self._rng.permutation(len(self._examples))
            for start in range(0, len(order), self._batch_size):
                yield self._examples.batch(order[start:start + self._batch_size])

    def train(self, question):
        """Train {'steps'} → {'seconds', 'tokens', 'padded': tokens with padding, 'loss', 'memory':
        peak in bytes}."""
        started, tokens, padded = time.time(), 0, 0
        for _ in range(question['steps']):
            batch = next(self._batches)
            loss = train_step(self._model, batch, self._optimizer, self._dtype)
            tokens += int(batch['attention_mask'].sum())
            padded += batch['attention_mask'].numel()
        return {'seconds': time.time() - started, 'tokens': tokens, 'padded': padded,
                'loss': loss.item(), 'memory': harness.peak_memory()}


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.pretraining.speed')
    harness.add_pretraining_flags(parser)
    parser.add_argument('--pad_to', type=int, required=True, help='tokens; 0: the longest')
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    harness.answer_questions(TrainingTimer(args).train)


if __name__ == '__main__':
    main()
