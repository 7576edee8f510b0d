"""Files of texts → files of vectors: in parts, by several processes, resumable.

The run first copies the texts into `<output>.work`, so that a bad line stops it before anything is
computed. Any process can embed any part of the texts. The rows of an .npy go directly to their
place in the whole array, which is mapped into memory. The contents of an .npz or of JSON lines
stay in one file per part until the end. The output depends only on texts, weights and options.
"""
import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import time

import numpy as np

from bert import files, locks
from bert.data.arrays import npy_files
from bert.data.arrays.ragged import offsets_of
from bert.data.text import store
from bert.errors import UserError
from bert.jobs.embedding.inputs import (
    embedder_options,
    ending_of,
    make_embedder,
    read_file_texts,
    record_model,
    select_model,
    warn_of_cut_texts,
)
from bert.jobs.runs import executors, results
from bert.pipelines.embedder import chunk_texts
from bert.train.log import progress_bar

# Endings after the name of the output, and the files in the work folder
REPORT_ENDING, WORK_ENDING = '.json', '.work'
PLAN_FILE, ROWS_FILE, OUTPUT_FILE = 'plan.json', 'rows.npy', 'whole'
ENDINGS = ('.npy', '.npz', '.jsonl')
# Options on which the output depends, beside the texts and the weights
PLAN_OPTIONS = ('model', 'dataset_name', 'params_path', 'bert_checkpoint', 'dtype', 'layers',
                'combine', 'max_seq_length', 'long_text', 'granularity', 'oov_way', 'pooling',
                'normalize', 'dimensions', 'prompt_name', 'prompt', 'precision', 'batch_size')


def embed_file(options):
    """Embed --file into --output; returns the report, which is also written beside it."""
    start_time = time.time()
    check_vector_output(options)
    options = options.replace(max_seq_length=options.max_tokens, **options.checkpoint_paths)
    embedder = make_embedder(embedder_options(options))
    model = select_model(embedder, embedder_options(options))
    if model is not None:
        embedder.log_sentence_model(model)
    options = record_model(options, model)
    with open_work_folder(options) as work:
        plan = make_plan(options, embedder, model, copy_texts(options, work, embedder, model))
        check_plan(options, work, plan)
        files.write_json(os.path.join(work, PLAN_FILE), plan)
        num_cut, num_embedded = embed_parts(options, work, plan, embedder)
        assemble_output(options.output, work, plan)
        report = results.write_report(
            options.output + REPORT_ENDING, options, source=os.path.abspath(options.file),
            cut=num_cut, seconds=time.time() - start_time, texts=plan['count'],
            embedded=num_embedded, similarity=model and model.similarity,
            **{name: plan[name] for name in ('width', 'texts_sha256', 'weights_sha256')})
        with files.explain_write_errors(work):
            shutil.rmtree(work)
    warn_of_cut_texts(embedder, (model or embedder).max_seq_length, num_cut, plan['count'])
    logging.info('%d texts, %d of them embedded now, %.1f a second: %s',
                 plan['count'], num_embedded, num_embedded / report['seconds'], options.output)
    return report


# Before anything is computed


def check_vector_output(options):
    """Raises `UserError` if --output has an unknown ending, or one that doesn't suit --granularity,
    and if something is in its way."""
    path = options.output
    form = ending_of(path)
    if form not in ENDINGS:
        raise UserError('--output %s: expected a name that ends in %s' % (path, ', '.join(ENDINGS)))
    if form == '.npy' and options.granularity != 'sentence':
        raise UserError('--output %s: an .npy holds one vector per text: for --granularity %s '
                        'choose .npz or .jsonl' % (path, options.granularity))
    for target in (path, path + REPORT_ENDING):
        if os.path.isdir(target):
            raise UserError('--output %s: %s is a folder: choose another name' % (path, target))
        if os.path.realpath(target) == os.path.realpath(options.file):
            raise UserError('--output %s: it would replace --file %s: choose another name'
                            % (path, options.file))
        # a resumed run may have to replace them
        files.check_output(target, options.overwrite or options.resume, streams=False)


@contextlib.contextmanager
def open_work_folder(options):
    """Context manager: the work folder, locked for this process. Raises `UserError` if another
    process holds it, or if an unfinished run is in it and neither --resume nor --overwrite is
    given. If the block fails, a folder without a plan is removed again."""
    # beside the target of a link, in its file system
    work = (os.path.realpath(options.output) if os.path.islink(options.output)
            else options.output) + WORK_ENDING
    if options.resume and not os.path.exists(os.path.join(work, PLAN_FILE)):
        raise UserError('--resume: there is no unfinished run in %s' % work)
    if os.path.islink(work):
        raise UserError('%s: a link: remove it, or choose another --output' % work)
    with locks.own_folder(work, '--output'):
        try:
            clear_work_folder(options, work)
            yield work
        except BaseException:
            if os.path.isdir(work) and not os.path.exists(os.path.join(work, PLAN_FILE)):
                shutil.rmtree(work, ignore_errors=True)
            raise


def clear_work_folder(options, work):
    """Remove the files of an earlier run, unless it is resumed."""
    if options.resume:
        return
    if os.path.exists(os.path.join(work, PLAN_FILE)) and not options.overwrite:
        raise UserError('%s: an unfinished run: continue it with --resume, or replace it with '
                        '--overwrite' % work)
    with files.explain_write_errors(work):
        for name in os.listdir(work):
            if name != locks.LOCK_FILE:
                os.remove(os.path.join(work, name))


def copy_texts(options, work, embedder, model):
    """Copy the texts into `work`; returns their `TextDigest`. Raises `UserError` for a bad line,
    for a text that is too long with --long_text error, and if there are no texts."""
    texts = count_blank_texts(options.file, read_file_texts(options.file, options.text_column))
    if options.long_text == 'error':
        texts = check_text_lengths(options, embedder, model, texts)
    digest = store.write_texts(work, texts)
    if not digest.count:
        raise UserError('%s: no text in it' % options.file)
    return digest


def count_blank_texts(path, texts):
    """Yield the texts of a file. A warning at the end says how many are blank: each has a vector,
    so that rows and lines stay in step."""
    num_blank = 0
    for text in texts:
        num_blank += not text.strip()
        yield text
    if num_blank:
        logging.warning('%s: %d blank texts found: their vectors mean nothing', path, num_blank)


def check_text_lengths(options, embedder, model, texts):
    """Yield the texts. Raises `UserError` for a text that is too long."""
    num_texts = 0
    for chunk in chunk_texts(texts):
        try:
            embedder.check_lengths(chunk, model, num_texts)
        except UserError as error:
            raise UserError('%s: %s' % (options.file, error)) from None
        yield from chunk
        num_texts += len(chunk)


def make_plan(options, embedder, model, digest):
    """Everything on which the output depends, as values for JSON; 'key' is a hash of it all."""
    values = embedder_options(options)
    plan = {name: values[name] for name in PLAN_OPTIONS}
    plan.update(
        form=ending_of(options.output), count=digest.count,
        width=model.output_width(embedder.width) if model else embedder.width,
        texts_sha256=digest.hexdigest(), weights_sha256=embedder.digest(options.pooling),
        chunk=embedder.texts_at_once(options.granularity == 'sentence'))
    key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    return dict(plan, key=key, gpu=options.gpu)


def check_plan(options, work, plan):
    """Raises `UserError` if an unfinished run in `work` had other texts, weights or options."""
    path = os.path.join(work, PLAN_FILE)
    if not os.path.exists(path):
        return
    remedy = 'start again with --overwrite instead of --resume'
    try:
        old_plan = files.read_json(path)
    except UserError as error:
        raise UserError('%s: %s' % (error, remedy)) from None
    for name in PLAN_OPTIONS:
        if old_plan.get(name) != plan[name]:
            raise UserError('--resume: the run in %s was started with %s, not with %s: give the '
                            'same, or %s' % (work, format_flag(name, old_plan.get(name)),
                                             format_flag(name, plan[name]), remedy))
    for name, label in (('texts_sha256', 'the texts of %s' % options.file),
                        ('weights_sha256', 'the weights')):
        if old_plan.get(name) != plan[name]:
            raise UserError('--resume: %s are not those that the run in %s was started with: %s'
                            % (label, work, remedy))
    if old_plan.get('key') != plan['key']:
        raise UserError('--resume: the run in %s was started by another version: %s'
                        % (work, remedy))


def format_flag(name, value):
    """An option as it is given on the command line."""
    if value is None:
        return 'no --' + name
    if name == 'normalize':
        return '--normalize' if value else '--no_normalize'
    if value == '':
        return "--%s ''" % name
    return '--%s %s' % (name, ' '.join(map(str, value)) if isinstance(value, list) else value)


# Parts


def part_indices(plan):
    return range(-(-plan['count'] // plan['chunk']))


def part_path(work, index):
    return os.path.join(work, 'part-%06d.npz' % index)


def read_part_array(work, index, name):
    """The array `name` of a part."""
    with np.load(part_path(work, index), allow_pickle=False) as archive:
        return archive[name]


def is_part_complete(work, plan, index):
    """Whether the file of a part exists, is complete, and belongs to this run."""
    try:
        with np.load(part_path(work, index), allow_pickle=False) as archive:
            return archive['key'].item() == plan['key'] and archive.zip.testzip() is None
    except (OSError,) + files.NPZ_ERRORS:
        return False


def read_part_texts(work, plan, index):
    """(index of the first text of a part, the texts of the part)"""
    first = index * plan['chunk']
    return first, store.read_stored_texts(work, first, min(first + plan['chunk'], plan['count']))


def embed_parts(options, work, plan, embedder):
    """Make the missing parts; returns (number of texts that were cut in all parts, number of texts
    that were embedded now)."""
    if plan['form'] == '.npy':
        allocate_rows(work, plan)
    indices = part_indices(plan)
    missing = [i for i in indices if not is_part_complete(work, plan, i)]
    if len(missing) < len(indices):
        logging.info('%d of %d parts already exist', len(indices) - len(missing), len(indices))
    if options.num_workers == 1:
        executor = executors.LocalExecutor()
        function = functools.partial(embed_part, embedder, plan)
    else:
        executor = executors.ProcessExecutor(options.num_workers)
        function = functools.partial(embed_part_in_worker, plan['key'])
    with executor, progress_bar(len(missing), unit='part', description='embedding') as bar:
        for _ in executor.run(function, [(os.path.abspath(work), i) for i in missing]):
            bar.update(1)
    num_cut = sum(int(read_part_array(work, i, 'cut')) for i in indices)
    num_embedded = sum(min(plan['chunk'], plan['count'] - i * plan['chunk']) for i in missing)
    return num_cut, num_embedded


def allocate_rows(work, plan):
    """Allocate the file of all rows, unless it exists."""
    path, shape = os.path.join(work, ROWS_FILE), (plan['count'], plan['width'])
    if not npy_files.is_complete_npy(path, shape, plan['precision']):
        for i in part_indices(plan):        # the rows of these parts are lost
            files.remove(part_path(work, i))
        npy_files.allocate(path, shape, plan['precision'])


@functools.lru_cache(maxsize=1)
def open_embedding_plan(work, key):
    """(the plan in `work`, which must have this key; its `BertEmbedding`), once per process."""
    plan = files.read_json(os.path.join(work, PLAN_FILE))
    if plan['key'] != key:
        raise UserError('%s: another run has changed its plan' % work)
    return plan, make_embedder(plan)


def embed_part_in_worker(key, work, index):
    """Run `embed_part` in a worker process, which opens plan and model itself."""
    plan, embedder = open_embedding_plan(work, key)
    embed_part(embedder, plan, work, index)


def embed_part(embedder, plan, work, index):
    """Embed a part; write its vectors and the number of its texts that were cut."""
    first, texts = read_part_texts(work, plan, index)
    make_arrays = embed_texts if plan['granularity'] == 'sentence' else embed_words
    arrays, num_cut = make_arrays(embedder, plan, texts, first)
    with np.errstate(over='ignore'):
        arrays['vectors'] = arrays['vectors'].astype(plan['precision'])
    if not np.isfinite(arrays['vectors']).all():
        raise UserError('--precision %s: a number in the vectors of texts %d to %d is out of '
                        'range: choose float32'
                        % (plan['precision'], first, first + len(texts) - 1))
    if plan['form'] == '.npy':
        npy_files.write_rows(os.path.join(work, ROWS_FILE), first, arrays.pop('vectors'))
    with files.atomic_write(part_path(work, index), 'wb') as out:
        np.savez(out, key=plan['key'], cut=num_cut, **arrays)


def embed_texts(embedder, plan, texts, first):
    """({'vectors': (texts, width)}, number of texts that were cut)"""
    vectors, num_cut = embedder.sentence_chunk(texts, select_model(embedder, plan), first)
    return {'vectors': vectors}, num_cut


def embed_words(embedder, plan, texts, first):
    """({'vectors': (words, width), 'lengths': number of words of each text, 'names': UTF-8 of all
    words, 'name_lengths': number of bytes of each word}, number of texts that were cut)"""
    results, num_cut = embedder.embed_chunk(texts, plan['oov_way'],
                                            plan['granularity'] == 'token', first)
    names = [name.encode() for words, _ in results for name in words]
    return {'vectors': np.concatenate([rows for _, rows in results]),
            'lengths': np.array([len(words) for words, _ in results]),
            'names': np.frombuffer(b''.join(names), 'u1'),
            'name_lengths': np.array([len(name) for name in names], dtype='int64')}, num_cut


# The output


def assemble_output(path, work, plan):
    """Join the parts into the file `path`."""
    complete_path = os.path.join(work, ROWS_FILE if plan['form'] == '.npy' else OUTPUT_FILE)
    if plan['form'] == '.npz':
        npy_files.write_archive(complete_path, describe_arrays(work, plan))
    elif plan['form'] == '.jsonl':
        write_json_lines(complete_path, work, plan)
    with files.explain_write_errors(path):
        files.replace_file(complete_path, files.output_target(path))


def describe_arrays(work, plan):
    """{name: (shape, dtype, blocks)} of the arrays of an .npz; each part gives one block."""
    def blocks(name):
        return (read_part_array(work, i, name) for i in part_indices(plan))

    if plan['granularity'] == 'sentence':
        return {'vectors': ((plan['count'], plan['width']), plan['precision'], blocks('vectors'))}
    num_words = sum(int(lengths.sum()) for lengths in blocks('lengths'))
    num_bytes = sum(int(lengths.sum()) for lengths in blocks('name_lengths'))
    return {'vectors': ((num_words, plan['width']), plan['precision'], blocks('vectors')),
            'offsets': ((plan['count'] + 1,), 'int64', running_offsets(blocks('lengths'))),
            'names': ((num_bytes,), 'uint8', blocks('names')),
            'name_offsets': ((num_words + 1,), 'int64', running_offsets(blocks('name_lengths')))}


def running_offsets(blocks):
    """Yield the offsets for lengths that come in blocks, also in blocks."""
    end = 0
    yield np.array([0])
    for lengths in blocks:
        offsets = end + offsets_of(lengths)
        end = offsets[-1]
        yield offsets[1:]


def write_json_lines(path, work, plan):
    """Write JSON lines: {"text", "vector"}, or {"text", "words" or "tokens", "vectors"}."""
    with files.atomic_write(path) as out:
        for i in part_indices(plan):
            for text, values in zip(read_part_texts(work, plan, i)[1], part_lines(work, plan, i)):
                out.write(json.dumps(dict(text=text, **values), ensure_ascii=False) + '\n')


def part_lines(work, plan, index):
    """Yield the values of a line beside the text, for each text of a part."""
    vectors = read_part_array(work, index, 'vectors')
    if plan['granularity'] == 'sentence':
        for vector in vectors:
            yield {'vector': vector.tolist()}
        return
    content = read_part_array(work, index, 'names').tobytes()
    name_offsets = offsets_of(read_part_array(work, index, 'name_lengths')).tolist()
    names = [content[a:b].decode() for a, b in zip(name_offsets, name_offsets[1:])]
    offsets = offsets_of(read_part_array(work, index, 'lengths')).tolist()
    for a, b in zip(offsets, offsets[1:]):
        yield {plan['granularity'] + 's': names[a:b], 'vectors': vectors[a:b].tolist()}
