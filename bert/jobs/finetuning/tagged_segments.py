"""The data of a run of finetune_ner.py: its segments, read, sampled, checked and audited."""
import logging
import os

from bert import file_names, files
from bert.data.batches import subsample
from bert.data.ner.entities import split_tag
from bert.data.ner.schemes import count_types, examine_scheme
from bert.data.ner.sentences import TagColumns, read_tagged_file
from bert.data.ner.tagged_data import tokenize_tagged
from bert.data.ner.tasks import (
    PREDICTIONS_FILE,
    TagTask,
    find_tag_task,
    is_tag_task,
    locate_tag_task,
)
from bert.errors import UserError
from bert.jobs.finetuning.task_from_options import has_own_files, own_run_name

TRAIN = 'train'


def tag_run_name(options):
    """Name of the run: the task's in its usual spelling; for the user's own files --task_name, else
    the name of the first file. Raises `UserError`."""
    if has_own_files(options):
        return own_run_name(options)
    if options.resume and not (options.task_name and is_tag_task(options.task_name)):
        return options.task_name or 'ner'   # a run on own files, which its saved options name
    return find_tag_task(options.task_name).name


def make_tag_task(options):
    """The `TagTask` of the options: of the table, or of the user's files. Raises `UserError`."""
    own_files = {name: path for name, path in (
        ('train', options.train_file), ('dev', options.dev_file), ('test', options.test_file))
        if path}
    if not own_files:
        return find_tag_task(options.task_name)
    if options.trains and not (options.train_file and options.dev_file):
        raise UserError('training on files of your own needs --train_file and --dev_file')
    return TagTask(tag_run_name(options), {name: (path,) for name, path in own_files.items()},
                   columns=TagColumns(options.word_column, options.tag_column))


def read_tagged_segments(options, task):
    """{segment: (path, `TaggedSentence`s, `SchemeReport`)} of the files that the run needs. Raises
    `UserError`."""
    paths = ({name: names[0] for name, names in task.segments.items()} if has_own_files(options)
             else locate_tag_task(task, options.data_dir))
    wanted = ('train', 'dev', 'test') if options.trains else (
        ('train', 'dev') if options.only_calibration else ('dev', 'test'))
    required = ('train', 'dev') if options.trains or options.only_calibration else ()
    for name in required:
        if name not in paths:
            raise UserError('%s: no %s file among %s' % (task.name, name,
                                                         ', '.join(paths.values())))
    limits = {'train': options.max_train_samples, 'dev': options.max_eval_samples}
    segments = {}
    for name in [name for name in wanted if name in paths]:
        sentences = subsample(read_tagged_file(paths[name], task.columns), limits.get(name))
        scheme = examine_scheme(sentences, options.input_scheme)
        if task.types:
            _check_types(task, sentences)
        segments[name] = paths[name], sentences, scheme
    if not segments:
        raise UserError('%s: no dev or test file among %s' % (task.name, ', '.join(
            paths.values())))
    return segments


def _check_types(task, sentences):
    """Raises `UserError`, with file and line, for a tag of a type that the task has not."""
    for sentence in sentences:
        for i, tag in enumerate(sentence.tags):
            kind = split_tag(tag)[1]
            if kind and kind not in task.types:
                raise UserError('%s:%d: tag "%s" found, but the entities of %s have the types %s'
                                % (sentence.path, sentence.line_of(i), tag, task.name,
                                   ', '.join(task.types)))


def find_types(task, segments):
    """The types of the task's entities, or those found in train. Raises `UserError` if it has
    none."""
    types = task.types or tuple(sorted(count_types(segments[TRAIN][1])))
    if not types:
        raise UserError('%s: no entity in it: all its tags are O' % segments[TRAIN][0])
    return types


def make_tagged_data(segments, tokenizer):
    """{segment: `TaggedData`} of what `read_tagged_segments` gives."""
    return {name: tokenize_tagged(*segment, tokenizer) for name, segment in segments.items()}


def write_tag_audit(folder, task, data, model, is_first_worker):
    """Log the audit of the data, and write it to audit.json."""
    frame = model.tokenizer.frame(pair=False)
    report = {'task': task.name, 'max_len': model.max_len, 'segments': {
        name: segment.audit(frame, model.max_len) for name, segment in data.items()}}
    for name, values in report['segments'].items():
        logging.info('%s: %d sentences with %d words of %s; scheme %s', name,
                     values['sentences'], values['words'], values['file'], values['scheme'])
        logging.info('  entities: %s', ', '.join(
            '%s: %d' % item for item in values['entities'].items()) or 'none')
        logging.info('  tokens: %s; %d sentences need several windows of --max_len %d; %d words '
                     'have no token and count as O',
                     ', '.join('%s %d' % item for item in values['token_length'].items()),
                     values['sentences_in_several_windows'], model.max_len,
                     values['words_without_tokens'])
    if is_first_worker:
        files.write_json(os.path.join(folder, file_names.AUDIT_FILE), report)


def output_files(task):
    """Names of the files that a run writes, apart from those of every run."""
    return [file_names.LOG_FILE % task.name, file_names.AUDIT_FILE, PREDICTIONS_FILE]
