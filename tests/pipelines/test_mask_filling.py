"""Words at masks against BERT in NumPy: each text alone, without padding, in float64."""
import dataclasses
import itertools

import numpy as np
import pytest
from reference import numpy_bert
from support import tiny

import bert
from bert.data.text.readers import Example
from bert.errors import UserError
from bert.model.weights import catalogue, mapping, released_weights
from bert.pipelines import mask_filling
from bert.pipelines.embedder import Embedder
from bert.pipelines.masked_texts import make_masked_text_set
from bert.pipelines.records import TextCounts

CONFIG = dataclasses.replace(tiny.CONFIG, units=32, hidden_size=64, num_heads=1, max_length=64)
TENSORS = numpy_bert.random_tensors(CONFIG)
CLS, SEP, MASK = (tiny.TOKENS.index(token) for token in ('[CLS]', '[SEP]', '[MASK]'))
TEXTS = ['the film [MASK] so good .', '[MASK]', 'it was [MASK] and [MASK] very [MASK]',
         'plot ' * 20 + '[MASK]', 'the film so [MASK] good .']
HEADS = {'BertForMaskedLM': ('bert.pooler.', 'cls.seq_relationship.'), 'BertForPreTraining': ('-',)}


@pytest.fixture(scope='module', params=HEADS)
def folder(request, tmp_path_factory):
    """A masked language model, with the head of pre-training or without."""
    tensors = {name: array for name, array in TENSORS.items()
               if not name.startswith(HEADS[request.param])}
    return tiny.write_transformers(tmp_path_factory.mktemp('mlm') / 'model', tensors, CONFIG,
                                   architectures=[request.param])


@pytest.fixture(scope='module')
def filler(folder):
    return bert.open(folder, task='fill_mask')


def token_ids_of(text):
    return [CLS, *(tiny.TOKENS.index(word) for word in text.split()), SEP]


def probabilities(text):
    """(masks, vocabulary) of a text of single tokens."""
    ids = np.array([token_ids_of(text)])
    states = numpy_bert.sequence(TENSORS, CONFIG, ids, np.zeros_like(ids))
    return numpy_bert.softmax(numpy_bert.token_logits(
        TENSORS, CONFIG, states, [np.flatnonzero(ids[0] == MASK)])[0])


def by_mask(result):
    return result if isinstance(result[0], list) else [result]


def check(results, top_k=5, ids=None, atol=1e-5):
    for text, result in zip(TEXTS, results, strict=True):
        for words, row in zip(by_mask(result), probabilities(text), strict=True):
            candidates = np.arange(len(row)) if ids is None else np.array(ids)
            expected = candidates[np.argsort(-row[candidates])][:top_k]
            np.testing.assert_allclose([word.score for word in words], row[expected], atol=atol)
            if atol < 1e-3:
                assert [word.token for word in words] == expected.tolist()
            assert [word.word for word in words] == [tiny.TOKENS[word.token] for word in words]


@pytest.mark.parametrize('top_k', [1, 5, 1000])
def test_scores_and_words(filler, top_k):
    check(filler(TEXTS, top_k=top_k), top_k)


def test_sequences(filler):
    word, = filler('The film [MASK] SO good .', top_k=1, targets='was')
    assert word.sequence == 'the film was so good.'
    assert by_mask(filler(TEXTS[2], top_k=1, targets='was'))[1][0].sequence == \
        '[CLS] it was [MASK] and was very [MASK] [SEP]'


def test_how_many_tokens_a_result_is_made_of(filler):
    """Each word of each mask has the whole text, [CLS] and [SEP] included, in its record."""
    texts = ['the [MASK] so [MASK]', 'a [MASK]']
    assert filler.plan(texts, 3).result_tokens == 3 * (2 * 6 + 1 * 4)
    targets = filler.find_targets(['film', 'good'])
    assert filler.plan(texts, 9, targets).result_tokens == 2 * (2 * 6 + 1 * 4)


def test_a_batch_is_cut_where_its_logits_take_much_memory(filler, monkeypatch):
    sizes, compute = [], filler.outputs

    def outputs(batch):
        sizes.append(batch.size)
        return compute(batch)
    monkeypatch.setattr(filler, 'outputs', outputs)
    monkeypatch.setattr(mask_filling, 'MAX_LOGITS', 2 * CONFIG.vocab_size)
    check(filler(TEXTS))
    assert sizes == [1] * 5
    sizes.clear()
    monkeypatch.setattr(mask_filling, 'MAX_LOGITS', 6 * CONFIG.vocab_size)
    check(filler(TEXTS))
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize('dtype,atol', [('bfloat16', 0.03), ('int8', 0.1)])
def test_other_dtypes(folder, kernels, dtype, atol):
    filler = bert.open(folder, task='fill_mask', dtype=dtype)
    results = filler(TEXTS)
    check(results, atol=atol)
    scores = [word.score for result in results for words in by_mask(result) for word in words]
    exact = [score for text in TEXTS for row in probabilities(text) for score in np.sort(row)[-5:]]
    assert not np.allclose(sorted(scores), sorted(exact), atol=1e-6), 'computed in float32'


def test_the_graph_for_prediction(folder, monkeypatch):
    """Without fused kernels, large batches go through MXNet's graph."""
    from bert.model import inference
    monkeypatch.setattr(inference, 'is_fused', lambda network: False)
    monkeypatch.setattr(inference, 'MIN_GRAPH_TOKENS', 1)
    filler = bert.open(folder, task='fill_mask', batch_size=2)
    check(filler(TEXTS))
    assert filler._predict._graphs


def test_targets(filler, caplog):
    ids = [tiny.TOKENS.index(word) for word in ('film', 'good', 'the')]
    check(filler(TEXTS, targets=['film', 'good', 'film', 'the']), 3, ids)
    assert not caplog.text
    check(filler(TEXTS, targets=['film', 'Goods', 'the'], top_k=2), 2, ids)
    assert '1 of 3 targets are not in the vocabulary, and are replaced by their first token: ' \
        '"Goods" by "good"' in caplog.text
    filler('[MASK]', targets='fi\nlm')
    assert '1 of 1 targets' in caplog.text and '"fi\\nlm" by "' in caplog.text


def test_a_stream_and_its_counts(filler):
    """A long text is cut behind its masks; texts come from a generator that never ends."""
    counts = TextCounts()
    texts = itertools.cycle(['it [MASK]' + ' good' * 80, 'it [MASK]'])
    results = list(itertools.islice(filler.stream(texts, top_k=1, counts=counts), 3))
    assert results[0] != results[1] and results[0] == results[2]
    assert (counts.num_texts, counts.num_cut) == (mask_filling.CHUNK, mask_filling.CHUNK // 2)
    assert filler([]) == [] and isinstance(filler(['[MASK]'])[0], list)


def test_a_warning_counts_texts_that_were_cut(filler, caplog):
    expected = probabilities('it [MASK]' + ' good' * 60)[0].max()
    assert abs(filler('it [MASK]' + ' good' * 80, top_k=1)[0].score - expected) < 1e-5
    assert '1 of 1 texts were cut at 64 tokens, the length of the model; no mask was cut off' \
        in caplog.text


@pytest.mark.parametrize('texts,keywords,message', [
    (['[MASK]', 'no mask'], {}, r'text 1: no \[MASK\] in the text: write it where'),
    (['[MASK]', ' '], {}, r'text 1: the text is empty: expected a text with \[MASK\]'),
    (['[MASK]', 3], {}, 'text 1: int found, expected a str'),
    ({'[MASK]'}, {}, 'texts: set found, expected a str or an iterable of str'),
    ('[MASK] ' + 'good ' * 61 + '[MASK]', {}, r'text 0: the last \[MASK\] is token 63, but the '
                                              'model reads only 62 tokens of a text: shorten'),
    ('[MASK]', {'top_k': 0}, 'top_k 0: expected a whole number of words from 1 on'),
    ('[MASK]', {'top_k': 1.5}, 'top_k 1.5: expected a whole number'),
    ('[MASK]', {'targets': []}, 'targets: no word given: name words, or leave targets out'),
    ('[MASK]', {'targets': ['a', ' ']}, "targets: ' ' found, expected a word"),
    ('[MASK]', {'targets': ['\u200b']}, 'targets: ".": the tokenizer finds no word in it'),
])
def test_errors(filler, texts, keywords, message):
    with pytest.raises(UserError, match=message):
        filler(texts, **keywords)


def test_an_example_is_named_by_its_place(filler):
    with pytest.raises(UserError, match=r'a.txt:7: no \[MASK\] in the text'):
        list(filler.fill_examples([Example(('good',), None, 'a.txt', 7)]))


# ---- Opening


def test_without_a_task_it_is_an_embedder(folder):
    assert isinstance(bert.open(folder), Embedder)
    assert isinstance(bert.open(folder, task='fill_mask'), bert.MaskFiller)
    with pytest.raises(UserError, match='task classification: .* holds a model for fill mask'):
        bert.open(folder, task='classification')
    with pytest.raises(UserError, match='pooling: it is for an Embedder'):
        bert.open(folder, task='fill_mask', pooling='mean')


@pytest.mark.parametrize('write,head', [
    (tiny.write_checkpoint, 'encoder'), (tiny.write_classifier, 'classification'),
    (tiny.write_question_answerer, 'question answering')])
def test_models_without_a_decoder(tmp_path, write, head):
    path = write(tmp_path / 'model')
    with pytest.raises(UserError, match='task fill_mask: .* has no masked-language-model decoder; '
                                        'found: ' + head):
        bert.open(path, task='fill_mask')


def test_a_tokenizer_without_a_mask(tmp_path):
    path = tmp_path / 'mlm'
    tiny.write_transformers(path, TENSORS, CONFIG, tokens=[
        token.replace('[MASK]', 'other') for token in tiny.TOKENS])
    with pytest.raises(UserError, match=r'no \[MASK\]'):
        bert.open(str(path), task='fill_mask')


@pytest.fixture
def release(monkeypatch):
    """The released arrays of bert_12_768_12, which are tiny here: tests may take some away."""
    arrays = mapping.from_transformers(TENSORS, 'test')
    monkeypatch.setattr(released_weights, 'fetch_arrays', lambda release: arrays)
    monkeypatch.setattr(released_weights, 'fetch_tokens', lambda release: list(tiny.TOKENS))
    monkeypatch.setattr(catalogue, 'config_of', lambda *names: CONFIG)
    return arrays


def test_a_released_model(release):
    filler = bert.open('bert_12_768_12', task='fill_mask', batch_size=2)
    check(filler(TEXTS))
    assert filler.batch_size == 2


def test_a_released_model_without_a_decoder(release):
    for name in [name for name in release if name.startswith('decoder.')]:
        del release[name]
    with pytest.raises(UserError, match='task fill_mask: the released weights of bert_12_768_12 '
                                        'have no masked-language-model decoder'):
        bert.open('bert_12_768_12', task='fill_mask')


# ---- Masked texts of one's own


def masked_set(filler, texts, **keywords):
    return make_masked_text_set(filler, 'dev', 'dev.txt', [
        Example((text,), None, 'dev.txt', i) for i, text in enumerate(texts, 1)], **keywords)


def test_some_tokens_become_masks(filler):
    texts = [text for text, _ in tiny.sentences(20, 3)]
    dev = masked_set(filler, texts)
    for text, features, labels in zip(texts, dev.features, dev.labels, strict=True):
        ids = token_ids_of(text)
        assert len(labels) == max(1, round(0.15 * (len(ids) - 2)))
        restored = features.token_ids.copy()
        restored[restored == MASK] = labels
        assert restored.tolist() == ids
    again = masked_set(filler, texts[::-1])     # the other texts have no influence
    assert dev.keys() == again.keys()[::-1]
    places = {np.flatnonzero(features.token_ids == MASK)[0] for features in dev.features}
    assert len(places) > 3


def test_the_accuracy_of_masked_tokens(filler):
    rng = np.random.RandomState(4)      # of words that this network often finds
    dev = masked_set(filler, [' '.join(rng.choice(['so', '影', 'good', 'film'], 1 + i % 15))
                              for i in range(60)])
    counts = []
    for features, labels in zip(dev.features, dev.labels):
        text = ' '.join(tiny.TOKENS[i] for i in features.token_ids[1:-1])
        counts.append((probabilities(text).argmax(axis=1) == labels).tolist())
    expected = np.mean([is_right for row in counts for is_right in row])
    assert 0 < expected < 1
    outputs = dev.outputs(filler, 7)
    assert dev.scores(outputs) == {'accuracy': pytest.approx(expected)}
    rows = [3, 5, 8]
    assert dev.score(outputs, rows) == pytest.approx(np.mean(sum([counts[i] for i in rows], [])))
    subset = dev.subset('half', rows)
    np.testing.assert_array_equal(subset.outputs(filler, 2), outputs[rows])
    assert subset.keys() == [dev.keys()[i] for i in rows]


def test_texts_that_cannot_be_scored(filler, caplog):
    dev = masked_set(filler, ['good', '', 'x y', 'so ' * 70])
    assert len(dev) == 2 and len(dev.features[1].token_ids) == 64
    assert 'dev.txt: 2 of 4 texts have no known token, and are left out' in caplog.text
    assert 'dev.txt: 1 of 4 texts were cut at 64 tokens' in caplog.text
    assert len(masked_set(filler, ['good', 'bad', 'so'], limit=2)) == 2
    with pytest.raises(UserError, match='dev.txt: no text in it'):
        masked_set(filler, ['', 'x'])
    with pytest.raises(UserError, match=r'dev.txt:2: \[MASK\] found: a score draws its own masks'):
        masked_set(filler, ['good', 'a [MASK]'])
