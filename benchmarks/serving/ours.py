"""Our pipelines without a server, beside which the serving benchmarks set it."""
import argparse
import time

from benchmarks import harness


def main():
    parser = argparse.ArgumentParser(description='worker of the serving benchmarks')
    parser.add_argument('folder')
    parser.add_argument('--dtype', default='float32')
    parser.add_argument('--threads', type=int)
    args = parser.parse_args()
    import bert
    pipeline = bert.open(args.folder, dtype=args.dtype, threads=args.threads)

    def answer(question):
        """A question is {'texts': a JSON file}; the answer has the seconds that they take."""
        texts = harness.read_json(question['texts'])
        started = time.perf_counter()
        pipeline(texts)
        return {'seconds': time.perf_counter() - started}
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
