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
from bert.flags import common
from bert.flags import deployment as deployment_flags
from bert.flags import finetuning as finetuning_flags
from bert.jobs.finetuning import classification, question_answering
from bert.jobs.int8 import tuning
from bert.jobs.runs import run_folder, sets_from_flags
from bert.model.classification import make_loss
from bert.model.weights import catalogue
from bert.pipelines.model_folder import find_checkpoint_folder
from bert.pipelines.opening import TRAINING_SCRIPTS, kind_of, open_pipeline
from bert.train import checkpoint

LOG = logging.getLogger(__name__)

RESULTS_FILE = 'eval_results.txt'
TUNED_FOLDER = 'tuned'         # sub-folder of --output_dir
MISMATCHED_SUFFIX = '-MM'      # suffix of the folder for MNLI's second dev set, as in transformers
GLUE_TASKS = ('CoLA', 'SST-2', 'MRPC', 'STS-B', 'QQP', 'MNLI', 'QNLI', 'RTE', 'WNLI')
ADAM_EPSILON = 1e-8     # as in that example, which has no warm-up and no weight decay


# Options that do nothing without --do_train, and without --tune
TRAINING_OPTIONS = ('learning_rate', 'num_train_epochs', 'per_gpu_train_batch_size',
                    'max_train_samples', 'seed')
TUNING_OPTIONS = ('config',)


class ExampleProfile(NamedTuple):
    """What differs between the two scripts."""
    script: str             # the script that fine-tunes
    add_flags: Callable     # adds that script's flags to a parser
    train: Callable         # function(the script's parsed flags) → report
    evaluate: Callable      # function(args, model, training_values)
    is_squad: bool


def run_glue(args):
    """Run the stages that the parsed flags of run_glue_tune.py name; returns the exit status."""
    if args.task_name.upper() not in map(str.upper, GLUE_TASKS):
        raise UserError('--task_name %s: expected one of %s'
                        % (args.task_name, ', '.join(GLUE_TASKS)))
    task = find_task(args.task_name)
    args.data_dir = args.data_dir.rstrip('/')
    profile = ExampleProfile(classification.SCRIPT, finetuning_flags.add_classifier_flags,
                             classification.finetune_classifier, evaluate_glue, is_squad=False)
    return _run_stages(args, profile, [
        '--task_name', task.name, '--max_len', args.max_seq_length,
        '--dev_batch_size', args.per_gpu_eval_batch_size])


def run_squad(args):
    """Run the stages that the parsed flags of run_squad_tune.py name; returns the exit status."""
    if args.task_name.lower() != 'squad':
        raise UserError('--task_name %s: SQuAD expected' % args.task_name)
    arguments = ['--max_seq_length', args.max_seq_length, '--doc_stride', args.doc_stride,
                 '--test_batch_size', args.per_gpu_eval_batch_size]
    for flag, value in (('--train_file', args.train_file), ('--dev_file', args.predict_file)):
        arguments += [flag, value] if value else []
    profile = ExampleProfile(question_answering.DYNAMIC_SCRIPT.script,
                             finetuning_flags.add_question_answering_flags,
                             question_answering.finetune_question_answerer, evaluate_squad,
                             is_squad=True)
    return _run_stages(args, profile, arguments)


def _run_stages(args, profile, arguments):
    """Train, evaluate and tune, each if its flag is set; returns the exit status.

    arguments: command line of the fine-tuning script, without the arguments that both scripts
    share.
    """
    _check_example_flags(args)
    model_arguments = _model_arguments(args.model_name_or_path)
    args.output_dir = args.output_dir.rstrip('/') or '/'
    report = {}
    folder = args.output_dir
    if args.do_train:
        report = _train(args, profile, arguments + model_arguments)
    elif model_arguments[0] != '--bert_checkpoint':
        raise UserError('--model_name_or_path %s: it is not trained for a task: give --do_train, '
                        'or the folder that it made' % args.model_name_or_path)
    else:
        folder = args.model_name_or_path
    if not (args.do_eval or args.tune):
        return 0
    model = open_pipeline(find_checkpoint_folder(folder, TRAINING_SCRIPTS), mx.cpu())
    if profile.is_squad != (kind_of(model.task) == file_names.QUESTION_ANSWERING):
        raise UserError('--model_name_or_path %s: it is a model for %s, and the task is %s'
                        % (folder, kind_of(model.task).replace('_', ' '), args.task_name))
    _check_lengths(args, model)
    if args.do_eval:
        values = {'global_step': report.get('steps'), 'loss': report.get('training_loss')}
        profile.evaluate(args, model,
                         {key: value for key, value in values.items() if value is not None})
    return tuning.tune_checkpoint(_tuning_flags(args, folder))[1] if args.tune else 0


def _check_example_flags(args):
    """Raises `UserError` for flags that contradict each other or do nothing."""
    if not (args.do_train or args.do_eval or args.tune):
        raise UserError('nothing to do: give --do_train, --do_eval or --tune')
    if args.resume and args.overwrite_output_dir:
        raise UserError('--resume and --overwrite_output_dir: give one of the two')
    if not args.do_train:
        common.refuse_flags(args, TRAINING_OPTIONS, 'it is for --do_train')
    if not args.tune:
        common.refuse_flags(args, TUNING_OPTIONS, 'it is for --tune')


def _train(args, profile, arguments):
    """Fine-tune, or resume that unless it is complete; returns the report."""
    results_path = os.path.join(args.output_dir, file_names.RESULTS_FILE)
    if args.resume and os.path.exists(results_path):
        # raises if the run was trained with other flags
        run_folder.reopen_run_folder(_training_flags(args, profile, arguments + ['--resume']), '',
                                     profile.script)
        LOG.warning('%s is trained: going on with what follows', args.output_dir)
        return files.read_json(results_path)
    if args.resume and checkpoint.newest_checkpoint(args.output_dir):
        arguments = arguments + ['--resume']
    return profile.train(_training_flags(args, profile, arguments))


def _check_lengths(args, model):
    """Raises `UserError` for flags that change the lengths of the model's training."""
    lengths = {'max_seq_length': model.max_len, 'doc_stride': model.task.get('doc_stride')}
    for name in args.explicit_flags.keys() & lengths.keys():
        if getattr(args, name) != lengths[name]:
            raise UserError('--%s %d: the model was trained with %s, and reads as many: leave it '
                            'out, or train another by --do_train'
                            % (name, getattr(args, name), lengths[name]))


def _model_arguments(name):
    """The arguments of the fine-tuning script for a model: `name` is a path, or a repository of
    the catalogue. Raises `UserError`."""
    if os.path.exists(name):
        return ['--bert_checkpoint', name]
    released_model = catalogue.find_hub_release(name)
    if released_model is None:
        names = [hub.repository.partition('/')[2] for hub in catalogue.HUB.values()]
        raise UserError('--model_name_or_path %s: no such folder, and no model of that name.%s '
                        'Models: %s' % (name, did_you_mean(name, names), ', '.join(names)))
    return ['--bert_model', released_model[0], '--bert_dataset', released_model[1]]


def _training_flags(args, profile, arguments):
    """The parsed flags of the fine-tuning script: `arguments` and those that follow from `args`."""
    parser = common.Parser('')
    profile.add_flags(parser)
    arguments = arguments + [
        '--optimizer', 'adamw', '--epsilon', ADAM_EPSILON, '--warmup_ratio', 0, '--weight_decay', 0,
        '--lr', args.learning_rate, '--epochs', _whole_number(args.num_train_epochs),
        '--batch_size', args.per_gpu_train_batch_size, '--seed', args.seed,
        '--threads', args.threads, '--output_dir', args.output_dir]
    for flag in ('data_dir', 'max_train_samples', 'max_eval_samples'):
        if getattr(args, flag):
            arguments += ['--' + flag, getattr(args, flag)]
    if args.overwrite_output_dir:
        arguments.append('--overwrite_output_dir')
    return parser.parse_args([str(argument) for argument in arguments])


def _whole_number(epochs):
    if epochs != math.floor(epochs):
        raise UserError('--num_train_epochs %g: a whole number of epochs expected' % epochs)
    return int(epochs)


def _tuning_flags(args, folder):
    """The parsed flags of quantize.py --tune for the model in `folder`."""
    parser = common.Parser('')
    deployment_flags.add_quantization_flags(parser)
    arguments = ['--tune', '--model_dir', folder,
                 '--output_dir', os.path.join(args.output_dir, TUNED_FOLDER),
                 '--dev_batch_size', args.per_gpu_eval_batch_size, '--threads', args.threads]
    values = {'data_dir': args.data_dir, 'config': args.config, 'train_file': args.train_file,
              'dev_file': args.predict_file, 'max_eval_samples': args.max_eval_samples}
    if args.task_name.lower() != 'squad':
        values['task_name'] = args.task_name
    for flag, value in values.items():
        arguments += ['--' + flag, value] if value else []
    if args.overwrite_output_dir:
        arguments.append('--overwrite_output_dir')
    journal = os.path.join(args.output_dir, TUNED_FOLDER, tuning.JOURNAL_FILE)
    if args.resume and os.path.exists(journal):
        arguments.append('--resume')
    return parser.parse_args([str(argument) for argument in arguments])


# Evaluation


def evaluate_glue(args, model, training_values):
    """Score the dev sets, and write the scores under the example's names. Those of MNLI's second
    dev set go into a folder of their own."""
    sets = sets_from_flags.read_evaluation_sets(_evaluation_flags(args), model, ['dev'])
    for name, evaluation_set in sets.items():
        outputs = evaluation_set.outputs(model, args.per_gpu_eval_batch_size, mx.cpu())
        labels = np.array([feature.label for feature in evaluation_set.features])
        loss = make_loss(model.task['labels'] is None)(mx.nd.array(outputs), mx.nd.array(labels))
        values = to_example_keys(evaluation_set.scores(outputs))
        write_scores(args.output_dir + (MISMATCHED_SUFFIX if name.endswith('mismatched') else ''),
                     dict(values, eval_loss=float(loss.mean().asscalar()), **training_values))


def evaluate_squad(args, model, training_values):
    """The same for the dev questions of SQuAD."""
    questions = sets_from_flags.read_evaluation_sets(_evaluation_flags(args), model, ['dev'])['dev']
    outputs = questions.outputs(model, args.per_gpu_eval_batch_size, mx.cpu())
    write_scores(args.output_dir, dict(questions.scores(outputs), total=len(questions),
                                       **training_values))


def _evaluation_flags(args):
    """The flags that `sets_from_flags` reads."""
    parser = common.Parser('')
    deployment_flags.add_evaluation_set_flags(parser)
    flags = parser.parse_args([])
    flags.train_file = None
    flags.task_name = None if args.task_name.lower() == 'squad' else args.task_name
    flags.data_dir, flags.dev_file = args.data_dir, args.predict_file
    flags.max_eval_samples = args.max_eval_samples
    return flags


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
    with files.atomic_write(os.path.join(folder, RESULTS_FILE)) as out:
        out.write('\n'.join(lines) + '\n')
    print('%s:\n  %s' % (os.path.join(folder, RESULTS_FILE), '\n  '.join(lines)))
