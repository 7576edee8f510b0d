"""From texts to the networks of an embedder, and from their outputs to vectors."""
import functools
import math

import numpy as np

from bert.data.batches import evaluation_batches
from bert.flags.embedding import POOLER
from bert.model.inference import min_uniform_tokens
from bert.pipelines.encoder_networks import STATES
from bert.pipelines.inference import Inference, NetworkRunner
from bert.pipelines.text_pieces import (
    PieceVectors,
    check_text,
    cut_into_text_windows,
    pieces_of_ids,
    split_into_ids,
    window_features,
)


class EmbeddingPlanner:
    """The part of an `Embedder` that makes `Inference`s of texts."""

    def plan(self, texts, model=None, first=0, from_end=True):
        """The `Inference` whose result is the vectors (texts, width) float32 of a list of texts.

        model: of `select_sentence_model`; None: the own one. first: index of the first text, for
        errors. from_end: where texts are cut that are too long: at their end or their beginning.
        """
        model = model or self.sentence_model
        return self._plan_vectors(self._split(texts, model, first), model, first, from_end)

    def plan_ids(self, id_lists, model=None, from_end=True):
        """`plan` for texts that are token ids already, sequences of int without special tokens. The
        prompt of the model comes before them. Raises `UserError` for an id that is no token."""
        model = model or self.sentence_model
        return self._plan_vectors(self._pieces_of_ids(id_lists, model), model, 0, from_end)

    def plan_token_vectors(self, texts, model=None, from_end=True):
        """The `Inference` whose result is for each text (tokens, width) float32, special tokens
        included, before any pooling, with the prompt, the lower case and the length of `model`. Not
        for long_text 'split'."""
        model = model or self.sentence_model
        return self._plan_token_vectors(self._split(texts, model, 0), model, from_end)

    def plan_token_vectors_of_ids(self, id_lists, model=None, from_end=True):
        """`plan_token_vectors` for texts that are token ids already, as for `plan_ids`."""
        model = model or self.sentence_model
        return self._plan_token_vectors(self._pieces_of_ids(id_lists, model), model, from_end)

    def _pieces_of_ids(self, id_lists, model):
        prompt, = self._split([''], model, 0)
        return pieces_of_ids(id_lists, prompt.token_ids, self.config.vocab_size)

    def _plan_token_vectors(self, text_pieces, model, from_end):
        windows, _ = self._cut(text_pieces, model.max_seq_length, 0, from_end)
        vectors = [None] * len(windows)

        def collect(i, rows):
            vectors[i] = rows[:windows[i].num_pieces + self._frame.num_specials].astype('float32')
        return self._plan_windows(text_pieces, windows, model.max_seq_length, STATES, collect,
                                  lambda: vectors)

    def _plan_vectors(self, text_pieces, model, first, from_end):
        windows, _ = self._cut(text_pieces, model.max_seq_length, first, from_end)
        vectors = np.zeros((len(text_pieces), self.width * len(model.pooling)), 'float32')
        return self._plan_windows(text_pieces, windows, model.max_seq_length,
                                  POOLER if model.uses_pooler else STATES,
                                  self._pool_into(vectors, windows, model),
                                  lambda: model.finish(vectors))

    def _pool_into(self, vectors, windows, model):
        """A function that adds a window's vector to that of its text in `vectors`: a text's is the
        mean over its windows."""
        num_windows = np.bincount([window.text_index for window in windows],
                                  minlength=len(vectors))
        num_left_out = self._count_prompt_pieces(model)

        def collect(i, row):
            text_index, first_piece, num_pieces = windows[i]
            row = row.astype('float32', copy=False)
            if not model.uses_pooler:
                left_out = min(num_left_out - first_piece, num_pieces)
                row = model.pool(row[:num_pieces + self._frame.num_specials],
                                 self._frame.offset(0, []) + left_out if left_out > 0 else 0)
            vectors[text_index] += row / num_windows[text_index]
        return collect

    def _count_prompt_pieces(self, model):
        """The pieces of the prompt if it is left out of the pooling, and so is the [CLS] before it,
        as in sentence-transformers."""
        if model.include_prompt or not model.prompt:
            return 0
        pieces, = self._split([''], model, 0)
        return len(pieces.token_ids)

    def _split(self, texts, model, first):
        """[`TextPieces`] of texts, with their ids alone, as a `SentenceModel` reads them; None: as
        they are."""
        for i, text in enumerate(texts, first):
            check_text(text, i)
        return split_into_ids(self.tokenizer, model.prepare_texts(texts) if model else texts)

    def _cut(self, text_pieces, limit, first, from_end=True):
        return cut_into_text_windows(text_pieces, limit, self._frame.num_specials,
                                     self._long_text, first, self.length_keyword, from_end)

    def _runner(self, name):
        """The `NetworkRunner` of a network: `STATES` or `POOLER`."""
        if name not in self._runners:
            vocab = self.tokenizer.vocab
            self._runners[name] = NetworkRunner(
                functools.partial(self._networks.compute, name), self._make_batches,
                vocab[vocab.padding_token])
        return self._runners[name]

    def _make_batches(self, features):
        return evaluation_batches([feature.valid_length for feature in features], self._batch_size,
                                  min_uniform_tokens(self._device), self._batch_tokens)

    def _plan_windows(self, text_pieces, windows, limit, name, collect, result):
        """The `Inference` of the windows of texts. limit: tokens of a window; name: of the network.
        """
        num_specials = self._frame.num_specials
        return Inference(
            self._runner(name), window_features(text_pieces, windows, self._frame), collect, result,
            [len(pieces.token_ids) + num_specials for pieces in text_pieces],
            math.inf if self._long_text == 'split' else limit,
            [window.text_index for window in windows])

    def _plan_pieces(self, text_pieces, windows):
        """The `Inference` whose result is for each text (pieces, width) float32: a piece's mean
        over the windows that hold it."""
        vectors = PieceVectors(text_pieces, windows, self._frame, self.width)
        return self._plan_windows(text_pieces, windows, self.max_seq_length, STATES, vectors.add,
                                  vectors.means)
