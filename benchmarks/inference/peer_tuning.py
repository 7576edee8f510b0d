"""neural-compressor's tuning of a symbol of MXNet, for tuning.py."""
import argparse
import pathlib
import time

from benchmarks import harness

BASIC = 1       # quant_level: tuning by operators; its default, automatic, fails on MXNet


class Batches:
    """Calibration data as neural-compressor takes it: inputs and label in arrays of MXNet."""

    def __init__(self, batches):
        import mxnet as mx
        self._batches, self.batch_size = batches, len(batches[0][0])
        self.provide_data = [mx.io.DataDesc('data%d' % i, array.shape, dtype='float32')
                             for i, array in enumerate(batches[0])]

    def __iter__(self):
        import mxnet as mx
        for batch in self._batches:
            yield [mx.nd.array(array, dtype='float32') for array in batch] + [
                mx.nd.zeros(self.batch_size)]


def make_compute(symbol, arguments):
    """Function of the batch's arrays → logits, NumPy."""
    import mxnet as mx
    names = symbol.list_inputs()
    inputs = [names.index('data%d' % i) for i in range(3)]
    operator = mx.nd.CachedOp(symbol, [
        ('data_indices', inputs), ('static_alloc', True), ('static_shape', True),
        ('param_indices', [i for i in range(len(names)) if i not in inputs])])

    def compute(*arrays):
        values = [arguments.get(name) for name in names]
        for i, array in zip(inputs, arrays):
            values[i] = mx.nd.array(array, dtype='float32')
        return operator(*values).asnumpy()
    return compute


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.inference.tuning')
    parser.add_argument('--folder', type=pathlib.Path, required=True)
    parser.add_argument('--loss', type=float, required=True)
    parser.add_argument('--max_trials', type=int, required=True)
    args = parser.parse_args()
    import mxnet as mx
    from neural_compressor import PostTrainingQuantConfig, quantization, set_workspace
    from neural_compressor.config import AccuracyCriterion, TuningCriterion
    set_workspace(str(args.folder / 'workspace'))
    batches, search = (harness.read_batches(args.folder / (name + '.npz'))
                       for name in ('calibration', 'search'))
    scores = []

    def evaluate(model):
        symbol, arguments, _ = model.model if hasattr(model, 'model') else model
        scores.append(harness.accuracy(make_compute(symbol, arguments), *search))
        return scores[-1]
    model = mx.model.load_checkpoint(str(args.folder / 'float'), 0)
    size = len(batches[0][0][0])
    config = PostTrainingQuantConfig(
        quant_level=BASIC, calibration_sampling_size=[size * len(batches[0])],
        accuracy_criterion=AccuracyCriterion(criterion='relative', tolerable_loss=args.loss),
        tuning_criterion=TuningCriterion(timeout=0, max_trials=args.max_trials))
    started = time.time()
    tuned_model = quantization.fit(model, config, calib_dataloader=Batches(batches[0]),
                                   eval_func=evaluate)
    seconds = time.time() - started
    if tuned_model is not None:
        mx.model.save_checkpoint(str(args.folder / 'peer'), 0, *tuned_model.model)
    harness.write_json(args.folder / 'peer.json', {
        'scores': scores, 'seconds': seconds, 'reached': tuned_model is not None})


if __name__ == '__main__':
    main()
