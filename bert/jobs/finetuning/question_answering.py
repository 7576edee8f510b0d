"""The jobs of finetune_squad.py and static_finetune_squad.py: fine-tune a BERT on SQuAD."""
import dataclasses
import logging
import os

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.squad import metric as squad_metric
from bert.data.squad.spans import n_best_entries
from bert.data.squad.windows import WindowOptions, load_windows
from bert.errors import UserError
from bert.export.symbol import export_network
from bert.jobs.finetuning.squad_data import cut_windows, read_squads, write_squad_audit
from bert.jobs.finetuning.squad_task import SquadTask, predicted_texts
from bert.jobs.int8 import calibration
from bert.jobs.runs import model_from_options, training
from bert.model.kernels.optimizer import fused_update
from bert.pipelines.evaluation_sets import QuestionSet
from bert.train import checkpoint
from bert.train.log import format_duration
from bert.train.loop import TrainerState
from bert.train.schedule import TrainingPlan
from bert.train.trainer import Trainer

DEBUG_TRAIN, DEBUG_DEV = 10000, 100     # numbers of questions with --debug, as in the original


@dataclasses.dataclass(frozen=True)
class ScriptProfile:
    """What differs between finetune_squad.py and static_finetune_squad.py."""
    script: str
    log: str
    log_line: callable
    is_static: bool


def dynamic_line(entry):
    """The line of the original finetune_squad.py, its "Thoughput" spelt right."""
    return 'Batch: %d/%d, Loss=%.4f, lr=%.7f Throughput=%.2f samples/s' % (
        entry.batch - 1, entry.num_batches, entry.loss, entry.rate, entry.examples_per_second)


def static_line(entry):
    """The line of the original static_finetune_squad.py, its "Thoughput" spelt right."""
    return ('Epoch: %d, Batch: %d/%d, Loss=%.4f, lr=%.7f Time cost=%.1f Throughput=%.2f samples/s'
            % (entry.epoch, entry.batch - 1, entry.num_batches, entry.loss, entry.rate,
               entry.seconds, entry.examples_per_second))


DYNAMIC_SCRIPT = ScriptProfile('finetune_squad.py', 'finetune_squad.log', dynamic_line, False)
STATIC_SCRIPT = ScriptProfile('static_finetune_squad.py', 'static_finetune_squad.log', static_line,
                              True)


def finetune_static_squad(options, explicit):
    """`finetune_squad` with windows of one length."""
    return finetune_squad(options, explicit, STATIC_SCRIPT)


def finetune_squad(options, explicit, profile=DYNAMIC_SCRIPT):
    """Train, or only predict. Returns a `JobResult`. Raises `UserError`."""
    name = ('static-' if profile.is_static else '') + 'SQuAD' + (
        '2.0' if options.version_2 else '1.1')

    def make_plan(options, explicit):
        if options.only_calibration:
            calibration.check_calibration_options(options, explicit)
        options = _resolve_options(options, explicit, profile)
        return training.RunPlan(options, name, profile.log, _output_files(options, profile))
    with training.open_runs(options, explicit, name, profile.script, make_plan) as series:
        return series.conclude([
            run.report if run.is_finished else _run_seed(
                run.options, name, series.device, run.folder, series.workers, profile)
            for run in series.runs])


def _output_files(options, profile):
    """Names of all files that the run may write."""
    output_files = [profile.log, file_names.AUDIT_FILE, file_names.PREDICTIONS_FILE,
                    file_names.N_BEST_FILE, file_names.NULL_ODDS_FILE, file_names.NET_FILE]
    output_files += file_names.symbol_names(file_names.STATIC_NET_PREFIX, options.epochs)
    if profile.is_static:
        return output_files
    return output_files + calibration.quantized_files(
        calibration.quantized_prefix({}, options.calib_mode))


def _resolve_options(options, explicit, profile):
    """The options with those that follow from others. Raises `UserError`."""
    options = options.replace(only_predict=not options.trains)
    options, _ = model_from_options.apply_saved_task(options, explicit)
    if profile.is_static:
        options = model_from_options.resolve_lengths(options, explicit)
    WindowOptions(options.max_seq_length, options.doc_stride, options.max_query_length).check()
    if options.early_stop:      # it counts evaluations
        options = options.replace(evaluate_epochs=True)
    if options.debug:
        options = options.replace(max_train_samples=options.max_train_samples or DEBUG_TRAIN,
                                  max_eval_samples=options.max_eval_samples or DEBUG_DEV)
    return options


def _run_seed(options, name, device, folder, workers, profile):
    """Train with one seed, or predict, or calibrate; returns the report."""
    logging.info('the run is in %s', folder)
    squads = read_squads(options)
    model = _build_model(options, name, device, profile)
    model_from_options.apply_dtype(model.network, options.dtype)
    model.options.check(model.config.max_length)
    data = {kind: cut_windows(kind, squad, model) for kind, squad in squads.items()}
    write_squad_audit(folder, data, options.max_seq_length, not workers.rank)
    if options.only_calibration:
        sets = {kind: QuestionSet(kind, squad_data.squad, lambda squad: load_windows(
            squad, model.tokenizer, model.options)[0]) for kind, squad_data in data.items()}
        return calibration.calibrate_model(options, model, sets, folder, options.test_batch_size)
    squad_task = SquadTask(options, name, model, data, folder, workers, profile.log_line)
    state = TrainerState()
    if options.trains:
        plan = TrainingPlan.for_epochs(options, len(data['train'].windows), workers.size)
        trainer = Trainer(options, squad_task, plan, folder, workers, fused_update)
        state = trainer.fit()
        trainer.load_best(state)
    return _conclude(squad_task, state)


def _build_model(options, name, device, profile):
    return model_from_options.build_question_answerer(options, {
        'name': name, 'version_2': options.version_2, 'max_len': options.max_seq_length,
        'doc_stride': options.doc_stride, 'max_query_length': options.max_query_length,
        'n_best_size': options.n_best_size, 'max_answer_length': options.max_answer_length,
        'null_score_diff_threshold': options.null_score_diff_threshold},
        device, options.seq_length if profile.is_static else None)


# The end of a run


def _conclude(squad_task, state):
    """Choose the threshold; write predictions, net.params, the symbol and results.json; returns the
    report."""
    options, model, folder = squad_task.options, squad_task.model, squad_task.folder
    if squad_task.answers is None or state.best_step != state.step:
        squad_task.answers = squad_task.predict('dev')
    if options.threshold_file:
        _choose_threshold(squad_task)
    if squad_task.workers.rank:
        return None
    squad = squad_task.data['dev'].squad
    write_predictions(folder, squad, squad_task.answers, model.task)
    metrics = {'dev': squad_task.score(squad_task.answers)} if squad.has_labels else {}
    if metrics:
        logging.info('scores of dev: %s', metrics['dev'])
        if options.version_2:
            logging.info('best_exact and best_f1 use thresholds chosen on these same answers: they '
                         'are upper bounds, not scores')
    if not options.only_predict:
        path = os.path.join(folder, file_names.NET_FILE)
        write_parameters(path, model.network)
        logging.info('parameters: %s', path)
    if options.export:
        paths = export_network(model.network, folder, file_names.STATIC_NET_PREFIX, options.epochs)
        logging.info('symbol: %s', ', '.join(paths))
    report = squad_task.report(state, metrics,
                               null_score_diff_threshold=model.task['null_score_diff_threshold'])
    if state.curve:
        logging.info('trained %s, %.1f samples/s', format_duration(state.seconds),
                     report['examples_per_second'])
    logging.info('results: %s', os.path.join(folder, file_names.RESULTS_FILE))
    return report


def _choose_threshold(squad_task):
    """Use the threshold with the best F1 on --threshold_file, and save it in the best
    checkpoint."""
    squad, answers = squad_task.data['threshold'].squad, squad_task.predict('threshold')
    model = squad_task.model
    texts = predicted_texts(squad, answers, True, np.inf)
    scores = squad_metric.evaluate_v2(squad.answers(), texts, {
        q.id: answer.null_odds for q, answer in zip(squad.questions, answers)})
    threshold = scores['best_f1_thresh']
    model.task['null_score_diff_threshold'] = threshold
    logging.info('null_score_diff_threshold %.4f, chosen on %s (F1 %.2f there)', threshold,
                 squad.path, scores['best_f1'])
    folder = checkpoint.best_checkpoint(squad_task.folder)
    if folder and not squad_task.options.only_predict and not squad_task.workers.rank:
        files.write_json(os.path.join(folder, file_names.TASK_FILE),
                         dict(model.task, max_len=model.max_len))


def write_predictions(folder, squad, answers, task):
    """Write predictions.json, nbest_predictions.json and, for SQuAD 2.0, null_odds.json."""
    version_2 = task['version_2']
    ids = [question.id for question in squad.questions]
    contents = {file_names.PREDICTIONS_FILE: predicted_texts(squad, answers, version_2,
                                                             task['null_score_diff_threshold']),
                file_names.N_BEST_FILE: {question_id: n_best_entries(answer, version_2)
                                         for question_id, answer in zip(ids, answers)}}
    if version_2:
        contents[file_names.NULL_ODDS_FILE] = {question_id: answer.null_odds
                                               for question_id, answer in zip(ids, answers)}
    for name, content in contents.items():
        files.write_json(os.path.join(folder, name), content)
    logging.info('predictions: %s', ', '.join(os.path.join(folder, name) for name in contents))


def write_parameters(path, network):
    """Write all parameters of a network under gluonnlp's names, completely or not at all. Raises
    `UserError`."""
    try:
        with files.new_file(path) as temporary:
            checkpoint.save_arrays(temporary, checkpoint.collect_parameters(network))
    except (OSError, mx.MXNetError) as error:
        raise UserError('%s: can\'t write: %s' % (path, checkpoint.failure_reason(error))) from None
