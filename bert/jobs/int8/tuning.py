"""An INT8 network tuned to a goal, and scored on examples that the search has not seen."""
import logging
import os
import re
import shutil

from bert import files
from bert.data.glue.download import locate_labelled_test
from bert.errors import UserError
from bert.export import runtimes
from bert.flags.common import refuse
from bert.jobs.int8 import calibration
from bert.jobs.runs import run_folder, sets_from_flags
from bert.pipelines import evaluation_sets
from bert.pipelines.classification import Classifier
from bert.quantization import report
from bert.quantization.config import Config, find_config
from bert.quantization.loss import MISSED, Goal
from bert.quantization.tune import rebuild as trial_network
from bert.quantization.tune import tune
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log

TRIALS, TABLE, PICTURE = 'trials.jsonl', 'trials.txt', 'trials.png'
REBUILT = re.compile(r'trial-\d+$')     # folders of --rebuild
EXIT_MISSED = 1             # the goal was not reached


def run(args):
    """Tune as the parsed flags of quantize.py say; returns (report, exit status)."""
    if args.rebuild and not args.resume:
        raise UserError('--rebuild %d: the trial of which run? Give --resume too' % args.rebuild)
    refuse(args, ('seed',), 'the seed of --tune is random_seed in its configuration')
    calibration.check_mode(args, is_tuned=True)
    args.output_dir = args.output_dir or os.path.join(args.model_dir, 'tuned')
    folder = run_folder.reopen_folder(args, '', calibration.SCRIPT) if args.resume else None
    config = choose_config(args)
    device = pick_device(None)
    model = calibration.open_source(args, device)
    folder = folder or open_folder(args, calibration.prefix_of(model.task, args.calib_mode))
    seed_everything(args.seed)
    open_log(os.path.join(folder, calibration.LOG))
    if args.rebuild:
        return rebuild(args, model, folder, config, device), 0
    return tune_model(args, model, folder, config, device)


def choose_config(args):
    """The `Config` of a new run, which a resume takes again, whatever its file says by then, unless
    --config is given anew."""
    if not args.resume or 'config' in args.given:
        config = find_config(args.config)
    else:
        config = Config(**dict(args.tuning, goal=Goal(*args.tuning['goal'])))
    args.tuning = config._asdict()
    return config


def open_folder(args, name):
    """Path of a folder for a new run, without trials. Raises `UserError` when it holds those of a
    run that was killed, or a run, and neither is to be replaced."""
    trials = os.path.join(args.output_dir, TRIALS)
    if os.path.exists(trials) and not args.overwrite_output_dir:
        raise UserError('%s holds the trials of a tuning run: go on with it by --resume, or '
                        'replace it by --overwrite_output_dir' % args.output_dir)
    folder = run_folder.open_folder_of_its_own(
        args, name, calibration.SCRIPT,
        [calibration.LOG, TRIALS, TABLE, PICTURE] + calibration.written(name))
    if os.path.exists(trials):
        os.remove(trials)
    for rebuilt in filter(REBUILT.match, os.listdir(folder)):
        shutil.rmtree(os.path.join(folder, rebuilt))
    return folder


def tune_model(args, model, folder, config, device):
    """Search, write the network that was chosen and the trials; returns (report, exit status)."""
    logging.info('configuration: %s: a loss of at most %s, timeout %d s, max_trials %d',
                 config.path or 'the defaults', config.goal.describe(), config.timeout,
                 config.max_trials)
    if config.framework and config.framework != 'mxnet':
        logging.info('framework: %s: the networks here are MXNet\'s; the rest of the file holds',
                     config.framework)
    batches, search, held_out = read_sets(args, model)
    logging.info('searching on %s (%d examples of %s), reporting on %s (%d examples of %s)',
                 search.name, len(search), search.source, held_out.name, len(held_out),
                 held_out.source)

    tuned = tune(calibration_batches=batches, config=config,
                 interval=lambda before, after: config.goal.measure(
                     search.score, before, after, config.random_seed),
                 **_search_arguments(args, model, folder, search, device))
    write_trials(folder, tuned, search, config.goal)
    if not tuned.reached:
        logging.warning('the goal, a loss of at most %s by a network that is faster than float, '
                        'was not reached: trial %d is the best found', config.goal.describe(),
                        tuned.trial.number)
    made = calibration.conclude(
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


def _search_arguments(args, model, folder, search, device):
    """What a search and the rebuilding of its trials have in common: arguments of `tune`."""
    def evaluate(network):
        outputs = search.outputs(calibration.with_engine(model, network), args.dev_batch_size,
                                 device)
        return search.score(outputs), outputs
    return {'network': calibration.traced(model, args.calib_mode, args.quantized_dtype),
            'eval_func': evaluate, 'journal': os.path.join(folder, TRIALS),
            'make': lambda *network: runtimes.SymbolEngine(*network, device),
            'quantizer': calibration.make_quantizer(model, args)}


def read_sets(args, model):
    """(calibration batches of train, the examples to search on, those to report on)"""
    sets = sets_from_flags.read_segments(args, model, ['train', 'dev'])
    search, held_out = split(args, model, evaluation_sets.pick(sets, 'dev'))
    batches = calibration.calibration_batches(args, model, {
        'train': evaluation_sets.pick(sets, 'train'), 'search': search, 'report': held_out})
    return batches, evaluation_sets.without(search, [held_out]), held_out


def split(args, model, dev):
    """(the examples to search on, those to report on): the labelled test set where there is one,
    else the two halves of dev."""
    if isinstance(model, Classifier) and not args.dev_file:
        task = sets_from_flags.find_model_task(args, model)
        test = locate_labelled_test(task, args.data_dir)
        if test:
            return dev, evaluation_sets.read_texts(task, model, 'test', *test,
                                                   limit=args.max_eval_samples)
    parts = evaluation_sets.halves(dev)
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
    batches, search, held_out = read_sets(args, model)
    kept, network = trial_network(
        args.rebuild, calibration_batches=batches, config=config,
        **_search_arguments(args, model, folder, search, device))
    target = os.path.join(folder, 'trial-%d' % args.rebuild)
    with files.writing(target):
        os.makedirs(target, exist_ok=True)
    return calibration.conclude(args, model, target, network,
                                _judge(args, config, held_out, device), trial=args.rebuild,
                                kept_in_float=list(kept))


def _judge(args, config, held_out, device):
    return calibration.Judge({held_out.name: held_out}, config.goal, config.random_seed,
                             args.dev_batch_size, device)
