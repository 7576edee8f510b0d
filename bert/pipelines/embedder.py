"""The embedding pipeline: texts → vectors of words or of whole texts, by any BERT."""
import hashlib
import logging
import numbers
import os

import mxnet as mx
import numpy as np

from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.flags.common import DTYPE_DESCRIPTIONS
from bert.flags.embedding import (
    COMBINATIONS,
    DEFAULT_BATCH_SIZE,
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    LONG_TEXT_MODES,
    OOV_WAYS,
    POOLER,
)
from bert.model.inference import max_batch_tokens
from bert.model.weights import checkpoint_reader
from bert.pipelines.base import NotCopyable, iterate_chunks
from bert.pipelines.embedding_planner import EmbeddingPlanner
from bert.pipelines.encoder_networks import STATES, EncoderNetworks
from bert.pipelines.pooling import check_choice, merge_pieces, similarity
from bert.pipelines.records import TextCounts, counts_or_new
from bert.pipelines.sentence_files import read_checkpoint_sentence_model
from bert.pipelines.sentence_model import SentenceModel, as_poolings
from bert.pipelines.text_pieces import (
    piece_names,
    split_into_pieces,
    word_names,
)
from bert.train.devices import pick_device

LOG = logging.getLogger(__name__)

# Limits on what is tokenized and sorted by length at once, because it takes memory: texts, and
# values in the vectors of their words
CHUNK = 4096
MAX_CHUNK_VALUES = 1 << 25


class Embedder(EmbeddingPlanner, NotCopyable):
    """Turns texts into vectors, by any BERT. Several threads may use one object.

    checkpoint
        A folder in Hugging Face layout or of this package, a file of weights, or the name of a
        model on the hub. It is what `bert.model.zoo.load_checkpoint` takes.
    model, dataset_name
        A released model, which models.py lists, and its corpus. They take the place of a
        checkpoint, or name the network of a file without config.json or vocab.txt beside it. The
        default is bert_12_768_12.
    params_path
        A file with other weights for the model.
    root
        The cache of released models.
    device, gpu
        An `mx.Context`, or the number of a GPU. The default is the CPU.
    dtype
        'float32', 'bfloat16' or 'int8' on a CPU; 'float16' on a GPU. 'bfloat16' and 'int8' make the
        products of the encoder faster and less exact.
    max_tokens
        The number of tokens of a text at most, special tokens included. The default is the one of a
        folder of sentence-transformers, else the positions of the model.
    batch_size, batch_tokens
        Texts of a batch; tokens of a batch at most, padding included. The default of batch_tokens
        is the fastest number.
    pooling
        How the vectors of tokens become the vector of a text: 'mean', 'cls', 'max',
        'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken' or 'pooler', or several of them.
    normalize
        Whether vectors of texts are scaled to length 1.
    dimensions
        How many numbers of a vector are kept.
    prompt_name, prompt
        The name, or the text, of the prompt before each text. `encode_query` and `encode_document`
        have prompts of their own.
    layers
        Indices of the hidden states: -1 is the last, 0 is the input of the first layer.
    combine
        How several hidden states become one vector: 'concat', 'sum' or 'mean'.
    long_text
        What happens to a text of more than max_tokens. 'warn' cuts it, and one warning says how
        many texts were cut. 'error' raises an error. 'split' reads the text in windows that overlap
        by half, and averages their vectors.

    The defaults of pooling, normalize, dimensions and the prompt are those of a folder of
    sentence-transformers, else 'mean', length 1, all numbers and no prompt. Raises `UserError` for
    an unknown model, unreadable weights, a missing GPU, or invalid values.
    """
    # the names of arguments in messages
    length_keyword, device_keyword, checkpoint_keyword = 'max_tokens', 'device', 'checkpoint'

    def __init__(self, checkpoint=None, *, model=None, dataset_name=None, params_path=None,
                 root=None, device=None, gpu=None, dtype='float32', max_tokens=None,
                 batch_size=DEFAULT_BATCH_SIZE, batch_tokens=None, pooling=None, normalize=None,
                 layers=DEFAULT_LAYERS, combine='concat', long_text='warn', dimensions=None,
                 prompt_name=None, prompt=None):
        check_choice('combine', combine, COMBINATIONS)
        check_choice('long_text', long_text, LONG_TEXT_MODES)
        check_choice('dtype', dtype, DTYPE_DESCRIPTIONS)
        if pooling is not None:     # before the weights are read
            as_poolings(pooling)
        for name, value, unit in (('batch_size', batch_size, 'texts'),
                                  ('batch_tokens', 1 if batch_tokens is None else batch_tokens,
                                   'tokens')):
            if not (isinstance(value, numbers.Integral) and value > 0):
                raise UserError('%s %s: expected a whole number of %s from 1 on'
                                % (name, value, unit))
        if params_path and checkpoint:
            raise UserError('params_path and %s: give one of the two' % self.checkpoint_keyword)
        path = getattr(checkpoint, 'source', checkpoint)
        if checkpoint and (model or dataset_name):
            checkpoint_reader.refuse_model_name(path, model or dataset_name)
        self._device = self._pick_device(device, gpu, dtype)
        source = dict(name=model or DEFAULT_MODEL, dataset=dataset_name, params_path=params_path,
                      root=root, checkpoint=checkpoint)
        self._batch_size, self._long_text = batch_size, long_text
        self._batch_tokens = batch_tokens or max_batch_tokens(self._device)
        self._runners = {}      # {STATES or POOLER: NetworkRunner}
        self._networks = self._make_networks(source, dtype, layers, combine)
        self.config, self.layers = self._networks.config, self._networks.layers
        self.width = self._networks.width
        self.tokenizer = BertTokenizer(self._networks.vocabulary, lower=not self.config.cased)
        self._frame = self.tokenizer.frame(pair=False)
        self.max_seq_length = self._check_length(max_tokens)
        self._own_sentence_model = self._read_sentence_model(path)
        self._is_logged = False
        self.sentence_model = self.select_sentence_model(
            pooling=pooling, normalize=normalize, max_seq_length=max_tokens, dimensions=dimensions,
            prompt_name=prompt_name, prompt=prompt)

    def __repr__(self):
        return '<%s: %d layers of width %d, up to %d tokens, on %s>' % (
            type(self).__name__, self.config.num_layers, self.config.units, self.max_seq_length,
            self._device)

    def __call__(self, texts):
        """The vectors of texts, (texts, width) float32, in the order of the texts. A single str
        gives (width,).

        Raises `UserError` for an item that is no text.
        """
        return self._encode(texts, self.sentence_model)

    def encode_query(self, texts, prompt_name=None, prompt=None):
        """The vectors of the queries of a search, as for a call.

        prompt_name, prompt
            The name, or the text, of the prompt before each query. The default is the prompt
            "query" of the model, if it has one.
        """
        return self._encode(texts, self.sentence_model.for_queries(prompt_name, prompt))

    def encode_document(self, texts, prompt_name=None, prompt=None):
        """The vectors of the documents of a search, as for a call.

        prompt_name, prompt
            The name, or the text, of the prompt before each document. The default is the first of
            "document", "passage" and "corpus" that the model has, if it has one.
        """
        return self._encode(texts, self.sentence_model.for_documents(prompt_name, prompt))

    def similarity(self, a, b):
        """The similarities (rows of a, rows of b) float32 of vectors of texts, by the model's own
        function: see `bert.embedding.similarity`."""
        return similarity(a, b, self.sentence_model.similarity)

    def _encode(self, texts, model):
        if isinstance(texts, str):
            return next(self._sentence_chunks([texts], model))[0]
        rows = [row for chunk in self._sentence_chunks(texts, model) for row in chunk]
        return np.array(rows, 'float32').reshape(len(rows), model.output_width(self.width))

    def stream(self, texts, counts=None):
        """Yield the vector (width,) float32 of each text, in order.

        texts
            An iterable of str. It is not kept: the first vector comes after 4,096 texts, or after
            the last text.
        counts
            The `TextCounts` to count in. Without it, a warning at the end says how many texts were
            cut.

        Raises `UserError` for an item that is no text.
        """
        for rows in self._sentence_chunks(texts, self.sentence_model, counts):
            yield from rows

    def _sentence_chunks(self, texts, model, counts=None):
        """Yield arrays with the vectors of some texts. model: `SentenceModel`."""
        self.log_sentence_model(model)
        own_counts = counts_or_new(counts)
        try:
            for chunk in chunk_texts(texts, self.texts_at_once(sentence=True)):
                rows, num_cut = self.sentence_chunk(chunk, model, first=own_counts.num_texts)
                own_counts.add(len(chunk), num_cut)
                yield rows
        finally:        # also where the caller stops early
            if counts is None:
                self._warn_of_cut(own_counts, model.max_seq_length)

    def words(self, texts, oov_way='avg', pieces=False):
        """Yield (words, vectors) of each text, in order: a list of str and an array (words, width)
        float32.

        texts
            An iterable of str. It is not kept.
        oov_way
            How the vectors of a word's pieces become one vector: 'avg', 'sum' or 'last'.
        pieces
            Whether to give word pieces in the place of words.

        Raises `UserError` for an item that is no text.
        """
        counts = TextCounts()
        try:
            for chunk in chunk_texts(texts, self.texts_at_once(sentence=False)):
                results, num_cut = self.embed_chunk(chunk, oov_way, pieces,
                                                    first=counts.num_texts)
                counts.add(len(chunk), num_cut)
                yield from results
        finally:        # also where the caller stops early
            self._warn_of_cut(counts, self.max_seq_length)

    # The model

    def _make_networks(self, source, dtype, layers, combine):
        return EncoderNetworks(source, self._device, dtype, layers, combine)

    def _read_sentence_model(self, checkpoint):
        model = None
        if checkpoint:
            model = read_checkpoint_sentence_model(checkpoint, self.config)
        return model or SentenceModel(max_seq_length=self.config.max_length)

    def select_sentence_model(self, **values):
        """The `SentenceModel` of the folder, or the defaults, with other values: the arguments of
        `SentenceModel.select`. Raises `UserError` if they don't suit the network."""
        model = self._own_sentence_model.select(**values)
        self._check_length(model.max_seq_length)
        model.output_width(self.width)
        return model

    def log_sentence_model(self, model):
        """Log how texts are read, once, if a folder of sentence-transformers says it."""
        if model.source and not self._is_logged:
            self._is_logged = True
            LOG.info('%s: %s, read from its %s%s', os.path.dirname(model.source), model.describe(),
                     os.path.basename(model.source),
                     ', except ' + ', '.join(model.given) if model.given else '')

    def _pick_device(self, device, gpu, dtype):
        if device is not None and (gpu is not None or not isinstance(device, mx.Context)):
            raise UserError('%s %r: expected an mxnet.Context; or give gpu=NUMBER instead'
                            % (self.device_keyword, device))
        if device is not None and device.device_type == 'gpu':
            gpu = device.device_id
        return pick_device(gpu, dtype, self.device_keyword if device else 'gpu')

    def _check_length(self, length):
        """The length in tokens; the model's for None. Raises `UserError` if it doesn't fit the
        model."""
        if length is None:
            return self.config.max_length
        num_specials = self._frame.num_specials
        if not (isinstance(length, numbers.Integral)
                and num_specials < length <= self.config.max_length):
            raise UserError('%s %s: expected from %d to %d: at least %d special tokens and one of '
                            'the text, at most the positions of this model'
                            % (self.length_keyword, length, num_specials + 1,
                               self.config.max_length, num_specials))
        return length

    def digest(self, pooling='mean'):
        """sha256 of everything that vectors depend on: weights, sizes, vocabulary. pooling: a name
        or several; None: for vectors of words."""
        vocab = self.tokenizer.vocab
        sha256 = hashlib.sha256(repr(
            (self.config, vocab.tokenizer_json or vocab.idx_to_token)).encode())
        self._networks.update_digest(sha256, POOLER if POOLER in (pooling or ()) else STATES)
        self._own_sentence_model.update_digest(sha256)
        return sha256.hexdigest()

    def texts_at_once(self, sentence):
        """Number of texts in a chunk. sentence: for a vector per text, not for vectors of words."""
        if sentence:
            return CHUNK
        return min(CHUNK, max(1, MAX_CHUNK_VALUES // (self.max_seq_length * self.width)))

    # Chunks of texts

    def embed_chunk(self, texts, oov_way='avg', pieces=False, first=0):
        """([(words, vectors (words, width))], number of texts that were cut) of a list of texts.

        first: index of the first text, for errors.
        """
        check_choice('oov_way', oov_way, OOV_WAYS)
        text_pieces = split_into_pieces(self.tokenizer, texts, first)
        windows, num_cut = self._cut(text_pieces, self.max_seq_length, first)
        results = []
        for all_pieces, rows in zip(text_pieces,
                                    self._plan_pieces(text_pieces, windows).run(first)):
            read_pieces = all_pieces._replace(token_ids=all_pieces.token_ids[:len(rows)],
                                              word_indices=all_pieces.word_indices[:len(rows)])
            results.append((piece_names(self.tokenizer, read_pieces), rows) if pieces else
                           (word_names(self.tokenizer, read_pieces),
                            merge_pieces(rows, read_pieces.word_indices, oov_way)))
        return results, num_cut

    def check_lengths(self, texts, model=None, first=0):
        """Raises `UserError` for a text that is too long, with `long_text` 'error'. model: the
        `SentenceModel`; None: for vectors of words."""
        limit = self.max_seq_length if model is None else model.max_seq_length
        self._cut(self._split(texts, model, first), limit, first)

    def _warn_of_cut(self, counts, limit):
        if counts.num_cut:
            # None is the limit that a folder of sentence-transformers says
            value = self.config.max_length if self._own_sentence_model.source else None
            remedy = '' if limit == self.config.max_length else \
                '; %s=%s reads up to %d' % (self.length_keyword, value, self.config.max_length)
            LOG.warning('%d of %d texts were cut at %d tokens, special tokens included%s; '
                        "long_text='split' reads whole texts", counts.num_cut, counts.num_texts,
                        limit, remedy)

    def sentence_chunk(self, texts, model, first=0):
        """((texts, width) float32, number of texts that were cut) of a list of texts.

        model: of `select_sentence_model`. first: index of the first text, for errors.
        """
        inference = self.plan(texts, model, first)
        return inference.run(first), inference.num_cut

def iterate_texts(texts):
    """An iterator over the texts; a single str is one text. Raises `UserError`."""
    for chunk in chunk_texts(texts):
        yield from chunk


def chunk_texts(texts, size=CHUNK):
    """Yield lists of `size` texts; the last one may be shorter."""
    return iterate_chunks([texts] if isinstance(texts, str) else texts, size)
