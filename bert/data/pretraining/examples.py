"""Examples of masked language modelling and next-sentence prediction (Devlin et al. 2018, 3.1).

The rules are those of google-research/bert, create_pretraining_data.py: segments of whole
sentences, half of the second ones from another document; of the chosen tokens 80 % masked, 10 %
replaced, 10 % kept. Each random choice comes from (seed, document, copy), so that it does not
matter who makes an example, and when.
"""
import bisect
from typing import NamedTuple

import numpy as np

from bert.data.arrays.ragged import gather, offsets_of, ranges
from bert.errors import UserError
from bert.vocabulary import SPECIAL_TOKENS

SPECIALS = 3                            # [CLS], [SEP] and [SEP]
MAX_LENGTH = 1 << 16                     # positions are stored as uint16
IS_RANDOM_NEXT = 0.5
MASKED, REPLACED = 0.8, 0.1             # of the chosen tokens; the rest stays as it is
CONTINUATION = '##'                     # begins a word piece that is not a word's first


class Sampling(NamedTuple):
    """How examples are drawn; the flags of create_pretraining_data.py."""
    max_seq_length: int = 128           # tokens, special ones included
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    whole_word_mask: bool = False
    random_seed: int = 12345

    def check(self):
        """Raises `UserError` for values that contradict each other."""
        if self.max_seq_length < SPECIALS + 2:
            raise UserError('--max_seq_length %d: %d or more expected: two segments of a token '
                            'and %d special ones'
                            % (self.max_seq_length, SPECIALS + 2, SPECIALS))
        if self.max_seq_length > MAX_LENGTH:
            raise UserError('--max_seq_length %d: %d or fewer expected'
                            % (self.max_seq_length, MAX_LENGTH))
        if self.max_predictions_per_seq > self.max_seq_length - SPECIALS:
            raise UserError('--max_predictions_per_seq %d: only %d tokens of --max_seq_length %d '
                            'are not special; about %d expected'
                            % (self.max_predictions_per_seq, self.max_seq_length - SPECIALS,
                               self.max_seq_length,
                               self.max_seq_length * self.masked_lm_prob + 1))

    @property
    def is_capped(self):
        """Whether long examples get fewer masks than masked_lm_prob asks for."""
        return round(self.max_seq_length * self.masked_lm_prob) > self.max_predictions_per_seq


class Pieces:
    """What masking needs to know of a vocabulary.

    tokens: list of str, the index is the id.
    """

    def __init__(self, tokens):
        ids = {token: i for i, token in enumerate(tokens)}
        self.cls, self.sep, self.mask = (ids[name] for name in ('[CLS]', '[SEP]', '[MASK]'))
        self.continues = np.array([token.startswith(CONTINUATION) for token in tokens])
        special = {ids[name] for name in SPECIAL_TOKENS}
        self.replacements = np.array([i for i in range(len(tokens)) if i not in special])


class Pair(NamedTuple):
    """Two segments, as ranges of tokens of the store."""
    a_start: int
    a_stop: int
    b_start: int
    b_stop: int
    is_random: bool


class Examples(NamedTuple):
    """Many examples one after the other; example i has the rows from offsets[i] to
    offsets[i + 1]."""
    input_ids: np.ndarray               # (tokens,) int32
    segment_ids: np.ndarray             # (tokens,) uint8
    token_offsets: np.ndarray           # (examples + 1,) int64
    masked_lm_positions: np.ndarray     # (masked,) uint16, from [CLS], 0, on
    masked_lm_ids: np.ndarray           # (masked,) int32, what stood there
    masked_offsets: np.ndarray          # (examples + 1,) int64
    next_sentence_labels: np.ndarray    # (examples,) uint8: 1 for a random next sentence

    @property
    def size(self):
        """How many they are."""
        return len(self.next_sentence_labels)

    def select(self, order):
        """The same with the examples `order` (an array of indices)."""
        tokens, token_offsets = gather(self.token_offsets, order)
        masked, masked_offsets = gather(self.masked_offsets, order)
        return Examples(self.input_ids[tokens], self.segment_ids[tokens], token_offsets,
                        self.masked_lm_positions[masked], self.masked_lm_ids[masked],
                        masked_offsets, self.next_sentence_labels[order])


def join_examples(parts):
    """One `Examples` of several."""
    joined = {name: np.concatenate([getattr(part, name) for part in parts])
              for name in Examples._fields if not name.endswith('offsets')}
    for name in ('token_offsets', 'masked_offsets'):
        lengths = np.concatenate([np.diff(getattr(part, name)) for part in parts])
        joined[name] = offsets_of(lengths)
    return Examples(**joined)


def make_examples(store, first, stop, copy, sampling, pieces):
    """`Examples` of the documents `first` to before `stop` of a `TokenStore`.

    copy: which of the copies with other random choices, from 0.
    """
    pairs, randoms = [], []
    documents = store.documents(first, stop)
    bounds = store.sentences(int(documents[0]), int(documents[-1])).tolist()
    documents = (documents - documents[0]).tolist()
    for i in range(stop - first):
        rng = np.random.RandomState([sampling.random_seed % 2 ** 32, first + i, copy])
        found = list(cut_document(bounds[documents[i]:documents[i + 1] + 1], sampling, rng,
                                  OtherDocument(store, first + i, rng)))
        pairs += found
        # for each token: the order of being chosen, what is done to it, what replaces it
        randoms.append(rng.random_sample((3, sum(map(length_of, found)))))
    tokens, token_offsets, segment_ids = lay_out(store, pairs, bounds, pieces)
    random = np.concatenate(randoms, axis=1)
    chosen = choose(tokens, segment_ids, token_offsets, random[0], sampling, pieces)
    example = np.searchsorted(token_offsets, chosen, side='right') - 1
    return Examples(
        mask(tokens, chosen, random[1, chosen], random[2, chosen], pieces), segment_ids,
        token_offsets, (chosen - token_offsets[example]).astype('uint16'), tokens[chosen],
        np.searchsorted(chosen, token_offsets), np.array([pair.is_random for pair in pairs],
                                                         dtype='uint8'))


# Segments


class OtherDocument:
    """Chooses random next sentences."""

    def __init__(self, store, document, rng):
        self._store, self._document, self._rng = store, document, rng

    def __call__(self, length):
        """Range of tokens: whole sentences of another document from a random one on, until
        there are `length` tokens or the document ends."""
        other = int(self._rng.random_sample() * (self._store.num_documents - 1))
        first, stop = self._store.document(other + (other >= self._document))
        first += int(self._rng.random_sample() * (stop - first))
        # a sentence has a token at least; most need one sentence or a few
        bounds = self._store.sentences(first, min(stop, first + max(length, 1))).tolist()
        last = bisect.bisect_left(bounds, bounds[0] + length, 1, len(bounds) - 1)
        return bounds[0], bounds[last]


def cut_document(bounds, sampling, rng, other):
    """Yield the `Pair`s of a document.

    bounds: list of the sentences' first tokens, and the end. other: function(length) → range of
    tokens elsewhere.
    """
    room = sampling.max_seq_length - SPECIALS
    target = room
    if rng.random_sample() < sampling.short_seq_prob:
        target = 2 + int(rng.random_sample() * (room - 1))
    first, end = 0, len(bounds) - 1
    while first < end:
        last = bisect.bisect_left(bounds, bounds[first] + target, first + 1, end)
        middle = first + 1
        if last - first > 1:
            middle += int(rng.random_sample() * (last - first - 1))
        # one sentence has no next one here: its next one must be random
        is_random = last - first == 1 or rng.random_sample() < IS_RANDOM_NEXT
        a_start, a_stop = bounds[first], bounds[middle]
        if is_random:
            b_start, b_stop = other(target - (a_stop - a_start))
            last = middle       # what was to be the next segment comes again
        else:
            b_start, b_stop = a_stop, bounds[last]
        yield truncate(Pair(a_start, a_stop, b_start, b_stop, is_random), room, rng)
        first = last


def truncate(pair, room, rng):
    """The pair with at most `room` tokens: one after the other is taken from the longer segment,
    from either end of it by chance."""
    a, b = pair.a_stop - pair.a_start, pair.b_stop - pair.b_start
    excess = a + b - room
    if excess <= 0:
        return pair
    of_longer = min(excess, abs(a - b))
    rest = excess - of_longer       # from both in turn, the second segment first
    from_a, from_b = rest // 2, rest - rest // 2
    if a > b:
        from_a += of_longer
    else:
        from_b += of_longer
    is_front = (rng.random_sample(excess) < 0.5).tolist()
    front_a, front_b = sum(is_front[:from_a]), sum(is_front[from_a:])
    return Pair(pair.a_start + front_a, pair.a_stop - (from_a - front_a),
                pair.b_start + front_b, pair.b_stop - (from_b - front_b), pair.is_random)


def length_of(pair):
    """Tokens of its example, special ones included."""
    return pair.a_stop - pair.a_start + pair.b_stop - pair.b_start + SPECIALS


def lay_out(store, pairs, bounds, pieces):
    """(tokens (all,) int32, offsets of the examples, segment_ids (all,) uint8): [CLS], first
    segment, [SEP], second segment, [SEP] for each pair.

    bounds: of the sentences of these documents, whose tokens are read at once.
    """
    base = bounds[0]
    own = store.tokens(base, bounds[-1])
    offsets = offsets_of([length_of(pair) for pair in pairs])
    tokens = np.empty(offsets[-1], dtype='int32')
    segment_ids = np.zeros(offsets[-1], dtype='uint8')
    for pair, start, stop in zip(pairs, offsets.tolist(), offsets[1:].tolist()):
        middle = start + 1 + pair.a_stop - pair.a_start
        tokens[start], tokens[middle], tokens[stop - 1] = pieces.cls, pieces.sep, pieces.sep
        tokens[start + 1:middle] = own[pair.a_start - base:pair.a_stop - base]
        tokens[middle + 1:stop - 1] = store.tokens(pair.b_start, pair.b_stop) if pair.is_random \
            else own[pair.b_start - base:pair.b_stop - base]
        segment_ids[middle + 1:stop] = 1
    return tokens, offsets, segment_ids


# Masks


def choose(tokens, segment_ids, offsets, keys, sampling, pieces):
    """The tokens to predict, in order: of each example those with the least `keys` (in [0, 1))
    among its ordinary tokens; with whole_word_mask whole words."""
    lengths = np.diff(offsets)
    numbers = np.minimum(sampling.max_predictions_per_seq, np.maximum(
        1, np.rint(lengths * sampling.masked_lm_prob))).astype('int64')
    example = np.repeat(np.arange(len(lengths)), lengths)
    ordinary = (tokens != pieces.cls) & (tokens != pieces.sep)
    candidates = np.flatnonzero(ordinary)
    if sampling.whole_word_mask:
        return choose_words(tokens, candidates, example, keys, numbers, pieces)
    order = candidates[np.argsort(example[candidates] + keys[candidates], kind='stable')]
    there = np.bincount(example[candidates], minlength=len(lengths))
    first = np.cumsum(there) - there        # where each example begins in `order`
    return np.sort(order[ranges(first, np.minimum(numbers, there))])


def choose_words(tokens, candidates, example, keys, numbers, pieces):
    """The same, words at a time: a word that would exceed the number is passed over."""
    starts = ~pieces.continues[tokens[candidates]]
    # a piece whose word lost its beginning begins one here
    starts[np.flatnonzero(np.diff(candidates) > 1) + 1] = True
    starts[:1] = True
    first = np.flatnonzero(starts)
    sizes = np.diff(np.append(first, len(candidates)))
    word_example = example[candidates[first]]
    order = np.argsort(word_example + keys[candidates[first]], kind='stable')
    chosen, left, current = [], 0, -1
    for word, owner in zip(order.tolist(), word_example[order].tolist()):
        if owner != current:
            current, left = owner, numbers[owner]
        if sizes[word] <= left:
            left -= sizes[word]
            chosen.append(candidates[first[word]:first[word] + sizes[word]])
    return np.sort(np.concatenate(chosen or [candidates[:0]]))


def mask(tokens, chosen, kinds, which, pieces):
    """`tokens` with the chosen ones masked, replaced or kept, as `kinds` in [0, 1) says; `which`
    in [0, 1) says by what they are replaced."""
    masked = tokens.copy()
    masked[chosen[kinds < MASKED]] = pieces.mask
    replaced = (kinds >= MASKED) & (kinds < MASKED + REPLACED)
    numbers = (which[replaced] * len(pieces.replacements)).astype('int64')
    masked[chosen[replaced]] = pieces.replacements[numbers]
    return masked
