"""BertEmbedding: words and vectors against a slow reference, odd texts, long ones."""
import json
import logging

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert
from support import tiny

from bert import create_pretraining_data, finetune_classifier, run_pretraining
from bert.errors import UserError
from bert.model import zoo
from bert.model.bert import BERTModel
from bert.model.weights import loading
from bert.pipelines import embedding
from bert.pipelines.embedding import BertEmbedding
from bert.pipelines.pooling import merge_pieces, normalize_rows, similarity

TENSORS = numpy_bert.random_tensors(tiny.CONFIG)
# words of several pieces, an unknown one, a text of one word, an empty one
TEXTS = ['The films was so very good.', 'it zzz actors', 'fine', '', 'plots plots. scene it was so']
WORDS = [['the', 'films', 'was', 'so', 'very', 'good', '.'], ['it', 'zzz', 'actors'], ['fine'], [],
         ['plots', 'plots', '.', 'scene', 'it', 'was', 'so']]


@pytest.fixture(scope='module')
def make(tiny_bert):
    """Function: options → BertEmbedding of the tiny model."""
    def make(**options):
        return BertEmbedding(bert_checkpoint=tiny_bert, **options)
    return make


def reference_states(text, limit=40):
    """([hidden states (tokens, units)] of a text alone, the pieces' words)."""
    ids = {token: i for i, token in enumerate(tiny.TOKENS)}
    pieces = [(name, number) for number, word in enumerate(split(text)) for name in cut(word)]
    pieces = pieces[:limit - 2]
    tokens = [ids['[CLS]']] + [ids[name] for name, _ in pieces] + [ids['[SEP]']]
    states = numpy_bert.hidden_states(TENSORS, tiny.CONFIG, [tokens], [[0] * len(tokens)])
    return [state[0] for state in states], [number for _, number in pieces]


def split(text):
    return text.lower().replace('.', ' . ').split()


def cut(word):
    """The pieces of a word with this vocabulary."""
    if word in tiny.TOKENS:
        return [word]
    if word.endswith('s') and word[:-1] in tiny.TOKENS:
        return [word[:-1], '##s']
    return ['[UNK]']


def reference_words(text, states, words, how=np.mean):
    return [how(states[1:-1][np.array(words) == i], axis=0) for i in sorted(set(words))]


@pytest.mark.parametrize('batch_size', [1, 3, 256])
def test_words_and_vectors(make, batch_size):
    """Whatever else is in the batch, and in the order given."""
    found = make(batch_size=batch_size)(TEXTS)
    assert [words for words, _ in found] == WORDS
    for text, (words, vectors) in zip(TEXTS, found):
        states, numbers = reference_states(text)
        expected = reference_words(text, states[-1], numbers)
        assert len(vectors) == len(words) == len(expected)
        for vector, wanted in zip(vectors, expected):
            assert vector.shape == (8,) and vector.dtype == np.float32
            np.testing.assert_allclose(vector, wanted, atol=1e-4)


@pytest.mark.parametrize('oov_way, how', [
    ('avg', np.mean), ('sum', np.sum), ('last', lambda rows, axis: rows[-1])])
def test_ways_to_make_a_word_of_pieces(make, oov_way, how):
    (_, vectors), = make()(['films was actors'], oov_way=oov_way)
    states, numbers = reference_states('films was actors')
    np.testing.assert_allclose(
        vectors, reference_words('', states[-1], numbers, how), atol=1e-4)


def test_the_ways_differ(make):
    found = [make()('films', oov_way=way)[0][1][0] for way in embedding.OOV_WAYS]
    assert all(np.abs(a - b).max() > 0.01 for a, b in zip(found, found[1:]))


@pytest.mark.parametrize('layers, combine, expected', [
    ((-1, -2), 'concat', lambda states: np.concatenate([states[-1], states[-2]], axis=1)),
    ((0, 2), 'sum', lambda states: states[0] + states[2]),
    ((-1, -2, -3), 'mean', lambda states: sum(states) / 3),
    ((1,), 'concat', lambda states: states[1])])
def test_layers(make, layers, combine, expected):
    maker = make(layers=layers, combine=combine)
    (_, vectors), = maker('the good film')
    states, _ = reference_states('the good film')
    wanted = expected(states)
    assert maker.width == wanted.shape[1]
    np.testing.assert_allclose(vectors, wanted[1:-1], atol=1e-4)


@pytest.mark.parametrize('pooling, expected', [
    ('mean', lambda states: states.mean(axis=0)), ('max', lambda states: states.max(axis=0)),
    ('cls', lambda states: states[0]),
    ('pooler', lambda states: numpy_bert.pooled(TENSORS, states[None])[0])])
def test_one_vector_a_text(make, pooling, expected):
    found = make().sentence(TEXTS, pooling, normalize=False)
    assert found.shape == (len(TEXTS), 8) and found.dtype == np.float32
    for text, row in zip(TEXTS, found):
        np.testing.assert_allclose(row, expected(reference_states(text)[0][-1]), atol=1e-4)
    rows = make().sentence(TEXTS, pooling)
    np.testing.assert_allclose((rows ** 2).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(rows, normalize_rows(found), atol=1e-5)


# ---- any checkpoint


def test_what_pretraining_and_finetuning_leave(call, in_tmp, tiny_bert, sst):
    """Their folders, and a file of weights for a model of the zoo's."""
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
    asked = []

    def get_model(name, dataset, pretrained, use_pooler, **parts):
        asked.append((name, dataset, pretrained))
        return BERTModel(tiny.CONFIG, use_pooler=use_pooler), vocabulary
    monkeypatch.setattr(zoo, 'get_model', get_model)
    maker = BertEmbedding(model='bert_6_384_12', dataset_name='all_minilm_l6_v2', params_path=path)
    assert asked == [('bert_6_384_12', 'all_minilm_l6_v2', False)]
    np.testing.assert_allclose(maker.sentence(TEXTS), BertEmbedding(
        bert_checkpoint=tiny_bert).sentence(TEXTS), atol=1e-6)


# ---- length

LONG = 'the film was so very good and it was very fine and so it was'    # 15 words


def test_texts_are_cut_at_25_and_it_is_said_once(make, caplog):
    maker = make()
    texts = ['so ' * 30, 'fine'] * 3
    with caplog.at_level(logging.WARNING):
        found = maker(texts)
    assert [len(words) for words, _ in found] == [23, 1] * 3
    assert [record.getMessage() for record in caplog.records] == [
        '3 of 6 texts were cut at 25 tokens, [CLS] and [SEP] included; max_seq_length=None takes '
        'up to 40; long_text=\'split\' reads all']


def test_the_length_of_the_model(make, caplog):
    assert len(make(max_seq_length=None)('so ' * 30)[0][0]) == 30
    assert not caplog.records
    maker = make(max_seq_length=None)
    maker.sentence('so ' * 50)
    assert [record.getMessage() for record in caplog.records] == [
        '1 of 1 texts were cut at 40 tokens, [CLS] and [SEP] included; long_text=\'split\' reads '
        'all']


def test_sentences_have_the_length_of_the_model_by_default(make):
    rows = make().sentence(['so ' * 30, 'so ' * 31])
    assert np.abs(rows[0] - rows[1]).max() > 1e-4


def test_long_texts_are_an_error_if_wanted(make):
    with pytest.raises(UserError, match=r'text 1 \(from 0\): 32 tokens, special ones '
                                        'included, and max_seq_length is 25: shorten'):
        make(long_text='error')(['so', 'so ' * 30])


def test_long_texts_in_windows(make):
    """15 words, 8 tokens at once: windows of 6 that overlap by 3; means of what both say."""
    maker = make(max_seq_length=8, long_text='split')
    (words, vectors), = maker(LONG)
    assert words == LONG.split()
    sums, counts = np.zeros((15, 8)), np.zeros(15)
    sentences = []
    for first in (0, 3, 6, 9):
        part = ' '.join(LONG.split()[first:first + 6])
        states = reference_states(part)[0][-1]
        sums[first:first + 6] += states[1:-1]
        counts[first:first + 6] += 1
        sentences.append(states.mean(axis=0))
    np.testing.assert_allclose(vectors, sums / counts[:, None], atol=1e-4)
    found = maker.sentence([LONG, 'fine'], normalize=False, max_seq_length=8)
    np.testing.assert_allclose(found[0], np.mean(sentences, axis=0), atol=1e-4)
    np.testing.assert_allclose(found[1], reference_states('fine')[0][-1].mean(axis=0), atol=1e-4)


# ---- iterators


def test_texts_are_taken_as_they_are_needed(make, monkeypatch):
    monkeypatch.setattr(BertEmbedding, 'texts_at_once', lambda self, sentence: 4)
    taken = []

    def texts():
        for i in range(10):
            taken.append(i)
            yield TEXTS[i % len(TEXTS)]
    maker = make()
    found = maker.embed_iter(texts())
    assert not taken
    first = next(found)
    assert len(taken) == 4
    rest = list(found)
    for (words, vectors), (wanted, expected) in zip([first] + rest, maker(TEXTS * 2)):
        assert words == wanted
        np.testing.assert_allclose(np.array(vectors), np.array(expected), atol=1e-5)
    parts = list(maker.sentence_iter(texts()))
    assert [len(part) for part in parts] == [4, 4, 2]
    np.testing.assert_allclose(np.concatenate(parts), maker.sentence(TEXTS * 2), atol=1e-5)


def test_word_pieces(make):
    (pieces, vectors), = make().embed_iter(['films zzz'], pieces=True)
    assert pieces == ['film', '##s', '[UNK]'] and len(vectors) == 3


# ---- odd texts


@pytest.mark.parametrize('text, words', [
    ('', []), (' \t\n ', []), ('x' * 5000, ['x' * 5000]), ('😀 good', ['😀', 'good']),
    ('שלום', ['שלום']), ('go\x00od \x07', ['good']), ('GOOD\u00a0film', ['good', 'film']),
    ('电影', ['电', '影']), ('ﬁne', ['ﬁne'])])
def test_odd_texts(make, text, words):
    maker = make()
    (found, vectors), = maker([text])
    assert found == words and len(vectors) == len(words)
    assert np.isfinite(maker.sentence([text])).all()


@pytest.mark.parametrize('texts, problem', [
    (['a', None], 'text 1: a str expected, NoneType found'),
    ([3.5], 'text 0: a str expected, float found'), ([b'a'], 'text 0: a str expected, bytes found'),
    (['a', 'b', '\ud800'], 'text 2: half a surrogate pair in it')])
def test_what_is_no_text(make, texts, problem):
    for call in (make(), make().sentence):
        with pytest.raises(UserError, match=problem):
            call(texts)


def test_nothing_gives_nothing(make):
    assert make()([]) == [] and list(make().embed_iter([])) == []
    assert make().sentence([]).shape == (0, 8)


def test_a_str_is_one_text(make):
    assert [words for words, _ in make()('so good')] == [['so', 'good']]
    assert make().sentence('so good').shape == (1, 8)


@pytest.mark.parametrize('options, problem', [
    ({'layers': (3,)}, 'layers 3: numbers from -3 to 2 expected: this model has 2 layers'),
    ({'dtype': 'int4'}, 'dtype "int4": one of float32, bfloat16, int8, float16 expected'),
    ({'dtype': 'float16'}, '--dtype float16 needs a GPU'),
    ({'batch_size': 0}, 'batch_size 0: a whole number of texts from 1 on expected'),
    ({'batch_size': 2.5}, 'batch_size 2.5: a whole number'),
    ({'layers': 'last'}, 'layers last: numbers from -3 to 2'),
    ({'max_seq_length': '25'}, 'max_seq_length 25: from 3 to 40 expected'),
    ({'layers': ()}, 'layers none: numbers from -3 to 2 expected'),
    ({'combine': 'max'}, 'combine "max": one of concat, sum, mean expected'),
    ({'long_text': 'cut'}, 'long_text "cut": one of warn, error, split expected'),
    ({'max_seq_length': 2}, 'max_seq_length 2: from 3 to 40 expected'),
    ({'max_seq_length': 41}, 'max_seq_length 41: from 3 to 40 expected'),
    ({'sentencepiece': 'x.model'}, 'sentencepiece: SentencePiece models are not supported'),
    ({'params_path': 'x.params'}, 'params_path and bert_checkpoint: give one of the two')])
def test_options_that_make_no_sense(make, options, problem):
    with pytest.raises(UserError, match=problem):
        make(**options)


def test_a_gpu_that_is_not_there(make):
    with pytest.raises(UserError, match='ctx 0: no GPU for this MXNet: .*; leave ctx out to run'):
        make(ctx=mx.gpu(0))


def test_weights_without_a_pooler(tmp_path):
    path = tiny.write_transformers(tmp_path / 'bert', {
        name: tensor for name, tensor in TENSORS.items()
        if not name.startswith('cls.') and 'pooler' not in name})
    maker = BertEmbedding(bert_checkpoint=path)
    assert maker.sentence(['so good']).shape == (1, 8)
    with pytest.raises(UserError, match='pooling "pooler": these weights have none: choose one of '
                                        'mean, cls, max$'):
        maker.sentence(['so good'], pooling='pooler')


def test_calls_that_make_no_sense(make):
    with pytest.raises(UserError, match='oov_way "max": one of avg, sum, last expected'):
        make()(['a'], oov_way='max')
    with pytest.raises(UserError, match='pooling "sum": one of mean, cls, max, pooler expected'):
        make().sentence(['a'], pooling='sum')
    with pytest.raises(UserError, match='pooling "pooler": it takes the last layer'):
        make(layers=(-1, -2)).sentence(['a'], pooling='pooler')


# ---- helpers


def test_merge():
    rows = np.arange(8, dtype='float32').reshape(4, 2)
    words = np.array([0, 0, 2, 3])
    assert merge_pieces(rows, words, 'avg').tolist() == [[1, 2], [4, 5], [6, 7]]
    assert merge_pieces(rows, words, 'sum').tolist() == [[2, 4], [4, 5], [6, 7]]
    assert merge_pieces(rows, words, 'last').tolist() == [[2, 3], [4, 5], [6, 7]]
    assert merge_pieces(rows[:0], words[:0], 'avg').shape == (0, 2)


def test_similarity():
    found = similarity([[1, 0], [0, 2], [0, 0]], [[3, 4]])
    np.testing.assert_allclose(found, [[0.6], [0.8], [0]], rtol=1e-6)
    np.testing.assert_allclose(similarity([1, 0], [3, 4]), [[0.6]], rtol=1e-6)
    with pytest.raises(UserError, match=r'arrays of the shapes \(1, 2\) and \(1, 3\)'):
        similarity([1, 0], [3, 4, 5])


def test_one_layer_by_its_number(make):
    np.testing.assert_array_equal(make(layers=1).sentence('so good'),
                                  make(layers=(1,)).sentence('so good'))


@pytest.mark.parametrize('texts', [None, 7])
def test_what_holds_no_texts(make, texts):
    for call in (make(), make().sentence, lambda given: list(make().embed_iter(given))):
        with pytest.raises(UserError, match='texts: a str or an iterable of them expected, '):
            call(texts)


def test_many_numbers_are_made_in_more_parts(make):
    """Of words no more than 2^25 numbers at once, 128 MiB."""
    assert make().texts_at_once(sentence=True) == make().texts_at_once(sentence=False) == 4096
    maker = make(max_seq_length=None)
    maker.width = 1024
    assert maker.texts_at_once(sentence=False) == 2 ** 25 // (40 * 1024)
