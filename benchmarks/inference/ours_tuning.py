"""Our side of tuning.py, and the common start and end: the inputs, the scores and the timing."""
import argparse
import os
import pathlib
import time

import numpy as np

from benchmarks import harness


def write_inputs(folder, model_dir, data_dir):
    """Write the float network as a symbol, and the three sets of examples as batches."""
    import mxnet as mx

    from bert.data.batches import collate
    from bert.export.symbol import export_network
    from bert.flags.int8 import QuantizeOptions
    from bert.flags.options import make_options
    from bert.jobs.int8 import calibration, tuning
    from bert.model.inference import InterleavedNetwork
    options, explicit = make_options(QuantizeOptions, {'model_dir': model_dir,
                                                       'data_dir': data_dir})
    model = calibration.open_float_model(options, explicit, mx.cpu())
    batches, search, held_out = tuning.read_sets(options, explicit, model)
    export_network(InterleavedNetwork(model.network), str(folder), 'float')
    longest = max(batch[0].shape[1] for batch in batches)
    padded_batches = [
        (np.pad(batch[0], ((0, 0), (0, longest - batch[0].shape[1])),
                constant_values=model.padding_id),
         np.pad(batch[1], ((0, 0), (0, longest - batch[1].shape[1]))), batch[2])
        for batch in batches]
    harness.write_batches(folder / 'calibration.npz', padded_batches)
    size = len(padded_batches[0][0])
    for name, text_set in (('search', search), ('report', held_out)):
        set_batches = [
            collate(text_set.features[i:i + size], model.padding_id, pad_to=model.max_len)
            for i in range(0, len(text_set), size)]
        harness.write_batches(folder / (name + '.npz'), [batch[:3] for batch in set_batches],
                              np.concatenate([batch.labels for batch in set_batches]))


class SymbolNetwork:
    """A symbol and its parameters with the methods of a network that `tune` calls."""

    def __init__(self, graph, parameters):
        import mxnet as mx
        self._graph, self._parameters = graph, {}
        for name, value in parameters.items():
            self._parameters[name] = mx.gluon.Parameter(name, shape=value.shape)
            self._parameters[name].initialize(ctx=mx.cpu())
            self._parameters[name].set_data(value)

    def __call__(self, *inputs):
        return self._graph

    def collect_params(self):
        return self._parameters

    _collect_params_with_prefix = collect_params


def tune(folder, loss, max_trials):
    import mxnet as mx

    from bert.export.runtimes import SymbolRuntime
    from bert.export.symbol import read_symbol, write_symbol
    from bert.quantization import tune as search
    from bert.quantization.config import TuningConfig
    from bert.quantization.loss import Goal
    batches, examples = (harness.read_batches(folder / (name + '.npz'))
                         for name in ('calibration', 'search'))
    network = SymbolNetwork(*read_symbol(str(folder / 'float-symbol.json'),
                                         str(folder / 'float-0000.params')))
    started = time.time()
    result = search.tune(network, batches[0],
                         lambda compiled: harness.accuracy(compiled, *examples),
                         TuningConfig(Goal(loss), max_trials=max_trials),
                         make=lambda *symbol: SymbolRuntime(*symbol, mx.cpu()))
    seconds = time.time() - started
    write_symbol(*result.quantizer.quantize(result.trial.kept), str(folder), 'ours')
    harness.write_json(folder / 'ours.json', {
        'scores': [result.float_score] + [trial.score for trial in result.trials],
        'seconds': seconds, 'reached': result.is_goal_reached, 'in_float': list(result.trial.kept)})


def score_and_time(folder, shapes, rounds):
    """Write the scores on examples that no search has seen, and the seconds of all networks."""
    import mxnet as mx

    from bert.export import runtimes
    from bert.quantization import speed
    report = harness.read_batches(folder / 'report.npz')
    networks = {name: runtimes.open_symbol(str(folder / (name + '-symbol.json')), mx.cpu())
                for name in ('float', 'ours', 'peer')
                if (folder / (name + '-symbol.json')).exists()}
    seconds = {}
    for shape in shapes:
        size, length = map(int, shape.split('x'))
        seconds[shape] = speed.time_interleaved(networks, harness.random_batch(size, length),
                                                rounds)
    harness.write_json(folder / 'found.json', {
        'report': {name: harness.accuracy(network, *report) for name, network in networks.items()},
        'examples': len(report[1]), 'seconds': seconds})


def main():
    parser = argparse.ArgumentParser(description='worker of benchmarks.inference.tuning')
    parser.add_argument('work', choices=('write', 'tune', 'conclude'))
    parser.add_argument('--folder', type=pathlib.Path, required=True)
    parser.add_argument('--model_dir')
    parser.add_argument('--data_dir')
    parser.add_argument('--loss', type=float)
    parser.add_argument('--max_trials', type=int)
    parser.add_argument('--shapes', type=harness.comma_list)
    parser.add_argument('--rounds', type=int)
    args = parser.parse_args()
    from bert.flags import threads
    threads.prepare_mxnet(int(os.environ['OMP_NUM_THREADS']), low_latency=True)
    if args.work == 'write':
        write_inputs(args.folder, args.model_dir, args.data_dir)
    elif args.work == 'tune':
        tune(args.folder, args.loss, args.max_trials)
    else:
        score_and_time(args.folder, args.shapes, args.rounds)


if __name__ == '__main__':
    main()
