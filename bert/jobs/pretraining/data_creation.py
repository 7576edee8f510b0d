"""Text files → shards of pre-training examples: the whole job of create_pretraining_data.py."""
import logging
import os
import re
import resource
import shutil
import time

import bert
from bert import file_names, files, locks
from bert.data.pretraining import shards, worker_tasks
from bert.data.pretraining.examples import SamplingOptions
from bert.errors import UserError
from bert.jobs.pretraining.tokenized_corpus import TokenizedCorpus
from bert.jobs.runs import executors, results
from bert.model.weights import vocabularies
from bert.train.log import open_log
from bert.vocabulary import digest_tokens

SAMPLE_TEXT = 'sample_text.txt'      # comes with the package
SHARD_FILE = re.compile(r'part-\d{3,}\.npz$')
# Options that decide the content of the shards, besides those of `SamplingOptions`, the seed, the
# vocabulary and its case; the others only say how and where to write.
CONTENT_OPTIONS = ('tokenized', 'sentence_splitter', 'dupe_factor', 'num_outputs')


def create_pretraining_data(options, explicit):
    """Make the data. Returns a `JobResult`. Raises `UserError`."""
    start_time = time.time()
    open_log()
    sampling = make_sampling(options, options.random_seed)
    paths = files.find_files(find_sample_text(options.input_file), 'text files')
    tokens, lower = choose_vocabulary(options)
    logging.info('*** Reading from %d input files ***', len(paths))
    for path in paths:
        logging.info('  %s', path)
    text = TokenizedCorpus(options.output_dir, paths, tokens, lower, sampling,
                           {name: getattr(options, name) for name in CONTENT_OPTIONS})
    creation = DataCreationRun(options, text)
    with locks.own_folder(options.output_dir):
        creation.prepare_folder()
        seconds = {'scan': time.time() - start_time}
        with open_executor(options) as executor:
            text.tokenize(executor)
            seconds['tokenize'] = time.time() - start_time - sum(seconds.values())
            shard_entries = text.make_shards(executor, options.num_outputs)
            seconds['examples'] = time.time() - start_time - sum(seconds.values())
        return results.JobResult(creation.conclude(shard_entries, seconds), options.output_dir)


def make_sampling(options, seed):
    """The `SamplingOptions` of the options. Raises `UserError` for contradictory values."""
    values = {name: getattr(options, name) for name in SamplingOptions._fields
              if name != 'random_seed'}
    sampling = SamplingOptions(random_seed=seed, **values)
    sampling.check()
    if sampling.is_capped:
        logging.warning('--max_predictions_per_seq %d is less than --masked_lm_prob %g of %d '
                        'tokens: long examples get fewer masks',
                        sampling.max_predictions_per_seq, sampling.masked_lm_prob,
                        sampling.max_seq_length)
    return sampling


def open_executor(options):
    """The executor of the options."""
    if options.engine == 'dask':
        return executors.DaskExecutor(options.scheduler)
    return choose_executor(options.num_workers)


def choose_executor(num_workers):
    """The executor for a number of processes: for 1 it is this process."""
    return executors.LocalExecutor() if num_workers == 1 else executors.ProcessExecutor(num_workers)


def find_sample_text(pattern):
    """The pattern itself, or the path of the package's sample text if the pattern names that and
    there is no such file."""
    if pattern == SAMPLE_TEXT and not os.path.exists(pattern):
        return os.path.join(os.path.dirname(os.path.abspath(bert.__file__)), SAMPLE_TEXT)
    return pattern


def choose_vocabulary(options):
    """(tokens of the vocabulary, whether text is lower-cased)"""
    tokens, cased = vocabularies.fetch_vocabulary(options.vocab)
    if options.cased and not cased:
        warn_of_case(options.vocab)
    return tokens, not (options.cased or cased)


def warn_of_case(name):
    logging.warning('--cased: the vocabulary of %s has no upper-case letters; words with '
                    'upper-case letters become [UNK]', name)


class DataCreationRun:
    """One run of create_pretraining_data.py."""

    def __init__(self, options, text):
        self.options, self.folder, self._text = options, options.output_dir, text
        max_outputs = len(text.blocks) * options.dupe_factor
        if options.num_outputs and options.num_outputs > max_outputs:
            raise UserError('--num_outputs %d: this text with --dupe_factor %d makes at most %d '
                            'files' % (options.num_outputs, options.dupe_factor, max_outputs))

    def _path(self, name):
        return os.path.join(self.folder, name)

    # The folder

    def prepare_folder(self):
        """Make the folder, or clear it. Raises `UserError` when it holds data that neither --resume
        nor --overwrite_output_dir covers."""
        options = self.options
        state = self._find_state()
        if options.resume:
            self._check_resume(state)
        elif state and not options.overwrite_output_dir:
            raise UserError('%s holds pre-training data: choose another --output_dir, continue an '
                            'unfinished run with --resume, or replace the data with '
                            '--overwrite_output_dir' % self.folder)
        elif state:
            self._clear()
        if not options.resume:     # left by a run whose removal was killed
            shutil.rmtree(self._path(worker_tasks.WORK_FOLDER), ignore_errors=True)
            if os.path.exists(self._path(worker_tasks.WORK_FOLDER)):
                raise UserError('%s: can\'t be removed: remove it, or choose another --output_dir'
                                % self._path(worker_tasks.WORK_FOLDER))
        with files.explain_write_errors(self.folder):
            os.makedirs(self._path(worker_tasks.WORK_FOLDER), exist_ok=True)

    def _find_state(self):
        """{'digest': …, 'finished': …} of the run in the folder; {'digest': None} for shards of
        another origin; {} for no data. Raises `UserError` if a file of the user's has the name of
        a file that the run would write."""
        for path in (worker_tasks.work_path(self.folder, worker_tasks.PLAN_FILE),
                     self._path(shards.MANIFEST)):
            if os.path.exists(path) and files.read_json(path).get('digest'):
                return {'digest': files.read_json(path)['digest'],
                        'finished': path.endswith(shards.MANIFEST)}
        if self._shard_names():
            return {'digest': None}
        is_unfinished = os.path.isdir(self._path(worker_tasks.WORK_FOLDER))    # before its plan
        for name in (shards.MANIFEST, file_names.RESULTS_FILE, file_names.VOCABULARY_FILE):
            if os.path.exists(self._path(name)) and not is_unfinished:
                raise UserError('%s: create_pretraining_data.py did not write this file, but needs '
                                'its name: choose another --output_dir' % self._path(name))
        return {}

    def _shard_names(self):
        """Names of the shards in the folder."""
        names = os.listdir(self.folder) if os.path.isdir(self.folder) else []
        return [name for name in names if SHARD_FILE.match(name)]

    def _check_resume(self, state):
        if not state or state['digest'] is None:
            raise UserError('--resume: %s holds no unfinished run' % self.folder)
        if state['digest'] != self._text.digest:
            raise UserError('--resume: the run in %s was started with another text, vocabulary or '
                            'other options: give the same ones, or --overwrite_output_dir'
                            % self.folder)
        if state['finished']:
            raise UserError('--resume: the run in %s is complete' % self.folder)

    def _clear(self):
        for name in self._shard_names() + [shards.MANIFEST, file_names.RESULTS_FILE,
                                            file_names.VOCABULARY_FILE]:
            files.remove(self._path(name))

    # The end

    def conclude(self, shard_entries, seconds):
        """Write manifest and results, and remove the working files; returns the report.

        shard_entries: from `shards.describe_shard`, one per shard. seconds: {stage: seconds}.
        """
        text = self._text
        totals = {key: sum(shard[key] for shard in shard_entries)
                  for key in ('examples', 'tokens', 'masked', 'random_next')}
        if self.options.verbose:
            self._show_first()
        files.write_json(self._path(shards.MANIFEST), {
            'format': shards.MANIFEST_FORMAT, 'digest': text.digest, 'options': text.options,
            'vocabulary': {'file': file_names.VOCABULARY_FILE, 'sha256': digest_tokens(text.tokens),
                           'size': len(text.tokens), 'cased': not text.options['lower']},
            'sentence_splitter': text.splitter,
            'inputs': [{'path': scan.path, 'bytes': scan.size, 'sha256': scan.sha256,
                        'documents': sum(block.documents for block in scan.blocks),
                        'lines': scan.lines} for scan in text.scans],
            'text': text.counts, 'examples': totals, 'shards': shard_entries})
        shutil.rmtree(self._path(worker_tasks.WORK_FOLDER))
        logging.info('Wrote %d total instances in %d files: %s', totals['examples'],
                     len(shard_entries), self.folder)
        total = sum(seconds.values())
        logging.info('Time cost=%.1f s, %.0f sentences/s, %.0f %% of it tokenizing', total,
                     text.counts['sentences'] * self.options.dupe_factor / total,
                     100 * seconds['tokenize'] / total)
        return results.write_results(
            self.folder, self.options, text=text.counts, examples=totals, seconds=seconds,
            sentences_per_second=text.counts['sentences'] * self.options.dupe_factor / total,
            peak_memory=peak_memory())

    def _show_first(self):
        """Log the first example, as the original's --verbose does."""
        examples = shards.read_shard(self._path(worker_tasks.shard_name(0))).select([0])
        ids, names = examples.input_ids, self._text.tokens
        logging.info('*** Example Instance ***')
        logging.info('tokens: %s', ' '.join(names[i] for i in ids))
        for name, values in (('input_ids', ids), ('segment_ids', examples.segment_ids),
                             ('masked_lm_positions', examples.masked_lm_positions),
                             ('masked_lm_ids', examples.masked_lm_ids)):
            logging.info('%s: %s', name, ' '.join(map(str, values)))
        logging.info('masked_lm_labels: %s', ' '.join(names[i] for i in examples.masked_lm_ids))
        logging.info('next_sentence_label: %d', examples.next_sentence_labels[0])


def peak_memory():
    """{'this': bytes, 'largest_worker': bytes}: the peak memory of the processes."""
    return {name: 1024 * resource.getrusage(target).ru_maxrss for name, target in
            (('this', resource.RUSAGE_SELF), ('largest_worker', resource.RUSAGE_CHILDREN))}
