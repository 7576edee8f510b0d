"""The job of finetune_ner.py: fine-tune a BERT that gives every word a tag."""
import logging
import os

from bert import file_names, files
from bert.data.ner.schemes import make_labels, warn_of_unknown_types
from bert.data.ner.sentences import write_sentence
from bert.data.ner.tasks import PREDICTIONS_FILE
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import check_max_length
from bert.jobs.finetuning.tagged_segments import (
    find_types,
    make_tag_task,
    make_tagged_data,
    output_files,
    read_tagged_segments,
    tag_run_name,
    write_tag_audit,
)
from bert.jobs.finetuning.token_task import TokenTask
from bert.jobs.int8 import calibration
from bert.jobs.runs import model_from_options, training
from bert.model import zoo
from bert.model.kernels.optimizer import fused_update
from bert.model.token_classification import BertForTokenClassification
from bert.pipelines.evaluation_sets import TaggedSet
from bert.pipelines.opening import open_pipeline
from bert.pipelines.token_classification import (
    TokenClassifier,
    describe_token_task,
    model_types,
)
from bert.train.log import format_duration
from bert.train.loop import TrainerState
from bert.train.schedule import TrainingPlan
from bert.train.trainer import Trainer

SCRIPT = 'finetune_ner.py'


def finetune_ner(options, explicit):
    """Train, or only evaluate. Returns a `JobResult`. Raises `UserError`."""
    name = tag_run_name(options)
    if options.task_name:       # one spelling for options.json and a resume
        options = options.replace(task_name=name)
    with training.open_runs(options, explicit, name, SCRIPT, _make_plan) as series:
        return series.conclude([
            run.report if run.is_finished else _run_seed(
                run.options, series.plan.task, series.device, run.folder, series.workers)
            for run in series.runs])


def _make_plan(options, explicit):
    if options.only_calibration:
        calibration.check_calibration_options(options, explicit)
    task = make_tag_task(options)
    check_max_length(options.max_len, False)
    quantized_files = calibration.quantized_files(calibration.quantized_prefix(
        describe_token_task(task.name, ()), options.calib_mode))
    options = options.replace(task_name=task.name)
    return training.RunPlan(options, task.name, file_names.LOG_FILE % task.name,
                            output_files(task) + quantized_files, task)


def _run_seed(options, task, device, folder, workers):
    """Train with one seed, or evaluate, or calibrate; returns the report."""
    logging.info('the run is in %s', folder)
    segments = read_tagged_segments(options, task)
    model = _build_model(options, task, segments, device)
    model_from_options.apply_dtype(model.network, options.dtype)
    check_max_length(model.max_len, False, model.config.max_length)
    for _, sentences, _ in segments.values():
        warn_of_unknown_types(sentences, model_types(model.task['labels']))
    data = make_tagged_data(segments, model.tokenizer)
    write_tag_audit(folder, task, data, model, not workers.rank)
    if options.only_calibration:
        sets = {name: TaggedSet(name, segment, model) for name, segment in data.items()}
        return calibration.calibrate_model(options, model, sets, folder, options.dev_batch_size)
    token_task, state = TokenTask(options, task.name, model, data, folder, workers), TrainerState()
    if options.trains:
        plan = TrainingPlan.for_epochs(options, len(token_task.windows), workers.size)
        trainer = Trainer(options, token_task, plan, folder, workers, fused_update)
        state = trainer.fit()
        trainer.load_best(state)
    return _conclude(token_task, state)


def _build_model(options, task, segments, device):
    """The `TokenClassifier` of the options: with a new head, or, when nothing is trained, the whole
    one in --bert_checkpoint."""
    if not options.trains:
        model = open_pipeline(options.bert_checkpoint, device,
                              kind=file_names.TOKEN_CLASSIFICATION)
        model.check_tags()
        model.task['name'] = task.name      # it names the INT8 model
        return model
    labels = make_labels(find_types(task, segments), options.scheme)
    bert, vocabulary = model_from_options.build_encoder(options, options.bert_dataset, device,
                                                        use_pooler=False)
    network = BertForTokenClassification(bert, len(labels), options.dropout)
    model_from_options.initialise_head(network.tag_classifier, device)
    if options.model_parameters:
        zoo.load_model(network, options.model_parameters, vocabulary, device)
    network.hybridize()
    return TokenClassifier(network, BertTokenizer(vocabulary, lower=not bert.config.cased),
                           bert.config, describe_token_task(task.name, labels), options.max_len,
                           device)


def _conclude(token_task, state):
    """Score dev by type, predict test, write results.json and curves.png; returns the report."""
    metrics, types = {}, {}
    for name in [name for name in ('dev', 'test') if name in token_task.data]:
        data = token_task.data[name]
        predictions = token_task.predict(data)
        score = token_task.score(data, predictions)
        metrics[name], types[name] = score.scores(), {kind: score.scores(kind)
                                                      for kind in score.types}
        if name == 'test' and not token_task.workers.rank:
            path = os.path.join(token_task.folder, PREDICTIONS_FILE)
            with files.atomic_write(path) as out:
                for sentence, tags in zip(data.sentences, predictions):
                    write_sentence(out, sentence.words, tags)
            logging.info('predictions of test: %s', path)
    if token_task.workers.rank:
        return None
    for name, scores in metrics.items():
        logging.info('%s: precision %.4f, recall %.4f, F1 %.4f (%d entities, %d predicted, %d '
                     'right)', name, *(scores[key] for key in (
                         'precision', 'recall', 'f1', 'gold', 'predicted', 'right')))
    report = token_task.report(state, metrics, types=types)
    if state.curve:
        logging.info('trained %s, %.1f examples/s', format_duration(state.seconds),
                     report['examples_per_second'])
    logging.info('results: %s', os.path.join(token_task.folder, file_names.RESULTS_FILE))
    return report
