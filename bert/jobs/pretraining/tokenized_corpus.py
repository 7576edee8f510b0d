"""Text files, tokenized once by any engine into a folder: what examples are drawn from."""
import functools
import hashlib
import json
import logging
import math
import os

from bert import file_names, files
from bert.data.pretraining import corpus, sentences, shards, token_store, worker_tasks
from bert.errors import UserError
from bert.train.log import progress
from bert.vocabulary import digest, write_tokens

# Bytes of text. A block is what one task tokenizes; a corpus of some size has MIN_BLOCKS or more,
# so that there is work for several processes.
BLOCK_SIZE, SMALLEST_BLOCK, MIN_BLOCKS = 1 << 20, 1 << 16, 32
# What a shard is made of, copies counted: about 16,000 examples of 128 tokens, 8 MB.
SHARD_SIZE = 8 << 20


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


class TokenizedText:
    """The texts of some files, and the plan by which tasks tokenize them and draw examples.

    folder: gets vocab.txt and .work. tokens: of the vocabulary; lower: whether text is lower-cased.
    sampling: `Sampling`; options: whatever else decides what is made, with 'tokenized',
    'sentence_splitter' and 'dupe_factor'. Raises `UserError` for texts that can't be used.
    """

    def __init__(self, folder, paths, tokens, lower, sampling, options):
        self.folder, self.scans, self.tokens = folder, scan_files(paths), tokens
        self._sampling, self._lower = sampling, lower
        # workers may be elsewhere
        self.blocks = [block._replace(path=os.path.abspath(block.path))
                       for scan in self.scans for block in scan.blocks]
        self.options = dict(sampling._asdict(), lower=lower, **options)
        self.splitter = None        # which one split prose, once it is prepared
        self.digest = self._compute_digest()
        # of the plan: the same files may have other names when a run is resumed
        self._key = hashlib.sha256(repr((self.digest, self.blocks)).encode()).hexdigest()

    def _compute_digest(self):
        """sha256 of all that decides the examples."""
        decides = {'format': shards.FORMAT, 'options': self.options,
                   'vocabulary': digest(self.tokens),
                   'inputs': [[scan.size, scan.sha256] for scan in self.scans]}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    def is_in_folder(self):
        """Whether the plan of this text and no other is in the folder."""
        path = self._work_path(worker_tasks.PLAN)
        return os.path.exists(path) and files.read_json(path).get('key') == self._key

    def _work_path(self, name):
        return worker_tasks.work_path(self.folder, name)

    # First: text to tokens

    def tokenize(self, engine):
        """Text → the token store, unless an earlier run did it. Raises `UserError` when fewer than
        two documents have tokens."""
        self._prepare()
        store, counted = self._work_path(worker_tasks.STORE), self._work_path('counts.json')
        numbers = range(len(self.blocks))
        if not token_store.is_complete(store):
            missing = [i for i in numbers if worker_tasks.read_counts(self.folder, i) is None]
            self._run(engine, worker_tasks.tokenize_block, missing, 'block', 'tokenizing')
            files.write_json(counted, {'blocks': [worker_tasks.read_counts(self.folder, i)
                                                  for i in numbers]})
            token_store.join_stores([worker_tasks.block_path(self.folder, i) for i in numbers],
                                    store)
        blocks = files.read_json(counted)['blocks']
        self.counts = {key: sum(block[key] for block in blocks) for key in blocks[0]}
        self._block_documents = [block['documents'] for block in blocks]
        self._report_counts()

    def _prepare(self):
        """Write what the workers read: vocabulary, splitter and plan."""
        with files.new_file(os.path.join(self.folder, file_names.VOCABULARY)) as path:
            write_tokens(self.tokens, path)
        if self.options['sentence_splitter'] == 'nltk':
            splitter, self.splitter = sentences.make_splitter(self._read_texts)
            logging.info('sentences are split by Punkt, %s', self.splitter)
            sentences.save_splitter(splitter, self._work_path(worker_tasks.PUNKT))
        files.write_json(self._work_path(worker_tasks.PLAN), {
            'digest': self.digest, 'key': self._key, 'blocks': self.blocks, 'lower': self._lower,
            'tokenized': self.options['tokenized'], 'splitter': self.splitter,
            'copies': self.options['dupe_factor'], 'sampling': self._sampling._asdict()})

    def _read_texts(self):
        for block in self.blocks:
            for lines in corpus.read_documents(block):
                yield ' '.join(lines)

    def _run(self, engine, task, numbers, unit, description):
        """What the tasks return, in any order."""
        found, folder = [], os.path.abspath(self.folder)
        with progress(len(numbers), unit=unit, description=description) as bar:
            for one in engine.run(task, [(folder, self._key, i) for i in numbers]):
                found.append(one)
                bar.update(1)
        return found

    def _report_counts(self):
        counts = self.counts
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

    # Then: tokens to examples

    def make_shards(self, engine, number=None, epoch=None):
        """Make the shards that are not there yet, in the folder, or those of one epoch in its
        folder inside; returns what describes them, in order.

        number: how many; default: as the size of the text suggests. Raises `UserError` for more
        than there can be.
        """
        number = self._choose_num_shards(number, self.options['dupe_factor'])
        worker_tasks.write_deal(self.folder, self._block_documents, number)
        folder = self.folder if epoch is None else self.folder_of_epoch(epoch)
        paths = [os.path.join(folder, worker_tasks.shard_name(i)) for i in range(number)]
        missing = [i for i, path in enumerate(paths) if not os.path.exists(path)]
        kept = [path for path in paths if os.path.exists(path)]
        if kept:
            logging.info('%d of %d shards are there already', len(kept), len(paths))
        described = [shards.describe_shard(path) for path in kept]
        task = worker_tasks.make_shard if epoch is None else \
            functools.partial(worker_tasks.make_shard, epoch=epoch)
        described += self._run(engine, task, missing, 'shard', 'making examples')
        names = [os.path.basename(path) for path in paths]
        return sorted(described, key=lambda shard: names.index(shard['file']))

    def folder_of_epoch(self, epoch):
        return os.path.join(self.folder, worker_tasks.epoch_name(epoch))

    def _choose_num_shards(self, wanted, num_copies):
        units = num_copies * sum(number > 0 for number in self._block_documents)
        if wanted is None:
            return min(units, math.ceil(sum(scan.size for scan in self.scans) * num_copies
                                        / SHARD_SIZE))
        if wanted > units:
            raise UserError('--num_outputs %d: this text with --dupe_factor %d makes %d files at '
                            'most' % (wanted, num_copies, units))
        return wanted
