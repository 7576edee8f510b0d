"""Pre-training examples: the rules for segments and masks, and the rates that they imply."""
import collections
import random

import numpy as np
import pytest

from benchmarks.pretraining import plain_examples
from bert.data.pretraining import corpus
from bert.data.pretraining import examples as pretraining_examples
from bert.data.pretraining.examples import (
    MaskingVocabulary,
    SamplingOptions,
    SegmentPair,
    cut_document,
    make_examples,
)
from bert.data.pretraining.token_store import TokenStore, write_store
from bert.data.text.tokenizer import BertTokenizer
from bert.errors import UserError
from bert.vocabulary import make_vocabulary, read_vocabulary

SPECIAL_TOKENS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
TOKENS = SPECIAL_TOKENS + ['w%d' % i for i in range(200)] + ['##p%d' % i for i in range(100)]


def random_documents(num_documents, seed, length_limit=12):
    """Documents of ids of TOKENS, without special tokens."""
    rng = np.random.RandomState(seed)
    return [[rng.randint(5, len(TOKENS), size=rng.randint(1, length_limit)).astype('int32')
             for _ in range(rng.randint(1, 15))] for _ in range(num_documents)]


@pytest.fixture
def store(tmp_path):
    """Function: documents → an open `TokenStore` with them."""
    stores = []

    def make(documents):
        path = str(tmp_path / ('store-%d' % len(stores)))
        write_store(path, documents, len(TOKENS))
        stores.append(TokenStore(path, len(TOKENS)))
        return stores[-1]
    yield make
    for token_store in stores:
        token_store.__exit__()


def unpack(examples):
    """[(ids, segments, {position: id before masking}, label)] of `PretrainingExamples`."""
    rows = []
    for i in range(examples.size):
        tokens = slice(*examples.token_offsets[i:i + 2])
        masked = slice(*examples.masked_offsets[i:i + 2])
        rows.append((examples.input_ids[tokens].tolist(), examples.segment_ids[tokens].tolist(),
                     dict(zip(examples.masked_lm_positions[masked].tolist(),
                              examples.masked_lm_ids[masked].tolist())),
                     int(examples.next_sentence_labels[i])))
    return rows


def unmask(ids, masked):
    """The ids before masking."""
    return [masked.get(i, token) for i, token in enumerate(ids)]


# ---- segments


class SharedRandom:
    """Random numbers of a seed, with the methods of `random.Random` and of `RandomState`: the
    reference and our functions make the same choices with it."""

    def __init__(self, seed):
        self._rng = random.Random(seed)

    def random_sample(self, size=None):
        return self._rng.random() if size is None else np.array(
            [self._rng.random() for _ in range(size)])

    def random(self):
        return self._rng.random()

    def randint(self, low, high):
        return low + int(self._rng.random() * (high - low + 1))


@pytest.mark.parametrize('short_seq_prob', [0.0, 1.0])
def test_document_pairs_equal_the_reference(monkeypatch, short_seq_prob):
    """Both get the same random numbers, draw the same made-up random segment and don't
    truncate."""
    monkeypatch.setattr(pretraining_examples, 'truncate_pair', lambda pair, room, rng: pair)
    monkeypatch.setattr(plain_examples, 'truncate_pair', lambda *args: None)
    for seed in range(300):
        document = random_documents(1, seed)[0]
        expected, expected_lengths = reference_pairs(monkeypatch, document, seed, short_seq_prob)
        bounds = np.cumsum([0] + [len(ids) for ids in document]).tolist()
        tokens = np.concatenate(document).tolist()
        lengths = []

        def draw_segment(length, lengths=lengths):
            lengths.append(length)
            return 0, 0
        pairs = list(cut_document(bounds, SamplingOptions(23, 5, short_seq_prob=short_seq_prob),
                                  SharedRandom(seed), draw_segment))
        assert [(tokens[pair.a_start:pair.a_stop],
                 [-1] if pair.is_random else tokens[pair.b_start:pair.b_stop], pair.is_random)
                for pair in pairs] == expected
        assert lengths == expected_lengths


def reference_pairs(monkeypatch, document, seed, short_seq_prob):
    """(pairs of the reference, the number of tokens of each random segment that it draws)"""
    lengths = []
    monkeypatch.setattr(plain_examples, 'random_segment',
                        lambda documents, index, rng, length: lengths.append(length) or [-1])
    documents = [[ids.tolist() for ids in document]]
    pairs = plain_examples.segment_pairs(documents, 0, SharedRandom(seed), 20, short_seq_prob)
    return list(pairs), lengths


@pytest.mark.parametrize('a', range(1, 9))
@pytest.mark.parametrize('b', range(1, 9))
def test_truncate_pair_drops_as_many_tokens_as_the_reference(a, b):
    for room in range(2, 17):
        first, second = list(range(a)), list(range(b))
        plain_examples.truncate_pair(first, second, room, random.Random(1))
        pair = pretraining_examples.truncate_pair(
            SegmentPair(100, 100 + a, 200, 200 + b, False), room, np.random.RandomState(1))
        assert (pair.a_stop - pair.a_start, pair.b_stop - pair.b_start) == (
            len(first), len(second))
        assert 100 <= pair.a_start <= pair.a_stop <= 100 + a
        assert 200 <= pair.b_start <= pair.b_stop <= 200 + b


def test_truncate_pair_drops_from_both_ends_at_random():
    rng = np.random.RandomState(0)
    pair = SegmentPair(0, 30, 0, 10, False)
    front_counts = [pretraining_examples.truncate_pair(pair, 20, rng).a_start for _ in range(2000)]
    assert abs(np.mean(front_counts) - 10) < 0.2      # 20 tokens: binomial, standard error 0.05
    assert abs(np.std(front_counts) - 5 ** 0.5) < 0.15


def test_the_random_next_sentence_is_of_another_document(store):
    documents = [[np.array([10 * d + s]) for s in range(4)] for d in range(3)]
    token_store = store(documents)
    counts = collections.Counter()
    rng = np.random.RandomState(0)
    for _ in range(6000):
        start, stop = pretraining_examples.RandomSegmentSampler(token_store, 1, rng)(2)
        ids = token_store.tokens(start, stop).tolist()
        assert ids == list(range(ids[0], ids[0] + min(2, 4 - ids[0] % 10)))
        counts[ids[0]] += 1
    assert set(counts) == {0, 1, 2, 3, 20, 21, 22, 23}      # every sentence of the other documents
    assert max(abs(count - 750) for count in counts.values()) < 110     # 4 standard errors


def test_no_sentence_is_lost_without_random_next_sentences(store, monkeypatch):
    monkeypatch.setattr(pretraining_examples, 'RANDOM_NEXT_PROBABILITY', 0.0)
    documents = random_documents(20, 5, length_limit=6)
    examples = make_examples(store(documents), 0, 20, 0,
                             SamplingOptions(1000, 5, short_seq_prob=0.0),
                             MaskingVocabulary(TOKENS))
    long_documents = [document for document in documents if len(document) > 1]
    actual = [unmask(ids, masked) for ids, _, masked, label in unpack(examples) if not label]
    expected = [np.concatenate(document).tolist() for document in long_documents]
    assert [[token for token in ids if token > 4] for ids in actual] == expected


# ---- whole examples


def test_an_example_is_two_segments_of_documents(store):
    documents = random_documents(30, 1)
    texts = [np.concatenate(document).tolist() for document in documents]
    sampling = SamplingOptions(32, 6, short_seq_prob=0.2)
    examples = make_examples(store(documents), 0, 30, 0, sampling, MaskingVocabulary(TOKENS))
    assert examples.size > 100
    for ids, segments, masked, label in unpack(examples):
        tokens = unmask(ids, masked)
        assert len(tokens) <= 32 and tokens[0] == 2 and tokens[-1] == 3 and tokens.count(3) == 2
        first_sep = tokens.index(3)
        assert segments == [0] * (first_sep + 1) + [1] * (len(tokens) - first_sep - 1)
        first, second = tokens[1:first_sep], tokens[first_sep + 1:-1]
        assert first and second
        matches = [[i for i, text in enumerate(texts) if is_part(part, text)]
                   for part in (first, second)]
        assert matches[0] and matches[1]
        if not label:
            assert any(is_part(first + second, text) or len(tokens) == 32 for text in texts)


def is_part(part, text):
    return any(text[i:i + len(part)] == part for i in range(len(text) - len(part) + 1))


@pytest.mark.parametrize('whole_word_mask', [False, True])
def test_masked_positions(store, whole_word_mask):
    documents = random_documents(200, 2)
    sampling = SamplingOptions(64, 7, masked_lm_prob=0.2, whole_word_mask=whole_word_mask)
    examples = make_examples(store(documents), 0, 200, 0, sampling, MaskingVocabulary(TOKENS))
    ratios = []
    for ids, _, masked, _ in unpack(examples):
        tokens = unmask(ids, masked)
        num_targets = min(7, max(1, round(0.2 * len(ids))))
        assert all(tokens[position] > 4 for position in masked)      # never a special token
        if whole_word_mask:
            check_whole_words(tokens, masked)
            assert len(masked) <= num_targets
        else:
            assert len(masked) == num_targets
        ratios.append(len(masked) / num_targets)
        replacements = [ids[position] for position in masked]
        assert not set(replacements) & {0, 1, 2, 3}     # nor replaced by one, except [MASK]
    assert np.mean(ratios) > 0.97


def check_whole_words(tokens, masked):
    """Check that all pieces of a word are masked, or none."""
    for position in range(1, len(tokens)):
        is_piece = TOKENS[tokens[position]].startswith('##') and tokens[position - 1] > 4
        assert not is_piece or (position in masked) == (position - 1 in masked)


def test_a_word_with_too_many_pieces_is_not_masked(store):
    word = [5] + [205] * 9              # ten pieces, and at most 5 tokens are masked
    documents = [[np.array(word + [6, 7, 8])], [np.array([9, 10])]]
    examples = make_examples(store(documents), 0, 1, 0,
                             SamplingOptions(30, 5, 0.99, 0.0, whole_word_mask=True),
                             MaskingVocabulary(TOKENS))
    (ids, _, masked, _), = unpack(examples)
    assert set(masked.values()) <= {6, 7, 8, 9, 10} and len(masked) >= 4


def test_all_tokens_but_special_ones_can_be_masked(store):
    """Also with a probability that would cover the special tokens."""
    examples = make_examples(store(random_documents(20, 6)), 0, 20, 0, SamplingOptions(24, 21, 1.0),
                             MaskingVocabulary(TOKENS))
    for ids, _, masked, _ in unpack(examples):
        assert sorted(masked) == [i for i, token in enumerate(unmask(ids, masked)) if token > 4]


def test_the_choices_depend_on_seed_document_and_copy_alone(store):
    documents = random_documents(12, 3)
    token_store, vocabulary = store(documents), MaskingVocabulary(TOKENS)

    def make(first, stop, copy=0, seed=1):
        return unpack(make_examples(token_store, first, stop, copy,
                                    SamplingOptions(32, 6, random_seed=seed), vocabulary))
    expected = make(0, 12)
    assert make(0, 5) + make(5, 6) + make(6, 12) == expected
    assert make(0, 12, copy=1) != expected
    assert make(0, 12, seed=2) != expected
    assert make(0, 12, seed=1 + 2 ** 32) == expected


def test_examples_are_joined_and_selected(store):
    token_store, vocabulary = store(random_documents(9, 4)), MaskingVocabulary(TOKENS)
    parts = [make_examples(token_store, i, i + 3, 0, SamplingOptions(32, 6), vocabulary)
             for i in (0, 3, 6)]
    joined_examples = pretraining_examples.join_examples(parts)
    assert unpack(joined_examples) == sum(map(unpack, parts), [])
    indices = np.random.RandomState(0).permutation(joined_examples.size)[:7]
    selection = joined_examples.select(indices)
    assert unpack(selection) == [unpack(joined_examples)[i] for i in indices]
    assert joined_examples.select(np.array([], dtype='int64')).size == 0


@pytest.mark.parametrize('values, problem', [
    (dict(max_seq_length=4, max_predictions_per_seq=1), 'max_seq_length 4: expected 5 or more'),
    (dict(max_seq_length=10, max_predictions_per_seq=8),
     'max_predictions_per_seq 8: only 7 tokens of --max_seq_length 10 are not special')])
def test_sizes_that_contradict_each_other(values, problem):
    with pytest.raises(UserError, match=problem):
        SamplingOptions(**values).check()


def test_a_cap_on_predictions():
    assert not SamplingOptions(128, 20).is_capped      # 0.15 · 128 = 19.2
    assert SamplingOptions(512, 20).is_capped and not SamplingOptions(512, 77).is_capped


# ---- rates, on the State of the Union addresses


@pytest.fixture(scope='module')
def addresses(data_dir, tmp_path_factory):
    """(an open store of the corpus, the vocabulary's tokens, its documents as lists of tokens)"""
    vocabulary = read_vocabulary(str(data_dir / 'vocab' / 'bert-base-uncased.txt'))
    tokenizer = BertTokenizer(vocabulary, lower=True)
    scan = corpus.scan(str(data_dir / 'corpus' / 'sotu_sentences.txt'), 1 << 30)
    documents = [tokenizer.encode(lines) for block in scan.blocks
                 for lines in corpus.read_documents(block)]
    path = str(tmp_path_factory.mktemp('sotu') / 'store')
    write_store(path, documents, len(vocabulary))
    tokens = vocabulary.idx_to_token
    with TokenStore(path, len(vocabulary)) as token_store:
        yield token_store, tokens, [[[tokens[i] for i in ids] for ids in document]
                                    for document in documents]


@pytest.fixture(scope='module')
def sotu_examples(addresses):
    token_store, tokens, _ = addresses
    return make_examples(token_store, 0, token_store.num_documents, 0, SamplingOptions(),
                         MaskingVocabulary(tokens))


@pytest.mark.exhaustive
def test_mask_rates(sotu_examples, addresses):
    """15 % ± 0.3 of the tokens, and 80/10/10 % ± 1 of these."""
    tokens = addresses[1]
    assert len(sotu_examples.input_ids) > 100000
    assert abs(len(sotu_examples.masked_lm_ids) / len(sotu_examples.input_ids) - 0.15) < 0.003
    starts = np.repeat(sotu_examples.token_offsets[:-1], np.diff(sotu_examples.masked_offsets))
    inputs = sotu_examples.input_ids[starts + sotu_examples.masked_lm_positions]
    is_mask, is_same = inputs == tokens.index('[MASK]'), inputs == sotu_examples.masked_lm_ids
    assert abs(is_mask.mean() - 0.8) < 0.01
    assert abs(is_same.mean() - 0.1) < 0.01
    assert abs((~is_mask & ~is_same).mean() - 0.1) < 0.01
    replacements = inputs[~is_mask & ~is_same]
    # uniform over the whole vocabulary: n draws leave out exp(-n / size) of it
    missing_share = np.exp(-len(replacements) / len(tokens))
    assert abs(len(set(replacements.tolist())) / len(tokens) - (1 - missing_share)) < 0.01
    special_ids = [tokens.index(name) for name in SPECIAL_TOKENS]
    assert not set(special_ids) & set(replacements.tolist())
    assert not set(special_ids[2:]) & set(sotu_examples.masked_lm_ids.tolist())


@pytest.mark.exhaustive
def test_the_rate_of_random_next_sentences(addresses):
    """Half, and those that have no true next sentence, as in the reference: about 54.5 % here. The
    rate varies by a point between copies, with the lengths of short examples: hence 16 copies."""
    token_store, _, documents = addresses
    actual, expected = [], []
    for copy in range(16):
        reference_rng = random.Random(copy)
        for i in range(token_store.num_documents):
            bounds = token_store.sentences(*token_store.document(i)).tolist()
            rng = np.random.RandomState([1, i, copy])
            actual += [pair.is_random for pair in cut_document(
                bounds, SamplingOptions(), rng,
                pretraining_examples.RandomSegmentSampler(token_store, i, rng))]
            expected += [is_random for _, _, is_random in
                         plain_examples.segment_pairs(documents, i, reference_rng, 125, 0.1)]
    assert min(len(actual), len(expected)) > 300000
    assert abs(np.mean(actual) - 0.545) < 0.01
    assert abs(np.mean(actual) - np.mean(expected)) < 0.008   # standard error 0.0035
    assert abs(len(actual) / len(expected) - 1) < 0.02        # and the same number of examples


def test_the_rate_of_short_examples():
    """Each document has probability 0.1 of a random target length, from 2 to the maximum."""
    bounds = list(range(200))           # sentences of one token
    lengths = []
    for seed in range(10000):
        pair = next(cut_document(bounds, SamplingOptions(), np.random.RandomState(seed),
                                 lambda length: (0, length)))
        lengths.append(pair.a_stop - pair.a_start + pair.b_stop - pair.b_start)
    short_lengths = [length for length in lengths if length < 125]
    assert max(lengths) == 125
    # 1 of 124 of the short examples has length 125
    assert abs(len(short_lengths) / 10000 - 0.1 * 123 / 124) < 0.009        # 3 standard errors
    assert abs(np.mean(short_lengths) - 63) < 4 and min(short_lengths) == 2


def test_special_tokens_are_no_replacements():
    assert MaskingVocabulary(make_vocabulary(TOKENS).idx_to_token).replacements.tolist() == list(
        range(5, len(TOKENS)))
