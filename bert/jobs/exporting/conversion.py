"""Converts weights of transformers ↔ Gluon, into complete folders that the other side opens."""
import os

import mxnet as mx

from bert import file_names, files
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.jobs.runs.results import JobResult, write_report
from bert.model.weights import (
    checkpoint_reader,
    config_files,
    file_formats,
    heads,
    mapping,
)
from bert.pipelines.base import write_description
from bert.pipelines.classifier_folder import read_classifier_task
from bert.pipelines.model_folder import find_head, folder_of
from bert.pipelines.question_answering import read_qa_task
from bert.pipelines.ranking_files import ranking_values, write_ranking_settings
from bert.pipelines.sentence_files import (
    is_sentence_file,
    read_sentence_model,
    write_sentence_model,
)
from bert.pipelines.task_file import kind_of
from bert.pipelines.token_classification import read_token_task
from bert.train.checkpoint import failure_reason, save_arrays
from bert.vocabulary import decoding_settings, write_tokenizer

REPORT_FILE = 'conversion.json'      # marks a folder that a conversion made
# and those that `is_sentence_file` knows
OUTPUT_FILES = {REPORT_FILE, file_names.MODEL_FILE, file_names.CONFIG_FILE,
                file_names.VOCABULARY_FILE, file_names.TASK_FILE, file_names.WEIGHTS_FILE,
                file_names.TOKENIZER_CONFIG_FILE, file_names.TOKENIZER_FILE}
MAX_SHOWN = 10                      # names of classes or tensors that are printed


def convert_checkpoint(options, explicit):
    """Convert weights into a folder. Returns a `JobResult`.

    Raises `UserError` if the input isn't a complete BERT that the other side can hold. The output
    is complete or absent.
    """
    check_conversion_output(options)
    checkpoint = checkpoint_reader.read_checkpoint(options.input, options.bert_model,
                                                   options.bert_dataset)
    target = options.to or ('transformers' if checkpoint.source.endswith('.params') else 'gluon')
    head, arrays, left_out = find_head(checkpoint)
    heads.check_head_arrays(checkpoint.config, head, arrays, checkpoint.source)
    task = find_checkpoint_task(options, checkpoint, head, arrays)
    # a cross-encoder's own settings have a file of the same name
    is_ranking = task is not None and kind_of(task) == file_names.RANKING
    sentence_model = None if is_ranking else \
        read_sentence_model(folder_of(checkpoint), checkpoint.config)
    with files.new_folder(options.output, replace=options.overwrite) as folder:
        write = write_gluon if target == 'gluon' else write_transformers
        write(folder, checkpoint, head, arrays, task)
        write_sentence_model(folder, sentence_model, checkpoint.config)
        report = write_report(
            os.path.join(folder, REPORT_FILE), options, source=checkpoint.source, format=target,
            head=head.name, tensors=len(arrays),
            architecture=heads.architecture_of(head, checkpoint.config.family),
            values=sum(array.size for array in arrays.values()), left_out=left_out,
            classes=task and task.get('labels'), cased=checkpoint.config.cased,
            sentence_model=sentence_model and sentence_model.describe())
    print_summary(options, report)
    return JobResult(report, options.output)


def check_conversion_output(options):
    """Raises `UserError` unless OUTPUT is new, or holds nothing but an earlier conversion that
    --overwrite replaces."""
    output, source = os.path.realpath(options.output), os.path.realpath(options.input)
    if not os.path.lexists(output):
        return
    if not os.path.isfile(os.path.join(output, REPORT_FILE)):
        raise UserError('%s: it exists, but no conversion made it: choose another OUTPUT'
                        % options.output)
    if not options.overwrite:
        raise UserError('%s: it exists: choose another OUTPUT, or give --overwrite'
                        % options.output)
    if (source + os.sep).startswith(output + os.sep):
        raise UserError('%s: INPUT is inside this folder: choose another OUTPUT' % options.output)
    foreign_names = sorted(name for name in set(os.listdir(output)) - OUTPUT_FILES
                           if not is_sentence_file(name))
    if foreign_names:
        raise UserError('%s: the folder also holds files that no conversion wrote: %s; choose '
                        'another OUTPUT' % (options.output, shorten(foreign_names)))


def find_checkpoint_task(options, checkpoint, head, arrays):
    """The task: for a classifier from the files beside the weights and the options, for other
    models with a task from the files beside the weights; None for the rest."""
    if head.name != heads.CLASSIFICATION:
        for flag in ('classes', 'pair'):
            if getattr(options, flag):
                raise UserError('--%s: %s holds no classifier; found: %s'
                                % (flag, checkpoint.source, head.name))
        if head.name == heads.TOKEN_CLASSIFICATION:
            return read_token_task(checkpoint, heads.num_classes(arrays))
        if head.name != heads.QUESTION_ANSWERING:
            return None
        task, max_len = read_qa_task(checkpoint.source, checkpoint.config.max_length)
        return dict(task, max_len=max_len)
    task = read_classifier_task(checkpoint, heads.num_classes(arrays), options.classes)
    if options.pair and task['pair'] is False:
        raise UserError('--pair: %s was trained on single texts' % checkpoint.source)
    return dict(task, pair=True if options.pair else task['pair'])


# Gluon


def write_gluon(folder, checkpoint, head, arrays, task):
    """Write a checkpoint folder of ours, without the state of a trainer."""
    gluon_arrays = heads.with_gluon_names(head, arrays, checkpoint.config)
    # from_numpy copies nothing
    parameters = {name: mx.nd.from_numpy(array) for name, array in sorted(gluon_arrays.items())}
    path = os.path.join(folder, file_names.MODEL_FILE)
    try:
        save_arrays(path, parameters)
    except (OSError, mx.MXNetError) as error:
        raise UserError('%s: can\'t write: %s' % (path, failure_reason(error))) from None
    write_description(folder, checkpoint.config, checkpoint.vocabulary, task)


# transformers


def write_transformers(folder, checkpoint, head, arrays, task):
    """Write what `save_pretrained` of transformers writes for a model and its tokenizer, and the
    task, which holds what config.json has no place for."""
    state = mapping.to_transformers(arrays, checkpoint.source, checkpoint.config)
    if head.name == heads.ENCODER:      # the names of a bare network have no prefix
        prefix = checkpoint.config.family_traits.prefix + '.'
        state = {name.removeprefix(prefix): array for name, array in state.items()}
    file_formats.write_safetensors(os.path.join(folder, file_names.WEIGHTS_FILE), state)
    write_transformers_description(folder, checkpoint.config, checkpoint.vocabulary, head, task)


def write_transformers_description(folder, config, vocabulary, head, task):
    """Write the files of transformers beside the weights: configuration, vocabulary, task."""
    labels, kind = (task.get('labels'), kind_of(task)) if task else (None, None)
    values = config_files.config_to_transformers(
        config, heads.architecture_of(head, config.family), vocabulary[vocabulary.padding_token],
        labels, kind)
    if kind == file_names.RANKING:
        values.update(ranking_values(task['activation']))
        write_ranking_settings(folder, task['activation'])
    files.write_json(os.path.join(folder, file_names.CONFIG_FILE), values)
    max_length = task['max_len'] if task else config.max_length
    write_tokenizer(vocabulary, folder, model_max_length=max_length)
    if vocabulary.tokenizer_json is None:
        tokenizer = BertTokenizer(vocabulary, lower=not config.cased)
        with open(os.path.join(folder, file_names.TOKENIZER_FILE), 'w', encoding='utf-8') as out:
            out.write(tokenizer.to_json())
        files.write_json(os.path.join(folder, file_names.TOKENIZER_CONFIG_FILE), {
            'tokenizer_class': 'BertTokenizer', 'do_lower_case': not config.cased,
            'model_max_length': max_length, **decoding_settings(vocabulary)})
    if task is not None:
        files.write_json(os.path.join(folder, file_names.TASK_FILE), task)


def print_summary(options, report):
    print('%s → %s (%s): %s, %d tensors, %.1f M values' % (
        report['source'], options.output, report['format'], report['architecture'],
        report['tensors'], report['values'] / 1e6))
    if report['classes']:
        print('%d classes: %s' % (len(report['classes']), shorten(report['classes'])))
    if report['sentence_model']:
        print('vectors of texts: ' + report['sentence_model'])
    if report['left_out']:
        print('left out, because %s has no place for them: %s'
              % (report['architecture'], shorten(report['left_out'])))


def shorten(names):
    """The first names of many, as text; the report has all of them."""
    num_hidden = len(names) - MAX_SHOWN
    return ', '.join(names[:MAX_SHOWN]) + (' and %d more' % num_hidden if num_hidden > 0 else '')
