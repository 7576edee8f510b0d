"""The commands of lpot's BERT example: fine-tune, evaluate and tune, under the same flags."""
import logging
import math
import os
from collections.abc import Callable
from typing import NamedTuple

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.glue.tasks import find_task
from bert.errors import UserError, did_you_mean
from bert.flags.finetuning import FinetuneClassifierOptions, FinetuneSquadOptions
from bert.flags.int8 import QuantizeOptions
from bert.flags.options import make_options
from bert.flags.prediction import ScoreOptions
from bert.jobs.finetuning import classification, question_answering
from bert.jobs.int8 import tuning
from bert.jobs.runs import run_folder, sets_from_options
from bert.jobs.runs.results import JobResult
from bert.model.classification import make_loss
from bert.model.weights import catalogue
from bert.model.weights.model_names import pin_name
from bert.pipelines.model_folder import find_checkpoint_folder
from bert.pipelines.opening import TRAINING_SCRIPTS, open_pipeline
from bert.pipelines.task_file import kind_of
from bert.train import checkpoint

LOG = logging.getLogger(__name__)

SCORES_FILE = 'eval_results.txt'
TUNED_FOLDER = 'tuned'         # sub-folder of --output_dir
MISMATCHED_SUFFIX = '-MM'      # suffix of the folder for MNLI's second dev set, as in transformers
GLUE_TASKS = ('CoLA', 'SST-2', 'MRPC', 'STS-B', 'QQP', 'MNLI', 'QNLI', 'RTE', 'WNLI')
ADAM_EPSILON = 1e-8     # as in that example, which has no warm-up and no weight decay


class ExampleProfile(NamedTuple):
    """What differs between the two scripts."""
    script: str                 # the script that fine-tunes
    options_class: type         # its options
    train: Callable             # its job
    evaluate: Callable          # function(options, model, training_values)
    is_squad: bool


GLUE_PROFILE = ExampleProfile(
    classification.SCRIPT, FinetuneClassifierOptions, classification.finetune_classifier,
    lambda *arguments: evaluate_glue(*arguments), is_squad=False)
SQUAD_PROFILE = ExampleProfile(
    question_answering.DYNAMIC_SCRIPT.script, FinetuneSquadOptions,
    question_answering.finetune_squad, lambda *arguments: evaluate_squad(*arguments), is_squad=True)


def run_glue(options, explicit):
    """Run the stages that the options name. Returns a `JobResult`. Raises `UserError`."""
    if options.task_name.upper() not in map(str.upper, GLUE_TASKS):
        raise UserError('--task_name %s: expected one of %s'
                        % (options.task_name, ', '.join(GLUE_TASKS)))
    task = find_task(options.task_name)
    options = options.replace(data_dir=options.data_dir.rstrip('/'))
    return _run_stages(options, explicit, GLUE_PROFILE, {
        'task_name': task.name, 'max_len': options.max_seq_length,
        'dev_batch_size': options.per_gpu_eval_batch_size})


def run_squad(options, explicit):
    """The same for SQuAD."""
    if options.task_name.lower() != 'squad':
        raise UserError('--task_name %s: expected SQuAD' % options.task_name)
    return _run_stages(options, explicit, SQUAD_PROFILE, {
        'max_seq_length': options.max_seq_length, 'doc_stride': options.doc_stride,
        'test_batch_size': options.per_gpu_eval_batch_size,
        'train_file': options.train_file, 'dev_file': options.predict_file})


def _run_stages(options, explicit, profile, keywords):
    """Train, evaluate and tune, each if its flag is set.

    keywords: of the fine-tuning job, without those that both scripts share.
    """
    model_keywords = _model_keywords(options.model_name_or_path)
    options = options.replace(output_dir=options.output_dir.rstrip('/') or '/')
    report, folder = {}, options.output_dir
    if options.do_train:
        report = _train(options, profile, dict(keywords, **model_keywords))
    elif 'bert_checkpoint' not in model_keywords:
        raise UserError('--model_name_or_path %s: this model is not trained for a task: give '
                        '--do_train, or the folder that --do_train made'
                        % options.model_name_or_path)
    else:
        folder = options.model_name_or_path
    if not (options.do_eval or options.tune):
        return JobResult(report, folder)
    model = open_pipeline(find_checkpoint_folder(folder, TRAINING_SCRIPTS), mx.cpu())
    kinds = (file_names.QUESTION_ANSWERING,) if profile.is_squad else (
        file_names.CLASSIFICATION, file_names.REGRESSION)
    if kind_of(model.task) not in kinds:
        raise UserError('--model_name_or_path %s: the model is for %s, but the task is %s'
                        % (folder, kind_of(model.task).replace('_', ' '), options.task_name))
    _check_lengths(options, explicit, model)
    if options.do_eval:
        values = {'global_step': report.get('steps'), 'loss': report.get('training_loss')}
        scores = profile.evaluate(
            options, model, {key: value for key, value in values.items() if value is not None})
        report = dict(report, metrics=scores)
    return tuning.tune_checkpoint(*_tuning_options(options, folder)) if options.tune \
        else JobResult(report, folder)


def _train(options, profile, keywords):
    """Fine-tune, or resume that unless it is complete; returns the report."""
    results_path = os.path.join(options.output_dir, file_names.RESULTS_FILE)
    if options.resume and os.path.exists(results_path):
        # raises if the run was trained with other flags
        with run_folder.reopen_run_folder(
                *_training_options(options, profile, keywords, resume=True), '', profile.script):
            pass
        LOG.warning('%s is already trained: going on with the next step', options.output_dir)
        return files.read_json(results_path)
    resume = options.resume and checkpoint.newest_checkpoint(options.output_dir) is not None
    return profile.train(*_training_options(options, profile, keywords, resume)).report


def _check_lengths(options, explicit, model):
    """Raises `UserError` for flags that change the lengths of the model's training."""
    lengths = {'max_seq_length': model.max_len, 'doc_stride': model.task.get('doc_stride')}
    for name in explicit.keys() & lengths.keys():
        if getattr(options, name) != lengths[name]:
            raise UserError('--%s %d: the model was trained with %s, and needs the same here: '
                            'leave the flag out, or train another model with --do_train'
                            % (name, getattr(options, name), lengths[name]))


def _model_keywords(name):
    """The keywords of the fine-tuning job for a model: `name` is a path, a repository of the
    catalogue, or the name of another model on the hub. Raises `UserError`."""
    if os.path.exists(name):
        return {'bert_checkpoint': name}
    released_model = catalogue.find_hub_release(name)
    if released_model is None and '/' in name:
        return {'bert_checkpoint': pin_name(name)}
    if released_model is None:
        names = [hub.repository.partition('/')[2] for hub in catalogue.HUB.values()]
        raise UserError('--model_name_or_path %s: no such folder, and no model of that name.%s '
                        'Models: %s' % (name, did_you_mean(name, names), ', '.join(names)))
    return {'bert_model': released_model[0], 'bert_dataset': released_model[1]}


def _training_options(options, profile, keywords, resume):
    """(options, explicit) of the fine-tuning job."""
    return make_options(profile.options_class, dict(
        keywords, optimizer='adamw', epsilon=ADAM_EPSILON, warmup_ratio=0, weight_decay=0,
        lr=options.learning_rate, epochs=_whole_number(options.num_train_epochs),
        batch_size=options.per_gpu_train_batch_size, seed=options.seed, threads=options.threads,
        output_dir=options.output_dir, data_dir=options.data_dir, resume=resume,
        max_train_samples=options.max_train_samples, max_eval_samples=options.max_eval_samples,
        overwrite_output_dir=options.overwrite_output_dir))


def _whole_number(epochs):
    if epochs != math.floor(epochs):
        raise UserError('--num_train_epochs %g: expected a whole number of epochs' % epochs)
    return int(epochs)


def _tuning_options(options, folder):
    """(options, explicit) of `tune_checkpoint` for the model in `folder`."""
    tuned_folder = os.path.join(options.output_dir, TUNED_FOLDER)
    return make_options(QuantizeOptions, dict(
        tune=True, model_dir=folder, output_dir=tuned_folder,
        dev_batch_size=options.per_gpu_eval_batch_size, threads=options.threads,
        task_name=_glue_task_name(options), data_dir=options.data_dir, config=options.config,
        train_file=options.train_file, dev_file=options.predict_file,
        max_eval_samples=options.max_eval_samples,
        overwrite_output_dir=options.overwrite_output_dir,
        resume=options.resume and os.path.exists(os.path.join(tuned_folder,
                                                              tuning.JOURNAL_FILE))))


def _glue_task_name(options):
    return None if options.task_name.lower() == 'squad' else options.task_name


# Evaluation


def evaluate_glue(options, model, training_values):
    """Score the dev sets, and write the scores under the example's names; returns them. Those of
    MNLI's second dev set go into a folder of their own."""
    scores = {}
    for name, evaluation_set in _read_dev_sets(options, model).items():
        outputs = evaluation_set.outputs(model, options.per_gpu_eval_batch_size)
        labels = np.array([feature.label for feature in evaluation_set.features])
        loss = make_loss(kind_of(model.task))(mx.nd.array(outputs), mx.nd.array(labels))
        scores[name] = to_example_keys(evaluation_set.scores(outputs))
        suffix = MISMATCHED_SUFFIX if name.endswith('mismatched') else ''
        write_scores(options.output_dir + suffix, dict(
            scores[name], eval_loss=float(loss.mean().asscalar()), **training_values))
    return scores


def evaluate_squad(options, model, training_values):
    """The same for the dev questions of SQuAD."""
    questions = _read_dev_sets(options, model)['dev']
    scores = questions.scores(questions.outputs(model, options.per_gpu_eval_batch_size))
    write_scores(options.output_dir, dict(scores, total=len(questions), **training_values))
    return {'dev': scores}


def _read_dev_sets(options, model):
    """{name: `EvaluationSet`}"""
    set_options, _ = make_options(ScoreOptions, dict(
        task_name=_glue_task_name(options), data_dir=options.data_dir,
        dev_file=options.predict_file, max_eval_samples=options.max_eval_samples))
    return sets_from_options.read_evaluation_sets(set_options, {}, model, ['dev'])


def to_example_keys(scores):
    """The scores of a task under the example's names, with the means that the example adds."""
    values = {{'accuracy': 'acc', 'pearsonr': 'pearson'}.get(name, name): value
              for name, value in scores.items()}
    if 'f1' in values:
        values['acc_and_f1'] = (values['acc'] + values['f1']) / 2
    if 'pearson' in values:
        values['corr'] = (values['pearson'] + values['spearmanr']) / 2
    if 'mcc' in values:
        values = {'mcc': values['mcc']}
    return values


def write_scores(folder, values):
    """Write and print eval_results.txt in `folder`: lines "key = value", sorted by key."""
    lines = ['%s = %s' % item for item in sorted(values.items())]
    with files.atomic_write(os.path.join(folder, SCORES_FILE)) as out:
        out.write('\n'.join(lines) + '\n')
    print('%s:\n  %s' % (os.path.join(folder, SCORES_FILE), '\n  '.join(lines)))
