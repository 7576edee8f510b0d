"""Writes models in the layouts that the servers read, with the peers' own libraries.

Runs in the environment peer-serving and knows nothing of `bert`.
"""
import argparse
import os

import torch
from sentence_transformers import (
    SentenceTransformer,
    export_dynamic_quantized_onnx_model,
    models,
)
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizerFast

LENGTH = 512        # tokens of a text
TINY = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128)


def embedder_of(folder):
    transformer = models.Transformer(folder, max_seq_length=LENGTH)
    pooling = models.Pooling(transformer.get_word_embedding_dimension(), 'mean')
    return SentenceTransformer(modules=[transformer, pooling, models.Normalize()], device='cpu')


def write_embedder(args):
    """all-MiniLM-L6-v2 as sentence-transformers saves it: mean pooling, vectors of length 1."""
    embedder_of(args.weights).save(args.output)


def save_onnx(args):
    SentenceTransformer(args.weights, backend='onnx', device='cpu', model_kwargs={
        'export': True, 'provider': 'CPUExecutionProvider'}).save_pretrained(args.output)


def write_onnx(args):
    """The same for ONNX Runtime; the network is beside the rest, where infinity can read it."""
    save_onnx(args)
    os.replace(os.path.join(args.output, 'onnx', 'model.onnx'),
               os.path.join(args.output, 'model.onnx'))


def write_onnx_int8(args):
    """The same with weights in int8, and activations as they come."""
    save_onnx(args)
    folder = os.path.join(args.output, 'onnx')
    model = SentenceTransformer(args.output, backend='onnx', device='cpu')
    export_dynamic_quantized_onnx_model(model, args.quantization, args.output)
    os.remove(os.path.join(folder, 'model.onnx'))
    quantized, = os.listdir(folder)
    os.replace(os.path.join(folder, quantized), os.path.join(args.output, 'model_quantized.onnx'))


def write_openvino(args):
    """The same for OpenVINO."""
    SentenceTransformer(args.weights, backend='openvino', device='cpu', model_kwargs={
        'export': True}).save_pretrained(args.output)


def write_tiny(args):
    """An embedder of random weights, so small that the server itself is the work."""
    torch.manual_seed(args.seed)
    tokenizer = BertTokenizerFast.from_pretrained(args.weights)
    folder = os.path.join(args.output, 'transformer')
    BertModel(BertConfig(**TINY)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    embedder_of(folder).save(args.output)


def write_classifier(args):
    """A classifier of BERT-base's sizes with random weights."""
    torch.manual_seed(args.seed)
    BertForSequenceClassification(BertConfig(num_labels=2)).save_pretrained(args.output)
    BertTokenizerFast.from_pretrained(args.weights, model_max_length=LENGTH).save_pretrained(
        args.output)


KINDS = {'embedder': write_embedder, 'onnx': write_onnx, 'onnx-int8': write_onnx_int8,
         'openvino': write_openvino, 'tiny': write_tiny, 'classifier': write_classifier}


def main():
    parser = argparse.ArgumentParser(description='worker of the serving benchmarks')
    parser.add_argument('kind', choices=KINDS)
    parser.add_argument('weights', help='folder in Hugging Face layout')
    parser.add_argument('output', help='folder to write')
    parser.add_argument('--quantization', default='avx2',
                        choices=('avx2', 'avx512', 'avx512_vnni'), help='of the int8 products')
    parser.add_argument('--seed', type=int, default=1, help='of random weights')
    args = parser.parse_args()
    KINDS[args.kind](args)


if __name__ == '__main__':
    main()
