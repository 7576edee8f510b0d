"""The job of finetune_classifier.py: fine-tune a classifier or regressor on texts or pairs."""
import logging
import os

from bert import file_names, files
from bert.data.glue.labels import one_line
from bert.data.glue.tasks import CUSTOM_SUBMISSION
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import check_max_length
from bert.errors import UserError
from bert.flags.finetuning import NO_MODEL
from bert.jobs.finetuning.classifier_data import featurize_segments, read_segments, write_audit
from bert.jobs.finetuning.classifier_task import ClassifierTask
from bert.jobs.finetuning.summary import print_run_summary
from bert.jobs.finetuning.task_from_options import make_task, run_name, trained_parameters
from bert.jobs.int8 import calibration
from bert.jobs.runs import model_from_options, training
from bert.model import zoo
from bert.model.classification import make_classifier_network
from bert.model.kernels.optimizer import fused_update
from bert.pipelines.classifier_folder import classifier_class
from bert.pipelines.evaluation_sets import TextSet
from bert.train.log import format_duration
from bert.train.loop import TrainerState
from bert.train.metrics import format_metrics
from bert.train.schedule import TrainingPlan
from bert.train.trainer import Trainer

SCRIPT = 'finetune_classifier.py'
DEFAULT_MODEL, CHINESE_DATASET = 'bert_12_768_12', 'wiki_cn_cased'


def finetune_classifier(options, explicit):
    """Train, or only evaluate. Returns a `JobResult`. Raises `UserError`."""
    name = run_name(options)
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
        if not trained_parameters(options):
            raise UserError(NO_MODEL)
    task = make_task(options)
    check_max_length(options.max_len, task.pair)
    options = options.replace(task_name=task.name, only_inference=not options.trains)
    log_name = file_names.LOG_FILE % task.name
    return training.RunPlan(options, task.name, log_name, _output_files(options, task, log_name),
                            task)


def _output_files(options, task, log_name):
    """Names of all files that the run may write."""
    return [log_name, file_names.AUDIT_FILE] + [
        segment.submission or CUSTOM_SUBMISSION for segment in task.segments.values()] + \
        calibration.quantized_files(
            calibration.quantized_prefix(task.describe(), options.calib_mode))


def _run_seed(options, task, device, folder, workers):
    """Train with one seed, or evaluate, or calibrate; returns the report."""
    logging.info('Now we are doing BERT classification %s on %s!',
                 'training' if options.trains else 'inference', device)
    logging.info('the run is in %s', folder)
    examples, rejected_rows = read_segments(options, task)
    model = _build_model(options, task, device)
    model_from_options.apply_dtype(model.network, options.dtype)
    check_max_length(options.max_len, task.pair, model.config.max_length)
    data = featurize_segments(examples, task, model)
    write_audit(folder, task, data, rejected_rows, options.max_len, not workers.rank)
    if options.only_calibration:
        sets = {name: TextSet(name, segment.path, segment.features, task.metrics,
                              threshold=task.threshold)
                for name, segment in data.items()}
        return calibration.calibrate_model(options, model, sets, folder, options.dev_batch_size)
    classifier_task, state = ClassifierTask(options, task, model, data, folder, workers), None
    if options.trains:
        plan = TrainingPlan.for_epochs(options, len(data['train'].examples), workers.size)
        trainer = Trainer(options, classifier_task, plan, folder, workers, fused_update)
        state = trainer.fit()
        trainer.load_best(state)
    return _conclude(classifier_task, state or TrainerState())


def pick_dataset(options, task):
    """The pre-training corpus: --bert_dataset, else the Chinese one if the default model is trained
    on a Chinese task; None leaves the choice to the zoo."""
    if options.bert_dataset or task.language != 'zh' or options.bert_model != DEFAULT_MODEL:
        return options.bert_dataset
    logging.info('%s is Chinese: --bert_dataset %s', task.name, CHINESE_DATASET)
    return CHINESE_DATASET


def _build_model(options, task, device):
    """The `Classifier` of the options, with a new head or the whole --model_parameters."""
    dataset = pick_dataset(options, task)
    bert, vocabulary = model_from_options.build_encoder(options, dataset, device)
    network = make_classifier_network(bert, task.labels, options.dropout)
    model_from_options.initialise_head(network.classifier, device)
    parameters = trained_parameters(options)
    if parameters:
        zoo.load_model(network, parameters, vocabulary, device)
    elif not options.trains:
        logging.warning('no --model_parameters: the head is untrained, so its answers are random; '
                        'a run of finetune_classifier.py as --bert_checkpoint has a trained head')
    network.hybridize()
    tokenizer = BertTokenizer(vocabulary, lower=not bert.config.cased)
    model = classifier_class(task.describe())(network, tokenizer, bert.config, task.describe(),
                                              options.max_len, device)
    if task.kind == file_names.MULTI_LABEL:
        model.label_separator = options.label_separator
    return model


# The end of a run


def _conclude(classifier_task, state):
    """Write test predictions, results.json and curves.png, and print a summary; returns the
    report."""
    metrics = _final_metrics(classifier_task, state)
    for name in [name for name in classifier_task.data if name.startswith('test')]:
        metrics.update(_test(classifier_task, name))
    if classifier_task.workers.rank:
        return None
    report = classifier_task.report(state, metrics)
    if state.curve:
        logging.info('trained %s, %.1f examples/s', format_duration(state.seconds),
                     report['examples_per_second'])
    logging.info('results: %s', os.path.join(classifier_task.folder, file_names.RESULTS_FILE))
    print_run_summary(classifier_task, metrics)
    return report


def _final_metrics(classifier_task, state):
    for entry in state.history:
        if entry['step'] == state.best_step:
            return dict(entry['metrics'])
    return {name: dict(values) for name, values in classifier_task.evaluate().items()}


def _test(classifier_task, name):
    """Write the submission of a test segment; returns its scores, {} without labels."""
    segment, data = classifier_task.task.segments[name], classifier_task.data[name]
    outputs = classifier_task.predict(data)
    if not classifier_task.workers.rank:
        path = os.path.join(classifier_task.folder, segment.submission)
        _write_submission(path, classifier_task.model.predictions(outputs))
        logging.info('predictions of %s: %s', name, path)
    if not segment.has_labels:
        return {}
    scores = classifier_task.score(data, outputs)
    logging.info('%s metrics:%s', name, format_metrics(scores))
    return {name: dict(scores)}


def _write_submission(path, predictions):
    with files.atomic_write(path) as out:
        out.write('index\tprediction\n')
        for i, prediction in enumerate(predictions):
            out.write('%d\t%s\n' % (i, one_line(prediction)))
