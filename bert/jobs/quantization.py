"""INT8 networks of a fine-tuned model: calibrated, or tuned to a goal, and measured."""
import logging
import os

import mxnet as mx
import numpy as np

from bert import files, layout
from bert.data.locate import locate_labelled_test
from bert.data.sampler import Batch
from bert.errors import UserError
from bert.export import engines
from bert.export.symbol import write_symbol
from bert.jobs import labelled, results, run_folder
from bert.jobs.deployment import ExportedClassifier, ExportedQAModel
from bert.jobs.folder import Classifier, find_model
from bert.jobs.trained import TRAINERS, open_trained
from bert.model.inference import ForPrediction
from bert.quantization import report, speed
from bert.quantization.calibrate import Quantizer
from bert.quantization.config import find_config
from bert.quantization.loss import Goal
from bert.quantization.tune import tune
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log
from bert.train.metrics import format_metrics

SCRIPT, LOG = 'quantize.py', 'quantize.log'
EPOCH = 0                   # in the parameters' name, as in the original
SPEED_SHAPES = ((1, 128), (32, 128))    # batches whose speed is reported: texts, tokens
SPEED_ROUNDS = 9
TRIALS, TABLE, PICTURE = 'trials.jsonl', 'trials.txt', 'trials.png'
EXIT_MISSED = 1             # the goal was not reached
VNNI = {'avx512_vnni', 'avx_vnni', 'amx_int8'}
# Values of DNNL_MAX_CPU_ISA that leave INT8 products to slower instructions
WITHOUT_VNNI = ('SSE41', 'AVX', 'AVX2', 'AVX512_MIC', 'AVX512_MIC_4OPS', 'AVX512_CORE')


def prefix_of(task, mode):
    """Name of an INT8 model's files without their endings, as in the original."""
    name = task['name'] if 'labels' in task else 'squad'
    return 'model_bert_%s_quantized_%s' % (name, mode)


def run(args):
    """Do what the parsed flags of quantize.py say; returns (report, exit status)."""
    config = find_config(args.config) if args.tune else None
    if args.config and not args.tune:
        raise UserError('--config is for --tune')
    device = pick_device(None)
    model = open_trained(find_model(args.model_dir, TRAINERS), device)
    if args.task_name and isinstance(model, Classifier):
        model.task['name'] = labelled.find_model_task(args, model).name
    args.output_dir = args.output_dir or os.path.join(
        args.model_dir, 'tuned' if args.tune else 'quantized')
    name = prefix_of(model.task, args.calib_mode)
    folder = _open_folder(args, name)
    seed_everything(args.seed)
    open_log(os.path.join(folder, LOG))
    if args.tune:
        return tune_model(args, model, folder, name, device, config)
    sets = labelled.read_segments(args, model, ['train', 'dev'])
    return calibrate_model(args, model, sets, folder, args.dev_batch_size, device), 0


def _open_folder(args, name):
    if args.resume:
        return run_folder.reopen_folder(args, name, SCRIPT)
    return run_folder.open_folder(args, name, SCRIPT, [LOG, TRIALS, TABLE, PICTURE] +
                                  written(name))


def written(name):
    """Names of the files that a quantized model consists of."""
    return [layout.CONFIG, layout.VOCABULARY, layout.TASK] + layout.symbol_names(name, EPOCH)


def warn_without_vnni():
    """Say where INT8 will be slow."""
    capped = os.environ.get('DNNL_MAX_CPU_ISA', '').upper() in WITHOUT_VNNI
    if capped or not VNNI.intersection(results.cpu_flags()):
        logging.warning('this CPU has no VNNI%s: INT8 works, and may be no faster than float32 '
                        '(found: %s)', ' (DNNL_MAX_CPU_ISA takes it away)' if capped else '',
                        ' '.join(results.cpu_flags()) or 'no vector instructions')


# Calibration


def calibrate_model(args, model, sets, folder, batch_size, device):
    """Calibrate on training data, write the INT8 network, score it on all others of `sets`,
    {name: `Labelled`}; returns the report."""
    if device.device_type != 'cpu':
        raise UserError('--gpu: INT8 is for CPUs here; leave it out')
    warn_without_vnni()
    name = prefix_of(model.task, args.calib_mode)
    batches = calibration_batches(args, model, sets)
    # without calibration MXNet can't do attention in INT8: then the network as it is
    network = model.network if args.calib_mode == 'none' else ForPrediction(model.network)
    quantizer = Quantizer(network, args.calib_mode, args.quantized_dtype)
    quantizer.calibrate(batches)
    paths = write(folder, name, model, *quantizer.quantize())
    quantized = open_written(model, paths[0], device)
    scores = compare_scores(
        model, quantized,
        {key: one for key, one in sets.items() if not key.startswith('train')},
        Goal(), args.seed, batch_size, device)
    return _report(args, folder, model, quantized, paths, scores,
                   operators=list(quantizer.operators),
                   calibrated_on=sum(len(batch[0]) for batch in batches))


def calibration_batches(args, model, sets):
    """Batches of the training set, three arrays each."""
    train = next(one for key, one in sets.items() if key.startswith('train'))
    wanted = args.num_calib_batches * args.calib_batch_size
    batches = [batch[:3] for batch in train.batches(args.calib_batch_size, args.num_calib_batches,
                                                    model.padding_id)]
    found = sum(len(batch[0]) for batch in batches)
    if found < wanted:
        logging.warning('calibrated on %d examples: %s has no more, and %d batches of %d were asked '
                        'for', found, train.source, args.num_calib_batches, args.calib_batch_size)
    else:
        logging.info('Now we are doing calibration on %d examples of %s with %s.', found,
                     train.source, mx.cpu())
    return batches


def write(folder, name, model, graph, parameters):
    """The INT8 network and what serving it needs; returns the paths of its two files."""
    paths = write_symbol(graph, parameters, folder, name, EPOCH)
    with files.writing(folder):
        model.write_description(folder)
    logging.info('Saving quantized model at %s', os.path.join(folder, name))
    return paths


def open_written(model, path, device):
    """The same `Model` with the network that was written."""
    return with_engine(model, engines.open_symbol(path, device))


def with_engine(model, engine):
    make = ExportedClassifier if isinstance(model, Classifier) else ExportedQAModel
    return make(engine, model.tokenizer, model.config, model.task, model.max_len)


def compare_scores(model, quantized, sets, goal, seed, batch_size, device):
    """{set: scores of both, and the loss of the score that counts}, logged."""
    found = {}
    for name, one in sets.items():
        before, after = (one.outputs(who, batch_size, device)
                         for who in (model, quantized))
        metric = one.primary(one.scores(before))
        loss = goal.measure(one.score, before, after, seed)
        verdict = goal.judge(loss)
        found[name] = {'source': one.source, 'examples': len(one), 'float': one.scores(before),
                       'int8': one.scores(after), 'metric': metric, 'loss': loss._asdict(),
                       'goal': goal.describe(), 'verdict': verdict}
        logging.info('%s, %d examples: float %s; INT8 %s', name, len(one),
                     format_metrics(one.scores(before).items()),
                     format_metrics(one.scores(after).items()))
        logging.info('%s: loss of %s %.4f, 95 %% interval %.4f to %.4f; at most %s: %s', name,
                     metric, *loss, goal.describe(), verdict)
    return found


def compare_speed(model, quantized, device):
    """Seconds of float32 and INT8 side by side, for `SPEED_SHAPES`."""
    def network(*arrays):
        return model.network(*[mx.nd.array(array, ctx=device) for array in arrays]).asnumpy()

    def fastest(*arrays):
        return model.outputs(Batch(*arrays, None), device).asnumpy()
    found = []
    for size, length in SPEED_SHAPES:
        length = min(length, model.max_len)
        batch = speed.random_batch(size, length, model.config.vocab_size)
        seconds = speed.time_together({'float32': network, 'predictor': fastest,
                                       'int8': quantized.network}, batch, SPEED_ROUNDS)
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


def _report(args, folder, model, quantized, paths, scores, **values):
    sizes = {os.path.basename(path): os.path.getsize(path) for path in paths}
    float_bytes = sum(4 * int(np.prod(one.shape))
                      for one in model.network.collect_params().values())
    logging.info('size: %.1f MB, of float32 %.1f MB', sum(sizes.values()) / 1e6, float_bytes / 1e6)
    made = results.write_results(
        folder, args, task=model.task['name'], files=paths, scores=scores,
        speed=compare_speed(model, quantized, mx.cpu()), bytes=sizes, float_bytes=float_bytes,
        **values)
    logging.info('results: %s', os.path.join(folder, layout.RESULTS))
    return made


# Tuning


def tune_model(args, model, folder, name, device, config):
    """Tune, write the network that was chosen, score it on examples that the search has not seen;
    returns (report, exit status)."""
    warn_without_vnni()
    logging.info('configuration: %s', config.source)
    if config.framework and config.framework != 'mxnet':
        logging.info('framework: %s: the networks here are MXNet\'s; the rest of the file holds',
                     config.framework)
    sets = labelled.read_segments(args, model, ['train', 'dev'])
    dev = next(one for key, one in sets.items() if key.startswith('dev'))
    search, held_out = split(args, model, dev)
    batches = calibration_batches(args, model, sets)
    network = model.network if args.calib_mode == 'none' else ForPrediction(model.network)
    goal = config.goal

    def evaluate(network):
        outputs = search.outputs(with_engine(model, network), args.dev_batch_size, device)
        return search.score(outputs), outputs
    tuned = tune(network, batches, evaluate, config,
                 interval=lambda a, b: goal.measure(search.score, a, b, config.random_seed),
                 compile=lambda graph, parameters: engines.SymbolEngine(graph, parameters, device),
                 journal=os.path.join(folder, TRIALS), mode=args.calib_mode,
                 dtype=args.quantized_dtype)
    return _conclude(args, model, folder, name, device, config, tuned, search, held_out)


def split(args, model, dev):
    """(the examples to search on, those to report on): the labelled test set where there is one,
    else the two halves of dev."""
    if isinstance(model, Classifier) and not args.dev_file:
        task = labelled.find_model_task(args, model)
        test = locate_labelled_test(task, args.data_dir)
        if test:
            return dev, labelled.read_texts(task, model, 'test', *test, limit=args.max_eval_samples)
    first, second = labelled.halves(dev)
    return dev.part('dev, first half', first), dev.part('dev, second half', second)


def _conclude(args, model, folder, name, device, config, tuned, search, held_out):
    trial = tuned.trial
    chosen = tuned.trials[args.rebuild - 1] if args.rebuild else trial
    paths = write(folder, name, model, *tuned.quantizer.quantize(chosen.kept))
    quantized = open_written(model, paths[0], device)
    for line in report.table(tuned.trials):
        logging.info(line)
    metric = search.primary(search.scores(search.outputs(model, args.dev_batch_size, device)))
    allowed = tuned.float_score - config.goal.loss * (
        abs(tuned.float_score) if config.goal.is_relative else 1)
    with files.atomic_write(os.path.join(folder, TABLE)) as out:
        out.write('\n'.join(report.table(tuned.trials)) + '\n')
    report.draw(os.path.join(folder, PICTURE), tuned, metric, allowed)
    if not tuned.reached:
        logging.warning('the goal, a loss of at most %s by a network that is faster than float, was '
                        'not reached: trial %d is the best found', config.goal.describe(),
                        trial.number)
    scores = compare_scores(model, quantized, {held_out.name: held_out}, config.goal,
                            config.random_seed, args.dev_batch_size, device)
    made = _report(args, folder, model, quantized, paths, scores, reached=tuned.reached,
                   trial=chosen.number, kept_in_float=list(chosen.kept), config=config._asdict(),
                   searched_on={'source': search.source, 'name': search.name,
                                'examples': len(search)},
                   trials=[one._asdict() for one in tuned.trials], harms=tuned.harms)
    return made, 0 if tuned.reached else EXIT_MISSED
