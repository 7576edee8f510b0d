"""A corpus of text files, tokenized once into a folder: the source of pre-training examples."""
import functools
import hashlib
import json
import logging
import math
import os

from bert import file_names, files
from bert.data.pretraining import corpus, sentences, shards, token_store, worker_tasks
from bert.errors import UserError
from bert.train.log import progress_bar
from bert.vocabulary import digest_tokens, write_tokens

# Bytes of text in a block, which one task tokenizes. Unless its blocks would be smaller than
# SMALLEST_BLOCK, a corpus has at least MIN_BLOCKS, enough work for several processes.
BLOCK_SIZE, SMALLEST_BLOCK, MIN_BLOCKS = 1 << 20, 1 << 16, 32
# Bytes of text per shard, counting every copy: about 16,000 examples of 128 tokens, 8 MB.
SHARD_SIZE = 8 << 20


def scan_files(paths):
    """[`corpus.Scan`], one per file. The size of all files decides the block size."""
    total = sum(os.path.getsize(path) for path in paths)
    block_size = min(BLOCK_SIZE, max(SMALLEST_BLOCK, total // MIN_BLOCKS))
    scans = []
    with progress_bar(total, unit='B', description='reading') as bar:
        for path in paths:
            scans.append(corpus.scan(path, block_size))
            bar.update(scans[-1].size)
    corpus.check_documents(scans)
    return scans


class TokenizedCorpus:
    """The texts of some files, and the plan by which tasks tokenize them and draw examples.

    folder: gets vocab.txt and .work. tokens: of the vocabulary. lower: whether to lower-case text.
    sampling: `SamplingOptions`. options: all others that decide the examples: 'tokenized',
    'sentence_splitter' and 'dupe_factor' at least. Raises `UserError` for unusable texts.
    """

    def __init__(self, folder, paths, tokens, lower, sampling, options):
        self.folder, self.scans, self.tokens = folder, scan_files(paths), tokens
        self._sampling, self._lower = sampling, lower
        # absolute paths: a worker's current folder may differ
        self.blocks = [block._replace(path=os.path.abspath(block.path))
                       for scan in self.scans for block in scan.blocks]
        self.options = dict(sampling._asdict(), lower=lower, **options)
        self.splitter = None        # description of the splitter, set by _prepare
        self.digest = self._compute_digest()
        # key of the plan; not the digest, because a resume may find the same files elsewhere
        self._key = hashlib.sha256(repr((self.digest, self.blocks)).encode()).hexdigest()

    def _compute_digest(self):
        """sha256 of everything that decides the examples."""
        content = {'format': shards.MANIFEST_FORMAT, 'options': self.options,
                   'vocabulary': digest_tokens(self.tokens),
                   'inputs': [[scan.size, scan.sha256] for scan in self.scans]}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def is_in_folder(self):
        """Whether the plan in the folder is that of this text."""
        path = self._work_path(worker_tasks.PLAN_FILE)
        return os.path.exists(path) and files.read_json(path).get('key') == self._key

    def _work_path(self, name):
        return worker_tasks.work_path(self.folder, name)

    # First: text to tokens

    def tokenize(self, executor):
        """Text → the token store, unless an earlier session did it. Raises `UserError` when fewer
        than two documents have tokens."""
        self._prepare()
        store = self._work_path(worker_tasks.STORE_PREFIX)
        counts_path = self._work_path('counts.json')
        indices = range(len(self.blocks))
        if not token_store.is_complete(store):
            pending_indices = [i for i in indices
                               if worker_tasks.read_counts(self.folder, i) is None]
            self._run(executor, worker_tasks.tokenize_block, pending_indices, 'block', 'tokenizing')
            files.write_json(counts_path, {'blocks': [worker_tasks.read_counts(self.folder, i)
                                                      for i in indices]})
            token_store.join_stores([worker_tasks.block_path(self.folder, i) for i in indices],
                                    store)
        block_counts = files.read_json(counts_path)['blocks']
        self.counts = {key: sum(counts[key] for counts in block_counts)
                       for key in block_counts[0]}
        self._block_documents = [counts['documents'] for counts in block_counts]
        self._report_counts()

    def _prepare(self):
        """Write the files that the workers read: vocabulary, splitter and plan."""
        with files.new_file(os.path.join(self.folder, file_names.VOCABULARY_FILE)) as path:
            write_tokens(self.tokens, path)
        if self.options['sentence_splitter'] == 'nltk':
            splitter, self.splitter = sentences.make_splitter(self._read_texts)
            logging.info('sentences are split by Punkt, %s', self.splitter)
            sentences.save_splitter(splitter, self._work_path(worker_tasks.PUNKT_FILE))
        files.write_json(self._work_path(worker_tasks.PLAN_FILE), {
            'digest': self.digest, 'key': self._key, 'blocks': self.blocks, 'lower': self._lower,
            'tokenized': self.options['tokenized'], 'splitter': self.splitter,
            'copies': self.options['dupe_factor'], 'sampling': self._sampling._asdict()})

    def _read_texts(self):
        for block in self.blocks:
            for lines in corpus.read_documents(block):
                yield ' '.join(lines)

    def _run(self, executor, task, indices, unit, description):
        """Run a task for each index; returns the results, in any order."""
        results, folder = [], os.path.abspath(self.folder)
        with progress_bar(len(indices), unit=unit, description=description) as bar:
            for result in executor.run(task, [(folder, self._key, i) for i in indices]):
                results.append(result)
                bar.update(1)
        return results

    def _report_counts(self):
        counts = self.counts
        logging.info('%d documents, %d sentences, %d tokens', counts['documents'],
                     counts['sentences'] - counts['empty_sentences'], counts['tokens'])
        if counts['empty_sentences']:
            logging.warning('%d sentences and %d documents hold no token and are left out',
                            counts['empty_sentences'], counts['empty_documents'])
        if counts['unknown']:
            logging.warning('%d tokens (%.2f %%) are not in the vocabulary and become [UNK]',
                            counts['unknown'], 100 * counts['unknown'] / counts['tokens'])
        if counts['documents'] < 2:
            raise UserError('%d documents with tokens found, expected two or more: the random next '
                            'sentence of a pair comes from another document' % counts['documents'])

    # Then: tokens to examples

    def make_shards(self, executor, num_shards=None, epoch=None):
        """Make the missing shards in the folder, or those of one epoch in its sub-folder; returns
        the entry of each shard for the manifest, in order.

        num_shards: default: by the size of the text. Raises `UserError` if the text is too small
        for that number.
        """
        num_shards = self._choose_num_shards(num_shards, self.options['dupe_factor'])
        worker_tasks.write_assignment(self.folder, self._block_documents, num_shards)
        folder = self.folder if epoch is None else self.folder_of_epoch(epoch)
        paths = [os.path.join(folder, worker_tasks.shard_name(i)) for i in range(num_shards)]
        pending_indices = [i for i, path in enumerate(paths) if not os.path.exists(path)]
        existing_paths = [path for path in paths if os.path.exists(path)]
        if existing_paths:
            logging.info('%d of %d shards already exist', len(existing_paths), len(paths))
        entries = [shards.describe_shard(path) for path in existing_paths]
        task = worker_tasks.make_shard if epoch is None else \
            functools.partial(worker_tasks.make_shard, epoch=epoch)
        entries += self._run(executor, task, pending_indices, 'shard', 'making examples')
        names = [os.path.basename(path) for path in paths]
        return sorted(entries, key=lambda entry: names.index(entry['file']))

    def folder_of_epoch(self, epoch):
        return os.path.join(self.folder, worker_tasks.epoch_name(epoch))

    def _choose_num_shards(self, num_shards, num_copies):
        max_shards = num_copies * sum(count > 0 for count in self._block_documents)
        if num_shards is None:
            return min(max_shards, math.ceil(sum(scan.size for scan in self.scans) * num_copies
                                             / SHARD_SIZE))
        if num_shards > max_shards:
            raise UserError('--num_outputs %d: this text with --dupe_factor %d makes at most %d '
                            'files' % (num_shards, num_copies, max_shards))
        return num_shards
