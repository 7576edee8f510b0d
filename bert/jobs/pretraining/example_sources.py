"""Sources of pre-training examples: files of examples, raw text, or random tokens.

Every source has

    longest: number of tokens of its longest example,
    describe() → text for the log,
    digest() → text, by which a resume refuses other examples,
    epoch(index, buckets, seed) → the `EpochBatches` with that index, from 0.
"""
import glob
import hashlib
import logging
import os
import shutil

import numpy as np

from bert import files, vocabulary
from bert.data.pretraining import worker_tasks
from bert.data.pretraining.batches import ExampleStream
from bert.data.pretraining.examples import NUM_SPECIALS, PretrainingExamples
from bert.data.pretraining.shards import MANIFEST, read_lengths, read_shard
from bert.errors import UserError
from bert.jobs.pretraining.data_creation import (
    choose_executor,
    find_sample_text,
    make_sampling,
    warn_of_case,
)
from bert.jobs.pretraining.tokenized_corpus import TokenizedCorpus

# Number of different batches that --synthetic_data draws; they repeat
SYNTHETIC_BATCHES = 4


def check_vocabulary(paths, tokens):
    """Raises `UserError` when a manifest beside the shards names another vocabulary."""
    digest = vocabulary.digest_tokens(tokens)
    for folder in sorted({os.path.dirname(path) for path in paths}):
        path = os.path.join(folder, MANIFEST)
        if not os.path.isfile(path):
            continue
        manifest = files.read_json(path).get('vocabulary', {})
        if manifest.get('sha256') not in (None, digest):
            raise UserError('%s: the data was made with another vocabulary of %s tokens, the '
                            "model's has %d. Make the data with the model's vocabulary, or choose "
                            'another model' % (path, manifest.get('size'), len(tokens)))


class ShardExamples:
    """Shards that create_pretraining_data.py or the original's script wrote.

    tokens: of the model's vocabulary. Raises `UserError` for other files.
    """

    def __init__(self, paths, tokens, allow_pickle=False):
        # sorted by name: the same files in another folder come in the same order
        self._paths = sorted(paths, key=lambda path: (os.path.basename(path), path))
        self._allow_pickle, self._vocab_size = allow_pickle, len(tokens)
        check_vocabulary(paths, tokens)
        self._lengths = [read_lengths(path) for path in self._paths]
        self.size = sum(map(len, self._lengths))
        if not self.size:
            raise UserError('%s: no example in it' % ', '.join(paths))
        self.longest = int(max(lengths.max() for lengths in self._lengths if len(lengths)))

    def describe(self):
        return '%d examples in %d files, up to %d tokens' % (self.size, len(self._paths),
                                                             self.longest)

    def _read(self, path):
        return read_shard(path, self._allow_pickle, self._vocab_size)

    def epoch(self, index, buckets, seed):
        return ExampleStream(self._paths, self._lengths, self._read, buckets, seed).epoch(index)

    def digest(self):
        """sha256 of the file names and the lengths of all examples."""
        total = hashlib.sha256()
        for path, lengths in zip(self._paths, self._lengths):
            total.update(os.path.basename(path).encode() + b'|' + lengths.tobytes())
        return total.hexdigest()


class RawTextExamples:
    """Text files: every epoch draws new examples and masks, as create_pretraining_data.py does
    for each of its copies (dynamic masking, Liu et al. 2019, 4.1).

    `folder` holds the text, tokenized once, and the examples of the current epoch. Worker 0 writes
    both; the others read them. patterns: of files, from the flag `flag`. Raises `UserError`.
    """

    def __init__(self, flag, patterns, options, tokens, cased, folder, workers, seed):
        self._flag, self._options, self._tokens = flag, options, tokens
        self._folder, self._workers = folder, workers
        self._text = None if workers.rank else self._open(patterns, cased, seed)
        self._is_tokenized = False
        self._digest = workers.broadcast(self._text and self._text.digest)
        self.longest = options.max_seq_length

    def _open(self, patterns, cased, seed):
        options = self._options
        if options.cased and not cased:
            warn_of_case('the model')
        sampling = make_sampling(options, seed)
        paths = files.find_files(find_sample_text(patterns), 'text files')
        content = {'tokenized': options.tokenized, 'dupe_factor': 1,
                   'sentence_splitter': options.sentence_splitter}
        text = TokenizedCorpus(self._folder, paths, self._tokens, not (options.cased or cased),
                               sampling, content)
        work = os.path.join(self._folder, worker_tasks.WORK_FOLDER)
        with files.explain_write_errors(self._folder):
            if os.path.isdir(work) and not text.is_in_folder():     # another text is
                self.remove()
            if os.path.exists(self._folder) and not os.path.isdir(work):
                raise UserError('%s: it exists, but --raw needs this name for a folder: choose '
                                'another --ckpt_dir' % self._folder)
            os.makedirs(work, exist_ok=True)
        return text

    def remove(self):
        """Remove the folder with the tokenized text and the examples."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def describe(self):
        return 'raw text, examples of up to %d tokens' % self.longest

    def epoch(self, index, buckets, seed):
        paths = self._workers.broadcast(None if self._workers.rank else self._make_shards(index))
        shards = ShardExamples(paths, self._tokens)
        logging.info('%s, epoch %d: %s', self._flag, index + 1, shards.describe())
        return shards.epoch(index, buckets, seed)

    def _make_shards(self, epoch):
        """Make the shards of an epoch, and remove those of other epochs; returns their paths."""
        folder = self._text.folder_of_epoch(epoch)
        for path in glob.glob(os.path.join(glob.escape(self._folder), 'epoch-*')):
            if path != folder:
                shutil.rmtree(path)
        os.makedirs(folder, exist_ok=True)
        with choose_executor(self._options.num_dataset_workers) as executor:
            if not self._is_tokenized:
                self._text.tokenize(executor)
                self._is_tokenized = True
            shard_entries = self._text.make_shards(executor, epoch=epoch)
        return [os.path.join(folder, shard['file']) for shard in shard_entries]

    def digest(self):
        """sha256 of the text and of everything that decides its examples."""
        return self._digest


class SyntheticExamples:
    """Examples of random tokens, each with `length` tokens, for measuring speed.

    batch_size: examples per batch; options: with max_predictions_per_seq and masked_lm_prob.
    """

    def __init__(self, length, batch_size, options, tokens):
        self.longest, self._num_tokens = length, len(tokens)
        self._size = batch_size * SYNTHETIC_BATCHES
        self._num_masked = max(1, min(options.max_predictions_per_seq, length - NUM_SPECIALS,
                                      round(length * options.masked_lm_prob)))

    def describe(self):
        return '%d synthetic examples of %d tokens, %d of them masked' % (
            self._size, self.longest, self._num_masked)

    def _read(self, path):
        rng, size, length = np.random.RandomState(0), self._size, self.longest
        offsets = np.arange(size + 1)
        positions = np.stack([np.sort(rng.permutation(length)[:self._num_masked])
                              for _ in range(size)])
        return PretrainingExamples(
            rng.randint(self._num_tokens, size=size * length).astype('int32'),
            np.tile(np.arange(length) >= length // 2, size).astype('uint8'), offsets * length,
            positions.ravel().astype('uint16'),
            rng.randint(self._num_tokens, size=positions.size).astype('int32'),
            offsets * self._num_masked, rng.randint(2, size=size).astype('uint8'))

    def epoch(self, index, buckets, seed):
        lengths = [np.full(self._size, self.longest)]
        return ExampleStream(['synthetic'], lengths, self._read, buckets, seed).epoch(index)

    def digest(self):
        return 'synthetic'
