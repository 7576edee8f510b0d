"""Our side of speed.py, in a process of its own."""
import argparse

import numpy as np

from benchmarks import harness


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.ranking.speed')
    parser.add_argument('folder')
    parser.add_argument('--dtype', default='float32')
    args = parser.parse_args()
    import bert  # after the environment of the worker is read
    model = bert.open(args.folder, dtype=args.dtype)

    def rank(requests, batch_size):
        model.batch_size, scores = batch_size, []
        for query, documents in requests:
            values = np.empty(len(documents))
            for entry in model.rank(query, documents):
                values[entry.document] = entry.score
            scores.append(values)
        return np.array(scores)
    harness.answer_with_vectors(rank)


if __name__ == '__main__':
    main()
