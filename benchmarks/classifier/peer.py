"""The peer's side of the classifier comparisons: transformers on PyTorch.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`: it reads and writes
.npz files and answers JSON.
"""
import argparse
import os
import time

import numpy as np
import torch
from transformers import BertForSequenceClassification, get_linear_schedule_with_warmup

from benchmarks import harness

NO_DECAY = ('bias', 'LayerNorm.weight')


def make_model(folder, num_outputs, dropout):
    return BertForSequenceClassification.from_pretrained(
        folder, num_labels=num_outputs, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, classifier_dropout=dropout)


def parameter_groups(model, weight_decay):
    """All parameters in two groups: weights, which decay; biases and layer normalisation."""
    named = list(model.named_parameters())
    return [{'params': [p for name, p in named if not name.endswith(NO_DECAY)],
             'weight_decay': weight_decay},
            {'params': [p for name, p in named if name.endswith(NO_DECAY)], 'weight_decay': 0.0}]


class BertAdam(torch.optim.Optimizer):
    """Adam without bias correction, with decoupled weight decay, as BERT was trained."""

    def __init__(self, groups, lr=0.0, betas=(0.9, 0.999), eps=1e-6):
        super().__init__(groups, dict(lr=lr, betas=betas, eps=eps, weight_decay=0.0))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group['params']:
                state = self.state[weight]
                for name, beta, value in zip('mv', group['betas'],
                                             (weight.grad, weight.grad ** 2)):
                    state[name] = beta * state.get(name, 0.0) + (1 - beta) * value
                update = state['m'] / (state['v'].sqrt() + group['eps'])
                weight -= group['lr'] * (update + group['weight_decay'] * weight)


class Examples:
    """Examples of our pipeline, batched and padded here, to the longest of a batch."""

    def __init__(self, path):
        with np.load(path) as archive:
            arrays = dict(archive)
        ends = np.cumsum(arrays['lengths'])[:-1]
        self.token_ids = np.split(arrays['token_ids'], ends)
        self.segment_ids = np.split(arrays['segment_ids'], ends)
        self.lengths, self.labels = arrays['lengths'], arrays['labels']

    def __len__(self):
        return len(self.labels)

    def batch(self, indices):
        """The model's keyword arguments; padding is 0 everywhere."""
        shape = len(indices), self.lengths[indices].max()
        tokens, segments, mask = (np.zeros(shape, dtype='int64') for _ in range(3))
        for row, i in enumerate(indices):
            length = self.lengths[i]
            tokens[row, :length] = self.token_ids[i]
            segments[row, :length] = self.segment_ids[i]
            mask[row, :length] = 1
        return inputs(tokens, segments, mask, self.labels[indices])


def inputs(tokens, segments, mask, labels):
    """NumPy arrays to the model's keyword arguments."""
    dtype = np.int64 if labels.dtype.kind == 'i' else np.float32
    return {'input_ids': torch.from_numpy(tokens.astype('int64')),
            'token_type_ids': torch.from_numpy(segments.astype('int64')),
            'attention_mask': torch.from_numpy(mask.astype('int64')),
            'labels': torch.from_numpy(labels.astype(dtype))}


def autocast(dtype):
    return torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype == 'bfloat16')


def train_step(model, batch, optimizer, dtype):
    """Forward, backward, clip, update. Returns the loss, a tensor."""
    with autocast(dtype):
        loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


def adamw(model, learning_rate):
    """The default optimizer of transformers' Trainer."""
    return torch.optim.AdamW(parameter_groups(model, 0.01), lr=learning_rate, fused=True)


# The three jobs


def write_losses(args):
    """Train on the batches in --batches as they are; write the loss of each step."""
    with np.load(args.batches) as archive:
        arrays = dict(archive)
    model = make_model(args.weights, args.num_outputs, dropout=0.0)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(arrays['head_weight']))
        model.classifier.bias.copy_(torch.from_numpy(arrays['head_bias']))
    model.train()
    optimizer = BertAdam(parameter_groups(model, 0.01))
    losses = []
    for i, rate in enumerate(arrays['rates']):
        tokens, segments, lengths, labels = (
            arrays['%s_%d' % (name, i)] for name in ('token_ids', 'segment_ids', 'valid_length',
                                                     'labels'))
        mask = np.arange(tokens.shape[1]) < lengths[:, None]
        for group in optimizer.param_groups:
            group['lr'] = float(rate)
        losses.append(train_step(model, inputs(tokens, segments, mask, labels), optimizer,
                                 'float32').item())
    np.savez(args.output, losses=np.array(losses))


def answer_with_training_times(args):
    """Answer {'indices'} with the seconds that training on those examples takes."""
    examples = Examples(args.examples)
    model = make_model(args.weights, args.num_outputs, dropout=0.1)
    model.train()
    optimizer = adamw(model, 2e-5)

    def train(question):
        indices = np.array(question['indices'])
        started = time.time()
        for start in range(0, len(indices), args.batch_size):
            batch = examples.batch(indices[start:start + args.batch_size])
            loss = train_step(model, batch, optimizer, args.dtype)
        return {'seconds': time.time() - started, 'loss': loss.item()}

    harness.answer_questions(train)


def train_epochs(model, examples, args, rng, predict_dev):
    """Fine-tune with linear warm-up over 10 % of the steps. Returns ([result of predict_dev() after
    each epoch], seconds of training). examples: with `len` and `batch(indices)`."""
    optimizer = adamw(model, args.lr)
    steps = -(-len(examples) // args.batch_size) * args.epochs
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * steps), steps)
    predictions, seconds = [], 0.0
    for epoch in range(args.epochs):
        model.train()
        order, started, losses = rng.permutation(len(examples)), time.time(), []
        for start in range(0, len(order), args.batch_size):
            batch = examples.batch(order[start:start + args.batch_size])
            losses.append(train_step(model, batch, optimizer, args.dtype).item())
            schedule.step()
        seconds += time.time() - started
        print('seed %d epoch %d: mean loss %.4f, %.0f s'
              % (args.seed, epoch + 1, np.mean(losses), seconds), flush=True)
        predictions.append(predict_dev())
    return predictions, seconds


def write_dev_outputs(args):
    """Fine-tune with one seed; write the outputs on dev after each epoch, and the seconds."""
    torch.manual_seed(args.seed)
    rng = np.random.RandomState(args.seed)
    train, dev = Examples(args.examples), Examples(args.dev)
    model = make_model(args.weights, args.num_outputs, dropout=0.1)
    outputs, seconds = train_epochs(model, train, args, rng,
                                    lambda: predict(model, dev, args.dtype))
    np.savez(args.output, outputs=np.stack(outputs), seconds=seconds)


@torch.no_grad()
def predict(model, examples, dtype, batch_size=32):
    """Outputs (examples, number of outputs) float32 in the order of the file."""
    model.eval()
    order = np.argsort(-examples.lengths, kind='stable')
    outputs = np.zeros((len(order), model.config.num_labels), dtype='float32')
    for start in range(0, len(order), batch_size):
        indices = order[start:start + batch_size]
        with autocast(dtype):
            outputs[indices] = model(**examples.batch(indices)).logits.float().numpy()
    return outputs


JOBS = {'losses': write_losses, 'speed': answer_with_training_times, 'scores': write_dev_outputs}


def main():
    parser = argparse.ArgumentParser(description='worker of the classifier comparisons')
    parser.add_argument('job', choices=sorted(JOBS))
    harness.add_peer_flags(parser)
    parser.add_argument('--num_outputs', type=int, required=True)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
    parser.add_argument('--batches', help='.npz of batches, rates and the head (losses)')
    parser.add_argument('--examples', help='.npz of training examples (speed, scores)')
    parser.add_argument('--dev', help='.npz of dev examples (scores)')
    parser.add_argument('--output', help='.npz to write (losses, scores)')
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    JOBS[args.job](args)


if __name__ == '__main__':
    main()
