"""Tunes an INT8 network to a goal, and scores it on examples that the search has not seen."""
import logging
import os
import re
import shutil

from bert import files
from bert.data.glue.download import locate_labelled_test
from bert.errors import UserError
from bert.export import runtimes
from bert.flags.common import refuse_flags
from bert.jobs.int8 import calibration
from bert.jobs.runs import run_folder, sets_from_flags
from bert.pipelines import evaluation_sets
from bert.pipelines.classification import Classifier
from bert.quantization import report
from bert.quantization.config import TuningConfig, find_config
from bert.quantization.loss import GOAL_MISSED, Goal
from bert.quantization.tune import rebuild_network as rebuild_network
from bert.quantization.tune import tune
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log

JOURNAL_FILE, TABLE_FILE, PICTURE_FILE = 'trials.jsonl', 'trials.txt', 'trials.png'
TRIAL_FOLDER = re.compile(r'trial-\d+$')     # a folder of --rebuild
EXIT_MISSED = 1             # exit status: the goal was not reached


def tune_checkpoint(args):
    """Tune by the parsed flags of quantize.py; returns (report, exit status). Raises `UserError`
    for flags that contradict each other."""
    if args.rebuild and not args.resume:
        raise UserError('--rebuild %d: the trial of which run? Give --resume too' % args.rebuild)
    refuse_flags(args, ('seed',), 'the seed of --tune is random_seed in its configuration')
    calibration.check_calibration_flags(args, is_tuned=True)
    args.output_dir = args.output_dir or os.path.join(args.model_dir, 'tuned')
    folder = run_folder.reopen_run_folder(args, '', calibration.SCRIPT) if args.resume else None
    config = choose_config(args)
    device = pick_device(None)
    model = calibration.open_float_model(args, device)
    if not folder:
        folder = open_tuning_folder(args, calibration.quantized_prefix(model.task, args.calib_mode))
    seed_everything(args.seed)
    open_log(os.path.join(folder, calibration.LOG_FILE))
    if args.rebuild:
        return rebuild_trial(args, model, folder, config, device), 0
    return tune_model(args, model, folder, config, device)


def choose_config(args):
    """The `TuningConfig` of the run. A resume takes the saved one, even if the file has changed
    since, unless the command line sets --config again."""
    if not args.resume or 'config' in args.explicit_flags:
        config = find_config(args.config)
    else:
        config = TuningConfig(**dict(args.tuning, goal=Goal(*args.tuning['goal'])))
    args.tuning = config._asdict()
    return config


def open_tuning_folder(args, name):
    """Path of the folder for a new run, without trials. Raises `UserError` when it holds a run or
    the trials of a killed run, and --overwrite_output_dir is not given."""
    trials = os.path.join(args.output_dir, JOURNAL_FILE)
    if os.path.exists(trials) and not args.overwrite_output_dir:
        raise UserError('%s holds the trials of a tuning run: go on with it by --resume, or '
                        'replace it by --overwrite_output_dir' % args.output_dir)
    output_files = [calibration.LOG_FILE, JOURNAL_FILE, TABLE_FILE, PICTURE_FILE]
    folder = run_folder.open_model_folder(args, name, calibration.SCRIPT,
                                          output_files + calibration.quantized_files(name))
    if os.path.exists(trials):
        os.remove(trials)
    for trial_folder in filter(TRIAL_FOLDER.match, os.listdir(folder)):
        shutil.rmtree(os.path.join(folder, trial_folder))
    return folder


def tune_model(args, model, folder, config, device):
    """Search, write the best network and the trials; returns (report, exit status)."""
    logging.info('configuration: %s: a loss of at most %s, timeout %d s, max_trials %d',
                 config.path or 'the defaults', config.goal.describe(), config.timeout,
                 config.max_trials)
    if config.framework and config.framework != 'mxnet':
        logging.info('framework: %s: the networks here are MXNet\'s; the rest of the file holds',
                     config.framework)
    batches, search_set, held_out_set = read_sets(args, model)
    logging.info('searching on %s (%d examples of %s), reporting on %s (%d examples of %s)',
                 search_set.name, len(search_set), search_set.source,
                 held_out_set.name, len(held_out_set), held_out_set.source)

    result = tune(calibration_batches=batches, config=config,
                  interval=lambda float_outputs, outputs: config.goal.measure(
                      search_set.score, float_outputs, outputs, config.random_seed),
                  **_search_arguments(args, model, folder, search_set, device))
    write_trials(folder, result, search_set, config.goal)
    if not result.is_goal_reached:
        logging.warning('the goal, a loss of at most %s by a network that is faster than float, '
                        'was not reached: trial %d is the best found', config.goal.describe(),
                        result.trial.number)
    tuning_report = calibration.write_and_compare(
        args, model, folder, result.quantizer.quantize(result.trial.kept),
        _comparison_settings(args, config, held_out_set, device), reached=result.is_goal_reached,
        trial=result.trial.number, kept_in_float=list(result.trial.kept), config=config._asdict(),
        harms=result.harms, trials=[trial._asdict() for trial in result.trials],
        searched_on={'name': search_set.name, 'source': search_set.source,
                     'examples': len(search_set)})
    is_goal_missed = tuning_report['scores'][held_out_set.name]['verdict'] == GOAL_MISSED
    if result.is_goal_reached and is_goal_missed:
        logging.warning('the goal was reached on %s, and missed on %s, which the search has not '
                        'seen', search_set.name, held_out_set.name)
    return tuning_report, EXIT_MISSED if is_goal_missed or not result.is_goal_reached else 0


def _search_arguments(args, model, folder, search_set, device):
    """The arguments of `tune` that rebuilding a trial needs too."""
    def evaluate(network):
        outputs = search_set.outputs(calibration.with_runtime(model, network), args.dev_batch_size,
                                 device)
        return search_set.score(outputs), outputs
    float_network = calibration.quantizable_network(model, args.calib_mode, args.quantized_dtype)
    return {'network': float_network, 'eval_func': evaluate,
            'journal': os.path.join(folder, JOURNAL_FILE),
            'make': lambda *network: runtimes.SymbolRuntime(*network, device),
            'quantizer': calibration.make_quantizer(model, args)}


def read_sets(args, model):
    """(calibration batches of train, the set to search on, the set to report on)"""
    sets = sets_from_flags.read_evaluation_sets(args, model, ['train', 'dev'])
    search_set, held_out_set = hold_out_examples(args, model, evaluation_sets.find_set(sets, 'dev'))
    batches = calibration.calibration_batches(args, model, {
        'train': evaluation_sets.find_set(sets, 'train'), 'search': search_set,
        'report': held_out_set})
    return batches, evaluation_sets.remove_overlap(search_set, [held_out_set]), held_out_set


def hold_out_examples(args, model, dev):
    """(the set to search on, the set to report on): dev and the test set if that has labels, else
    the two halves of dev. Raises `UserError`."""
    if isinstance(model, Classifier) and not args.dev_file:
        task = sets_from_flags.find_model_task(args, model)
        test = locate_labelled_test(task, args.data_dir)
        if test:
            return dev, evaluation_sets.read_text_set(task, model, 'test', *test,
                                                      limit=args.max_eval_samples)
    halves = evaluation_sets.split_in_halves(dev)
    if not all(map(len, halves)):
        raise UserError('%s: %d examples are too few to search on one half and report on the other'
                        % (dev.source, len(dev)))
    return tuple(dev.subset('dev, %s half' % ordinal, rows)
                 for ordinal, rows in zip(('first', 'second'), halves))


def write_trials(folder, result, search_set, goal):
    """Write the table of the trials, to the log too, and their picture."""
    lines = report.format_trials(result.trials)
    for line in lines:
        logging.info(line)
    with files.atomic_write(os.path.join(folder, TABLE_FILE)) as out:
        out.write('\n'.join(lines) + '\n')
    lowest_score = result.float_score - goal.loss * (
        abs(result.float_score) if goal.is_relative else 1)
    report.draw_trials(os.path.join(folder, PICTURE_FILE), result, search_set.metric, lowest_score)


def rebuild_trial(args, model, folder, config, device):
    """Write the network of the trial --rebuild into a sub-folder, and score it like the best one;
    returns its report."""
    batches, search_set, held_out_set = read_sets(args, model)
    float_operators, network = rebuild_network(
        args.rebuild, calibration_batches=batches, config=config,
        **_search_arguments(args, model, folder, search_set, device))
    trial_folder = os.path.join(folder, 'trial-%d' % args.rebuild)
    with files.explain_write_errors(trial_folder):
        os.makedirs(trial_folder, exist_ok=True)
    return calibration.write_and_compare(args, model, trial_folder, network,
                                         _comparison_settings(args, config, held_out_set, device),
                                         trial=args.rebuild, kept_in_float=list(float_operators))


def _comparison_settings(args, config, held_out_set, device):
    sets = {held_out_set.name: held_out_set}
    return calibration.ComparisonSettings(sets, config.goal, config.random_seed,
                                          args.dev_batch_size, device)
