"""One way of ours to compute, for exported_models.py, in a process of its own."""
import argparse
import json
import os
import pathlib

from benchmarks import harness

WAYS = ('network', 'predictor', 'symbol', 'int8', 'fused', 'fused-bfloat16', 'fused-int8')
CALIBRATION = 5     # random batches of 32 x 128 that INT8 is calibrated on


def config_of(model):
    """The `BertConfig` of 'minilm' or 'base'."""
    from benchmarks.inference.ours_predictor import BASE
    from bert.model.weights import catalogue
    return catalogue.config_of(*(harness.WEIGHTS if model == 'minilm' else
                                 (BASE, 'book_corpus_wiki_en_uncased')))


def make_network(model):
    """A classifier with random weights, the same in every process."""
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


def write(model, folder):
    """The weights for the peers: ONNX, and transformers' files."""
    import onnx

    from bert.export import onnx_graph
    from bert.model.weights import file_formats, heads, mapping
    from bert.train.checkpoint import parameters_of
    network, config = make_network(model)
    arrays = {name: value.asnumpy() for name, value in parameters_of(network).items()}
    onnx.save(onnx_graph.build(arrays, config), str(folder / 'model.onnx'))
    head, arrays, _ = heads.find_head(arrays, 'network')
    file_formats.write_safetensors(str(folder / 'model.safetensors'), mapping.to_transformers(
        arrays, 'network', config.tied_decoder))
    (folder / 'config.json').write_text(json.dumps(mapping.config_to_transformers(
        config, head.architecture, 0, ['a', 'b'], is_regression=False)))


def make_way(name, model):
    """Function of the batch's arrays → logits, NumPy."""
    import mxnet as mx

    from bert.export.runtimes import SymbolEngine
    from bert.model.bert import compute_in, is_fused
    from bert.model.inference import ForPrediction, Predictor
    from bert.model.kernels import library
    from bert.quantization.calibrate import Quantizer
    if not name.startswith('fused'):
        os.environ[library.SWITCH] = '0'
    network, _ = make_network(model)
    dtype = name.partition('-')[2] or 'float32'
    if name.startswith('fused'):
        compute_in(network, dtype)
    if name == 'network' or name.startswith('fused'):
        if name != 'network' and not is_fused(network, dtype):
            raise SystemExit('no fused kernels with %s here: leave %s out with --ways'
                             % (dtype, name))
        return lambda *arrays: network(*map(mx.nd.array, arrays)).asnumpy()
    if name == 'predictor':
        predict = Predictor(network)
        return lambda *arrays: predict(*map(mx.nd.array, arrays), is_padded=False).asnumpy()
    if name == 'int8':
        quantizer = Quantizer(ForPrediction(network))
        quantizer.calibrate([harness.random_batch(32, 128, seed) for seed in range(CALIBRATION)])
        return SymbolEngine(*quantizer.quantize(), mx.cpu())
    graph = ForPrediction(network)(*[mx.sym.var('data%d' % i) for i in range(3)])
    return SymbolEngine(graph, {key: value.data() for key, value
                                in network.collect_params().items()}, mx.cpu())


def main():
    parser = argparse.ArgumentParser(description='worker of exported_models.py')
    parser.add_argument('--model', choices=('minilm', 'base'))
    parser.add_argument('--way', choices=WAYS)
    parser.add_argument('--write', type=pathlib.Path, metavar='FOLDER')
    args = parser.parse_args()
    from bert.flags import common
    common.prepare_mxnet(int(os.environ['OMP_NUM_THREADS']), low_latency=True)     # as deploy.py
    if args.write:
        write(args.model, args.write)
        return
    compute = make_way(args.way, args.model)
    harness.answer_timed(compute)


if __name__ == '__main__':
    main()
