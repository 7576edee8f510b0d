"""Files of texts → files of vectors: in parts, by several processes, resumable.

The texts are copied into `<output>.work` first, so that a bad line stops the run before anything is
computed; each part of them is embedded by whatever process does it. Rows of an .npy go to their
place in the whole array, which is mapped into memory; what an .npz or JSON lines are made of is
kept in a file a part until the end. What is written depends on texts, weights and options alone.
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

from bert import files
from bert.data.arrays import npy_files
from bert.data.arrays.ragged import offsets_of
from bert.data.text import readers, store
from bert.errors import UserError
from bert.jobs.runs import executors, results
from bert.pipelines.embedding import BertEmbedding, chunks
from bert.train.devices import pick_device
from bert.train.log import progress

ABOUT, WORK = '.json', '.work'      # after the name of the output
PLAN, ROWS, LOCK, WHOLE = 'plan.json', 'rows.npy', 'lock', 'whole'      # in the folder of work
FORMATS = ('.npy', '.npz', '.jsonl')
TABLES = set(readers.FORMATS) - {'.txt'}     # files of columns; any other one is of lines
# Options of a run that decide what is written, beside the texts and the weights
DECIDING = ('model', 'dataset_name', 'params_path', 'bert_checkpoint', 'dtype', 'layers', 'combine',
            'max_seq_length', 'long_text', 'granularity', 'oov_way', 'pooling', 'normalize',
            'precision', 'batch_size')


def run(args):
    """Embed --file into --output; returns the report, which stands beside it."""
    started = time.time()
    check_output(args)
    for name in ('params_path', 'bert_checkpoint'):     # for those who look from other folders
        if getattr(args, name):
            setattr(args, name, os.path.abspath(getattr(args, name)))
    embedder = make_embedder(vars(args))
    with open_work(args) as work:
        plan = make_plan(args, embedder, copy_texts(args, work, embedder))
        check_plan(args, work, plan)
        files.write_json(os.path.join(work, PLAN), plan)
        cut, made = embed_parts(args, work, plan, embedder)
        assemble(args.output, work, plan)
        report = results.write_report(
            args.output + ABOUT, args, source=os.path.abspath(args.file), cut=cut,
            seconds=time.time() - started, texts=plan['count'], embedded=made,
            **{name: plan[name] for name in ('width', 'texts_sha256', 'weights_sha256')})
        with files.writing(work):
            shutil.rmtree(work)
    warn_of_cut(embedder, cut, plan['count'])
    logging.info('%d texts, %d of them embedded now, %.1f a second: %s', plan['count'], made,
                 made / report['seconds'], args.output)
    return report


# Before anything is computed


def check_output(args):
    """Raises `UserError` for an --output of another ending, for one that doesn't suit, and for
    what is in its way."""
    path = args.output
    form = form_of(path)
    if args.resume and args.overwrite:
        raise UserError('--resume and --overwrite: give one of the two')
    if form not in FORMATS:
        raise UserError('--output %s: a name that ends in %s expected' % (path, ', '.join(FORMATS)))
    if form == '.npy' and args.granularity != 'sentence':
        raise UserError('--output %s: an .npy holds one vector a text: for --granularity %s take '
                        '.npz or .jsonl' % (path, args.granularity))
    for one in (path, path + ABOUT):
        if os.path.isdir(one):
            raise UserError('--output %s: %s is a folder: choose another name' % (path, one))
        if os.path.realpath(one) == os.path.realpath(args.file):
            raise UserError('--output %s: it would replace --file %s: choose another name'
                            % (path, args.file))
        # a run that goes on may be to replace them
        if os.path.exists(one) and not (args.overwrite or args.resume):
            raise UserError('--output %s: %s exists: choose another name, or give --overwrite'
                            % (path, one))


def form_of(path):
    return os.path.splitext(path)[1]


@contextlib.contextmanager
def open_work(args):
    """The folder of unfinished work, this process's alone. Raises `UserError` when another
    process has it, and when an unfinished run is there and neither --resume nor --overwrite is
    given; a folder without a plan is removed again when the block fails."""
    work = args.output + WORK
    if args.resume and not os.path.exists(os.path.join(work, PLAN)):
        raise UserError('--resume: there is no unfinished run in %s' % work)
    if os.path.islink(work):
        raise UserError('%s: a link: remove it, or choose another --output' % work)
    with files.writing(work):
        os.makedirs(work, exist_ok=True)
        lock = files.open_locked(os.path.join(work, LOCK))
    if lock is None:
        raise UserError('--output %s: another process is writing it' % args.output)
    with lock:
        try:
            clear_work(args, work)
            yield work
        except BaseException:
            if os.path.isdir(work) and not os.path.exists(os.path.join(work, PLAN)):
                shutil.rmtree(work, ignore_errors=True)
            raise


def clear_work(args, work):
    """Take out what is left of a run that is not to go on."""
    if args.resume:
        return
    if os.path.exists(os.path.join(work, PLAN)) and not args.overwrite:
        raise UserError('%s: an unfinished run: go on with it by --resume, or give --overwrite'
                        % work)
    with files.writing(work):
        for name in os.listdir(work):
            if name != LOCK:
                os.remove(os.path.join(work, name))


def copy_texts(args, work, embedder):
    """The `Digest` of the texts, which are in `work` then. Raises `UserError` for a bad line, one
    too long with --long_text error, and when there is none."""
    texts = read_texts(args)
    if args.long_text == 'error':
        texts = check_lengths(args, embedder, texts)
    digest = store.write_texts(work, texts)
    if not digest.count:
        raise UserError('%s: no text in it' % args.file)
    return digest


def check_lengths(args, embedder, texts):
    """Yield the texts; `UserError` for one that is too long."""
    total = 0
    for chunk in chunks(texts):
        try:
            embedder.check_lengths(chunk, total)
        except UserError as error:
            raise UserError('%s: %s' % (args.file, error)) from None
        yield from chunk
        total += len(chunk)


def read_texts(args):
    """Yield the texts of --file: lines, or a column of a table."""
    if args.text_column is not None:
        yield from readers.read_column(args.file, args.text_column)
    elif form_of(args.file).lower() in TABLES:
        raise UserError('--file %s: name the column of the texts with --text_column' % args.file)
    else:
        for _, line in readers.read_lines(args.file):
            yield line


def make_embedder(options):
    """`BertEmbedding` of options, as of a plan."""
    return BertEmbedding(
        ctx=pick_device(options['gpu'], options['dtype']), dtype=options['dtype'],
        model=options['model'], dataset_name=options['dataset_name'],
        params_path=options['params_path'], bert_checkpoint=options['bert_checkpoint'],
        max_seq_length=options['max_seq_length'], batch_size=options['batch_size'],
        layers=options['layers'], combine=options['combine'], long_text=options['long_text'])


def make_plan(args, embedder, texts):
    """All that decides what is written, as JSON has it; 'key' stands for the whole of it."""
    plan = {name: getattr(args, name) for name in DECIDING}
    plan.update(
        form=form_of(args.output), width=embedder.width, count=texts.count,
        texts_sha256=texts.hexdigest(), weights_sha256=embedder.digest(args.pooling),
        chunk=embedder.texts_at_once(args.granularity == 'sentence'))
    key = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    return dict(plan, key=key, gpu=args.gpu)


def check_plan(args, work, plan):
    """Raises `UserError` when a run to be resumed had other texts, weights or options."""
    path = os.path.join(work, PLAN)
    if not os.path.exists(path):
        return
    anew = 'start anew with --overwrite instead of --resume'
    try:
        before = files.read_json(path)
    except UserError as error:
        raise UserError('%s: %s' % (error, anew)) from None
    for name in DECIDING:
        if before.get(name) != plan[name]:
            raise UserError('--resume: the run in %s has %s, and not %s: give the same, or %s' % (
                work, in_words(name, before.get(name)), in_words(name, plan[name]), anew))
    for name, what in (('texts_sha256', 'the texts of %s' % args.file),
                       ('weights_sha256', 'the weights')):
        if before.get(name) != plan[name]:
            raise UserError('--resume: %s are not those that the run in %s was started with: %s'
                            % (what, work, anew))
    if before.get('key') != plan['key']:
        raise UserError('--resume: the run in %s is of another version: %s' % (work, anew))


def in_words(name, value):
    """An option as it is given."""
    if name == 'normalize':
        return 'no --no_normalize' if value else '--no_normalize'
    return '--%s %s' % (name, ' '.join(map(str, value)) if isinstance(value, list) else value)


def warn_of_cut(embedder, cut, count):
    """Say once how many texts lost their end."""
    if cut:
        longer = '' if embedder.max_seq_length == embedder.config.max_length else \
            '--max_seq_length %d reads more, ' % embedder.config.max_length
        logging.warning('%d of %d texts were cut at %d tokens, [CLS] and [SEP] included: %s'
                        '--long_text split all', cut, count, embedder.max_seq_length, longer)


# Parts


def part_numbers(plan):
    return range(-(-plan['count'] // plan['chunk']))


def part_path(work, number):
    return os.path.join(work, 'part-%06d.npz' % number)


def read_part(work, number, name):
    """One array of a part."""
    with np.load(part_path(work, number), allow_pickle=False) as archive:
        return archive[name]


def is_made(work, plan, number):
    """Whether the part is there, whole, and of this run."""
    try:
        with np.load(part_path(work, number), allow_pickle=False) as archive:
            return archive['key'].item() == plan['key'] and archive.zip.testzip() is None
    except (OSError,) + files.NPZ_ERRORS:
        return False


def texts_of(work, plan, number):
    """(number of the first text of a part, the texts)"""
    first = number * plan['chunk']
    return first, store.read_texts(work, first, min(first + plan['chunk'], plan['count']))


def embed_parts(args, work, plan, embedder):
    """Make the parts that are not there; returns (how many texts were cut in all, how many were
    embedded now)."""
    if plan['form'] == '.npy':
        make_rows(work, plan)
    numbers = part_numbers(plan)
    missing = [i for i in numbers if not is_made(work, plan, i)]
    if len(missing) < len(numbers):
        logging.info('%d of %d parts are there already', len(numbers) - len(missing), len(numbers))
    if args.num_workers == 1:
        engine, function = executors.Here(), functools.partial(embed_part, embedder, plan)
    else:
        engine, function = executors.Processes(args.num_workers), \
            functools.partial(open_and_embed, plan['key'])
    with engine, progress(len(missing), unit='part', description='embedding') as bar:
        for _ in engine.run(function, [(os.path.abspath(work), i) for i in missing]):
            bar.update(1)
    cut = sum(int(read_part(work, i, 'cut')) for i in numbers)
    made = sum(min(plan['chunk'], plan['count'] - i * plan['chunk']) for i in missing)
    return cut, made


def make_rows(work, plan):
    """The file of all rows, unless it is there."""
    path, shape = os.path.join(work, ROWS), (plan['count'], plan['width'])
    if not npy_files.is_whole(path, shape, plan['precision']):
        for number in part_numbers(plan):       # whose rows are gone
            files.remove(part_path(work, number))
        npy_files.allocate(path, shape, plan['precision'])


@functools.lru_cache(maxsize=1)
def open_plan(work, key):
    """(the plan with this key, its `BertEmbedding`), once a process."""
    plan = files.read_json(os.path.join(work, PLAN))
    if plan['key'] != key:
        raise UserError('%s: another run has changed its plan' % work)
    return plan, make_embedder(plan)


def open_and_embed(key, work, number):
    """The same as `embed_part`, in a process that has nothing yet."""
    plan, embedder = open_plan(work, key)
    embed_part(embedder, plan, work, number)


def embed_part(embedder, plan, work, number):
    """Make part `number`: rows of vectors, and how many texts were cut."""
    first, texts = texts_of(work, plan, number)
    make = text_arrays if plan['granularity'] == 'sentence' else word_arrays
    arrays, cut = make(embedder, plan, texts, first)
    arrays['vectors'] = arrays['vectors'].astype(plan['precision'])
    if plan['form'] == '.npy':
        npy_files.write_rows(os.path.join(work, ROWS), first, arrays.pop('vectors'))
    with files.atomic_write(part_path(work, number), 'wb') as out:
        np.savez(out, key=plan['key'], cut=cut, **arrays)


def text_arrays(embedder, plan, texts, first):
    """({'vectors': (texts, width)}, how many texts were cut)"""
    vectors, cut = embedder.sentence_chunk(texts, plan['pooling'], plan['normalize'],
                                           plan['max_seq_length'], first)
    return {'vectors': vectors}, cut


def word_arrays(embedder, plan, texts, first):
    """({'vectors': (words, width), 'lengths': words of each text, 'names', 'name_lengths': their
    bytes}, how many texts were cut)"""
    found, cut = embedder.embed_chunk(texts, plan['oov_way'], plan['granularity'] == 'token', first)
    names = [name.encode() for words, _ in found for name in words]
    return {'vectors': np.concatenate([rows for _, rows in found]),
            'lengths': np.array([len(words) for words, _ in found]),
            'names': np.frombuffer(b''.join(names), 'u1'),
            'name_lengths': np.array([len(name) for name in names], dtype='int64')}, cut


# The whole


def assemble(path, work, plan):
    """Put the parts together as `path`."""
    whole = os.path.join(work, ROWS if plan['form'] == '.npy' else WHOLE)
    if plan['form'] == '.npz':
        npy_files.write_archive(whole, describe_arrays(work, plan))
    elif plan['form'] == '.jsonl':
        write_lines(whole, work, plan)
    with files.writing(path):
        os.replace(whole, path)


def describe_arrays(work, plan):
    """{name: (shape, dtype, blocks)} of the arrays that the parts make up."""
    def blocks(name):
        return (read_part(work, i, name) for i in part_numbers(plan))

    if plan['granularity'] == 'sentence':
        return {'vectors': ((plan['count'], plan['width']), plan['precision'], blocks('vectors'))}
    words = sum(int(lengths.sum()) for lengths in blocks('lengths'))
    letters = sum(int(lengths.sum()) for lengths in blocks('name_lengths'))
    return {'vectors': ((words, plan['width']), plan['precision'], blocks('vectors')),
            'offsets': ((plan['count'] + 1,), 'int64', running_offsets(blocks('lengths'))),
            'names': ((letters,), 'uint8', blocks('names')),
            'name_offsets': ((words + 1,), 'int64', running_offsets(blocks('name_lengths')))}


def running_offsets(blocks):
    """The offsets of lengths that come in blocks, in blocks."""
    end = 0
    yield np.array([0])
    for lengths in blocks:
        offsets = end + offsets_of(lengths)
        end = offsets[-1]
        yield offsets[1:]


def write_lines(path, work, plan):
    """JSON lines: {"text", "vector"}, or {"text", "words", "vectors"}."""
    with files.atomic_write(path) as out:
        for i in part_numbers(plan):
            for text, found in zip(texts_of(work, plan, i)[1], lines_of(work, plan, i)):
                out.write(json.dumps(dict(text=text, **found), ensure_ascii=False) + '\n')


def lines_of(work, plan, number):
    """What a line says beside the text, for each text of a part."""
    vectors = read_part(work, number, 'vectors')
    if plan['granularity'] == 'sentence':
        for vector in vectors:
            yield {'vector': vector.tolist()}
        return
    letters = read_part(work, number, 'names').tobytes()
    ends = offsets_of(read_part(work, number, 'name_lengths')).tolist()
    names = [letters[a:b].decode() for a, b in zip(ends, ends[1:])]
    bounds = offsets_of(read_part(work, number, 'lengths')).tolist()
    for a, b in zip(bounds, bounds[1:]):
        yield {plan['granularity'] + 's': names[a:b], 'vectors': vectors[a:b].tolist()}
