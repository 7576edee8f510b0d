"""Our side of speed.py: entities by the pipeline."""
import argparse
import time

from benchmarks import harness
from bert import pipelines


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.ner.speed')
    parser.add_argument('--model_dir', required=True)
    parser.add_argument('--dtype', choices=('float32', 'bfloat16', 'int8'), default='float32')
    args = parser.parse_args()
    model = pipelines.open(args.model_dir, dtype=args.dtype)

    def answer(question):
        model.batch_size = question['batch_size']
        started = time.perf_counter()
        results = model(question['texts'])
        seconds = time.perf_counter() - started
        return {'seconds': seconds, 'entities': [
            [[entity.type, entity.start, entity.end, entity.score] for entity in entities]
            for entities in results]}
    harness.answer_questions(answer)


if __name__ == '__main__':
    main()
