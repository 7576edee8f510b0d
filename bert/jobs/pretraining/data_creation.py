"""Text files → shards of pre-training examples: the whole recipe of create_pretraining_data.py."""
import logging
import os
import re
import resource
import shutil
import time

import bert
from bert import file_names, files
from bert.data.pretraining import shards, worker_tasks
from bert.data.pretraining.examples import Sampling
from bert.errors import UserError
from bert.jobs.pretraining.tokenized_corpus import TokenizedText
from bert.jobs.runs import executors, results
from bert.model.weights import vocabularies
from bert.train.log import open_log
from bert.vocabulary import digest

SAMPLE = 'sample_text.txt'      # comes with the package
SHARD = re.compile(r'part-\d{3,}\.npz$')
# The options that decide what is written; the others only say how, and where.
DECIDING = ('tokenized', 'sentence_splitter', 'dupe_factor', 'num_outputs')


def run(args):
    """Make the data as the parsed flags of create_pretraining_data.py say; returns the report in
    results.json. Raises `UserError`."""
    started = time.time()
    open_log()
    sampling = make_sampling(args, args.random_seed)
    check_engine(args)
    paths = files.find(find_sample(args.input_file), 'text files')
    tokens, lower = choose_vocabulary(args)
    logging.info('*** Reading from %d input files ***', len(paths))
    for path in paths:
        logging.info('  %s', path)
    text = TokenizedText(args.output_dir, paths, tokens, lower, sampling,
                         {name: getattr(args, name) for name in DECIDING})
    work = Generation(args, text)
    work.open_folder()
    seconds = {'scan': time.time() - started}
    with open_engine(args) as engine:
        text.tokenize(engine)
        seconds['tokenize'] = time.time() - started - sum(seconds.values())
        described = text.make_shards(engine, args.num_outputs)
        seconds['examples'] = time.time() - started - sum(seconds.values())
    return work.conclude(described, seconds)


def make_sampling(args, seed):
    """`Sampling` of the flags, checked."""
    sampling = Sampling(random_seed=seed, **{name: getattr(args, name) for name in Sampling._fields
                                             if name != 'random_seed'})
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
        return executors.Dask(args.scheduler)
    return choose_engine(args.num_workers)


def choose_engine(num_workers):
    return executors.Here() if num_workers == 1 else executors.Processes(num_workers)


def find_sample(pattern):
    """The pattern; for the sample text, where it isn't here, the path of the package's."""
    if pattern == SAMPLE and not os.path.exists(pattern):
        return os.path.join(os.path.dirname(os.path.abspath(bert.__file__)), SAMPLE)
    return pattern


def choose_vocabulary(args):
    """(tokens of the vocabulary, whether text is lower-cased)"""
    tokens, cased = vocabularies.fetch(args.vocab)
    if args.cased and not cased:
        warn_of_case(args.vocab)
    return tokens, not (args.cased or cased)


def warn_of_case(name):
    logging.warning('--cased: the vocabulary of %s has no upper case; words that have it become '
                    '[UNK]', name)


class Generation:
    """One run of create_pretraining_data.py."""

    def __init__(self, args, text):
        self.args, self.folder, self._text = args, args.output_dir, text
        most = len(text.blocks) * args.dupe_factor
        if args.num_outputs and args.num_outputs > most:
            raise UserError('--num_outputs %d: this text with --dupe_factor %d makes %d files at '
                            'most' % (args.num_outputs, args.dupe_factor, most))

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
            shutil.rmtree(self._path(worker_tasks.WORK), ignore_errors=True)
            if os.path.exists(self._path(worker_tasks.WORK)):
                raise UserError('%s: can\'t be removed: remove it, or choose another --output_dir'
                                % self._path(worker_tasks.WORK))
        with files.writing(self.folder):
            os.makedirs(self._path(worker_tasks.WORK), exist_ok=True)

    def _find_state(self):
        """{'digest': …} of the run in the folder, 'digest' None for shards of another origin; {}
        for none. Raises `UserError` for files of the user's that a run would write."""
        for path in (worker_tasks.work_path(self.folder, worker_tasks.PLAN),
                     self._path(shards.MANIFEST)):
            if os.path.exists(path) and files.read_json(path).get('digest'):
                return {'digest': files.read_json(path)['digest'],
                        'finished': path.endswith(shards.MANIFEST)}
        if self._shards_there():
            return {'digest': None}
        for name in (shards.MANIFEST, file_names.RESULTS, file_names.VOCABULARY):
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
        if state['digest'] != self._text.digest:
            raise UserError('--resume: the run in %s was started with another text, vocabulary or '
                            'other options: give the same ones, or --overwrite_output_dir'
                            % self.folder)
        if state['finished']:
            raise UserError('--resume: the run in %s is complete' % self.folder)

    def _clear(self):
        for name in self._shards_there() + [shards.MANIFEST, file_names.RESULTS,
                                            file_names.VOCABULARY]:
            files.remove(self._path(name))

    # The end

    def conclude(self, described, seconds):
        """Write manifest and results, remove what only the work needed; returns the report.

        described: the shards, as `shards.describe_shard` does.
        """
        text = self._text
        totals = {key: sum(shard[key] for shard in described)
                  for key in ('examples', 'tokens', 'masked', 'random_next')}
        if self.args.verbose:
            self._show_first()
        files.write_json(self._path(shards.MANIFEST), {
            'format': shards.FORMAT, 'digest': text.digest, 'options': text.options,
            'vocabulary': {'file': file_names.VOCABULARY, 'sha256': digest(text.tokens),
                           'size': len(text.tokens), 'cased': not text.options['lower']},
            'sentence_splitter': text.splitter,
            'inputs': [{'path': scan.path, 'bytes': scan.size, 'sha256': scan.sha256,
                        'documents': sum(block.documents for block in scan.blocks),
                        'lines': scan.lines} for scan in text.scans],
            'text': text.counts, 'examples': totals, 'shards': described})
        shutil.rmtree(self._path(worker_tasks.WORK))
        logging.info('Wrote %d total instances in %d files: %s', totals['examples'],
                     len(described), self.folder)
        total = sum(seconds.values())
        logging.info('Time cost=%.1f s, %.0f sentences/s, %.0f %% of it tokenizing', total,
                     text.counts['sentences'] * self.args.dupe_factor / total,
                     100 * seconds['tokenize'] / total)
        return results.write_results(
            self.folder, self.args, text=text.counts, examples=totals, seconds=seconds,
            sentences_per_second=text.counts['sentences'] * self.args.dupe_factor / total,
            peak_memory=peak_memory())

    def _show_first(self):
        """The first example, as the original's --verbose does."""
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
    """{'this': bytes, 'largest_worker': bytes}: what each process had in memory at most."""
    return {name: 1024 * resource.getrusage(who).ru_maxrss for name, who in
            (('this', resource.RUSAGE_SELF), ('largest_worker', resource.RUSAGE_CHILDREN))}
