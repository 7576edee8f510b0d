"""Examples of masked language modelling and next-sentence prediction (Devlin et al. 2018, 3.1).

The rules are those of google-research/bert, create_pretraining_data.py. Segments are whole
sentences, and half of the second segments come from another document. Of the tokens to predict,
80 % are masked, 10 % replaced and 10 % unchanged. Each random choice depends on (seed, document,
copy) alone, so it does not matter which worker makes an example, and when.
"""
import bisect
from typing import NamedTuple

import numpy as np

from bert.data.arrays.ragged import gather, offsets_of, ranges
from bert.errors import UserError
from bert.vocabulary import SPECIAL_TOKENS

NUM_SPECIALS = 3                    # [CLS], [SEP] and [SEP]
MAX_LENGTH = 1 << 16                # positions are stored as uint16
RANDOM_NEXT_PROBABILITY = 0.5       # of second segments
MASK_PROBABILITY = 0.8              # of the tokens to predict
REPLACE_PROBABILITY = 0.1           # of the tokens to predict; the others stay unchanged
CONTINUATION_PREFIX = '##'          # prefix of each piece of a word but the first


class SamplingOptions(NamedTuple):
    """The options for drawing examples; they are flags of create_pretraining_data.py."""
    max_seq_length: int = 128           # in tokens, special tokens included
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    whole_word_mask: bool = False
    random_seed: int = 12345

    def check(self):
        """Raises `UserError` for values that contradict each other."""
        if self.max_seq_length < NUM_SPECIALS + 2:
            raise UserError('--max_seq_length %d: expected %d or more, for two segments of one '
                            'token and %d special tokens'
                            % (self.max_seq_length, NUM_SPECIALS + 2, NUM_SPECIALS))
        if self.max_seq_length > MAX_LENGTH:
            raise UserError('--max_seq_length %d: expected %d or less'
                            % (self.max_seq_length, MAX_LENGTH))
        if self.max_predictions_per_seq > self.max_seq_length - NUM_SPECIALS:
            raise UserError('--max_predictions_per_seq %d: only %d tokens of --max_seq_length %d '
                            'are not special tokens; expected about %d'
                            % (self.max_predictions_per_seq, self.max_seq_length - NUM_SPECIALS,
                               self.max_seq_length,
                               self.max_seq_length * self.masked_lm_prob + 1))

    @property
    def is_capped(self):
        """Whether long examples get fewer masks than masked_lm_prob implies."""
        return round(self.max_seq_length * self.masked_lm_prob) > self.max_predictions_per_seq


class MaskingVocabulary:
    """The properties of a vocabulary that masking needs.

    tokens: list of str; the index of a token is its id.
    """

    def __init__(self, tokens):
        ids = {token: i for i, token in enumerate(tokens)}
        self.cls, self.sep, self.mask = (ids[name] for name in ('[CLS]', '[SEP]', '[MASK]'))
        self.is_continuation = np.array([token.startswith(CONTINUATION_PREFIX) for token in tokens])
        special_ids = {ids[name] for name in SPECIAL_TOKENS}
        self.replacements = np.array([i for i in range(len(tokens)) if i not in special_ids])


class SegmentPair(NamedTuple):
    """Two segments, as ranges of tokens in the store."""
    a_start: int
    a_stop: int
    b_start: int
    b_stop: int
    is_random: bool                     # whether the second segment is from another document


class PretrainingExamples(NamedTuple):
    """Many examples in flat arrays; example i has the rows from offsets[i] to before
    offsets[i + 1]."""
    input_ids: np.ndarray               # (tokens,) int32
    segment_ids: np.ndarray             # (tokens,) uint8
    token_offsets: np.ndarray           # (examples + 1,) int64
    masked_lm_positions: np.ndarray     # (masked,) uint16, in the example; [CLS] is 0
    masked_lm_ids: np.ndarray           # (masked,) int32, the original ids
    masked_offsets: np.ndarray          # (examples + 1,) int64
    next_sentence_labels: np.ndarray    # (examples,) uint8: 1 for a random next sentence

    @property
    def size(self):
        """Number of examples."""
        return len(self.next_sentence_labels)

    def select(self, order):
        """The examples `order` (an array of indices), in this order."""
        tokens, token_offsets = gather(self.token_offsets, order)
        masked, masked_offsets = gather(self.masked_offsets, order)
        return PretrainingExamples(self.input_ids[tokens], self.segment_ids[tokens], token_offsets,
                                   self.masked_lm_positions[masked], self.masked_lm_ids[masked],
                                   masked_offsets, self.next_sentence_labels[order])


def join_examples(parts):
    """Concatenate several `PretrainingExamples`."""
    arrays = {name: np.concatenate([getattr(part, name) for part in parts])
              for name in PretrainingExamples._fields if not name.endswith('offsets')}
    for name in ('token_offsets', 'masked_offsets'):
        lengths = np.concatenate([np.diff(getattr(part, name)) for part in parts])
        arrays[name] = offsets_of(lengths)
    return PretrainingExamples(**arrays)


def make_examples(store, first, stop, copy, sampling, vocabulary):
    """`PretrainingExamples` of the documents `first` to before `stop` of a `TokenStore`.

    copy: index of the copy, from 0; each copy makes other random choices.
    """
    pairs, randoms = [], []
    documents = store.documents(first, stop)
    bounds = store.sentences(int(documents[0]), int(documents[-1])).tolist()
    documents = (documents - documents[0]).tolist()
    for i in range(stop - first):
        rng = np.random.RandomState([sampling.random_seed % 2 ** 32, first + i, copy])
        document_pairs = list(cut_document(bounds[documents[i]:documents[i + 1] + 1], sampling, rng,
                                           RandomSegmentSampler(store, first + i, rng)))
        pairs += document_pairs
        # for each token: its place in the choice, the kind of change, the choice of a replacement
        randoms.append(rng.random_sample((3, sum(map(example_length, document_pairs)))))
    tokens, token_offsets, segment_ids = lay_out_tokens(store, pairs, bounds, vocabulary)
    sort_keys, kinds, replacement_draws = np.concatenate(randoms, axis=1)
    targets = choose_targets(tokens, token_offsets, sort_keys, sampling, vocabulary)
    target_examples = np.searchsorted(token_offsets, targets, side='right') - 1
    return PretrainingExamples(
        mask_tokens(tokens, targets, kinds[targets], replacement_draws[targets], vocabulary),
        segment_ids, token_offsets, (targets - token_offsets[target_examples]).astype('uint16'),
        tokens[targets], np.searchsorted(targets, token_offsets),
        np.array([pair.is_random for pair in pairs], dtype='uint8'))


# Segments


class RandomSegmentSampler:
    """Draws random next segments from the other documents of the store."""

    def __init__(self, store, document, rng):
        self._store, self._document, self._rng = store, document, rng

    def __call__(self, length):
        """Range of tokens: whole sentences of another document, from a random sentence on until
        there are `length` tokens or the document ends."""
        document = int(self._rng.random_sample() * (self._store.num_documents - 1))
        first, stop = self._store.document(document + (document >= self._document))
        first += int(self._rng.random_sample() * (stop - first))
        # each sentence has at least one token, so these are enough; most calls need only a few
        bounds = self._store.sentences(first, min(stop, first + max(length, 1))).tolist()
        last = bisect.bisect_left(bounds, bounds[0] + length, 1, len(bounds) - 1)
        return bounds[0], bounds[last]


def cut_document(bounds, sampling, rng, draw_segment):
    """Yield the `SegmentPair`s of a document.

    bounds: list of the first token of each sentence, and the end. draw_segment: function(length) →
    range of tokens in another document.
    """
    room = sampling.max_seq_length - NUM_SPECIALS
    target = room
    if rng.random_sample() < sampling.short_seq_prob:
        target = 2 + int(rng.random_sample() * (room - 1))
    first, end = 0, len(bounds) - 1
    while first < end:
        last = bisect.bisect_left(bounds, bounds[first] + target, first + 1, end)
        middle = first + 1
        if last - first > 1:
            middle += int(rng.random_sample() * (last - first - 1))
        # a single sentence has no next sentence here, so a random one must follow
        is_random = last - first == 1 or rng.random_sample() < RANDOM_NEXT_PROBABILITY
        a_start, a_stop = bounds[first], bounds[middle]
        if is_random:
            b_start, b_stop = draw_segment(target - (a_stop - a_start))
            last = middle       # the sentences after the first segment stay for the next pair
        else:
            b_start, b_stop = a_stop, bounds[last]
        yield truncate_pair(SegmentPair(a_start, a_stop, b_start, b_stop, is_random), room, rng)
        first = last


def truncate_pair(pair, room, rng):
    """Shorten the pair to `room` tokens: drop tokens one by one from the longer segment, each from
    the front or the back at random."""
    length_a, length_b = pair.a_stop - pair.a_start, pair.b_stop - pair.b_start
    excess = length_a + length_b - room
    if excess <= 0:
        return pair
    from_longer = min(excess, abs(length_a - length_b))
    from_both = excess - from_longer    # in turn, starting with the second segment
    from_a, from_b = from_both // 2, from_both - from_both // 2
    if length_a > length_b:
        from_a += from_longer
    else:
        from_b += from_longer
    is_front = (rng.random_sample(excess) < 0.5).tolist()
    front_a, front_b = sum(is_front[:from_a]), sum(is_front[from_a:])
    return SegmentPair(pair.a_start + front_a, pair.a_stop - (from_a - front_a),
                       pair.b_start + front_b, pair.b_stop - (from_b - front_b), pair.is_random)


def example_length(pair):
    """Number of tokens in the example of a pair, special tokens included."""
    return pair.a_stop - pair.a_start + pair.b_stop - pair.b_start + NUM_SPECIALS


def lay_out_tokens(store, pairs, bounds, vocabulary):
    """(tokens (all,) int32, offsets of the examples, segment_ids (all,) uint8): [CLS], first
    segment, [SEP], second segment, [SEP] for each pair.

    bounds: of the sentences in these documents; the function reads all their tokens at once.
    """
    base = bounds[0]
    document_tokens = store.tokens(base, bounds[-1])
    offsets = offsets_of([example_length(pair) for pair in pairs])
    tokens = np.empty(offsets[-1], dtype='int32')
    segment_ids = np.zeros(offsets[-1], dtype='uint8')
    for pair, start, stop in zip(pairs, offsets.tolist(), offsets[1:].tolist()):
        middle = start + 1 + pair.a_stop - pair.a_start
        tokens[start], tokens[middle], tokens[stop - 1] = (vocabulary.cls, vocabulary.sep,
                                                           vocabulary.sep)
        tokens[start + 1:middle] = document_tokens[pair.a_start - base:pair.a_stop - base]
        tokens[middle + 1:stop - 1] = store.tokens(pair.b_start, pair.b_stop) if pair.is_random \
            else document_tokens[pair.b_start - base:pair.b_stop - base]
        segment_ids[middle + 1:stop] = 1
    return tokens, offsets, segment_ids


# Masks


def choose_targets(tokens, offsets, sort_keys, sampling, vocabulary):
    """Indices of the tokens to predict, in ascending order. Of each example's ordinary tokens they
    are those with the lowest `sort_keys` (in [0, 1)); with whole_word_mask they are whole words."""
    lengths = np.diff(offsets)
    target_counts = np.minimum(sampling.max_predictions_per_seq, np.maximum(
        1, np.rint(lengths * sampling.masked_lm_prob))).astype('int64')
    token_examples = np.repeat(np.arange(len(lengths)), lengths)
    is_ordinary = (tokens != vocabulary.cls) & (tokens != vocabulary.sep)
    candidates = np.flatnonzero(is_ordinary)
    if sampling.whole_word_mask:
        return choose_words(tokens, candidates, token_examples, sort_keys, target_counts,
                            vocabulary)
    order = candidates[np.argsort(token_examples[candidates] + sort_keys[candidates],
                                  kind='stable')]
    candidate_counts = np.bincount(token_examples[candidates], minlength=len(lengths))
    starts = np.cumsum(candidate_counts) - candidate_counts     # of each example in `order`
    return np.sort(order[ranges(starts, np.minimum(target_counts, candidate_counts))])


def choose_words(tokens, candidates, token_examples, sort_keys, target_counts, vocabulary):
    """The same for whole words: skip a word with more tokens than an example still needs."""
    is_start = ~vocabulary.is_continuation[tokens[candidates]]
    # a segment may begin inside a word: the remaining pieces count as a word
    is_start[np.flatnonzero(np.diff(candidates) > 1) + 1] = True
    is_start[:1] = True
    starts = np.flatnonzero(is_start)
    sizes = np.diff(np.append(starts, len(candidates)))
    word_examples = token_examples[candidates[starts]]
    order = np.argsort(word_examples + sort_keys[candidates[starts]], kind='stable')
    targets, room, current_example = [], 0, -1
    for word, example in zip(order.tolist(), word_examples[order].tolist()):
        if example != current_example:
            current_example, room = example, target_counts[example]
        if sizes[word] <= room:
            room -= sizes[word]
            targets.append(candidates[starts[word]:starts[word] + sizes[word]])
    return np.sort(np.concatenate(targets or [candidates[:0]]))


def mask_tokens(tokens, targets, kinds, replacement_draws, vocabulary):
    """`tokens` with the targets masked, replaced or unchanged. For each target, `kinds` in [0, 1)
    decides which of these, and `replacement_draws` in [0, 1) selects the new token."""
    masked_tokens = tokens.copy()
    masked_tokens[targets[kinds < MASK_PROBABILITY]] = vocabulary.mask
    is_replaced = (kinds >= MASK_PROBABILITY) & (kinds < MASK_PROBABILITY + REPLACE_PROBABILITY)
    indices = (replacement_draws[is_replaced] * len(vocabulary.replacements)).astype('int64')
    masked_tokens[targets[is_replaced]] = vocabulary.replacements[indices]
    return masked_tokens
