"""The commands of lpot's BERT example: fine-tune, evaluate and tune, under the flags it has."""
import logging
import math
import os
from collections.abc import Callable
from typing import NamedTuple

import mxnet as mx
import numpy as np

from bert import file_names, files
from bert.data.glue.tasks import find_task
from bert.errors import UserError, nearest
from bert.flags import common
from bert.flags import deployment as deployment_flags
from bert.flags import finetuning as finetuning_flags
from bert.jobs.finetuning import classification, question_answering
from bert.jobs.int8 import tuning
from bert.jobs.runs import run_folder, sets_from_flags
from bert.model.classification import make_loss
from bert.model.weights import catalogue
from bert.pipelines.model_folder import find_model
from bert.pipelines.opening import TRAINERS, kind_of, open_trained
from bert.train import checkpoint

LOG = logging.getLogger(__name__)

RESULTS = 'eval_results.txt'
TUNED = 'tuned'         # folder in --output_dir
MISMATCHED = '-MM'      # of the folder for MNLI's second dev set, as in transformers' example
GLUE = ('CoLA', 'SST-2', 'MRPC', 'STS-B', 'QQP', 'MNLI', 'QNLI', 'RTE', 'WNLI')
ADAM_EPSILON = 1e-8     # of that example, with no warm-up and no weight decay


# Options that mean nothing without --do_train, or without --tune
OF_TRAINING = ('learning_rate', 'num_train_epochs', 'per_gpu_train_batch_size',
               'max_train_samples', 'seed')
OF_TUNING = ('config',)


class Work(NamedTuple):
    """What differs between the two scripts. evaluate: function(args, model, more)."""
    script: str             # that fine-tunes
    add_flags: Callable     # its flags
    train: Callable
    evaluate: Callable
    is_squad: bool


def run_glue(args):
    """Do what the parsed flags of run_glue_tune.py say; returns the exit status."""
    if args.task_name.upper() not in map(str.upper, GLUE):
        raise UserError('--task_name %s: expected one of %s' % (args.task_name, ', '.join(GLUE)))
    task = find_task(args.task_name)
    args.data_dir = args.data_dir.rstrip('/')
    work = Work(classification.SCRIPT, finetuning_flags.add_classifier_flags, classification.run,
                evaluate_glue, is_squad=False)
    return _run(args, work, ['--task_name', task.name, '--max_len', args.max_seq_length,
                             '--dev_batch_size', args.per_gpu_eval_batch_size])


def run_squad(args):
    """Do what the parsed flags of run_squad_tune.py say; returns the exit status."""
    if args.task_name.lower() != 'squad':
        raise UserError('--task_name %s: SQuAD expected' % args.task_name)
    words = ['--max_seq_length', args.max_seq_length, '--doc_stride', args.doc_stride,
             '--test_batch_size', args.per_gpu_eval_batch_size]
    for flag, value in (('--train_file', args.train_file), ('--dev_file', args.predict_file)):
        words += [flag, value] if value else []
    work = Work(question_answering.DYNAMIC.script, finetuning_flags.add_question_answering_flags,
                question_answering.run, evaluate_squad, is_squad=True)
    return _run(args, work, words)


def _run(args, work, words):
    """Train, evaluate, tune: each where its flag asks for it."""
    _check_flags(args)
    source = _source(args.model_name_or_path)
    args.output_dir = args.output_dir.rstrip('/') or '/'
    trained = {}
    folder = args.output_dir
    if args.do_train:
        trained = _train(args, work, words + source)
    elif source[0] != '--bert_checkpoint':
        raise UserError('--model_name_or_path %s: it is not trained for a task: give --do_train, '
                        'or the folder that it made' % args.model_name_or_path)
    else:
        folder = args.model_name_or_path
    if not (args.do_eval or args.tune):
        return 0
    model = open_trained(find_model(folder, TRAINERS), mx.cpu())
    if work.is_squad != (kind_of(model.task) == file_names.QUESTION_ANSWERING):
        raise UserError('--model_name_or_path %s: it is a model for %s, and the task is %s'
                        % (folder, kind_of(model.task).replace('_', ' '), args.task_name))
    _check_lengths(args, model)
    if args.do_eval:
        more = {'global_step': trained.get('steps'), 'loss': trained.get('training_loss')}
        work.evaluate(args, model,
                      {key: value for key, value in more.items() if value is not None})
    return tuning.run(_tuning_flags(args, folder))[1] if args.tune else 0


def _check_flags(args):
    """Raises `UserError` for flags that contradict each other, or would do nothing."""
    if not (args.do_train or args.do_eval or args.tune):
        raise UserError('nothing to do: give --do_train, --do_eval or --tune')
    if args.resume and args.overwrite_output_dir:
        raise UserError('--resume and --overwrite_output_dir: give one of the two')
    if not args.do_train:
        common.refuse(args, OF_TRAINING, 'it is for --do_train')
    if not args.tune:
        common.refuse(args, OF_TUNING, 'it is for --tune')


def _train(args, work, words):
    """Fine-tune, or go on with that, or take what it has made; returns its report."""
    finished = os.path.join(args.output_dir, file_names.RESULTS)
    if args.resume and os.path.exists(finished):
        run_folder.reopen_folder(_training_flags(args, work, words + ['--resume']), '',
                                 work.script)   # checks that it was trained with these flags
        LOG.warning('%s is trained: going on with what follows', args.output_dir)
        return files.read_json(finished)
    if args.resume and checkpoint.newest(args.output_dir):
        words = words + ['--resume']
    return work.train(_training_flags(args, work, words))


def _check_lengths(args, model):
    """Raises `UserError` for lengths that are not those that the model was trained with."""
    found = {'max_seq_length': model.max_len, 'doc_stride': model.task.get('doc_stride')}
    for name in args.given.keys() & found.keys():
        if getattr(args, name) != found[name]:
            raise UserError('--%s %d: the model was trained with %s, and reads as many: leave it '
                            'out, or train another by --do_train'
                            % (name, getattr(args, name), found[name]))


def _source(name):
    """The flags that name a model: a path, or a repository of the catalogue."""
    if os.path.exists(name):
        return ['--bert_checkpoint', name]
    released = catalogue.find_repository(name)
    if released is None:
        known = [hub.repository.partition('/')[2] for hub in catalogue.HUB.values()]
        raise UserError('--model_name_or_path %s: no such folder, and no model of that name.%s '
                        'Models: %s' % (name, nearest(name, known), ', '.join(known)))
    return ['--bert_model', released[0], '--bert_dataset', released[1]]


def _training_flags(args, work, words):
    """The parsed flags of the fine-tuning script that these stand for."""
    parser = common.Parser('')
    work.add_flags(parser)
    words = words + [
        '--optimizer', 'adamw', '--epsilon', ADAM_EPSILON, '--warmup_ratio', 0, '--weight_decay', 0,
        '--lr', args.learning_rate, '--epochs', _whole(args.num_train_epochs),
        '--batch_size', args.per_gpu_train_batch_size, '--seed', args.seed,
        '--threads', args.threads, '--output_dir', args.output_dir]
    for flag in ('data_dir', 'max_train_samples', 'max_eval_samples'):
        if getattr(args, flag):
            words += ['--' + flag, getattr(args, flag)]
    if args.overwrite_output_dir:
        words.append('--overwrite_output_dir')
    return parser.parse_args([str(word) for word in words])


def _whole(epochs):
    if epochs != math.floor(epochs):
        raise UserError('--num_train_epochs %g: a whole number of epochs expected' % epochs)
    return int(epochs)


def _tuning_flags(args, folder):
    """The parsed flags of quantize.py --tune that these stand for."""
    parser = common.Parser('')
    deployment_flags.add_quantization_flags(parser)
    words = ['--tune', '--model_dir', folder,
             '--output_dir', os.path.join(args.output_dir, TUNED),
             '--dev_batch_size', args.per_gpu_eval_batch_size, '--threads', args.threads]
    values = {'data_dir': args.data_dir, 'config': args.config, 'train_file': args.train_file,
              'dev_file': args.predict_file, 'max_eval_samples': args.max_eval_samples}
    if args.task_name.lower() != 'squad':
        values['task_name'] = args.task_name
    for flag, value in values.items():
        words += ['--' + flag, value] if value else []
    if args.overwrite_output_dir:
        words.append('--overwrite_output_dir')
    if args.resume and os.path.exists(os.path.join(args.output_dir, TUNED, tuning.TRIALS)):
        words.append('--resume')
    return parser.parse_args([str(word) for word in words])


# Evaluation


def evaluate_glue(args, model, more):
    """Score the dev sets, and write the scores under the example's names; MNLI's second set into
    the folder beside."""
    for name, one in sets_from_flags.read_segments(_labelled_flags(args), model, ['dev']).items():
        outputs = one.outputs(model, args.per_gpu_eval_batch_size, mx.cpu())
        labels = np.array([feature.label for feature in one.features])
        loss = make_loss(model.task['labels'] is None)(mx.nd.array(outputs), mx.nd.array(labels))
        values = glue_keys(one.scores(outputs))
        write_scores(args.output_dir + (MISMATCHED if name.endswith('mismatched') else ''),
                     dict(values, eval_loss=float(loss.mean().asscalar()), **more))


def evaluate_squad(args, model, more):
    """The same for dev's questions."""
    one = sets_from_flags.read_segments(_labelled_flags(args), model, ['dev'])['dev']
    outputs = one.outputs(model, args.per_gpu_eval_batch_size, mx.cpu())
    write_scores(args.output_dir, dict(one.scores(outputs), total=len(one), **more))


def _labelled_flags(args):
    """The flags that `labelled.read_segments` looks at."""
    parser = common.Parser('')
    deployment_flags.add_labelled_flags(parser)
    found = parser.parse_args([])
    found.train_file = None
    found.task_name = None if args.task_name.lower() == 'squad' else args.task_name
    found.data_dir, found.dev_file = args.data_dir, args.predict_file
    found.max_eval_samples = args.max_eval_samples
    return found


def glue_keys(scores):
    """The scores of a task as the example calls them, with the means that it adds."""
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
    """eval_results.txt in `folder`, a line "key = value" each, in order of the keys."""
    lines = ['%s = %s' % item for item in sorted(values.items())]
    with files.atomic_write(os.path.join(folder, RESULTS)) as out:
        out.write('\n'.join(lines) + '\n')
    print('%s:\n  %s' % (os.path.join(folder, RESULTS), '\n  '.join(lines)))
