"""One way of ours to compute, for exported_models.py, in a process of its own."""
import argparse
import json
import os
import pathlib

from benchmarks import harness

WAYS = ('network', 'predictor', 'symbol', 'int8', 'fused', 'fused-bfloat16', 'fused-int8')
CALIBRATION_BATCHES = 5     # random, of 32 x 128, for INT8
RELEASES = {'minilm': harness.WEIGHTS, 'base': ('bert_12_768_12', 'book_corpus_wiki_en_uncased')}
BASE_SIZES = {'units': 768, 'hidden_size': 3072, 'num_heads': 12}
# What sets DistilBERT base and XLM-RoBERTa base apart: of their config.json on the hub
RELATIVES = {
    'distilbert': {'family': 'distilbert', 'num_layers': 6, 'vocab_size': 30522,
                   'token_type_vocab_size': 0},
    'xlm-roberta': {'family': 'xlm-roberta', 'num_layers': 12, 'vocab_size': 250002,
                    'token_type_vocab_size': 1, 'position_offset': 2, 'layer_norm_eps': 1e-5}}
MODELS = (*RELEASES, *RELATIVES)


def config_of(model):
    """The `BertConfig` of a name in MODELS."""
    from bert.model.config import BertConfig
    from bert.model.weights import catalogue
    if model in RELEASES:
        return catalogue.config_of(*RELEASES[model])
    return BertConfig(**BASE_SIZES, **RELATIVES[model])


def make_network(model):
    """(classifier with random weights, the same in every process; its `BertConfig`)"""
    import mxnet as mx

    from bert.model.bert import BERTModel
    from bert.model.classification import BERTClassifier
    config = config_of(model)
    network = BERTClassifier(BERTModel(config, dropout=0.1), 2, dropout=0.1)
    mx.random.seed(0)
    network.initialize(mx.init.Normal(0.02))
    network.hybridize()
    network(*map(mx.nd.array, harness.random_batch(1, 4)))
    return network, config


def write_model(model, folder):
    """Write the weights for the peers: ONNX, and transformers' files."""
    import onnx

    from bert.export import onnx_graph
    from bert.model.weights import config_files, file_formats, heads, mapping
    from bert.train.checkpoint import collect_parameters
    network, config = make_network(model)
    arrays = {name: value.asnumpy() for name, value in collect_parameters(network).items()}
    onnx.save(onnx_graph.build_onnx_model(arrays, config), str(folder / 'model.onnx'))
    head, arrays, _ = heads.identify_head(arrays, 'network')
    file_formats.write_safetensors(str(folder / 'model.safetensors'), mapping.to_transformers(
        arrays, 'network', config))
    padding_id = max(0, config.position_offset - 1)     # RoBERTa's positions begin behind it
    (folder / 'config.json').write_text(json.dumps(config_files.config_to_transformers(
        config, heads.architecture_of(head, config.family), padding_id, ['a', 'b'],
        kind='classification')))


def make_compute(way, model):
    """Function of the batch's arrays → logits, NumPy."""
    import mxnet as mx

    from bert.export.runtimes import SymbolRuntime
    from bert.model.bert import is_fused, set_compute_dtype
    from bert.model.inference import InterleavedNetwork, Predictor
    from bert.model.kernels import library
    from bert.quantization.calibrate import Quantizer
    if not way.startswith('fused'):
        os.environ[library.KERNELS_VARIABLE] = '0'
    network, _ = make_network(model)
    dtype = way.partition('-')[2] or 'float32'
    if way.startswith('fused'):
        set_compute_dtype(network, dtype)
    if way == 'network' or way.startswith('fused'):
        if way != 'network' and not is_fused(network, dtype):
            raise SystemExit('no fused kernels with %s here: leave %s out with --ways'
                             % (dtype, way))
        return lambda *arrays: network(*map(mx.nd.array, arrays)).asnumpy()
    if way == 'predictor':
        predict = Predictor(network)
        return lambda *arrays: predict(*map(mx.nd.array, arrays), is_padded=False).asnumpy()
    if way == 'int8':
        quantizer = Quantizer(InterleavedNetwork(network))
        quantizer.calibrate([harness.random_batch(32, 128, seed) for seed in
                             range(CALIBRATION_BATCHES)])
        return SymbolRuntime(*quantizer.quantize(), mx.cpu())
    graph = InterleavedNetwork(network)(*[mx.sym.var('data%d' % i) for i in range(3)])
    return SymbolRuntime(graph, {key: value.data() for key, value
                                 in network.collect_params().items()}, mx.cpu())


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.inference.exported_models')
    harness.add_model_flag(parser, choices=MODELS)
    parser.add_argument('--way', choices=WAYS)
    parser.add_argument('--write', type=pathlib.Path, metavar='FOLDER')
    args = parser.parse_args()
    from bert.flags import threads
    threads.prepare_mxnet(int(os.environ['OMP_NUM_THREADS']), low_latency=True)     # as deploy.py
    if args.write:
        write_model(args.model, args.write)
        return
    harness.answer_with_times(make_compute(args.way, args.model))


if __name__ == '__main__':
    main()
