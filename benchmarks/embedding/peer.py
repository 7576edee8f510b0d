"""The peer's side of speed_and_quality.py: sentence-transformers, with one of its backends."""
import argparse
import os
import tempfile

import onnxruntime
import torch
from sentence_transformers import SentenceTransformer, models

from benchmarks import harness


def options_of(way, threads):
    """Arguments of `models.Transformer` for a way to compute: 'onnx', 'openvino' or a dtype."""
    if way == 'onnx':
        session = onnxruntime.SessionOptions()
        session.intra_op_num_threads = threads
        return {'backend': 'onnx', 'model_args': {'session_options': session,
                                                  'provider': 'CPUExecutionProvider'}}
    if way == 'openvino':
        return {'backend': 'openvino',
                'model_args': {'ov_config': {'INFERENCE_NUM_THREADS': str(threads)}}}
    return {'model_args': {'torch_dtype': getattr(torch, way)}}


def make_model(folder, way, threads):
    transformer = models.Transformer(folder, max_seq_length=512, **options_of(way, threads))
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), 'mean')
    return SentenceTransformer(modules=[transformer, pooling, models.Normalize()], device='cpu')


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.embedding.speed_and_quality')
    parser.add_argument('folder')
    parser.add_argument('way')
    args = parser.parse_args()
    threads = int(os.environ['OMP_NUM_THREADS'])
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)       # exported networks are written to the folder of the weights
        model = make_model(args.folder, args.way, threads)
        harness.answer_with_vectors(lambda texts, batch_size: model.encode(
            texts, batch_size=batch_size, show_progress_bar=False))


if __name__ == '__main__':
    main()
