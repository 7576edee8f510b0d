"""An INT8 network tuned to a goal, and scored on examples that the search has not seen."""
import logging
import os
import re
import shutil

from bert import files
from bert.data.locate import locate_labelled_test
from bert.errors import UserError
from bert.export import engines
from bert.jobs import labelled, quantization, run_folder
from bert.jobs.folder import Classifier
from bert.quantization import report
from bert.quantization.config import find_config
from bert.quantization.loss import MISSED
from bert.quantization.tune import Journal, tune
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log

TRIALS, TABLE, PICTURE = 'trials.jsonl', 'trials.txt', 'trials.png'
REBUILT = re.compile(r'trial-\d+$')     # folders of --rebuild
EXIT_MISSED = 1             # the goal was not reached


def run(args):
    """Tune as the parsed flags of quantize.py say; returns (report, exit status)."""
    if args.rebuild and not args.resume:
        raise UserError('--rebuild %d: the trial of which run? Give --resume too' % args.rebuild)
    args.output_dir = args.output_dir or os.path.join(args.model_dir, 'tuned')
    folder = run_folder.reopen_folder(args, '', quantization.SCRIPT) if args.resume else None
    config = find_config(args.config)
    args.config = config.path       # a resume finds it from anywhere
    device = pick_device(None)
    model = quantization.open_source(args, device)
    name = quantization.prefix_of(model.task, args.calib_mode)
    folder = folder or run_folder.open_folder(
        args, name, quantization.SCRIPT,
        [quantization.LOG, TRIALS, TABLE, PICTURE] + quantization.written(name))
    if not args.resume:
        clear_trials(folder, args.overwrite_output_dir)
    seed_everything(args.seed)
    open_log(os.path.join(folder, quantization.LOG))
    if args.rebuild:
        return rebuild(args, model, folder, config, device), 0
    return tune_model(args, model, folder, config, device)


def clear_trials(folder, overwrite):
    """Remove what a run left that was killed, or that is replaced; `UserError` unless asked to."""
    if os.path.exists(os.path.join(folder, TRIALS)):
        if not overwrite:
            raise UserError('%s holds the trials of a run that did not end: go on with it by '
                            '--resume, or replace it by --overwrite_output_dir' % folder)
        os.remove(os.path.join(folder, TRIALS))
    for name in os.listdir(folder):
        if REBUILT.match(name):
            shutil.rmtree(os.path.join(folder, name))


def tune_model(args, model, folder, config, device):
    """Search, write the network that was chosen and the trials; returns (report, exit status)."""
    quantization.warn_without_vnni()
    logging.info('configuration: %s', config.path or 'the defaults')
    if config.framework and config.framework != 'mxnet':
        logging.info('framework: %s: the networks here are MXNet\'s; the rest of the file holds',
                     config.framework)
    batches, search, held_out = read_sets(args, model)
    logging.info('searching on %s (%d examples of %s), reporting on %s (%d examples of %s)',
                 search.name, len(search), search.source, held_out.name, len(held_out),
                 held_out.source)

    def evaluate(network):
        outputs = search.outputs(quantization.with_engine(model, network), args.dev_batch_size,
                                 device)
        return search.score(outputs), outputs
    network = quantization.traced(model, args.calib_mode, args.quantized_dtype)
    tuned = tune(network, batches, evaluate, config,
                 interval=lambda before, after: config.goal.measure(
                     search.score, before, after, config.random_seed),
                 make=lambda graph, parameters: engines.SymbolEngine(graph, parameters, device),
                 journal=os.path.join(folder, TRIALS), mode=args.calib_mode,
                 dtype=args.quantized_dtype)
    write_trials(folder, tuned, search, config.goal)
    if not tuned.reached:
        logging.warning('the goal, a loss of at most %s by a network that is faster than float, '
                        'was not reached: trial %d is the best found', config.goal.describe(),
                        tuned.trial.number)
    made = quantization.conclude(
        args, model, folder, tuned.quantizer.quantize(tuned.trial.kept),
        _judge(args, config, held_out, device), reached=tuned.reached, trial=tuned.trial.number,
        kept_in_float=list(tuned.trial.kept), config=config._asdict(), harms=tuned.harms,
        trials=[one._asdict() for one in tuned.trials],
        searched_on={'name': search.name, 'source': search.source, 'examples': len(search)})
    held_out_missed = made['scores'][held_out.name]['verdict'] == MISSED
    if tuned.reached and held_out_missed:
        logging.warning('the goal was reached on %s, and missed on %s, which the search has not '
                        'seen', search.name, held_out.name)
    return made, EXIT_MISSED if held_out_missed or not tuned.reached else 0


def read_sets(args, model):
    """(calibration batches of train, the examples to search on, those to report on)"""
    sets = labelled.read_segments(args, model, ['train', 'dev'])
    dev = next(one for key, one in sets.items() if key.startswith('dev'))
    search, held_out = split(args, model, dev)
    train = next(one for key, one in sets.items() if key.startswith('train'))
    batches = quantization.calibration_batches(args, model, {
        'train': train, 'search': search, 'report': held_out})
    return batches, labelled.without(search, [held_out]), held_out


def split(args, model, dev):
    """(the examples to search on, those to report on): the labelled test set where there is one,
    else the two halves of dev."""
    if isinstance(model, Classifier) and not args.dev_file:
        task = labelled.find_model_task(args, model)
        test = locate_labelled_test(task, args.data_dir)
        if test:
            return dev, labelled.read_texts(task, model, 'test', *test, limit=args.max_eval_samples)
    parts = labelled.halves(dev)
    if not all(map(len, parts)):
        raise UserError('%s: %d examples are too few to search on one half and report on the other'
                        % (dev.source, len(dev)))
    return tuple(dev.part('dev, %s half' % which, rows)
                 for which, rows in zip(('first', 'second'), parts))


def write_trials(folder, tuned, search, goal):
    """The table, in the log too, and the picture."""
    lines = report.table(tuned.trials)
    for line in lines:
        logging.info(line)
    with files.atomic_write(os.path.join(folder, TABLE)) as out:
        out.write('\n'.join(lines) + '\n')
    allowed = tuned.float_score - goal.loss * (
        abs(tuned.float_score) if goal.is_relative else 1)
    report.draw(os.path.join(folder, PICTURE), tuned, search.metric, allowed)


def rebuild(args, model, folder, config, device):
    """Write the network of one trial into a sub-folder, scored like the chosen one; returns its
    report."""
    trials = Journal(os.path.join(folder, TRIALS)).trials()
    if args.rebuild > len(trials):
        raise UserError('--rebuild %d: the run in %s has %d trials'
                        % (args.rebuild, folder, len(trials)))
    kept = trials[args.rebuild - 1]
    batches, _, held_out = read_sets(args, model)
    quantizer = quantization.make_quantizer(model, args)
    quantizer.calibrate(batches)
    target = os.path.join(folder, 'trial-%d' % args.rebuild)
    with files.writing(target):
        os.makedirs(target, exist_ok=True)
    return quantization.conclude(args, model, target, quantizer.quantize(kept),
                                 _judge(args, config, held_out, device), trial=args.rebuild,
                                 kept_in_float=list(kept))


def _judge(args, config, held_out, device):
    return quantization.Judge({held_out.name: held_out}, config.goal, config.random_seed,
                              args.dev_batch_size, device)
