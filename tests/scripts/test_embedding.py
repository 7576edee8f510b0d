"""BertEmbedding: words and vectors against a slow reference, unusual texts, long texts."""
import json
import logging

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from support import tiny

from bert import create_pretraining_data, finetune_classifier, run_pretraining
from bert.errors import UserError
from bert.flags.embedding import OOV_WAYS
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.weights import loading
from bert.pipelines.embedding import BertEmbedding
from bert.pipelines.pooling import merge_pieces, normalize_rows, similarity

TENSORS = numpy_bert.random_tensors(tiny.CONFIG)
# words of several pieces, an unknown word, a text of one word, an empty text
TEXTS = ['The films was so very good.', 'it zzz actors', 'fine', '', 'plots plots. scene it was so']
WORDS = [['the', 'films', 'was', 'so', 'very', 'good', '.'], ['it', 'zzz', 'actors'], ['fine'], [],
         ['plots', 'plots', '.', 'scene', 'it', 'was', 'so']]


@pytest.fixture(scope='module')
def make_embedder(tiny_bert):
    """Function: options → BertEmbedding of the tiny model."""
    def make_embedder(**options):
        return BertEmbedding(bert_checkpoint=tiny_bert, **options)
    return make_embedder


def reference_states(text, limit=40):
    """([hidden states (tokens, units)] of one text, index of each piece's word)."""
    ids = {token: i for i, token in enumerate(tiny.TOKENS)}
    pieces = [(piece, index) for index, word in enumerate(split_words(text))
              for piece in word_pieces(word)]
    pieces = pieces[:limit - 2]
    tokens = [ids['[CLS]']] + [ids[piece] for piece, _ in pieces] + [ids['[SEP]']]
    states = numpy_bert.hidden_states(TENSORS, tiny.CONFIG, [tokens], [[0] * len(tokens)])
    return [state[0] for state in states], [index for _, index in pieces]


def split_words(text):
    return text.lower().replace('.', ' . ').split()


def word_pieces(word):
    """The pieces of a word with this vocabulary."""
    if word in tiny.TOKENS:
        return [word]
    if word.endswith('s') and word[:-1] in tiny.TOKENS:
        return [word[:-1], '##s']
    return ['[UNK]']


def reference_words(text, states, word_indices, merge=np.mean):
    return [merge(states[1:-1][np.array(word_indices) == i], axis=0)
            for i in sorted(set(word_indices))]


@pytest.mark.parametrize('batch_size', [1, 3, 256])
def test_words_and_vectors(make_embedder, batch_size):
    """Independent of the other texts in the batch, and in the order of the texts."""
    results = make_embedder(batch_size=batch_size)(TEXTS)
    assert [words for words, _ in results] == WORDS
    for text, (words, vectors) in zip(TEXTS, results):
        states, word_indices = reference_states(text)
        expected = reference_words(text, states[-1], word_indices)
        assert len(vectors) == len(words) == len(expected)
        for vector, expected_vector in zip(vectors, expected):
            assert vector.shape == (8,) and vector.dtype == np.float32
            np.testing.assert_allclose(vector, expected_vector, atol=1e-4)


@pytest.mark.parametrize('oov_way, merge', [
    ('avg', np.mean), ('sum', np.sum), ('last', lambda rows, axis: rows[-1])])
def test_ways_to_make_a_word_of_pieces(make_embedder, oov_way, merge):
    (_, vectors), = make_embedder()(['films was actors'], oov_way=oov_way)
    states, word_indices = reference_states('films was actors')
    np.testing.assert_allclose(
        vectors, reference_words('', states[-1], word_indices, merge), atol=1e-4)


def test_the_ways_differ(make_embedder):
    vectors = [make_embedder()('films', oov_way=way)[0][1][0] for way in OOV_WAYS]
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(vectors, vectors[1:]))


@pytest.mark.parametrize('layers, combine, expected', [
    ((-1, -2), 'concat', lambda states: np.concatenate([states[-1], states[-2]], axis=1)),
    ((0, 2), 'sum', lambda states: states[0] + states[2]),
    ((-1, -2, -3), 'mean', lambda states: sum(states) / 3),
    ((1,), 'concat', lambda states: states[1])])
def test_layers(make_embedder, layers, combine, expected):
    embedder = make_embedder(layers=layers, combine=combine)
    (_, vectors), = embedder('the good film')
    states, _ = reference_states('the good film')
    reference = expected(states)
    assert embedder.width == reference.shape[1]
    np.testing.assert_allclose(vectors, reference[1:-1], atol=1e-4)


@pytest.mark.parametrize('pooling, expected', [
    ('mean', lambda states: states.mean(axis=0)), ('max', lambda states: states.max(axis=0)),
    ('cls', lambda states: states[0]),
    ('pooler', lambda states: numpy_bert.pooled(TENSORS, states[None])[0])])
def test_one_vector_a_text(make_embedder, pooling, expected):
    vectors = make_embedder().sentence(TEXTS, pooling, normalize=False)
    assert vectors.shape == (len(TEXTS), 8) and vectors.dtype == np.float32
    for text, row in zip(TEXTS, vectors):
        np.testing.assert_allclose(row, expected(reference_states(text)[0][-1]), atol=1e-4)
    rows = make_embedder().sentence(TEXTS, pooling)
    np.testing.assert_allclose((rows ** 2).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows, normalize_rows(vectors), atol=1e-5)


# ---- checkpoints


def test_checkpoints_of_pretraining_and_finetuning(call, in_tmp, tiny_bert, sst):
    """The folders of runs, and those of their checkpoints."""
    (in_tmp / 'sizes.json').write_text(json.dumps(
        dict(num_layers=2, units=8, hidden_size=16, num_heads=2, max_length=40)))
    (in_tmp / 'vocab.txt').write_text(''.join(token + '\n' for token in tiny.TOKENS))
    tiny.write_corpus(in_tmp / 'text.txt')
    assert call(create_pretraining_data, '--input_file', 'text.txt', '--vocab', 'vocab.txt',
                '--output_dir', 'data', '--max_seq_length', 40, '--num_workers', 1).code == 0
    assert call(run_pretraining, '--data', 'data/*.npz', '--bert_config', 'sizes.json',
                '--dataset_name', 'vocab.txt', '--num_steps', 2, '--batch_size', 4, '--ckpt_dir',
                'ckpt').code == 0
    assert call(finetune_classifier, '--task_name', 'SST', '--data_dir', sst, '--bert_checkpoint',
                tiny_bert, '--epochs', 1, '--max_len', 24, '--output_dir', 'run').code == 0
    for run in ('ckpt', 'run'):
        newest = json.loads((in_tmp / run / 'checkpoints.json').read_text())['newest']
        network = BERTModel(tiny.CONFIG, use_pooler=False)
        loading.load_encoder_arrays(network, {
            name: array.asnumpy() for name, array
            in mx.nd.load('%s/%s/model.params' % (run, newest)).items()}, run)
        ids = mx.nd.array([[tiny.TOKENS.index(token)
                            for token in ('[CLS]', 'so', 'good', '[SEP]')]])
        expected = network(ids, mx.nd.zeros_like(ids), mx.nd.array([4])).asnumpy()[0, 1:-1]
        for path in (run, '%s/%s' % (run, newest)):
            (words, vectors), = BertEmbedding(bert_checkpoint=path)('so good')
            assert words == ['so', 'good']
            np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_a_file_of_weights(tiny_bert, tmp_path, monkeypatch):
    network, vocabulary = zoo.load_checkpoint(tiny_bert, 'bert_12_768_12', None, use_decoder=False,
                                              use_classifier=False)
    path = str(tmp_path / 'net.params')
    network.save_parameters(path)
    requests = []

    def get_model(name, dataset, pretrained, use_pooler, **parts):
        requests.append((name, dataset, pretrained))
        return BERTModel(tiny.CONFIG, use_pooler=use_pooler), vocabulary
    monkeypatch.setattr(zoo, 'get_released_model', get_model)
    embedder = BertEmbedding(model='bert_6_384_12', dataset_name='all_minilm_l6_v2',
                             params_path=path)
    assert requests == [('bert_6_384_12', 'all_minilm_l6_v2', False)]
    np.testing.assert_allclose(embedder.sentence(TEXTS), BertEmbedding(
        bert_checkpoint=tiny_bert).sentence(TEXTS), atol=1e-6)


# ---- length

LONG_TEXT = 'the film was so very good and it was very fine and so it was'    # 15 words


def test_texts_are_cut_at_25_with_one_warning(make_embedder, caplog):
    embedder = make_embedder()
    texts = ['so ' * 30, 'fine'] * 3
    with caplog.at_level(logging.WARNING):
        results = embedder(texts)
    assert [len(words) for words, _ in results] == [23, 1] * 3
    assert [record.getMessage() for record in caplog.records] == [
        '3 of 6 texts were cut at 25 tokens, special tokens included; max_seq_length=None reads up '
        "to 40; long_text='split' reads whole texts"]


def test_the_length_of_the_model(make_embedder, caplog):
    assert len(make_embedder(max_seq_length=None)('so ' * 30)[0][0]) == 30
    assert not caplog.records
    embedder = make_embedder(max_seq_length=None)
    embedder.sentence('so ' * 50)
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 1 texts were cut at 40 tokens, special tokens included; long_text='split' reads "
        'whole texts']


def test_sentences_have_the_length_of_the_model_by_default(make_embedder):
    rows = make_embedder().sentence(['so ' * 30, 'so ' * 31])
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_long_texts_are_an_error_if_requested(make_embedder):
    with pytest.raises(UserError, match=r'text 1 \(from 0\): 32 tokens, special tokens included, '
                                        'but max_seq_length is 25: shorten'):
        make_embedder(long_text='error')(['so', 'so ' * 30])


def test_long_texts_in_windows(make_embedder):
    """15 words, 8 tokens at once: windows of 6 words that overlap by 3. A word in two windows has
    the mean of its two vectors."""
    embedder = make_embedder(max_seq_length=8, long_text='split')
    (words, vectors), = embedder(LONG_TEXT)
    assert words == LONG_TEXT.split()
    sums, counts = np.zeros((15, 8)), np.zeros(15)
    window_means = []
    for start in (0, 3, 6, 9):
        part = ' '.join(LONG_TEXT.split()[start:start + 6])
        states = reference_states(part)[0][-1]
        sums[start:start + 6] += states[1:-1]
        counts[start:start + 6] += 1
        window_means.append(states.mean(axis=0))
    np.testing.assert_allclose(vectors, sums / counts[:, None], atol=1e-4)
    rows = embedder.sentence([LONG_TEXT, 'fine'], normalize=False, max_seq_length=8)
    np.testing.assert_allclose(rows[0], np.mean(window_means, axis=0), atol=1e-4)
    np.testing.assert_allclose(rows[1], reference_states('fine')[0][-1].mean(axis=0), atol=1e-4)


# ---- iterators


def test_texts_are_taken_as_they_are_needed(make_embedder, monkeypatch):
    monkeypatch.setattr(BertEmbedding, 'texts_at_once', lambda self, sentence: 4)
    indices = []

    def texts():
        for i in range(10):
            indices.append(i)
            yield TEXTS[i % len(TEXTS)]
    embedder = make_embedder()
    results = embedder.embed_iter(texts())
    assert not indices
    first_result = next(results)
    assert len(indices) == 4
    all_results = [first_result] + list(results)
    for (words, vectors), (expected_words, expected) in zip(all_results, embedder(TEXTS * 2)):
        assert words == expected_words
        np.testing.assert_allclose(np.array(vectors), np.array(expected), atol=1e-5)
    parts = list(embedder.sentence_iter(texts()))
    assert [len(part) for part in parts] == [4, 4, 2]
    np.testing.assert_allclose(np.concatenate(parts), embedder.sentence(TEXTS * 2), atol=1e-5)


def test_word_pieces(make_embedder):
    (pieces, vectors), = make_embedder().embed_iter(['films zzz'], pieces=True)
    assert pieces == ['film', '##s', '[UNK]'] and len(vectors) == 3


# ---- unusual texts


@pytest.mark.parametrize('text, words', [
    ('', []), (' \t\n ', []), ('x' * 5000, ['x' * 5000]), ('😀 good', ['😀', 'good']),
    ('שלום', ['שלום']), ('go\x00od \x07', ['good']), ('GOOD\u00a0film', ['good', 'film']),
    ('电影', ['电', '影']), ('ﬁne', ['ﬁne'])])
def test_odd_texts(make_embedder, text, words):
    embedder = make_embedder()
    (actual, vectors), = embedder([text])
    assert actual == words and len(vectors) == len(words)
    assert np.isfinite(embedder.sentence([text])).all()


@pytest.mark.parametrize('texts, problem', [
    (['a', None], 'text 1: NoneType found, expected a str'),
    ([3.5], 'text 0: float found, expected a str'), ([b'a'], 'text 0: bytes found, expected a str'),
    (['a', 'b', '\ud800'], 'text 2: half a surrogate pair found')])
def test_what_is_no_text(make_embedder, texts, problem):
    for embed in (make_embedder(), make_embedder().sentence):
        with pytest.raises(UserError, match=problem):
            embed(texts)


def test_no_texts_give_no_vectors(make_embedder):
    assert make_embedder()([]) == [] and list(make_embedder().embed_iter([])) == []
    assert make_embedder().sentence([]).shape == (0, 8)


def test_a_str_is_one_text(make_embedder):
    assert [words for words, _ in make_embedder()('so good')] == [['so', 'good']]
    assert make_embedder().sentence('so good').shape == (1, 8)


@pytest.mark.parametrize('options, problem', [
    ({'layers': (3,)}, 'layers 3: expected numbers from -3 to 2: this model has 2 layers'),
    ({'dtype': 'int4'}, 'dtype "int4": expected one of float32, bfloat16, int8, float16'),
    ({'dtype': 'float16'}, '--dtype float16 needs a GPU'),
    ({'batch_size': 0}, 'batch_size 0: expected a whole number of texts from 1 on'),
    ({'batch_size': 2.5}, 'batch_size 2.5: expected a whole number'),
    ({'layers': 'last'}, "layers 'last': expected numbers from -3 to 2"),
    ({'max_seq_length': '25'}, 'max_seq_length 25: expected from 3 to 40'),
    ({'layers': ()}, 'layers none: expected numbers from -3 to 2'),
    ({'combine': 'max'}, 'combine "max": expected one of concat, sum, mean'),
    ({'long_text': 'cut'}, 'long_text "cut": expected one of warn, error, split'),
    ({'max_seq_length': 2}, 'max_seq_length 2: expected from 3 to 40'),
    ({'max_seq_length': 41}, 'max_seq_length 41: expected from 3 to 40'),
    ({'sentencepiece': 'x.model'}, 'sentencepiece: SentencePiece models are not supported'),
    ({'params_path': 'x.params'}, 'params_path and bert_checkpoint: give one of the two')])
def test_options_that_make_no_sense(make_embedder, options, problem):
    with pytest.raises(UserError, match=problem):
        make_embedder(**options)


def test_a_gpu_that_is_not_there(make_embedder):
    with pytest.raises(UserError, match='ctx 0: no GPU for this MXNet: .*; leave ctx out to run'):
        make_embedder(ctx=mx.gpu(0))


def test_weights_without_a_pooler(tmp_path):
    path = tiny.write_transformers(tmp_path / 'bert', {
        name: tensor for name, tensor in TENSORS.items()
        if not name.startswith('cls.') and 'pooler' not in name})
    embedder = BertEmbedding(bert_checkpoint=path)
    assert embedder.sentence(['so good']).shape == (1, 8)
    with pytest.raises(UserError, match='pooling "pooler": the weights have no pooler: choose one '
                                        'of mean, cls, max, mean_sqrt_len_tokens, weightedmean, '
                                        'lasttoken$'):
        embedder.sentence(['so good'], pooling='pooler')


def test_calls_that_make_no_sense(make_embedder):
    with pytest.raises(UserError, match='oov_way "max": expected one of avg, sum, last'):
        make_embedder()(['a'], oov_way='max')
    with pytest.raises(UserError, match='pooling "sum": expected one of mean, cls, max, mean'):
        make_embedder().sentence(['a'], pooling='sum')
    with pytest.raises(UserError, match='pooling "pooler": it reads only the last layer'):
        make_embedder(layers=(-1, -2)).sentence(['a'], pooling='pooler')


# ---- helpers


def test_merge():
    rows = np.arange(8, dtype='float32').reshape(4, 2)
    words = np.array([0, 0, 2, 3])
    assert merge_pieces(rows, words, 'avg').tolist() == [[1, 2], [4, 5], [6, 7]]
    assert merge_pieces(rows, words, 'sum').tolist() == [[2, 4], [4, 5], [6, 7]]
    assert merge_pieces(rows, words, 'last').tolist() == [[2, 3], [4, 5], [6, 7]]
    assert merge_pieces(rows[:0], words[:0], 'avg').shape == (0, 2)


def test_similarity():
    cosines = similarity([[1, 0], [0, 2], [0, 0]], [[3, 4]])
    np.testing.assert_allclose(cosines, [[0.6], [0.8], [0]], rtol=1e-6)
    np.testing.assert_allclose(similarity([1, 0], [3, 4]), [[0.6]], rtol=1e-6)
    with pytest.raises(UserError, match=r'arrays of the shapes \(1, 2\) and \(1, 3\)'):
        similarity([1, 0], [3, 4, 5])


def test_one_layer_by_its_number(make_embedder):
    np.testing.assert_array_equal(make_embedder(layers=1).sentence('so good'),
                                  make_embedder(layers=(1,)).sentence('so good'))


@pytest.mark.parametrize('texts', [None, 7])
def test_what_holds_no_texts(make_embedder, texts):
    for embed in (make_embedder(), make_embedder().sentence,
                  lambda values: list(make_embedder().embed_iter(values))):
        with pytest.raises(UserError, match='texts: .* found, expected a str or an '):
            embed(texts)


def test_number_of_texts_at_once(make_embedder):
    """Word vectors come in chunks of at most 2^25 numbers, 128 MiB."""
    embedder = make_embedder()
    assert embedder.texts_at_once(sentence=True) == embedder.texts_at_once(sentence=False) == 4096
    embedder = make_embedder(max_seq_length=None)
    embedder.width = 1024
    assert embedder.texts_at_once(sentence=False) == 2 ** 25 // (40 * 1024)
