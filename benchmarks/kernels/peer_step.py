"""The peer's side of training_step.py: transformers on PyTorch."""
import argparse
import os
import time

import numpy as np
import torch
from transformers import BertForSequenceClassification

from benchmarks import harness
from benchmarks.classifier.peer import adamw, inputs, train_step


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.kernels.training_step')
    parser.add_argument('--folder')
    harness.add_step_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    model = BertForSequenceClassification.from_pretrained(args.folder)
    model.train()
    optimizer = adamw(model, 2e-5)
    tokens, segments, _ = harness.random_batch(args.batch_size, args.length)
    batch = inputs(tokens, segments, np.ones_like(tokens), np.arange(args.batch_size) % 2)

    def answer(question):
        started = time.perf_counter()
        for _ in range(question['steps']):
            train_step(model, batch, optimizer, args.dtype).item()
        return {'seconds': (time.perf_counter() - started) / question['steps'],
                'bytes': harness.peak_memory()}
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
