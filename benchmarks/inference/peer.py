"""One way of a peer to compute, for exported_models.py, in a process of its own."""
import argparse
import contextlib
import inspect
import pathlib
import sys

import numpy as np

from benchmarks import harness

CALIBRATION_BATCHES = 5     # random, of 32 x 128, for INT8
WAYS = ('onnxruntime', 'onnxruntime-int8', 'openvino', 'openvino-bfloat16', 'openvino-int8',
        'torch', 'torch-bfloat16')


def model_inputs(names, token_ids, segment_ids, valid_length):
    """The inputs by the names that transformers gives them. names: those that the network has,
    which may have no segments."""
    mask = np.arange(token_ids.shape[1]) < valid_length[:, None]
    inputs = {'input_ids': token_ids, 'attention_mask': mask, 'token_type_ids': segment_ids}
    return {name: array.astype('int64') for name, array in inputs.items() if name in names}


def make_onnxruntime(way, folder, threads):
    import onnxruntime
    path = folder / 'model.onnx'
    if way.endswith('int8'):
        from onnxruntime.quantization import QuantType, quantize_dynamic
        source, path = path, folder / 'int8.onnx'
        quantize_dynamic(str(source), str(path), per_channel=True, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, ['CPUExecutionProvider'])
    names = [each.name for each in session.get_inputs()]
    return lambda *arrays: session.run(None, model_inputs(names, *arrays))[0]


def make_openvino(way, folder, threads):
    import openvino
    core = openvino.Core()
    model = core.read_model(str(folder / 'model.onnx'))
    names = [each.any_name for each in model.inputs]
    if way.endswith('int8'):
        import nncf
        batches = [model_inputs(names, *harness.random_batch(32, 128, seed))
                   for seed in range(CALIBRATION_BATCHES)]
        model = nncf.quantize(model, nncf.Dataset(batches), subset_size=CALIBRATION_BATCHES,
                              model_type=nncf.ModelType.TRANSFORMER)
    precision = 'bf16' if way.endswith('bfloat16') else 'f32'
    compiled = core.compile_model(model, 'CPU', {
        'INFERENCE_NUM_THREADS': threads, 'INFERENCE_PRECISION_HINT': precision,
        'PERFORMANCE_HINT': 'LATENCY'})
    return lambda *arrays: compiled(model_inputs(names, *arrays))[compiled.output(0)]


def make_torch(way, folder, threads):
    import torch
    from transformers import AutoModelForSequenceClassification
    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if way.endswith('bfloat16') else torch.float32
    model = AutoModelForSequenceClassification.from_pretrained(str(folder)).eval().to(dtype)
    names = inspect.signature(model.forward).parameters

    def compute(*arrays):
        with torch.inference_mode():
            inputs = {name: torch.from_numpy(array)
                      for name, array in model_inputs(names, *arrays).items()}
            return model(**inputs).logits.float().numpy()
    return compute


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.inference.exported_models')
    parser.add_argument('--folder', type=pathlib.Path, required=True)
    parser.add_argument('--way', choices=WAYS, required=True)
    parser.add_argument('--threads', type=int, required=True)
    args = parser.parse_args()
    make = {'onnxruntime': make_onnxruntime, 'openvino': make_openvino,
            'torch': make_torch}[args.way.split('-')[0]]
    with contextlib.redirect_stdout(sys.stderr):    # some print messages
        compute = make(args.way, args.folder, args.threads)
    harness.answer_with_times(compute)


if __name__ == '__main__':
    main()
