"""The embedding pipeline: texts → vectors of words or of whole texts, by any BERT."""
import functools
import hashlib
import logging
import numbers
import warnings

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from bert.data.batches import evaluation_batches
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import Features
from bert.errors import UserError
from bert.flags.common import DTYPE_DESCRIPTIONS
from bert.flags.embedding import (
    COMBINATIONS,
    DEFAULT_BATCH_SIZE,
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    LONG_TEXT_MODES,
    OOV_WAYS,
    POOLINGS,
)
from bert.model import zoo
from bert.model.bert import set_compute_dtype
from bert.model.inference import Predictor, max_batch_tokens, min_uniform_tokens
from bert.model.weights import checkpoint_reader
from bert.pipelines.base import NETWORK_LOCK, NotCopyable, iterate_chunks, run_batches
from bert.pipelines.pooling import merge_pieces, normalize_rows
from bert.pipelines.records import TextCounts, counts_or_new
from bert.pipelines.text_pieces import (
    NUM_SPECIALS,
    cut_into_text_windows,
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
STATES, POOLER = 'states', 'pooler'     # the outputs of a network


class PoolerNetwork(HybridBlock):
    """Gives the pooled vectors (batch, units) of a `BERTModel`."""

    def __init__(self, bert, **kwargs):
        super().__init__(**kwargs)
        self.bert = bert

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        return self.bert.pooled(F, token_ids, segment_ids, valid_length)


class Embedder(NotCopyable):
    """Texts → vectors, by any BERT.

    checkpoint: a folder in Hugging Face layout, a folder of ours, or a file of weights. model,
    dataset_name: a model that models.py lists, and its corpus: instead of a checkpoint, or for a
    file without config.json or vocab.txt beside it; default: bert_12_768_12. params_path: a file
    with other weights for the model; root: the cache of models.
    device: `mx.Context`, or gpu: number of a GPU; default: the CPU. dtype: 'float32', 'bfloat16' or
    'int8' on a CPU (the last two make the products of the encoder faster and less exact), or
    'float16' on a GPU.
    max_tokens: of a text, [CLS] and [SEP] included; default: the positions of the model.
    batch_size: texts a batch; batch_tokens: tokens a batch at most, padding included; default: as
    many as are fastest.
    pooling: 'mean' or 'max' of the vectors of all tokens, [CLS] and [SEP] included (as in
    sentence-transformers); 'cls': the vector of [CLS]; 'pooler': the model's pooled vector.
    normalize: scale vectors of texts to length 1.
    layers: indices of the hidden states: -1 is the last, 0 is the input of the first layer.
    combine: how several of them become one vector: 'concat', 'sum' or 'mean'.
    long_text: what happens to a text with more tokens. 'warn': it is cut, and one warning says how
    many texts were; 'error': it raises an error; 'split': it is read in windows that overlap by
    half, and their vectors are averaged.

    Several threads may use one object. Raises `UserError` for an unknown model, unreadable weights,
    a missing GPU, or invalid values.
    """
    # the names of arguments in messages
    length_keyword, device_keyword, checkpoint_keyword = 'max_tokens', 'device', 'checkpoint'

    def __init__(self, checkpoint=None, *, model=None, dataset_name=None, params_path=None,
                 root=None, device=None, gpu=None, dtype='float32', max_tokens=None,
                 batch_size=DEFAULT_BATCH_SIZE, batch_tokens=None, pooling='mean', normalize=True,
                 layers=DEFAULT_LAYERS, combine='concat', long_text='warn'):
        check_choice('combine', combine, COMBINATIONS)
        check_choice('long_text', long_text, LONG_TEXT_MODES)
        check_choice('dtype', dtype, DTYPE_DESCRIPTIONS)
        check_choice('pooling', pooling, POOLINGS)
        for name, value, unit in (('batch_size', batch_size, 'texts'),
                                  ('batch_tokens', 1 if batch_tokens is None else batch_tokens,
                                   'tokens')):
            if not (isinstance(value, numbers.Integral) and value > 0):
                raise UserError('%s %s: a whole number of %s from 1 on expected'
                                % (name, value, unit))
        if params_path and checkpoint:
            raise UserError('params_path and %s: give one of the two' % self.checkpoint_keyword)
        if checkpoint and (model or dataset_name):
            checkpoint_reader.refuse_model_name(checkpoint, model or dataset_name)
        self._device = self._pick_device(device, gpu, dtype)
        self._dtype, self._input_dtype = dtype, 'float16' if dtype == 'float16' else 'float32'
        self._source = dict(name=model or DEFAULT_MODEL, dataset=dataset_name,
                            params_path=params_path, root=root, checkpoint=checkpoint)
        self._batch_size, self._long_text = batch_size, long_text
        self._batch_tokens = batch_tokens or max_batch_tokens(self._device)
        self._pooling, self._normalize = pooling, normalize
        self._networks, self._parameters = {}, {}       # {STATES or POOLER: …}
        network, vocabulary = self._load_network(use_pooler=False)
        self.config = network.config
        self._tokenizer = BertTokenizer(vocabulary, lower=not network.config.cased)
        self._choose_layers(network, layers, combine)
        self.max_seq_length = self._check_length(max_tokens)
        self._add_network(STATES, network)

    def __repr__(self):
        return '<%s: %d layers of width %d, up to %d tokens, on %s>' % (
            type(self).__name__, self.config.num_layers, self.config.units, self.max_seq_length,
            self._device)

    def __call__(self, texts):
        """(texts, width) float32, one vector for each text; (width,) for a single str."""
        if isinstance(texts, str):
            vector, = self.stream([texts])
            return vector
        rows = list(self.stream(texts))
        return np.array(rows, 'float32').reshape(len(rows), self.width)

    def stream(self, texts, counts=None):
        """Yield the vector (width,) float32 of each text, in order. The texts may come from any
        iterator, and are not kept; the first vector comes after `CHUNK` texts or the last one.

        counts: `TextCounts` to count in; without it, a warning says at the end how many texts were
        cut.
        """
        for rows in self._sentence_chunks(texts, self._pooling, self._normalize,
                                          self.max_seq_length, counts):
            yield from rows

    def _sentence_chunks(self, texts, pooling, normalize, limit, counts=None):
        """Yield arrays with the vectors of some texts."""
        own_counts = counts_or_new(counts)
        try:
            for chunk in chunk_texts(texts, self.texts_at_once(sentence=True)):
                rows, num_cut = self.sentence_chunk(chunk, pooling, normalize, limit,
                                                    first=own_counts.num_texts)
                own_counts.add(len(chunk), num_cut)
                yield rows
        finally:        # also where the caller stops early
            if counts is None:
                self._warn_of_cut(own_counts, limit)

    def words(self, texts, oov_way='avg', pieces=False):
        """Yield (words, vectors (words, width) float32) of each text, in order. The texts may come
        from any iterator, and are not kept.

        oov_way: how the vectors of a word's pieces become one: 'avg', 'sum' or 'last'. pieces: word
        pieces instead of words.
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

    def _pick_device(self, device, gpu, dtype):
        if device is not None and (gpu is not None or not isinstance(device, mx.Context)):
            raise UserError('%s %r: an mxnet.Context expected, or gpu=NUMBER instead'
                            % (self.device_keyword, device))
        if device is not None and device.device_type == 'gpu':
            gpu = device.device_id
        return pick_device(gpu, dtype, self.device_keyword if device else 'gpu')

    def _load_network(self, use_pooler):
        """(`BERTModel`, vocabulary) of the weights that the arguments name."""
        source = self._source
        parts = dict(use_pooler=use_pooler, use_decoder=False, use_classifier=False, dropout=0.0,
                     ctx=self._device, root=source['root'])
        if source['checkpoint']:
            return zoo.load_checkpoint(source['checkpoint'], source['name'], source['dataset'],
                                       **parts)
        network, vocabulary = zoo.get_model(source['name'], source['dataset'],
                                            pretrained=not source['params_path'], **parts)
        if source['params_path']:
            zoo.load_encoder(network, source['params_path'], vocabulary, self._device)
        return network, vocabulary

    def _add_network(self, name, network):
        """Make a network ready for prediction, and store it under `name`."""
        if self._dtype == 'float16':
            network.cast(self._dtype)
        else:
            set_compute_dtype(network, self._dtype)
        network.hybridize()
        self._networks[name] = Predictor(network)
        self._parameters[name] = network._collect_params_with_prefix()

    def _choose_layers(self, network, layers, combine):
        depth = self.config.num_layers
        layers = [layers] if isinstance(layers, (str, numbers.Integral)) else layers
        layers = tuple(int(i) if isinstance(i, numbers.Integral) else i for i in layers)
        invalid = [i for i in layers if not (isinstance(i, int) and -depth - 1 <= i <= depth)]
        if invalid or not layers:
            raise UserError('layers %s: numbers from %d to %d expected: this model has %d layers, '
                            '0 is the input of the first'
                            % (','.join(map(repr, layers)) or 'none', -depth - 1, depth, depth))
        self.layers = layers
        if layers != DEFAULT_LAYERS:
            network.encoder.layers = layers, combine
        self.width = self.config.units * (len(layers) if combine == 'concat' else 1)

    def _check_length(self, length):
        """The length in tokens; the model's for None. Raises `UserError` if it doesn't fit the
        model."""
        if length is None:
            return self.config.max_length
        if not (isinstance(length, numbers.Integral)
                and NUM_SPECIALS < length <= self.config.max_length):
            raise UserError('%s %s: from %d to %d expected: %d special tokens and one of the text, '
                            'and the positions of this model'
                            % (self.length_keyword, length, NUM_SPECIALS + 1,
                               self.config.max_length, NUM_SPECIALS))
        return length

    def digest(self, pooling='mean'):
        """sha256 of everything that vectors depend on: weights, sizes, vocabulary."""
        vocab = self._tokenizer.vocab
        sha256 = hashlib.sha256(repr((self.config, vocab.idx_to_token)).encode())
        self._network(pooling)
        parameters = self._parameters[POOLER if pooling == 'pooler' else STATES]
        for name, parameter in sorted(parameters.items()):
            sha256.update(name.encode() + parameter.data(self._device).asnumpy().tobytes())
        return sha256.hexdigest()

    def texts_at_once(self, sentence):
        """Number of texts in a chunk. sentence: for a vector per text, not for vectors of words."""
        if sentence:
            return CHUNK
        return min(CHUNK, max(1, MAX_CHUNK_VALUES // (self.max_seq_length * self.width)))

    def _network(self, pooling):
        """The `Predictor` that computes the vectors for a pooling."""
        if pooling != 'pooler':
            return self._networks[STATES]
        if self.layers != DEFAULT_LAYERS:
            raise UserError('pooling "pooler": it takes the last layer; leave layers out')
        with NETWORK_LOCK:
            if POOLER not in self._networks:
                network, _ = self._load_network(use_pooler=True)
                if network.random_parts:
                    raise UserError('pooling "pooler": these weights have none: choose one of %s'
                                    % ', '.join(POOLINGS[:-1]))
                self._add_network(POOLER, PoolerNetwork(network))
        return self._networks[POOLER]

    # Chunks of texts

    def embed_chunk(self, texts, oov_way='avg', pieces=False, first=0):
        """([(words, vectors (words, width))], number of texts that were cut) of a list of texts.

        first: index of the first text, for errors.
        """
        check_choice('oov_way', oov_way, OOV_WAYS)
        text_pieces = split_into_pieces(self._tokenizer, texts, first)
        windows, num_cut = self._cut(text_pieces, self.max_seq_length, first)
        results = []
        for all_pieces, rows in zip(text_pieces,
                                    self._piece_vectors(text_pieces, windows, first)):
            read_pieces = all_pieces._replace(token_ids=all_pieces.token_ids[:len(rows)],
                                              word_indices=all_pieces.word_indices[:len(rows)])
            results.append((piece_names(self._tokenizer, read_pieces), rows) if pieces else
                           (word_names(self._tokenizer, read_pieces),
                            merge_pieces(rows, read_pieces.word_indices, oov_way)))
        return results, num_cut

    def check_lengths(self, texts, first=0):
        """Raises `UserError` for a text that is too long, with `long_text` 'error'."""
        self._cut(split_into_pieces(self._tokenizer, texts, first), self.max_seq_length, first)

    def _cut(self, text_pieces, limit, first):
        return cut_into_text_windows(text_pieces, limit, self._long_text, first,
                                     self.length_keyword)

    def _warn_of_cut(self, counts, limit):
        if counts.num_cut:
            remedy = '' if limit == self.config.max_length else \
                '; %s=None takes up to %d' % (self.length_keyword, self.config.max_length)
            LOG.warning('%d of %d texts were cut at %d tokens, [CLS] and [SEP] included%s; '
                        'long_text=\'split\' reads all', counts.num_cut, counts.num_texts, limit,
                        remedy)

    def _outputs(self, text_pieces, windows, network, first):
        """Yield (index of a window, its rows of the network's outputs), in any order. first: index
        of the first text, for errors."""
        vocab = self._tokenizer.vocab
        cls, sep = ([vocab[token]] for token in (vocab.cls_token, vocab.sep_token))
        features = []
        for text_index, first_piece, count in windows:
            piece_ids = text_pieces[text_index].token_ids[first_piece:first_piece + count]
            token_ids = np.concatenate([cls, piece_ids, sep]).astype('int32')
            length = len(token_ids)
            features.append(Features(token_ids, np.zeros(length, 'int32'), length, None, length))
        lengths = [feature.valid_length for feature in features]
        batches = evaluation_batches(lengths, self._batch_size, min_uniform_tokens(self._device),
                                     self._batch_tokens)
        for indices, _, outputs in run_batches(
                functools.partial(self._compute, network), features, batches,
                vocab[vocab.padding_token],
                numbers=[first + window.text_index for window in windows]):
            yield from zip(indices, outputs)

    def _compute(self, network, batch):
        """The outputs of a network for a `Batch`."""
        token_ids, segment_ids, valid_length = (
            mx.nd.array(array, ctx=self._device, dtype=array.dtype)
            for array in (batch.token_ids, batch.segment_ids, batch.valid_length))
        is_padded = bool((batch.valid_length < batch.token_ids.shape[1]).any())
        with warnings.catch_warnings():     # about layers above the highest of `layers`
            warnings.filterwarnings('ignore', 'Parameter .* is not used', UserWarning)
            return network(token_ids, segment_ids, valid_length.astype(self._input_dtype),
                           is_padded)

    def _piece_vectors(self, text_pieces, windows, first):
        """For each text (pieces, width) float32: a piece's mean over the windows that hold it."""
        sums = [None] * len(text_pieces)
        for i, row in self._outputs(text_pieces, windows, self._network('states'),
                                    first):
            text_index, first_piece, count = windows[i]
            length = len(text_pieces[text_index].token_ids)
            rows = row[1:count + 1].astype('float32')
            if first_piece == 0 and sums[text_index] is None and (count == length
                                                            or self._long_text != 'split'):
                sums[text_index] = rows     # the only window
                continue
            if sums[text_index] is None:
                sums[text_index] = np.zeros((length, self.width), 'float32')
            sums[text_index][first_piece:first_piece + count] += rows
        window_counts = [np.zeros(len(rows), 'float32') for rows in sums]
        for text_index, first_piece, count in windows:
            window_counts[text_index][first_piece:first_piece + count] += 1
        return [rows / num_windows[:, None] if len(num_windows) and num_windows.max() > 1 else rows
                for rows, num_windows in zip(sums, window_counts)]

    def sentence_chunk(self, texts, pooling='mean', normalize=True, max_seq_length=None, first=0):
        """((texts, width) float32, number of texts that were cut) of a list of texts.

        first: index of the first text, for errors.
        """
        check_choice('pooling', pooling, POOLINGS)
        text_pieces = split_into_pieces(self._tokenizer, texts, first)
        limit = self._check_length(max_seq_length)
        windows, num_cut = self._cut(text_pieces, limit, first)
        return self._pool(text_pieces, windows, pooling, normalize, first), num_cut

    def _pool(self, text_pieces, windows, pooling, normalize, first):
        """(texts, width): a text's mean over its windows."""
        vectors = np.zeros((len(text_pieces), self.width), 'float32')
        num_windows = np.bincount([window.text_index for window in windows],
                                  minlength=len(text_pieces))
        for i, row in self._outputs(text_pieces, windows, self._network(pooling), first):
            text_index, _, num_pieces = windows[i]
            row = row.astype('float32')
            if pooling == 'mean':
                row = row[:num_pieces + NUM_SPECIALS].mean(axis=0)
            elif pooling == 'max':
                row = row[:num_pieces + NUM_SPECIALS].max(axis=0)
            elif pooling == 'cls':
                row = row[0]
            vectors[text_index] += row / num_windows[text_index]
        return normalize_rows(vectors) if normalize else vectors


def iterate_texts(texts):
    """An iterator over the texts; a single str is one text. Raises `UserError`."""
    for chunk in chunk_texts(texts):
        yield from chunk


def chunk_texts(texts, size=CHUNK):
    """Yield lists of `size` texts; the last one may be shorter."""
    return iterate_chunks([texts] if isinstance(texts, str) else texts, size)


def check_choice(name, value, choices):
    if value not in choices:
        raise UserError('%s "%s": one of %s expected' % (name, value, ', '.join(choices)))
