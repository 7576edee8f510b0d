"""Makes the INT8 network of a fine-tuned model by calibration, and compares the two."""
import logging
import os
from typing import NamedTuple

import mxnet as mx
import numpy as np

from bert import file_names, files, graph_names
from bert.data.batches import Batch
from bert.errors import UserError
from bert.export import runtimes
from bert.export.symbol import write_symbol
from bert.flags.option_kinds import refuse_other_kinds
from bert.flags.options import refuse
from bert.jobs.runs import results, run_folder, sets_from_options
from bert.model.inference import InterleavedNetwork
from bert.model.kernels import cpu
from bert.model.kernels.quantizer import FusedQuantizer
from bert.pipelines import evaluation_sets
from bert.pipelines.classification import Classifier
from bert.pipelines.exported import EXPORTED_PIPELINES, warn_without_vnni
from bert.pipelines.model_folder import find_checkpoint_folder
from bert.pipelines.opening import TRAINING_SCRIPTS, open_pipeline, refuse_overwriting_model
from bert.pipelines.task_file import kind_of
from bert.quantization import speed
from bert.quantization.calibrate import Quantizer
from bert.quantization.loss import Goal
from bert.quantization.tune import symbol_block
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log
from bert.train.metrics import format_metrics

SCRIPT, LOG_FILE = 'quantize.py', 'quantize.log'
SPEED_SHAPES = ((1, 128), (32, 128))    # batches of the speed report: (texts, tokens)
MAX_SPEED_OUTPUTS = 2 ** 24     # numbers that a batch may give: 64 MB
SPEED_ROUNDS = 9
UNCALIBRATED_MODES = ('none', file_names.FUSED_MODE)
CALIBRATION_OPTIONS = ('num_calib_batches', 'calib_batch_size', 'max_train_samples')


def quantized_prefix(task, mode):
    """Name of an INT8 model's files without their extensions, as in the original."""
    names = {file_names.QUESTION_ANSWERING: 'squad', file_names.FILL_MASK: file_names.FILL_MASK}
    name = names.get(kind_of(task)) or task['name']
    return 'model_bert_%s_quantized_%s' % (name, mode)


def calibrate_checkpoint(options, explicit):
    """Calibrate the model in --model_dir. Returns a `JobResult`. Raises `UserError`."""
    check_calibration_options(options, explicit)
    model = open_float_model(options, explicit, pick_device(None))
    options = run_folder.output_beside_model(options, 'quantized', is_needed=True)
    name = quantized_prefix(model.task, options.calib_mode)
    with run_folder.open_model_folder(options, name, SCRIPT, [LOG_FILE] + quantized_files(name),
                                      can_resume=False) as folder:
        seed_everything(options.seed)
        open_log(os.path.join(folder, LOG_FILE))
        kinds = ['dev'] if options.calib_mode in UNCALIBRATED_MODES else ['train', 'dev']
        sets = sets_from_options.read_evaluation_sets(options, explicit, model, kinds)
        report = calibrate_model(options, model, sets, folder, options.dev_batch_size)
    return results.JobResult(report, folder)


def open_float_model(options, explicit, device):
    """The `Pipeline` in --model_dir, with the task name of --task_name. Raises `UserError`."""
    path = find_checkpoint_folder(options.model_dir, TRAINING_SCRIPTS)
    refuse_overwriting_model(options.output_dir, path)
    model = open_pipeline(path, device)
    refuse_other_kinds(options, explicit, kind_of(model.task))
    if options.task_name and isinstance(model, Classifier):
        task = sets_from_options.find_model_task(options, explicit, model)
        if model.task['pair'] not in (None, task.pair):
            raise UserError('--task_name %s: the task has %s, but the model was trained on %s' % (
                (task.name,) + (('pairs', 'single texts') if task.pair else
                                ('single texts', 'pairs'))))
        model.task.update(name=task.name, pair=task.pair, metrics=list(task.metrics))
    if options.calib_mode == file_names.FUSED_MODE:
        make_quantizer(model, options)     # if it raises, then before any folder is changed
    return model


def quantized_files(name):
    """Names of the files of a quantized model. name: from `quantized_prefix`."""
    return [file_names.CONFIG_FILE, file_names.VOCABULARY_FILE, file_names.TOKENIZER_FILE,
            file_names.TOKENIZER_CONFIG_FILE, file_names.TASK_FILE] + \
        file_names.symbol_names(name)


# Calibration


def calibrate_model(options, model, sets, folder, batch_size):
    """Calibrate on the training data, write the INT8 network, score it on all other `sets`,
    {name: `EvaluationSet`}; returns the report."""
    if model.device.device_type != 'cpu':
        raise UserError('--gpu: INT8 runs only on CPUs here; leave the flag out')
    batches = []
    if options.calib_mode not in UNCALIBRATED_MODES:
        batches = calibration_batches(options, model, sets)
    quantizer = make_quantizer(model, options)
    quantizer.calibrate(batches)
    settings = ComparisonSettings({name: evaluation_set for name, evaluation_set in sets.items()
                                   if not name.startswith('train')}, Goal(), options.seed,
                                  batch_size)
    return write_and_compare(options, model, folder, quantizer.quantize(), settings,
                             operators=list(quantizer.operators),
                             calibrated_on=sum(len(batch[0]) for batch in batches))


class ComparisonSettings(NamedTuple):
    """How to compare an INT8 network with its float network. sets: {name: `EvaluationSet`}."""
    sets: dict
    goal: Goal
    seed: int
    batch_size: int


def write_and_compare(options, model, folder, network, settings, **values):
    """Write an INT8 network, read it back, and compare its scores, speed and size with the float
    network's. Writes the report with `values` to results.json; returns it.

    network: (symbol, parameters). settings: `ComparisonSettings`.
    """
    name = quantized_prefix(model.task, options.calib_mode)
    paths = write_quantized_model(folder, name, model, *network)
    int8_model = with_runtime(model, runtimes.open_symbol(paths[0], model.device))
    scores = compare_scores(model, int8_model, settings)
    sizes = {os.path.basename(path): os.path.getsize(path) for path in paths}
    float_bytes = sum(4 * int(np.prod(parameter.shape))
                      for parameter in model.network.collect_params().values())
    logging.info('size: %.1f MB, float32: %.1f MB', sum(sizes.values()) / 1e6, float_bytes / 1e6)
    report = results.write_results(
        folder, options, task=model.task['name'], files=paths, scores=scores, bytes=sizes,
        float_bytes=float_bytes, speed=compare_speed(model, int8_model), **values)
    logging.info('results: %s', os.path.join(folder, file_names.RESULTS_FILE))
    return report


def quantizable_network(model, mode, dtype):
    """The network in the form that the quantizer takes."""
    # MXNet's INT8 attention needs calibrated ranges, and weights in uint8
    needs_conversion = mode != 'none' and dtype == 'auto'
    return InterleavedNetwork(model.network) if needs_conversion else model.network


def make_quantizer(model, options):
    """The `Quantizer` or `FusedQuantizer` that the options choose."""
    if options.calib_mode == file_names.FUSED_MODE:
        return FusedQuantizer(model.network)
    warn_without_vnni()
    network = quantizable_network(model, options.calib_mode, options.quantized_dtype)
    return Quantizer(network, options.calib_mode, options.quantized_dtype)


def check_calibration_options(options, explicit, is_tuned=False):
    """Raises `UserError` for calibration options in a mode that calibrates nothing. Tuning uses
    calibration batches in every mode."""
    if options.calib_mode == file_names.FUSED_MODE:
        refuse(explicit, ('quantized_dtype',) + (() if is_tuned else CALIBRATION_OPTIONS),
               '--calib_mode %s always computes in int8, and calibrates nothing: leave the flag out'
               % file_names.FUSED_MODE)


def calibration_batches(options, model, sets):
    """Batches of the training set, three arrays each, without the examples that other sets
    share."""
    train = evaluation_sets.remove_overlap(evaluation_sets.find_set(sets, 'train'),
                                           [evaluation_set for name, evaluation_set in sets.items()
                                            if not name.startswith('train')])
    num_requested = options.num_calib_batches * options.calib_batch_size
    batches = [batch[:3] for batch in train.batches(
        options.calib_batch_size, options.num_calib_batches, model.padding_id)]
    num_examples = sum(len(batch[0]) for batch in batches)
    if num_examples < num_requested:
        logging.warning('calibrated on %d examples: %s has no more, but %d batches of %d were '
                        'requested', num_examples, train.source, options.num_calib_batches,
                        options.calib_batch_size)
    else:
        logging.info('Now we are doing calibration on %d examples of %s with %s.',
                     num_examples, train.source, mx.cpu())
    return batches


def write_quantized_model(folder, name, model, graph, parameters):
    """Write the INT8 network and what serving needs; returns the paths of the network's files."""
    paths = write_symbol(graph, parameters, folder, name)
    with files.explain_write_errors(folder):
        model.write_description(folder)
    logging.info('Saving quantized model at %s', os.path.join(folder, name))
    return paths


def with_runtime(model, runtime):
    """The same `Pipeline` with its network computed by a runtime."""
    return EXPORTED_PIPELINES[kind_of(model.task)](
        runtime, model.tokenizer, model.config, model.task, model.max_len, model.device)


def compare_scores(model, int8_model, settings):
    """{name of a set: scores of both networks, and the loss of the main metric}; logs them too."""
    report, goal = {}, settings.goal
    for name, evaluation_set in settings.sets.items():
        float_outputs, int8_outputs = (
            evaluation_set.outputs(pipeline, settings.batch_size)
            for pipeline in (model, int8_model))
        loss = goal.measure(evaluation_set.score, float_outputs, int8_outputs, settings.seed)
        verdict = goal.judge(loss)
        float_scores, int8_scores = (evaluation_set.scores(outputs)
                                     for outputs in (float_outputs, int8_outputs))
        report[name] = {'source': evaluation_set.source, 'examples': len(evaluation_set),
                        'float': float_scores, 'int8': int8_scores,
                        'metric': evaluation_set.metric, 'loss': loss._asdict(),
                        'goal': goal.describe(), 'verdict': verdict}
        logging.info('%s, %d examples: float %s; INT8 %s', name, len(evaluation_set),
                     format_metrics(float_scores.items()), format_metrics(int8_scores.items()))
        logging.info('%s: loss of %s %.4f, 95 %% interval %.4f to %.4f; goal at most %s: %s', name,
                     evaluation_set.metric, *loss, goal.describe(), verdict)
    return report


def _stock_network(network):
    """The same network with the same parameters, but only MXNet's own operators: a function of
    NumPy arrays."""
    graph = network(*[mx.sym.var(name) for name in graph_names.SYMBOL_INPUTS])
    return symbol_block(graph, {name: value.data()
                                for name, value in network.collect_params().items()})


def compare_speed(model, int8_model):
    """Times of float32 and INT8, measured side by side: one dict for each of `SPEED_SHAPES`."""
    stock_network = _stock_network(model.network)

    def predict(*arrays):
        return model.outputs(Batch(*arrays, None)).asnumpy()
    report = []
    logging.info('speed with %s threads; %s', os.environ.get('OMP_NUM_THREADS', 'unknown'),
                 ' '.join(cpu.vector_flags()))
    for size, length in SPEED_SHAPES:
        length = min(length, model.max_len)
        outputs_per_text = int(np.prod(model.output_shape(model.config, model.task, length)))
        size = max(1, min(size, MAX_SPEED_OUTPUTS // outputs_per_text))
        batch = speed.random_batch(size, length, model.config.vocab_size)
        networks = {'float32': lambda *arrays: stock_network(*arrays).asnumpy(),
                    'predictor': predict, 'int8': int8_model.network}
        seconds = speed.time_interleaved(networks, batch, SPEED_ROUNDS)
        ratios = {name: np.array(seconds[name]) / seconds['int8'] for name in
                  ('float32', 'predictor')}
        report.append({'batch_size': size, 'length': length,
                       **{name: speed.summarize_latency(values, size)
                          for name, values in seconds.items()},
                       **{'over_' + name: [float(np.median(values)), float(values.min()),
                                           float(values.max())]
                          for name, values in ratios.items()}})
        logging.info('batch %d, %d tokens: INT8 %.1f ms, %.2f (%.2f to %.2f) times as fast as '
                     'stock float32, %.2f (%.2f to %.2f) times as fast as the fastest float32 here',
                     size, length, report[-1]['int8']['p50_ms'], *report[-1]['over_float32'],
                     *report[-1]['over_predictor'])
    return report
