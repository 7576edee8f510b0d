"""Vectors of words and of whole texts, by any BERT."""
import hashlib
import itertools
import logging
import numbers
import warnings

import mxnet as mx
import numpy as np
from mxnet.gluon import HybridBlock

from bert.data.batches import collate, evaluation_batches
from bert.data.text.tokenizer import BertTokenizer
from bert.data.transform import Features
from bert.errors import UserError
from bert.flags.common import DTYPES
from bert.flags.embedding_choices import (
    BATCH_SIZE,
    COMBINATIONS,
    LAST,
    LONG_TEXTS,
    OOV_WAYS,
    POOLINGS,
    WORDS_LENGTH,
)
from bert.model import zoo
from bert.model.bert import compute_in
from bert.model.inference import Predictor, enough_tokens, most_tokens
from bert.pipelines.pooling import merge, normalized
from bert.pipelines.text_pieces import (
    SPECIALS,
    cut_texts,
    piece_names,
    split_texts,
    word_names,
)
from bert.train.devices import pick_device
from bert.train.log import progress

LOG = logging.getLogger(__name__)

# Texts that are tokenized and sorted by length together, and numbers of their words' vectors: each
# bounds the memory
CHUNK = 4096
NUMBERS = 1 << 25
STATES, POOLER = 'states', 'pooler'     # what a network gives


class Pooled(HybridBlock):
    """The pooled vectors of a `BERTModel` (batch, units)."""

    def __init__(self, bert, **kwargs):
        super().__init__(**kwargs)
        self.bert = bert

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        return self.bert.pooled(F, token_ids, segment_ids, valid_length)


class BertEmbedding:
    """Contextual vectors of the words of texts, and one vector for each text.

    ctx: `mx.Context`; default: the CPU. dtype: 'float32', 'bfloat16' or 'int8' on a CPU
    (products of the encoder, which are faster and less exact), or 'float16' on a GPU.
    model, dataset_name: a model that models.py lists and its corpus, default: the model's first.
    params_path: a file of weights for it. bert_checkpoint: any checkpoint instead of these: a
    folder in Hugging Face layout or one of ours, or a file of weights.
    max_seq_length: tokens of a text at most where words are asked for, [CLS] and [SEP] included;
    25 as in the original; None: as many as the model has positions. batch_size: texts.
    root: the cache of models. sentencepiece: not supported.
    layers: numbers of the hidden states, -1 the last, 0 the input of the first layer; several are
    put together as `combine` says: 'concat', 'sum' or 'mean'.
    long_text: a text of more tokens is cut, and one warning tells how many were ('warn'), it is an
    error ('error'), or it is read in windows that overlap by half, whose vectors are averaged
    ('split').

    Raises `UserError` for an unknown model, unreadable weights, a GPU that isn't there, or values
    that make no sense.
    """

    def __init__(self, ctx=None, dtype='float32', model='bert_12_768_12', dataset_name=None,
                 params_path=None, max_seq_length=WORDS_LENGTH, batch_size=BATCH_SIZE,
                 sentencepiece=None, root=None, bert_checkpoint=None, layers=LAST, combine='concat',
                 long_text='warn'):
        if sentencepiece is not None:
            raise UserError('sentencepiece: SentencePiece models are not supported; a BERT '
                            'vocabulary is a vocab.txt, see bert_checkpoint')
        if params_path and bert_checkpoint:
            raise UserError('params_path and bert_checkpoint: give one of the two')
        _check_choice('combine', combine, COMBINATIONS)
        _check_choice('long_text', long_text, LONG_TEXTS)
        _check_choice('dtype', dtype, DTYPES)
        if not (isinstance(batch_size, numbers.Integral) and batch_size > 0):
            raise UserError('batch_size %s: a whole number of texts from 1 on expected'
                            % (batch_size,))
        ctx = ctx or mx.cpu()
        self._device = pick_device(ctx.device_id if ctx.device_type == 'gpu' else None, dtype,
                                   flag='ctx')
        self._dtype, self._input_dtype = dtype, 'float16' if dtype == 'float16' else 'float32'
        self._source = dict(name=model, dataset=dataset_name, params_path=params_path, root=root,
                            checkpoint=bert_checkpoint)
        self._batch_size, self._long_text = batch_size, long_text
        network, vocabulary = self._open(use_pooler=False)
        self.config = network.config
        self._tokenizer = BertTokenizer(vocabulary, lower=not network.config.cased)
        self._choose_layers(network, layers, combine)
        self.max_seq_length = self._check_length(max_seq_length)
        self._networks, self._parameters = {}, {}
        self._keep(STATES, network)

    # The model

    def _open(self, use_pooler):
        """(`BERTModel`, vocabulary)"""
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

    def _keep(self, name, network):
        """Make a network ready to predict."""
        if self._dtype == 'float16':
            network.cast(self._dtype)
        else:
            compute_in(network, self._dtype)
        network.hybridize()
        self._networks[name] = Predictor(network)
        self._parameters[name] = network._collect_params_with_prefix()

    def _choose_layers(self, network, layers, combine):
        layers, depth = tuple(np.atleast_1d(layers).tolist()), self.config.num_layers
        bad = [i for i in layers if not (isinstance(i, int) and -depth - 1 <= i <= depth)]
        if bad or not layers:
            raise UserError('layers %s: numbers from %d to %d expected: this model has %d layers, '
                            '0 is the input of the first'
                            % (','.join(map(str, layers)) or 'none', -depth - 1, depth, depth))
        self.layers = layers
        if layers != LAST:
            network.encoder.layers = layers, combine
        self.width = self.config.units * (len(layers) if combine == 'concat' else 1)

    def _check_length(self, length):
        """The length in tokens, the model's for None; `UserError` for one it can't read."""
        if length is None:
            return self.config.max_length
        if not (isinstance(length, numbers.Integral)
                and SPECIALS < length <= self.config.max_length):
            raise UserError('max_seq_length %s: from %d to %d expected: %d special tokens and one '
                            'of the text, and the positions of this model'
                            % (length, SPECIALS + 1, self.config.max_length, SPECIALS))
        return length

    def digest(self, pooling='mean'):
        """sha256 of all that vectors are made with: weights, sizes, vocabulary."""
        vocab = self._tokenizer.vocab
        total = hashlib.sha256(repr((self.config, vocab.idx_to_token)).encode())
        self._network(pooling)
        parameters = self._parameters[POOLER if pooling == 'pooler' else STATES]
        for name, parameter in sorted(parameters.items()):
            total.update(name.encode() + parameter.data(self._device).asnumpy().tobytes())
        return total.hexdigest()

    def texts_at_once(self, sentence):
        """How many texts are embedded together, for a vector each or for the words' vectors."""
        if sentence:
            return CHUNK
        return min(CHUNK, max(1, NUMBERS // (self.max_seq_length * self.width)))

    def _network(self, pooling):
        """The `Predictor` that a pooling is made of."""
        if pooling != 'pooler':
            return self._networks[STATES]
        if self.layers != LAST:
            raise UserError('pooling "pooler": it takes the last layer; leave layers out')
        if POOLER not in self._networks:
            network, _ = self._open(use_pooler=True)
            if network.random_parts:
                raise UserError('pooling "pooler": these weights have none: choose one of %s'
                                % ', '.join(POOLINGS[:-1]))
            self._keep(POOLER, Pooled(network))
        return self._networks[POOLER]

    # Words

    def __call__(self, sentences, oov_way='avg'):
        """[(words, vectors)]: for each text its words, and as many vectors (width,) float32.

        sentences: texts; a single str is one. oov_way: how a word's vector is made of those of
        its pieces: 'avg', 'sum' or 'last'. Raises `UserError` for what is no text.
        """
        sentences = list(_iterate(sentences))
        with progress(len(sentences), unit='text', description='embedding') as bar:
            found = []
            for one in self.embed_iter(sentences, oov_way):
                found.append(one)
                bar.update(1)
        return found

    def embed_iter(self, sentences, oov_way='avg', pieces=False):
        """Yield the same one by one; texts may come from any iterator, and are not kept.

        pieces: word pieces instead of words.
        """
        cut = total = 0
        for chunk in chunks(sentences, self.texts_at_once(sentence=False)):
            found, cut_here = self.embed_chunk(chunk, oov_way, pieces, first=total)
            cut, total = cut + cut_here, total + len(chunk)
            for names, rows in found:
                yield names, list(rows)
        self._warn(cut, total, self.max_seq_length)

    def embed_chunk(self, texts, oov_way='avg', pieces=False, first=0):
        """([(words, vectors (words, width))], how many texts were cut) of a list of texts.

        first: the number of the first text, for errors.
        """
        _check_choice('oov_way', oov_way, OOV_WAYS)
        texts = split_texts(self._tokenizer, texts, first)
        windows, cut = cut_texts(texts, self.max_seq_length, self._long_text, first)
        found = []
        for one, rows in zip(texts, self._piece_vectors(texts, windows)):
            kept = one._replace(ids=one.ids[:len(rows)], words=one.words[:len(rows)])
            found.append((piece_names(self._tokenizer, kept), rows) if pieces else
                         (word_names(self._tokenizer, kept), merge(rows, kept.words, oov_way)))
        return found, cut

    def check_lengths(self, texts, first=0):
        """Raises `UserError` for one that is longer than `long_text` 'error' allows."""
        cut_texts(split_texts(self._tokenizer, texts, first), self.max_seq_length,
                  self._long_text, first)

    def _warn(self, cut, total, limit):
        if cut:
            more = '' if limit == self.config.max_length else \
                '; max_seq_length=None takes up to %d' % self.config.max_length
            LOG.warning('%d of %d texts were cut at %d tokens, [CLS] and [SEP] included%s; '
                        'long_text=\'split\' reads all', cut, total, limit, more)

    def _outputs(self, texts, windows, network):
        """Yield (number of a window, its rows of the network's output), in any order."""
        vocab = self._tokenizer.vocab
        cls, sep = ([vocab[token]] for token in (vocab.cls_token, vocab.sep_token))
        features = []
        for text, first, number in windows:
            ids = np.concatenate([cls, texts[text].ids[first:first + number], sep]).astype('int32')
            features.append(Features(ids, np.zeros(len(ids), 'int32'), len(ids), None, len(ids)))
        lengths = [one.valid_length for one in features]
        for indices in evaluation_batches(lengths, self._batch_size, enough_tokens(self._device),
                                          most_tokens(self._device)):
            batch = collate([features[i] for i in indices], vocab[vocab.padding_token])
            token_ids, segment_ids, valid_length = (
                mx.nd.array(array, ctx=self._device, dtype=array.dtype)
                for array in (batch.token_ids, batch.segment_ids, batch.valid_length))
            is_padded = bool((batch.valid_length < batch.token_ids.shape[1]).any())
            with warnings.catch_warnings():     # of layers above those that are asked for
                warnings.filterwarnings('ignore', 'Parameter .* is not used', UserWarning)
                found = network(token_ids, segment_ids, valid_length.astype(self._input_dtype),
                                is_padded)
            yield from zip(indices, found.asnumpy())

    def _piece_vectors(self, texts, windows):
        """For each text (pieces, width) float32: means over the windows that a piece is in."""
        sums = [None] * len(texts)
        for i, row in self._outputs(texts, windows, self._network('states')):
            text, first, number = windows[i]
            rows = row[1:number + 1].astype('float32')
            if first == 0 and sums[text] is None and (number == len(texts[text].ids)
                                                      or self._long_text != 'split'):
                sums[text] = rows       # the only window
                continue
            if sums[text] is None:
                sums[text] = np.zeros((len(texts[text].ids), self.width), 'float32')
            sums[text][first:first + number] += rows
        counts = [np.zeros(len(rows), 'float32') for rows in sums]
        for text, first, number in windows:
            counts[text][first:first + number] += 1
        return [rows / count[:, None] if len(count) and count.max() > 1 else rows
                for rows, count in zip(sums, counts)]

    # Texts

    def sentence(self, texts, pooling='mean', normalize=True, max_seq_length=None):
        """(texts, width) float32: one vector a text.

        pooling: 'mean' of all tokens, [CLS] and [SEP] included (as sentence-transformers has it),
        'max' of them, 'cls': that of [CLS], or 'pooler': the pooled one of the model. normalize:
        to length 1. max_seq_length: in tokens, default: as many as the model has positions.
        """
        texts = list(_iterate(texts))
        found = np.zeros((len(texts), self.width), 'float32')
        done = 0
        with progress(len(texts), unit='text', description='embedding') as bar:
            for rows in self.sentence_iter(texts, pooling, normalize, max_seq_length):
                found[done:done + len(rows)] = rows
                done += len(rows)
                bar.update(len(rows))
        return found

    def sentence_iter(self, texts, pooling='mean', normalize=True, max_seq_length=None):
        """Yield the same, some texts at a time, in order; texts may come from any iterator, and
        are not kept."""
        limit, cut, total = self._check_length(max_seq_length), 0, 0
        for chunk in chunks(texts, self.texts_at_once(sentence=True)):
            rows, cut_here = self.sentence_chunk(chunk, pooling, normalize, limit, first=total)
            cut, total = cut + cut_here, total + len(chunk)
            yield rows
        self._warn(cut, total, limit)

    def sentence_chunk(self, texts, pooling='mean', normalize=True, max_seq_length=None, first=0):
        """((texts, width) float32, how many texts were cut) of a list of texts.

        first: the number of the first text, for errors.
        """
        _check_choice('pooling', pooling, POOLINGS)
        texts = split_texts(self._tokenizer, texts, first)
        windows, cut = cut_texts(texts, self._check_length(max_seq_length),
                                     self._long_text, first)
        return self._pool(texts, windows, pooling, normalize), cut

    def _pool(self, texts, windows, pooling, normalize):
        """(texts, width): means over the windows of a text."""
        found = np.zeros((len(texts), self.width), 'float32')
        counts = np.bincount([window.text for window in windows], minlength=len(texts))
        for i, row in self._outputs(texts, windows, self._network(pooling)):
            text, _, number = windows[i]
            row = row.astype('float32')
            if pooling == 'mean':
                row = row[:number + SPECIALS].mean(axis=0)
            elif pooling == 'max':
                row = row[:number + SPECIALS].max(axis=0)
            elif pooling == 'cls':
                row = row[0]
            found[text] += row / counts[text]
        return normalized(found) if normalize else found


def _iterate(texts):
    """An iterator; a single str is one text."""
    try:
        return iter([texts] if isinstance(texts, str) else texts)
    except TypeError:
        raise UserError('texts: a str or an iterable of them expected, %s found'
                        % type(texts).__name__) from None


def chunks(texts, size=CHUNK):
    """Yield lists of so many texts."""
    texts = _iterate(texts)
    while True:
        chunk = list(itertools.islice(texts, size))
        if not chunk:
            return
        yield chunk


def _check_choice(name, value, choices):
    if value not in choices:
        raise UserError('%s "%s": one of %s expected' % (name, value, ', '.join(choices)))
