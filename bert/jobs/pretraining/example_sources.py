"""Where the examples of a pre-training run come from: files of examples, raw text, or nowhere.

Each kind has `longest` (tokens of its longest example), `describe()` for the log, `digest()` (a run
is not resumed on other examples), and `epoch(number, buckets, seed)` → the `Epoch` of that number.
"""
import glob
import hashlib
import logging
import os
import shutil

import numpy as np

from bert import files, vocabulary
from bert.data.pretraining import worker_tasks
from bert.data.pretraining.batches import Stream
from bert.data.pretraining.examples import SPECIALS, Examples
from bert.data.pretraining.shards import MANIFEST, read_lengths, read_shard
from bert.errors import UserError
from bert.jobs.pretraining.data_creation import (
    choose_engine,
    find_sample,
    make_sampling,
    warn_of_case,
)
from bert.jobs.pretraining.tokenized_corpus import TokenizedText

# How many batches of examples --synthetic_data draws; they come again and again
SYNTHETIC_BATCHES = 4


def check_vocabulary(paths, tokens):
    """Raises `UserError` when a manifest beside the shards tells of another vocabulary."""
    digest = vocabulary.digest(tokens)
    for folder in sorted({os.path.dirname(path) for path in paths}):
        path = os.path.join(folder, MANIFEST)
        if not os.path.isfile(path):
            continue
        told = files.read_json(path).get('vocabulary', {})
        if told.get('sha256') not in (None, digest):
            raise UserError('%s: made with another vocabulary, of %s tokens; the model\'s has %d: '
                            'make the data with the model\'s, or choose another model'
                            % (path, told.get('size'), len(tokens)))


class Shards:
    """Files that create_pretraining_data.py, or the original's script, wrote.

    tokens: of the model's vocabulary. Raises `UserError` for files that are none of these.
    """

    def __init__(self, paths, tokens, allow_pickle=False):
        # by name: the same files in another folder come in the same order
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

    def epoch(self, number, buckets, seed):
        return Stream(self._paths, self._lengths, self._read, buckets, seed).epoch(number)

    def digest(self):
        """sha256 of the lengths of all examples."""
        total = hashlib.sha256()
        for path, lengths in zip(self._paths, self._lengths):
            total.update(os.path.basename(path).encode() + b'|' + lengths.tobytes())
        return total.hexdigest()


class RawText:
    """Text files: every epoch draws examples and masks anew, as create_pretraining_data.py does
    for each of its copies (dynamic masking, Liu et al. 2019, 4.1).

    The text is tokenized once, into `folder`, where the examples of the epoch under way lie too.
    Worker 0 does both; the others read what it wrote. patterns: of files, from the flag `flag`.
    Raises `UserError`.
    """

    def __init__(self, flag, patterns, args, tokens, cased, folder, workers, seed):
        self._flag, self._args, self._tokens = flag, args, tokens
        self._folder, self._workers = folder, workers
        self._text = None if workers.rank else self._open(patterns, cased, seed)
        self._is_tokenized = False
        self._digest = workers.broadcast(self._text and self._text.digest)
        self.longest = args.max_seq_length

    def _open(self, patterns, cased, seed):
        args = self._args
        if args.cased and not cased:
            warn_of_case('the model')
        sampling = make_sampling(args, seed)
        paths = files.find(find_sample(patterns), 'text files')
        text = TokenizedText(self._folder, paths, self._tokens, not (args.cased or cased), sampling,
                             {'tokenized': args.tokenized, 'dupe_factor': 1,
                              'sentence_splitter': args.sentence_splitter})
        work = os.path.join(self._folder, worker_tasks.WORK)
        with files.writing(self._folder):
            if os.path.isdir(work) and not text.is_in_folder():     # but another one
                self.remove()
            if os.path.exists(self._folder) and not os.path.isdir(work):
                raise UserError('%s: something of yours has the name of a folder that --raw '
                                'makes: choose another --ckpt_dir' % self._folder)
            os.makedirs(work, exist_ok=True)
        return text

    def remove(self):
        """Take away what was made of the text."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def describe(self):
        return 'raw text, examples of up to %d tokens' % self.longest

    def epoch(self, number, buckets, seed):
        paths = self._workers.broadcast(None if self._workers.rank else self._make(number))
        shards = Shards(paths, self._tokens)
        logging.info('%s, epoch %d: %s', self._flag, number + 1, shards.describe())
        return shards.epoch(number, buckets, seed)

    def _make(self, number):
        """Paths of the shards of an epoch; those of other epochs are removed."""
        folder = self._text.folder_of_epoch(number)
        for other in glob.glob(os.path.join(glob.escape(self._folder), 'epoch-*')):
            if other != folder:
                shutil.rmtree(other)
        os.makedirs(folder, exist_ok=True)
        with choose_engine(self._args.num_dataset_workers) as engine:
            if not self._is_tokenized:
                self._text.tokenize(engine)
                self._is_tokenized = True
            made = self._text.make_shards(engine, epoch=number)
        return [os.path.join(folder, shard['file']) for shard in made]

    def digest(self):
        """sha256 of the text and of all that decides its examples."""
        return self._digest


class Synthetic:
    """Examples of random tokens, all of `length`, for measuring speed.

    batch_size: examples a batch; args: with max_predictions_per_seq and masked_lm_prob.
    """

    def __init__(self, length, batch_size, args, tokens):
        self.longest, self._num_tokens = length, len(tokens)
        self._size = batch_size * SYNTHETIC_BATCHES
        self._masked = max(1, min(args.max_predictions_per_seq, length - SPECIALS,
                                  round(length * args.masked_lm_prob)))

    def describe(self):
        return '%d synthetic examples of %d tokens, %d of them masked' % (self._size, self.longest,
                                                                          self._masked)

    def _read(self, path):
        rng, size, length = np.random.RandomState(0), self._size, self.longest
        offsets = np.arange(size + 1)
        positions = np.stack([np.sort(rng.permutation(length)[:self._masked])
                              for _ in range(size)])
        return Examples(
            rng.randint(self._num_tokens, size=size * length).astype('int32'),
            np.tile(np.arange(length) >= length // 2, size).astype('uint8'), offsets * length,
            positions.ravel().astype('uint16'),
            rng.randint(self._num_tokens, size=positions.size).astype('int32'),
            offsets * self._masked, rng.randint(2, size=size).astype('uint8'))

    def epoch(self, number, buckets, seed):
        lengths = [np.full(self._size, self.longest)]
        return Stream(['synthetic'], lengths, self._read, buckets, seed).epoch(number)

    def digest(self):
        return 'synthetic'
