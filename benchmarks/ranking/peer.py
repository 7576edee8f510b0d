"""The peer's side of the ranking comparisons: sentence-transformers' CrossEncoder, transformers.

Runs in the peer's own environment (harness.py) and knows nothing of `bert`: it reads .json files,
writes .npz files and answers JSON.
"""
import argparse
import os

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from transformers import get_linear_schedule_with_warmup, pipeline

from benchmarks import harness
from benchmarks.classifier.peer import adamw, autocast


def answer_with_scores(args):
    """Answer a file of (query, documents) with the scores of all documents, in their order."""
    model = CrossEncoder(args.weights, device='cpu',
                         model_kwargs={'dtype': getattr(torch, args.dtype)})

    def rank(requests, batch_size):
        scores = []
        for query, documents in requests:
            ranking = model.rank(query, documents, batch_size=batch_size, show_progress_bar=False)
            values = np.empty(len(documents))
            for entry in ranking:
                values[entry['corpus_id']] = entry['score']
            scores.append(values)
        return np.array(scores)
    harness.answer_with_vectors(rank)


def answer_with_pipeline_scores(args):
    """The same by the pipeline of transformers: each batch is padded to its longest pair."""
    classify = pipeline('text-classification', model=args.weights, device='cpu',
                        dtype=getattr(torch, args.dtype))

    def score(requests, batch_size):
        return np.array([[entry['score'] for entry in classify(
            [{'text': query, 'text_pair': document} for document in documents],
            batch_size=batch_size, function_to_apply='sigmoid', truncation=True)]
            for query, documents in requests])
    harness.answer_with_vectors(score)


def write_dev_scores(args):
    """Fine-tune with one seed; write the scores on dev after each epoch."""
    torch.manual_seed(args.seed)
    rng = np.random.RandomState(args.seed)
    train, dev = harness.read_json(args.train), harness.read_json(args.dev)
    model = CrossEncoder(args.weights, num_labels=1, max_length=args.max_len, device='cpu')
    loss_of = BinaryCrossEntropyLoss(model)
    optimizer = adamw(model, args.lr)
    steps = -(-len(train) // args.batch_size) * args.epochs
    schedule = get_linear_schedule_with_warmup(optimizer, int(0.1 * steps), steps)
    scores = []
    for epoch in range(args.epochs):
        model.train()
        order = rng.permutation(len(train))
        for start in range(0, len(order), args.batch_size):
            rows = [train[i] for i in order[start:start + args.batch_size]]
            columns = [list(column) for column in zip(*rows)]
            with autocast(args.dtype):
                loss = loss_of(columns[:2], torch.tensor(columns[2]))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        print('seed %d epoch %d: loss of the last batch %.4f' % (args.seed, epoch + 1,
                                                                 loss.item()), flush=True)
        with autocast(args.dtype):
            scores.append(model.predict([row[:2] for row in dev], show_progress_bar=False))
    np.savez(args.output, scores=np.stack(scores))


JOBS = {'speed': answer_with_scores, 'pipeline': answer_with_pipeline_scores,
        'scores': write_dev_scores}


def main():
    parser = argparse.ArgumentParser(description='worker of the ranking comparisons')
    parser.add_argument('job', choices=sorted(JOBS))
    harness.add_peer_flags(parser)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32')
    parser.add_argument('--max_len', type=int)
    parser.add_argument('--train', help='.json of pairs with shares of the highest score (scores)')
    parser.add_argument('--dev', help='the same for dev (scores)')
    parser.add_argument('--output', help='.npz to write (scores)')
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    JOBS[args.job](args)


if __name__ == '__main__':
    main()
