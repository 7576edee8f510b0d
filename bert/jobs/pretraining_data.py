"""Text files → shards of pre-training examples: the whole recipe of create_pretraining_data.py."""
import hashlib
import json
import logging
import math
import os
import re
import resource
import shutil
import time

from bert import files, layout
from bert.data import corpus, generation, sentences, shards, token_store
from bert.data.pretraining import Sampling
from bert.errors import UserError
from bert.jobs import engines, results
from bert.model import vocabularies
from bert.train.log import open_log, progress
from bert.vocabulary import digest, write_tokens

# Bytes of text. A block is what one task tokenizes; a corpus of some size has MIN_BLOCKS or more,
# so that there is work for several processes.
BLOCK_SIZE, SMALLEST_BLOCK, MIN_BLOCKS = 1 << 20, 1 << 16, 32
# What a shard is made of, copies counted: about 16,000 examples of 128 tokens, 8 MB.
SHARD_SIZE = 8 << 20
SAMPLE = 'sample_text.txt'      # comes with the package
SHARD = re.compile(r'part-\d{3,}\.npz$')
# The options that decide what is written; the others only say how, and where.
DECIDING = ('tokenized', 'sentence_splitter', 'dupe_factor', 'num_outputs')


def run(args):
    """Make the data as the parsed flags of create_pretraining_data.py say; returns the report in
    results.json. Raises `UserError`."""
    started = time.time()
    open_log()
    sampling = make_sampling(args)
    check_engine(args)
    paths = files.find(find_sample(args.input_file), 'text files')
    tokens, lower = choose_vocabulary(args)
    logging.info('*** Reading from %d input files ***', len(paths))
    for path in paths:
        logging.info('  %s', path)
    work = Generation(args, sampling, scan_files(paths), tokens, lower)
    work.open_folder()
    work.prepare()
    seconds = {'scan': time.time() - started}
    with open_engine(args) as engine:
        work.tokenize(engine)
        seconds['tokenize'] = time.time() - started - sum(seconds.values())
        work.make_shards(engine)
        seconds['examples'] = time.time() - started - sum(seconds.values())
    return work.conclude(seconds)


def make_sampling(args):
    sampling = Sampling(**{name: getattr(args, name) for name in Sampling._fields})
    sampling.check()
    if sampling.is_capped:
        logging.warning('--max_predictions_per_seq %d is less than --masked_lm_prob %g of %d '
                        'tokens: long examples get fewer masks',
                        sampling.max_predictions_per_seq, sampling.masked_lm_prob,
                        sampling.max_seq_length)
    return sampling


def check_engine(args):
    """Raises `UserError` for flags that contradict each other."""
    if args.scheduler and args.engine != 'dask':
        raise UserError('--scheduler is for --engine dask')
    if args.engine == 'dask' and not args.scheduler:
        raise UserError('--engine dask needs --scheduler ADDRESS, such as tcp://host:8786')


def open_engine(args):
    """What runs the tasks."""
    if args.engine == 'dask':
        return engines.Dask(args.scheduler)
    return engines.Here() if args.num_workers == 1 else engines.Processes(args.num_workers)


def find_sample(pattern):
    """The pattern; for the sample text, where it isn't here, the path of the package's."""
    if pattern == SAMPLE and not os.path.exists(pattern):
        return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), SAMPLE)
    return pattern


def choose_vocabulary(args):
    """(tokens of the vocabulary, whether text is lower-cased)"""
    tokens, cased = vocabularies.fetch(args.vocab)
    if args.cased and not cased:
        logging.warning('--cased: the vocabulary of %s has no upper case; words that have it '
                        'become [UNK]', args.vocab)
    return tokens, not (args.cased or cased)


def scan_files(paths):
    """[`corpus.Scan`], with blocks of a size that suits the whole."""
    total = sum(os.path.getsize(path) for path in paths)
    block_size = min(BLOCK_SIZE, max(SMALLEST_BLOCK, total // MIN_BLOCKS))
    scans = []
    with progress(total, unit='B', description='reading') as bar:
        for path in paths:
            scans.append(corpus.scan(path, block_size))
            bar.update(scans[-1].size)
    corpus.check_documents(scans)
    return scans


class Generation:
    """One run of create_pretraining_data.py."""

    def __init__(self, args, sampling, scans, tokens, lower):
        self.args, self.folder = args, args.output_dir
        self._sampling, self._scans, self._tokens = sampling, scans, tokens
        self._lower = lower
        # workers may be elsewhere
        self._blocks = [block._replace(path=os.path.abspath(block.path))
                        for scan in scans for block in scan.blocks]
        self._options = dict(sampling._asdict(), lower=lower,
                             **{name: getattr(args, name) for name in DECIDING})
        self._digest = self._compute_digest()
        most = len(self._blocks) * args.dupe_factor
        if args.num_outputs and args.num_outputs > most:
            raise UserError('--num_outputs %d: this text with --dupe_factor %d makes %d files at '
                            'most' % (args.num_outputs, args.dupe_factor, most))

    def _compute_digest(self):
        """sha256 of all that decides the bytes of the shards."""
        decides = {'format': shards.FORMAT, 'options': self._options,
                   'vocabulary': digest(self._tokens),
                   'inputs': [[scan.size, scan.sha256] for scan in self._scans]}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def _path(self, name):
        return os.path.join(self.folder, name)

    # The folder

    def open_folder(self):
        """Make the folder ready. Raises `UserError` when it holds something else's data, or this
        one's and --resume is not given."""
        args = self.args
        if args.resume and args.overwrite_output_dir:
            raise UserError('--resume and --overwrite_output_dir: give one of the two')
        state = self._find_state()
        if args.resume:
            self._check_resume(state)
        elif state and not args.overwrite_output_dir:
            raise UserError('%s holds pre-training data: choose another --output_dir, go on with '
                            'an unfinished run by --resume, or replace it by '
                            '--overwrite_output_dir' % self.folder)
        elif state:
            self._clear()
        if not args.resume:     # of a run that was being removed when it was killed
            shutil.rmtree(self._path(generation.WORK), ignore_errors=True)
            if os.path.exists(self._path(generation.WORK)):
                raise UserError('%s: can\'t be removed: remove it, or choose another --output_dir'
                                % self._path(generation.WORK))
        with files.writing(self.folder):
            os.makedirs(self._path(generation.WORK), exist_ok=True)

    def _find_state(self):
        """{'digest': …} of the run in the folder, 'digest' None for shards of another origin; {}
        for none. Raises `UserError` for files of the user's that a run would write."""
        for path in (generation.work_path(self.folder, generation.PLAN),
                     self._path(shards.MANIFEST)):
            if os.path.exists(path) and files.read_json(path).get('digest'):
                return {'digest': files.read_json(path)['digest'],
                        'finished': path.endswith(shards.MANIFEST)}
        if self._shards_there():
            return {'digest': None}
        for name in (shards.MANIFEST, layout.RESULTS, layout.VOCABULARY):
            if os.path.exists(self._path(name)):
                raise UserError('%s: a file that is none of create_pretraining_data.py\'s has the '
                                'name of one: choose another --output_dir' % self._path(name))
        return {}

    def _shards_there(self):
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return [name for name in names if SHARD.match(name)]

    def _check_resume(self, state):
        if not state or state['digest'] is None:
            raise UserError('--resume: %s holds no unfinished run' % self.folder)
        if state['digest'] != self._digest:
            raise UserError('--resume: the run in %s was started with another text, vocabulary or '
                            'other options: give the same ones, or --overwrite_output_dir'
                            % self.folder)
        if state['finished']:
            raise UserError('--resume: the run in %s is complete' % self.folder)

    def _clear(self):
        for name in self._shards_there() + [shards.MANIFEST, layout.RESULTS, layout.VOCABULARY]:
            files.remove(self._path(name))

    # The work

    def prepare(self):
        """Write what the workers read: vocabulary, splitter and plan."""
        with files.new_file(self._path(layout.VOCABULARY)) as path:
            write_tokens(self._tokens, path)
        self._splitter = None
        if self.args.sentence_splitter == 'nltk':
            splitter, self._splitter = sentences.make_splitter(self._read_texts)
            logging.info('sentences are split by Punkt, %s', self._splitter)
            sentences.save_splitter(splitter,
                                    generation.work_path(self.folder, generation.PUNKT))
        files.write_json(generation.work_path(self.folder, generation.PLAN), {
            'digest': self._digest, 'blocks': self._blocks, 'lower': self._lower,
            'tokenized': self.args.tokenized, 'splitter': self._splitter,
            'copies': self.args.dupe_factor, 'sampling': self._sampling._asdict()})

    def _read_texts(self):
        for block in self._blocks:
            for lines in corpus.read_documents(block):
                yield ' '.join(lines)

    def tokenize(self, engine):
        """Text → the token store, unless an earlier run did it."""
        store = generation.work_path(self.folder, generation.STORE)
        counted = generation.work_path(self.folder, 'counts.json')
        if not token_store.is_complete(store):
            self._tokenize_blocks(engine)
            numbers = range(len(self._blocks))
            files.write_json(counted, {'blocks': [generation.read_counts(self.folder, i)
                                                  for i in numbers]})
            token_store.join_stores([generation.block_path(self.folder, i) for i in numbers],
                                    store)
        blocks = files.read_json(counted)['blocks']
        self._counts = {key: sum(block[key] for block in blocks) for key in blocks[0]}
        self._block_documents = [block['documents'] for block in blocks]
        self._report_counts()

    def _tokenize_blocks(self, engine):
        missing = [i for i in range(len(self._blocks))
                   if generation.read_counts(self.folder, i) is None]
        self._run(engine, generation.tokenize_block, missing, 'block', 'tokenizing')

    def _run(self, engine, task, numbers, unit, description):
        """What the tasks return, in any order."""
        found, folder = [], os.path.abspath(self.folder)
        with progress(len(numbers), unit=unit, description=description) as bar:
            for one in engine.run(task, [(folder, self._digest, i) for i in numbers]):
                found.append(one)
                bar.update(1)
        return found

    def _report_counts(self):
        counts = self._counts
        logging.info('%d documents, %d sentences, %d tokens', counts['documents'],
                     counts['sentences'] - counts['empty_sentences'], counts['tokens'])
        if counts['empty_sentences']:
            logging.warning('%d sentences hold no token and are left out, %d documents with them',
                            counts['empty_sentences'], counts['empty_documents'])
        if counts['unknown']:
            logging.warning('%d tokens (%.2f %%) are unknown to the vocabulary: [UNK]',
                            counts['unknown'], 100 * counts['unknown'] / counts['tokens'])
        if counts['documents'] < 2:
            raise UserError('%d documents with tokens: two or more expected; the random next '
                            'sentence of a pair comes from another one' % counts['documents'])

    def make_shards(self, engine):
        """The token store → the shards that are not there yet."""
        number = self._choose_num_shards()
        generation.write_deal(self.folder, self._block_documents, number)
        paths = [self._path(generation.shard_name(i)) for i in range(number)]
        missing = [i for i, path in enumerate(paths) if not os.path.exists(path)]
        kept = [path for path in paths if os.path.exists(path)]
        if kept:
            logging.info('%d of %d shards are there already', len(kept), len(paths))
        described = [shards.describe_shard(path) for path in kept]
        described += self._run(engine, generation.make_shard, missing, 'shard',
                               'making examples')
        self._shards = sorted(described, key=lambda shard: paths.index(self._path(shard['file'])))

    def _choose_num_shards(self):
        copies = self.args.dupe_factor
        units = copies * sum(number > 0 for number in self._block_documents)
        wanted = self.args.num_outputs
        if wanted is None:
            return min(units, math.ceil(sum(scan.size for scan in self._scans) * copies
                                        / SHARD_SIZE))
        if wanted > units:
            raise UserError('--num_outputs %d: this text with --dupe_factor %d makes %d files at '
                            'most' % (wanted, copies, units))
        return wanted

    # The end

    def conclude(self, seconds):
        """Write manifest and results, remove what only the work needed; returns the report."""
        totals = {key: sum(shard[key] for shard in self._shards)
                  for key in ('examples', 'tokens', 'masked', 'random_next')}
        if self.args.verbose:
            self._show_first()
        files.write_json(self._path(shards.MANIFEST), {
            'format': shards.FORMAT, 'digest': self._digest, 'options': self._options,
            'vocabulary': {'file': layout.VOCABULARY, 'sha256': digest(self._tokens),
                           'size': len(self._tokens), 'cased': not self._lower},
            'sentence_splitter': self._splitter,
            'inputs': [{'path': scan.path, 'bytes': scan.size, 'sha256': scan.sha256,
                        'documents': sum(block.documents for block in scan.blocks),
                        'lines': scan.lines} for scan in self._scans],
            'text': self._counts, 'examples': totals, 'shards': self._shards})
        shutil.rmtree(self._path(generation.WORK))
        logging.info('Wrote %d total instances in %d files: %s', totals['examples'],
                     len(self._shards), self.folder)
        total = sum(seconds.values())
        logging.info('Time cost=%.1f s, %.0f sentences/s, %.0f %% of it tokenizing', total,
                     self._counts['sentences'] * self.args.dupe_factor / total,
                     100 * seconds['tokenize'] / total)
        return results.write_results(
            self.folder, self.args, text=self._counts, examples=totals, seconds=seconds,
            sentences_per_second=self._counts['sentences'] * self.args.dupe_factor / total,
            peak_memory=peak_memory())

    def _show_first(self):
        """The first example, as the original's --verbose does."""
        examples = shards.read_shard(self._path(generation.shard_name(0))).select([0])
        ids, names = examples.input_ids, self._tokens
        logging.info('*** Example Instance ***')
        logging.info('tokens: %s', ' '.join(names[i] for i in ids))
        for name, values in (('input_ids', ids), ('segment_ids', examples.segment_ids),
                             ('masked_lm_positions', examples.masked_lm_positions),
                             ('masked_lm_ids', examples.masked_lm_ids)):
            logging.info('%s: %s', name, ' '.join(map(str, values)))
        logging.info('masked_lm_labels: %s', ' '.join(names[i] for i in examples.masked_lm_ids))
        logging.info('next_sentence_label: %d', examples.next_sentence_labels[0])


def peak_memory():
    """{'this': bytes, 'largest_worker': bytes}: what each process had in memory at most."""
    return {name: 1024 * resource.getrusage(who).ru_maxrss for name, who in
            (('this', resource.RUSAGE_SELF), ('largest_worker', resource.RUSAGE_CHILDREN))}
