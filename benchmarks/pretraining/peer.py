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
from torch.nn.functional import cross_entropy
from transformers import BertConfig, BertForPreTraining
from transformers.modeling_outputs import ModelOutput

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


class PackedModel(torch.nn.Module):
    """A BertForPreTraining on rows of several examples each, with its own layers. Only the masked
    tokens get logits. It is what a patient user of transformers can write."""

    def __init__(self, model):
        super().__init__()
        self._model = model

    def forward(self, first_tokens, masked_tokens, masked_ids, next_sentence_label, **inputs):
        """first_tokens, masked_tokens: indices of tokens in the flattened rows."""
        states = self._model.bert(**inputs)[0].flatten(0, 1)
        pooled = self._model.bert.pooler(states[first_tokens].unsqueeze(1))
        logits, next_sentence = self._model.cls(states[masked_tokens], pooled)
        loss = cross_entropy(logits.float(), masked_ids) + cross_entropy(
            next_sentence.float(), next_sentence_label)
        return ModelOutput(loss=loss)


def pack(lengths, row_length):
    """[[indices of the examples in a row]] of `row_length` tokens: the longest example first, each
    into the first row that has room for it."""
    rows, room = [], []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((row for row, left in enumerate(room) if left >= lengths[i]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(row_length)
        rows[row].append(i)
        room[row] -= lengths[i]
    return rows


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
        """(the keyword arguments of the model, tokens that are no padding)"""
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
        return as_tensors(
            input_ids=tokens, token_type_ids=segments, attention_mask=mask, labels=labels,
            next_sentence_label=self._next_sentence_labels[indices].astype('int64')), sum(lengths)

    def packed_batch(self, indices):
        """The same for a `PackedModel`: rows of `pad_to` tokens."""
        lengths = [len(self._rows['input_ids'][i]) for i in indices]
        rows = pack(lengths, self._pad_to)
        shape = len(rows), self._pad_to
        tokens, segments, positions = (np.zeros(shape, dtype='int64') for _ in range(3))
        numbers = np.full(shape, -1)        # of the example in its row; -1 is padding
        first_tokens, masked_tokens, masked_ids, order = [], [], [], []
        for row, members in enumerate(rows):
            start = 0
            for member in members:
                i, part = indices[member], slice(start, start + lengths[member])
                tokens[row, part] = self._rows['input_ids'][i]
                segments[row, part] = self._rows['segment_ids'][i]
                positions[row, part] = np.arange(lengths[member])
                numbers[row, part] = member
                first_tokens.append(row * self._pad_to + start)
                masked_tokens.extend(first_tokens[-1] + self._masked['masked_lm_positions'][i])
                masked_ids.extend(self._masked['masked_lm_ids'][i])
                order.append(i)
                start = part.stop
        mask = numbers[:, None, :, None] == numbers[:, None, None, :]
        return as_tensors(
            input_ids=tokens, token_type_ids=segments, position_ids=positions, attention_mask=mask,
            first_tokens=first_tokens, masked_tokens=masked_tokens, masked_ids=masked_ids,
            next_sentence_label=self._next_sentence_labels[order].astype('int64')), sum(lengths)


def as_tensors(**arrays):
    """{name: tensor}; numbers are int64."""
    tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
    return {name: tensor if tensor.dtype == torch.bool else tensor.long()
            for name, tensor in tensors.items()}


class TrainingTimer:
    """Times training on random batches, epoch after epoch."""

    def __init__(self, args):
        torch.manual_seed(1)
        self._rng = np.random.RandomState(1)
        self._examples = Examples(args.examples, args.pad_to)
        self._make_batch = self._examples.packed_batch if args.packed else self._examples.batch
        self._batch_size = args.batch_size
        self._model = make_model(args.sizes)
        if args.packed:
            self._model = PackedModel(self._model)
        self._model.train()
        self._dtype = args.dtype
        self._optimizer = adamw(self._model, LEARNING_RATE)
        self._batches = self._all_batches()

    def _all_batches(self):
        while True:
            order = self._rng.permutation(len(self._examples))
            for start in range(0, len(order), self._batch_size):
                yield self._make_batch(order[start:start + self._batch_size])

    def train(self, question):
        """Train {'steps'} → {'seconds', 'tokens', 'padded': tokens with padding, 'loss', 'memory':
        peak in bytes}."""
        started, tokens, padded = time.time(), 0, 0
        for _ in range(question['steps']):
            batch, num_tokens = next(self._batches)
            loss = train_step(self._model, batch, self._optimizer, self._dtype)
            tokens += num_tokens
            padded += batch['input_ids'].numel()
        return {'seconds': time.time() - started, 'tokens': tokens, 'padded': padded,
                'loss': loss.item(), 'memory': harness.peak_memory()}


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.pretraining.speed')
    harness.add_pretraining_flags(parser)
    parser.add_argument('--pad_to', type=int, required=True, help='tokens; 0: the longest')
    parser.add_argument('--packed', action='store_true', help='rows of --pad_to tokens')
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    harness.answer_questions(TrainingTimer(args).train)


if __name__ == '__main__':
    main()
