"""Weights of transformers ↔ Gluon, as complete folders that either side opens."""
import os

import mxnet as mx

from bert import file_names, files
from bert.errors import UserError
from bert.jobs.runs.results import write_report
from bert.model.weights import checkpoint_reader, file_formats, heads, mapping
from bert.pipelines.base import write_description
from bert.pipelines.classification import read_task
from bert.pipelines.model_folder import find_head
from bert.pipelines.question_answering import read_qa_task
from bert.train import checkpoint
from bert.vocabulary import write_vocabulary

REPORT = 'conversion.json'      # in a folder that was made here
WRITTEN = {REPORT, file_names.MODEL, file_names.CONFIG, file_names.VOCABULARY, file_names.TASK,
           file_names.WEIGHTS, file_names.TOKENIZER_CONFIG}
SHOWN = 10                      # so many names of classes or tensors are printed


def run(args):
    """Convert as the parsed flags of convert_checkpoint.py say; returns the report.

    Raises `UserError` when the input isn't a whole BERT that the other side can hold; the
    output is whole or absent.
    """
    check_output(args)
    found = checkpoint_reader.read_checkpoint(args.input, args.bert_model, args.bert_dataset)
    target = args.to or ('transformers' if found.source.endswith('.params') else 'gluon')
    head, arrays, left_out = find_head(found)
    heads.check(found.config, head, arrays, found.source)
    task = find_task(args, found, head, arrays)
    with files.new_folder(args.output, replace=args.overwrite) as folder:
        write = write_gluon if target == 'gluon' else write_transformers
        write(folder, found, head, arrays, task)
        report = write_report(
            os.path.join(folder, REPORT), args, source=found.source, format=target,
            head=head.name, architecture=head.architecture, tensors=len(arrays),
            values=sum(array.size for array in arrays.values()), left_out=left_out,
            classes=task and task.get('labels'), cased=found.config.cased)
    print_summary(args, report)
    return report


def check_output(args):
    """Raises `UserError` unless OUTPUT is new, or holds a conversion that is to be replaced and
    nothing else."""
    if not args.output:
        raise UserError('OUTPUT is empty: name the folder to make')
    output, source = os.path.realpath(args.output), os.path.realpath(args.input)
    if not os.path.lexists(output):
        return
    if not os.path.isfile(os.path.join(output, REPORT)):
        raise UserError('%s: it exists, and no conversion made it: choose another OUTPUT'
                        % args.output)
    if not args.overwrite:
        raise UserError('%s: it exists: choose another OUTPUT, or give --overwrite' % args.output)
    if (source + os.sep).startswith(output + os.sep):
        raise UserError('%s: INPUT lies in it: choose another OUTPUT' % args.output)
    others = sorted(set(os.listdir(output)) - WRITTEN)
    if others:
        raise UserError('%s: it also holds what no conversion wrote: %s; choose another OUTPUT'
                        % (args.output, shorten(others)))


def find_task(args, found, head, arrays):
    """The task of a classifier, from beside the weights and from the flags; of a
    question-answering model from beside the weights; None for others."""
    if head.name != heads.CLASSIFICATION:
        for flag in ('classes', 'pair'):
            if getattr(args, flag):
                raise UserError('--%s: %s holds no classifier but: %s'
                                % (flag, found.source, head.name))
        if head.name != heads.QUESTION_ANSWERING:
            return None
        task, max_len = read_qa_task(found.source, found.config.max_length)
        return dict(task, max_len=max_len)
    task = read_task(found, heads.num_classes(arrays), args.classes)
    if args.pair and task['pair'] is False:
        raise UserError('--pair: %s was trained on single texts' % found.source)
    return dict(task, pair=True if args.pair else task['pair'])


# Gluon


def write_gluon(folder, found, head, arrays, task):
    """A checkpoint folder of ours, without the state of a trainer."""
    in_gluon = heads.gluon_names(head, arrays, found.config)
    # copies nothing
    parameters = {name: mx.nd.from_numpy(array) for name, array in sorted(in_gluon.items())}
    path = os.path.join(folder, file_names.MODEL)
    try:
        checkpoint.save_arrays(path, parameters)
    except (OSError, mx.MXNetError) as error:
        raise UserError('%s: can\'t write: %s' % (path, checkpoint.reason_of(error))) from None
    write_description(folder, found.config, found.vocabulary, task)


# transformers


def write_transformers(folder, found, head, arrays, task):
    """What `save_pretrained` of transformers writes for the model and its tokenizer; the task
    beside it holds what its config.json has no place for."""
    state = mapping.to_transformers(arrays, found.source, found.config.tied_decoder)
    if head.name == 'encoder':      # a bare BertModel has its names without the prefix
        state = {name.replace('bert.', '', 1): array for name, array in state.items()}
    file_formats.write_safetensors(os.path.join(folder, file_names.WEIGHTS), state)
    describe_for_transformers(folder, found.config, found.vocabulary, head, task)


def describe_for_transformers(folder, config, vocabulary, head, task):
    """What stands beside the weights there: configuration, vocabulary, and the task."""
    is_classifier = head.name == heads.CLASSIFICATION
    labels = task['labels'] if is_classifier else None
    files.write_json(os.path.join(folder, file_names.CONFIG), mapping.config_to_transformers(
        config, head.architecture, vocabulary[vocabulary.padding_token], labels,
        is_regression=is_classifier and labels is None))
    write_vocabulary(vocabulary, os.path.join(folder, file_names.VOCABULARY))
    files.write_json(os.path.join(folder, file_names.TOKENIZER_CONFIG), {
        'tokenizer_class': 'BertTokenizer', 'do_lower_case': not config.cased,
        'model_max_length': task['max_len'] if task else config.max_length})
    if task is not None:
        files.write_json(os.path.join(folder, file_names.TASK), task)


def print_summary(args, report):
    print('%s → %s (%s): %s, %d tensors, %.1f M values' % (
        report['source'], args.output, report['format'], report['architecture'],
        report['tensors'], report['values'] / 1e6))
    if report['classes']:
        print('%d classes: %s' % (len(report['classes']), shorten(report['classes'])))
    if report['left_out']:
        print('left out, as %s has no place for them: %s'
              % (report['architecture'], shorten(report['left_out'])))


def shorten(names):
    """The first of many names; the report has all."""
    more = len(names) - SHOWN
    return ', '.join(names[:SHOWN]) + (' and %d more' % more if more > 0 else '')
