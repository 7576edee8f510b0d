"""Our side of speed_and_quality.py, in a process of its own."""
import argparse

from benchmarks import harness


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.embedding.speed_and_quality')
    parser.add_argument('folder')
    parser.add_argument('--dtype', default='float32')
    args = parser.parse_args()
    from bert.flags import allocator
    allocator.keep_freed_memory(training=False)       # as the script does, before mxnet is imported
    from bert.pipelines.embedding import BertEmbedding
    embedders = {}      # {batch size: BertEmbedding}

    def encode(texts, batch_size):
        if batch_size not in embedders:
            embedders[batch_size] = BertEmbedding(dtype=args.dtype, batch_size=batch_size,
                                                  bert_checkpoint=args.folder)
        return embedders[batch_size].sentence(texts)
    harness.answer_with_vectors(encode)


if __name__ == '__main__':
    main()
