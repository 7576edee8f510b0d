"""INT8 networks of a fine-tuned model: calibrated, and compared with it."""
import logging
import os
from typing import NamedTuple

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.batches import Batch
from bert.errors import UserError
from bert.export import runtimes
from bert.export.symbol import write_symbol
from bert.flags.common import refuse
from bert.jobs.runs import results, run_folder, sets_from_flags
from bert.model.inference import ForPrediction
from bert.model.kernels import cpu
from bert.model.kernels.quantizer import FusedQuantizer
from bert.pipelines import evaluation_sets
from bert.pipelines.classification import Classifier
from bert.pipelines.exported import ExportedClassifier, ExportedQAModel, warn_without_vnni
from bert.pipelines.model_folder import find_model
from bert.pipelines.opening import TRAINERS, open_trained, refuse_source
from bert.quantization import speed
from bert.quantization.calibrate import Quantizer
from bert.quantization.loss import Goal
from bert.quantization.tune import symbol_block
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log
from bert.train.metrics import format_metrics

SCRIPT, LOG = 'quantize.py', 'quantize.log'
SPEED_SHAPES = ((1, 128), (32, 128))    # batches whose speed is reported: texts, tokens
SPEED_ROUNDS = 9
UNCALIBRATED = ('none', file_names.FUSED_MODE)
OF_CALIBRATION = ('num_calib_batches', 'calib_batch_size', 'max_train_samples')


def prefix_of(task, mode):
    """Name of an INT8 model's files without their endings, as in the original."""
    name = task['name'] if 'labels' in task else 'squad'
    return 'model_bert_%s_quantized_%s' % (name, mode)


def run(args):
    """Calibrate as the parsed flags of quantize.py say; returns the report."""
    for flag in ('config', 'resume', 'rebuild'):
        if getattr(args, flag):
            raise UserError('--%s is for --tune' % flag)
    check_mode(args)
    device = pick_device(None)
    model = open_source(args, device)
    args.output_dir = args.output_dir or os.path.join(args.model_dir, 'quantized')
    name = prefix_of(model.task, args.calib_mode)
    folder = run_folder.open_folder_of_its_own(args, name, SCRIPT, [LOG] + written(name),
                                               can_resume=False)
    seed_everything(args.seed)
    open_log(os.path.join(folder, LOG))
    needed = ['dev'] if args.calib_mode in UNCALIBRATED else ['train', 'dev']
    sets = sets_from_flags.read_segments(args, model, needed)
    return calibrate_model(args, model, sets, folder, args.dev_batch_size, device)


def open_source(args, device):
    """The `Model` in --model_dir; its task called as --task_name says."""
    path = find_model(args.model_dir, TRAINERS)
    refuse_source(args.output_dir, path)
    model = open_trained(path, device)
    if not isinstance(model, Classifier):
        refuse(args, ('task_name', 'text_columns', 'label_column'),
               'the model in %s answers questions' % args.model_dir)
    elif args.task_name:
        task = sets_from_flags.find_model_task(args, model)
        if model.task['pair'] not in (None, task.pair):
            raise UserError('--task_name %s: it has %s, and the model was trained on %s' % (
                (task.name,) + (('pairs', 'single texts') if task.pair else
                                ('single texts', 'pairs'))))
        model.task.update(name=task.name, pair=task.pair, metrics=list(task.metrics))
    if args.calib_mode == file_names.FUSED_MODE:
        make_quantizer(model, args)     # raises, if it does, before a folder is changed
    return model


def written(name):
    """Names of the files that a quantized model consists of."""
    return [file_names.CONFIG, file_names.VOCABULARY, file_names.TASK] + \
        file_names.symbol_names(name)


# Calibration


def calibrate_model(args, model, sets, folder, batch_size, device):
    """Calibrate on training data, write the INT8 network, score it on all others of `sets`,
    {name: `Labelled`}; returns the report."""
    if device.device_type != 'cpu':
        raise UserError('--gpu: INT8 is for CPUs here; leave it out')
    batches = [] if args.calib_mode in UNCALIBRATED else calibration_batches(args, model, sets)
    quantizer = make_quantizer(model, args)
    quantizer.calibrate(batches)
    judge = Judge({key: one for key, one in sets.items() if not key.startswith('train')}, Goal(),
                  args.seed, batch_size, device)
    return conclude(args, model, folder, quantizer.quantize(), judge,
                    operators=list(quantizer.operators),
                    calibrated_on=sum(len(batch[0]) for batch in batches))


class Judge(NamedTuple):
    """What an INT8 network is compared with its float network on. sets: {name: `Labelled`}."""
    sets: dict
    goal: Goal
    seed: int
    batch_size: int
    device: mx.Context


def conclude(args, model, folder, network, judge, **values):
    """Write an INT8 network, (symbol, parameters), read it back, compare it in score, speed and
    size; returns the report with `values`, in results.json too."""
    paths = write(folder, prefix_of(model.task, args.calib_mode), model, *network)
    quantized = with_engine(model, runtimes.open_symbol(paths[0], judge.device))
    scores = compare_scores(model, quantized, judge)
    sizes = {os.path.basename(path): os.path.getsize(path) for path in paths}
    float_bytes = sum(4 * int(np.prod(one.shape))
                      for one in model.network.collect_params().values())
    logging.info('size: %.1f MB, of float32 %.1f MB', sum(sizes.values()) / 1e6, float_bytes / 1e6)
    report = results.write_results(
        folder, args, task=model.task['name'], files=paths, scores=scores, bytes=sizes,
        float_bytes=float_bytes, speed=compare_speed(model, quantized, judge.device), **values)
    logging.info('results: %s', os.path.join(folder, file_names.RESULTS))
    return report


def traced(model, mode, dtype):
    """The network in the form that is quantized."""
    # MXNet's INT8 attention asks for ranges that are calibrated, and for its weights as uint8
    return ForPrediction(model.network) if mode != 'none' and dtype == 'auto' else model.network


def make_quantizer(model, args):
    """The `Quantizer` or `FusedQuantizer` of the flags."""
    if args.calib_mode == file_names.FUSED_MODE:
        return FusedQuantizer(model.network)
    warn_without_vnni()
    return Quantizer(traced(model, args.calib_mode, args.quantized_dtype), args.calib_mode,
                     args.quantized_dtype)


def check_mode(args, is_tuned=False):
    """Raises `UserError` for flags of a calibration that isn't made. Tuning has batches in any
    mode."""
    if args.calib_mode == file_names.FUSED_MODE:
        refuse(args, ('quantized_dtype',) + (() if is_tuned else OF_CALIBRATION),
               '--calib_mode %s: its products are int8, and nothing is calibrated'
               % file_names.FUSED_MODE)


def calibration_batches(args, model, sets):
    """Batches of the training set, three arrays each; without what other sets have too."""
    train = evaluation_sets.without(evaluation_sets.pick(sets, 'train'),
                                    [one for key, one in sets.items()
                                     if not key.startswith('train')])
    wanted = args.num_calib_batches * args.calib_batch_size
    batches = [batch[:3] for batch in train.batches(args.calib_batch_size, args.num_calib_batches,
                                                    model.padding_id)]
    found = sum(len(batch[0]) for batch in batches)
    if found < wanted:
        logging.warning('calibrated on %d examples: %s has no more, and %d batches of %d were '
                        'asked for', found, train.source, args.num_calib_batches,
                        args.calib_batch_size)
    else:
        logging.info('Now we are doing calibration on %d examples of %s with %s.', found,
                     train.source, mx.cpu())
    return batches


def write(folder, name, model, graph, parameters):
    """The INT8 network and what serving it needs; returns the paths of its two files."""
    paths = write_symbol(graph, parameters, folder, name)
    with files.writing(folder):
        model.write_description(folder)
    logging.info('Saving quantized model at %s', os.path.join(folder, name))
    return paths


def with_engine(model, engine):
    """The same `Model` computed by an engine."""
    make = ExportedClassifier if isinstance(model, Classifier) else ExportedQAModel
    return make(engine, model.tokenizer, model.config, model.task, model.max_len)


def compare_scores(model, quantized, judge):
    """{set: scores of both, and the loss of the score that counts}, logged."""
    found, goal = {}, judge.goal
    for name, one in judge.sets.items():
        before, after = (one.outputs(who, judge.batch_size, judge.device)
                         for who in (model, quantized))
        loss = goal.measure(one.score, before, after, judge.seed)
        verdict = goal.judge(loss)
        found[name] = {'source': one.source, 'examples': len(one), 'float': one.scores(before),
                       'int8': one.scores(after), 'metric': one.metric, 'loss': loss._asdict(),
                       'goal': goal.describe(), 'verdict': verdict}
        logging.info('%s, %d examples: float %s; INT8 %s', name, len(one),
                     format_metrics(one.scores(before).items()),
                     format_metrics(one.scores(after).items()))
        logging.info('%s: loss of %s %.4f, 95 %% interval %.4f to %.4f; at most %s: %s', name,
                     one.metric, *loss, goal.describe(), verdict)
    return found


def _of_own_operators(network):
    """The same network, with the same parameters, by MXNet's operators alone: function of NumPy
    arrays."""
    graph = network(*[mx.sym.var(name) for name in file_names.SYMBOL_INPUTS])
    return symbol_block(graph, {name: value.data()
                                for name, value in network.collect_params().items()})


def compare_speed(model, quantized, device):
    """Seconds of float32 and INT8 side by side, for `SPEED_SHAPES`."""
    stock = _of_own_operators(model.network)

    def fastest(*arrays):
        return model.outputs(Batch(*arrays, None), device).asnumpy()
    found = []
    logging.info('speed with %s threads; %s', os.environ.get('OMP_NUM_THREADS', 'unknown'),
                 ' '.join(cpu.vector_flags()))
    for size, length in SPEED_SHAPES:
        length = min(length, model.max_len)
        batch = speed.random_batch(size, length, model.config.vocab_size)
        seconds = speed.time_together({'float32': lambda *arrays: stock(*arrays).asnumpy(),
                                       'predictor': fastest, 'int8': quantized.network},
                                      batch, SPEED_ROUNDS)
        ratios = {name: np.array(seconds[name]) / seconds['int8'] for name in
                  ('float32', 'predictor')}
        found.append({'batch_size': size, 'length': length,
                      **{name: speed.summarize(values, size) for name, values in seconds.items()},
                      **{'over_' + name: [float(np.median(one)), float(one.min()),
                                          float(one.max())] for name, one in ratios.items()}})
        logging.info('batch %d, %d tokens: INT8 %.1f ms, %.2f (%.2f to %.2f) times stock float32, '
                     '%.2f (%.2f to %.2f) times the fastest float32 here', size, length,
                     found[-1]['int8']['p50_ms'], *found[-1]['over_float32'],
                     *found[-1]['over_predictor'])
    return found
