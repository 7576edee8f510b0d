"""Tunes an INT8 network to a goal, and scores it on examples that the search has not seen."""
import contextlib
import logging
import os
import re
import shutil

from bert import files
from bert.data.glue.download import locate_labelled_test
from bert.errors import UserError
from bert.export import runtimes
from bert.jobs.int8 import calibration
from bert.jobs.runs import results, run_folder, sets_from_options
from bert.pipelines import evaluation_sets
from bert.pipelines.classification import Classifier
from bert.quantization import report
from bert.quantization.config import TuningConfig, find_config
from bert.quantization.loss import GOAL_MISSED, Goal
from bert.quantization.tune import rebuild_network, tune
from bert.train.devices import pick_device, seed_everything
from bert.train.log import open_log

JOURNAL_FILE, TABLE_FILE, PICTURE_FILE = 'trials.jsonl', 'trials.txt', 'trials.png'
TRIAL_FOLDER = re.compile(r'trial-\d+$')     # a folder of --rebuild
EXIT_MISSED = 1             # exit status: the goal was not reached


def tune_checkpoint(options, explicit):
    """Tune the model in --model_dir. Returns a `JobResult`. Raises `UserError`."""
    calibration.check_calibration_options(options, explicit, is_tuned=True)
    options = run_folder.output_beside_model(options, 'tuned', is_needed=True)
    folder = None
    with contextlib.ExitStack() as held:
        if options.resume:
            folder, options = held.enter_context(run_folder.reopen_run_folder(
                options, explicit, '', calibration.SCRIPT))
        config = choose_config(options, explicit, folder)
        model = calibration.open_float_model(options, explicit, pick_device(None))
        if not folder:
            folder = held.enter_context(open_tuning_folder(
                options, calibration.quantized_prefix(model.task, options.calib_mode), config))
        seed_everything(options.seed)
        open_log(os.path.join(folder, calibration.LOG_FILE))
        if not options.rebuild:
            _log_config(config)
        sets = read_sets(options, explicit, model)
        if options.rebuild:
            return results.JobResult(rebuild_trial(options, model, folder, config, sets), folder)
        report, exit_status = tune_model(options, model, folder, config, sets)
        return results.JobResult(report, folder, exit_status)


def _log_config(config):
    logging.info('configuration: %s: a loss of at most %s, timeout %d s, max_trials %d',
                 config.path or 'the defaults', config.goal.describe(), config.timeout,
                 config.max_trials)
    if config.framework and config.framework != 'mxnet':
        logging.info("framework: %s: ignored, because the networks here are MXNet's; the rest of "
                     'the file is used', config.framework)


def choose_config(options, explicit, folder):
    """The `TuningConfig` of the run. A resume takes the one saved in `folder`, even if the file has
    changed since, unless the command line sets --config again."""
    if not folder or 'config' in explicit:
        return find_config(options.config)
    values = run_folder.saved_options(folder)['tuning']
    return TuningConfig(**dict(values, goal=Goal(*values['goal'])))


@contextlib.contextmanager
def open_tuning_folder(options, name, config):
    """Context with the path of the folder for a new run, without trials. Raises `UserError` when it
    holds a run or the trials of a killed run, and --overwrite_output_dir is not given."""
    trials = os.path.join(options.output_dir, JOURNAL_FILE)
    if os.path.exists(trials) and not options.overwrite_output_dir:
        raise UserError('%s holds the trials of a tuning run: continue it with --resume, or '
                        'replace it with --overwrite_output_dir' % options.output_dir)
    output_files = [calibration.LOG_FILE, JOURNAL_FILE, TABLE_FILE, PICTURE_FILE]
    with run_folder.open_model_folder(options, name, calibration.SCRIPT,
                                      output_files + calibration.quantized_files(name),
                                      tuning=config._asdict()) as folder:
        files.remove(trials)
        for trial_folder in filter(TRIAL_FOLDER.match, os.listdir(folder)):
            shutil.rmtree(os.path.join(folder, trial_folder))
        yield folder


def tune_model(options, model, folder, config, sets):
    """Search, write the best network and the trials; returns (report, exit status)."""
    batches, search_set, held_out_set = sets
    logging.info('searching on %s (%d examples of %s), reporting on %s (%d examples of %s)',
                 search_set.name, len(search_set), search_set.source,
                 held_out_set.name, len(held_out_set), held_out_set.source)

    result = tune(calibration_batches=batches, config=config,
                  interval=lambda float_outputs, outputs: config.goal.measure(
                      search_set.score, float_outputs, outputs, config.random_seed),
                  **_search_arguments(options, model, folder, search_set))
    write_trials(folder, result, search_set, config.goal)
    if not result.is_goal_reached:
        logging.warning('the goal was not reached: found no network that is faster than float with '
                        'a loss of at most %s. Trial %d is the best found', config.goal.describe(),
                        result.trial.number)
    tuning_report = calibration.write_and_compare(
        options, model, folder, result.quantizer.quantize(result.trial.kept),
        _comparison_settings(options, config, held_out_set), reached=result.is_goal_reached,
        trial=result.trial.number, kept_in_float=list(result.trial.kept), config=config._asdict(),
        harms=result.harms, trials=[trial._asdict() for trial in result.trials],
        searched_on={'name': search_set.name, 'source': search_set.source,
                     'examples': len(search_set)})
    is_goal_missed = tuning_report['scores'][held_out_set.name]['verdict'] == GOAL_MISSED
    if result.is_goal_reached and is_goal_missed:
        logging.warning('the goal was reached on %s, but missed on %s, which the search has not '
                        'seen', search_set.name, held_out_set.name)
    return tuning_report, EXIT_MISSED if is_goal_missed or not result.is_goal_reached else 0


def _search_arguments(options, model, folder, search_set):
    """The arguments of `tune` that rebuilding a trial needs too."""
    def evaluate(network):
        outputs = search_set.outputs(calibration.with_runtime(model, network),
                                     options.dev_batch_size)
        return search_set.score(outputs), outputs
    float_network = calibration.quantizable_network(model, options.calib_mode,
                                                    options.quantized_dtype)
    return {'network': float_network, 'eval_func': evaluate,
            'journal': os.path.join(folder, JOURNAL_FILE),
            'make': lambda *network: runtimes.SymbolRuntime(*network, model.device),
            'quantizer': calibration.make_quantizer(model, options)}


def read_sets(options, explicit, model):
    """(calibration batches of train, the set to search on, the set to report on)"""
    sets = sets_from_options.read_evaluation_sets(options, explicit, model, ['train', 'dev'])
    search_set, held_out_set = hold_out_examples(options, explicit, model,
                                                 evaluation_sets.find_set(sets, 'dev'))
    batches = calibration.calibration_batches(options, model, {
        'train': evaluation_sets.find_set(sets, 'train'), 'search': search_set,
        'report': held_out_set})
    return batches, evaluation_sets.remove_overlap(search_set, [held_out_set]), held_out_set


def hold_out_examples(options, explicit, model, dev):
    """(the set to search on, the set to report on): dev and the test set if that has labels, else
    the two halves of dev. Raises `UserError`."""
    if isinstance(model, Classifier) and not options.dev_file:
        task = sets_from_options.find_model_task(options, explicit, model)
        test = locate_labelled_test(task, options.data_dir)
        if test:
            return dev, evaluation_sets.read_text_set(task, model, 'test', *test,
                                                      limit=options.max_eval_samples)
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


def rebuild_trial(options, model, folder, config, sets):
    """Write the network of the trial --rebuild into a sub-folder, and score it like the best one;
    returns its report."""
    batches, search_set, held_out_set = sets
    float_operators, network = rebuild_network(
        options.rebuild, calibration_batches=batches, config=config,
        **_search_arguments(options, model, folder, search_set))
    trial_folder = os.path.join(folder, 'trial-%d' % options.rebuild)
    with files.explain_write_errors(trial_folder):
        os.makedirs(trial_folder, exist_ok=True)
    return calibration.write_and_compare(options, model, trial_folder, network,
                                         _comparison_settings(options, config, held_out_set),
                                         trial=options.rebuild, kept_in_float=list(float_operators))


def _comparison_settings(options, config, held_out_set):
    sets = {held_out_set.name: held_out_set}
    return calibration.ComparisonSettings(sets, config.goal, config.random_seed,
                                          options.dev_batch_size)
