"""The token-classification pipeline: documents of any length, words, characters, errors."""
import dataclasses
import json
import logging

import mxnet as mx
import numpy as np
import pytest
from reference import numpy_bert, slow_entities
from safetensors.numpy import load_file
from support import hub_models, tiny

import bert
from bert.data.ner.aggregation import aggregate_tokens
from bert.data.ner.sentences import read_sentences
from bert.data.ner.windows import TokenSequence, cut_at_words
from bert.errors import UserError
from bert.export import runtimes
from bert.flags.token_classification import AGGREGATIONS, FIRST
from bert.jobs import convert_checkpoint, export_onnx, export_symbol
from bert.jobs.exporting import serving_folder
from bert.pipelines import token_classification
from bert.pipelines.exported import ExportedTokenClassifier
from bert.pipelines.records import EntitySpan, TextCounts, TokenTag
from bert.pipelines.token_classification import TokenClassifier

TEXTS = ['', ' ', 'good', 'the films was good . fine awful', 'Göod\u0301 FILMS 电影！bad',
         '👩‍👧 poor\u200b\u00ad  great\t\x07 awful\n\n the', 'film' * 30, 'zzz bad ' * 5]
# longer than the model's 40 positions; a word that no window holds; words without a space
LONG_TEXTS = [' '.join(np.random.RandomState(6).choice(tiny.WORDS + ('films', 'zzz'), size=120)),
              'good ' + 'the' + 's' * 70 + ' bad ' * 30, '电影' * 50 + ' great', ' . ' * 90]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tiny.write_token_classifier(tmp_path_factory.mktemp('tagger') / 'model')


@pytest.fixture(scope='module')
def model(folder):
    return bert.open(folder, batch_size=3)


def window_logits(folder, ids, config=tiny.CONFIG):
    """Logits (tokens, classes) of a window, computed alone and without padding, by NumPy."""
    tensors = load_file(folder + '/model.safetensors')
    token_ids = np.array([[2, *ids, 3]])
    states = numpy_bert.sequence(tensors, config, token_ids, np.zeros_like(token_ids))
    return numpy_bert.dense(states, tensors, 'classifier')[0, 1:-1]


def expected_logits(folder, ids, words, windows):
    """Each word from the window of `windows` where its context is longest, the first of several.
    A part of a word that no window holds: from the window that holds it."""
    logits, result = [window_logits(folder, ids[slice(*window)]) for window in windows], []
    for token, word in enumerate(words):
        contexts = [slow_entities.context(words, word, window) if window[0] <= token < window[1]
                    else -np.inf for window in windows]
        best = int(np.argmax(contexts))
        result.append(logits[best][token - windows[best][0]])
    return np.array(result)


def logits_of(model, folder, text):
    """(words, spans, expected logits) of a text. Its windows are those of 38 tokens that share
    about a quarter, from word to word; `test_windows.py` tests them."""
    (ids, words, spans), = model.tokenizer.encode_with_words([text])
    return words, spans, expected_logits(folder, ids, words, cut_at_words(words, 38, 9))


@pytest.mark.parametrize('aggregation', AGGREGATIONS)
def test_entities(model, folder, aggregation):
    num_entities = 0
    for text, records in zip(TEXTS + LONG_TEXTS, model(TEXTS + LONG_TEXTS, aggregation)):
        if not model.tokenizer(text):
            assert records == []
            continue
        words, spans, logits = logits_of(model, folder, text)
        probabilities = numpy_bert.softmax(logits)
        if aggregation == 'none':
            expected = [(tiny.TAGS[row.argmax()], row.max(), *span)
                        for row, span in zip(probabilities, spans) if row.argmax()]
        else:
            expected = slow_entities.aggregate(probabilities, words, spans, tiny.TAGS, aggregation)
        assert [(record[0], record.start, record.end) for record in records] == [
            (kind, start, end) for kind, _, start, end in expected]
        np.testing.assert_allclose([record.score for record in records],
                                   [score for _, score, _, _ in expected], atol=1e-4)
        num_entities += len(records)
    assert num_entities > 40 and all(len(model.tokenizer(text)) > 2 * 38 for text in LONG_TEXTS)


@pytest.mark.parametrize('dtype, tolerance', [('float32', 1e-5), ('int8', 0.3)])
def test_a_model_for_fused_operators(tmp_path, dtype, tolerance):
    config = dataclasses.replace(tiny.CONFIG, units=64, hidden_size=128, num_heads=1)
    folder = tiny.write_token_classifier(tmp_path / 'wide', config=config)
    model, texts = bert.open(folder, dtype=dtype), TEXTS[2:5]
    sequences = [TokenSequence(ids, words, 0)
                 for ids, words, _ in model.tokenizer.encode_with_words(texts)]
    for sequence, logits in zip(sequences, model.compute_logits(sequences, 32)):
        expected = window_logits(folder, sequence.ids, config)
        assert np.abs(logits - expected).mean() < tolerance < np.abs(expected).mean() / 5


def test_records(model):
    """An entity is the characters of the text from start to end, whatever they are."""
    for text, entities, tokens in zip(TEXTS, model(TEXTS), model(TEXTS, 'none')):
        for entity in entities:
            assert type(entity) is EntitySpan and entity.text == text[entity.start:entity.end]
            assert entity.text == entity.text.strip() != '' and entity.type in ('PER', 'LOC')
            assert 0 < entity.score <= 1 and json.loads(json.dumps(entity._asdict()))
        for token in tokens:
            assert type(token) is TokenTag and token.tag in tiny.TAGS[1:]
            assert token.token == model.tokenizer(text)[token.index]
    (_, _, spans), = model.tokenizer.encode_with_words(['xx Go\u0301öd\x07 👩 电影'])
    assert [(start, end) for start, end in spans] == [(0, 2), (3, 8), (10, 11), (12, 13), (13, 14)]


def test_one_text_and_many(model):
    text = TEXTS[3]
    assert model(text) == model([text])[0] != []
    assert model([]) == [] and model('') == [] and model(['', '']) == [[], []]
    assert [len(records) for records in model.stream(iter([text] * 2))] == [len(model(text))] * 2
    counts = TextCounts()
    list(model.stream(LONG_TEXTS, counts=counts))
    assert counts == TextCounts(4, 0)
    assert model(text, aggregation=FIRST) == model(text)


def test_chunks_and_batches_change_nothing(model, folder, monkeypatch):
    expected = model(TEXTS + LONG_TEXTS)
    monkeypatch.setattr(token_classification, 'CHUNK', 2)
    for other in (bert.open(folder, batch_size=1), bert.open(folder, batch_tokens=50)):
        for records, others in zip(expected, other(TEXTS + LONG_TEXTS), strict=True):
            assert [record[0:1] + record[2:] for record in records] == [
                record[0:1] + record[2:] for record in others]
            np.testing.assert_allclose([record.score for record in records],
                                       [record.score for record in others], atol=1e-5)


# ---- Words


def test_tags_of_words(model, folder):
    """A word has the class of its first token; one without a token is outside."""
    sentences = [['good', 'films', '', '\u200b', 'zzz', '电影', 'x.y', ' '], [''], [],
                 list(np.random.RandomState(7).choice(tiny.WORDS + ('', 'films'), size=90))]
    for words, tags in zip(sentences, model.tag_words(sentences), strict=True):
        pieces = [model.tokenizer(word) for word in words]
        numbers = [i for i, tokens in enumerate(pieces) for _ in tokens]
        ids = model.tokenizer.vocab.to_indices([token for tokens in pieces for token in tokens])
        expected = ['O'] * len(words)
        if numbers:
            windows = cut_at_words(np.array(numbers), 38, 9)
            logits = expected_logits(folder, ids, numbers, windows)
            for token in reversed(range(len(numbers))):
                expected[numbers[token]] = tiny.TAGS[logits[token].argmax()]
        assert type(tags) is tuple and list(tags) == expected
    assert len(set(tags)) > 3


def test_words_come_in_any_iterable(model):
    words = ['the', 'film', 'was', 'good']
    expected = list(model.tag_words([words, words[:2]]))
    for form in (tuple, np.array, iter):
        assert list(model.tag_words(map(form, [words, words[:2]]))) == expected
    assert list(model.tag_words([])) == []


@pytest.mark.parametrize('sentences, problem', [
    (['good film'], "sentence 0: 'good film' found, expected a sequence of words"),
    ([['good'], {'a'}], "sentence 1: {'a'} found, expected a sequence of words"),
    ([['good'], ['a', 3]], 'text 1: int found, expected a str'),
    ([['\ud83d']], 'text 0: half a surrogate pair found: the text is not valid Unicode'),
    ('good', 'texts: str found, expected a str or an iterable of str')])
def test_wrong_words(model, sentences, problem):
    with pytest.raises(UserError) as error:
        list(model.tag_words(sentences))
    assert str(error.value) == problem


# ---- Errors


@pytest.mark.parametrize('texts, keywords, problem', [
    (['good', 3], {}, 'text 1: int found, expected a str'),
    (None, {}, 'texts: NoneType found, expected a str or an iterable of str'),
    ({'a': 1}, {}, 'texts: dict found, expected a str or an iterable of str'),
    (['good', '\udc00'], {}, 'text 1: half a surrogate pair found'),
    ('good', {'aggregation': 'mean'},
     "aggregation 'mean': expected one of none, simple, first, average, max")])
def test_wrong_texts(model, texts, keywords, problem):
    with pytest.raises(UserError) as error:
        model(texts, **keywords)
    assert str(error.value).startswith(problem)


def test_outputs_that_are_not_finite(folder, monkeypatch):
    """The number is that of the text, not of its window."""
    model = bert.open(folder)
    predict = type(model._predict).__call__

    def poisoned(self, token_ids, *arguments):
        outputs = predict(self, token_ids, *arguments).asnumpy()
        outputs[(token_ids.asnumpy() == tiny.TOKENS.index('电')).any(axis=1)] = np.nan
        return mx.nd.array(outputs)
    monkeypatch.setattr(type(model._predict), '__call__', poisoned)
    with pytest.raises(UserError, match='^text 2: the outputs of the network are not finite'):
        model(['good', LONG_TEXTS[0], '电影'])
    with pytest.raises(UserError, match='^text 1: the outputs of the network are not finite'):
        list(model.tag_words([['good'], ['电']]))


# ---- Folders


def test_open_finds_out_what_lies_there(folder, tmp_path):
    model = bert.open(folder)
    assert type(model) is TokenClassifier is bert.TokenClassifier
    assert repr(model) == ('<TokenClassifier model: 2 layers of width 8, up to 40 tokens, on '
                           'cpu(0)>')
    assert model.task == {'name': 'model', 'kind': 'token_classification', 'pair': False,
                          'labels': list(tiny.TAGS), 'metrics': ['f1', 'precision', 'recall']}
    assert type(bert.open(folder, task='token_classification')) is TokenClassifier
    with pytest.raises(UserError, match='^task classification: .*model.safetensors holds a model '
                                        'for token classification$'):
        bert.open(folder, task='classification')
    assert type(bert.open(folder, task='embedding')) is bert.Embedder


def test_a_folder_of_ours(model, folder, tmp_path):
    result = convert_checkpoint(input=folder, output=tmp_path / 'ours')
    assert result.report['head'] == 'token classification'
    ours = bert.open(str(tmp_path / 'ours'))
    assert ours.task == model.task and ours.max_len == 40
    assert ours(TEXTS) == model(TEXTS)
    task_path = tmp_path / 'ours' / 'task.json'
    task = json.loads(task_path.read_text())
    for changes, problem in (
            ({'labels': ['O', 'B-LOC']}, '2 labels, but the weights beside it have 5 outputs'),
            ({'labels': ['O', 'O', 'a', 'b', 'c']}, 'labels are '), ({'max_len': 41}, 'max_len is'),
            ({'kind': 'tagging'}, 'expected the task file of a token-classification model of this '
                                  'package'),
            ({'metrics': []}, 'metrics are')):
        task_path.write_text(json.dumps(dict(task, **changes)))
        with pytest.raises(UserError, match='task.json: ' + problem):
            bert.open(str(tmp_path / 'ours'))
    task_path.unlink()
    with pytest.raises(UserError, match='ours: no task.json in it, and no config.json of '
                                        'transformers: the names of the 5 classes are missing$'):
        bert.open(str(tmp_path / 'ours'))


def test_classes_of_other_models(tmp_path, caplog):
    """Classes without a prefix are types; too many names give placeholders, with a warning."""
    model = bert.open(tiny.write_token_classifier(tmp_path / 'a', ('NOUN', 'X-VERB', 'NOUN-', 'D')))
    types = {entity.type for entity in model(' '.join(LONG_TEXTS))}
    assert len(types) > 1 and types <= set(model.task['labels'])
    with pytest.raises(UserError, match='^the model has the class "NOUN", which is not the tag of '
                                        'an entity: expected O, and classes such as B-PER$'):
        model.check_tags()
    folder = tiny.write_with_head(tmp_path / 'b', 'BertForTokenClassification', tiny.TAG_HEAD,
                                  id2label={'0': 'O', '1': 'B-PER'})
    with caplog.at_level(logging.WARNING):
        model = bert.open(folder)
    assert model.task['labels'] == ['LABEL_%d' % i for i in range(5)]
    assert 'id2label names 2 classes, the weights have 5' in caplog.text


# ---- Exported models


@pytest.mark.parametrize('export', [export_symbol, export_onnx])
def test_an_exported_model_tags_alike(model, folder, tmp_path, monkeypatch, export):
    monkeypatch.setattr(serving_folder, 'compute_in_new_process', lambda path, batch:
                        runtimes.open_symbol(path, mx.cpu())(*batch[:3]))   # is much faster
    result = export(model_dir=folder, output_dir=tmp_path / 'out')
    exported = bert.open(result.folder)
    assert type(exported) is ExportedTokenClassifier and exported.task == model.task
    for records, others in zip(model(TEXTS + LONG_TEXTS), exported(TEXTS + LONG_TEXTS)):
        assert [record[:1] + record[2:] for record in records] == [
            record[:1] + record[2:] for record in others]
        np.testing.assert_allclose([record.score for record in records],
                                   [record.score for record in others], atol=1e-4)
    sentences = [text.split() for text in LONG_TEXTS]
    assert list(exported.tag_words(sentences)) == list(model.tag_words(sentences))


# ---- transformers


def words_by_length(tokenizer, text):
    """Index of each token's word as transformers' pipeline guesses it: a token belongs to the word
    before it if it is longer than its characters in the text, as with ##."""
    inputs = tokenizer(text, return_offsets_mapping=True)
    guesses = [len(token) != end - start for token, (start, end) in zip(
        inputs.tokens()[1:-1], inputs['offset_mapping'][1:-1])]
    return [bool(guess) for guess in guesses]


def same_words(tokenizer, text):
    """Whether transformers' guess is right for this text."""
    inputs = tokenizer(text)
    words = inputs.word_ids()[1:-1]
    return [i > 0 and word == words[i - 1] for i, word in enumerate(words)] == [
        guess for guess in words_by_length(tokenizer, text)]


@pytest.mark.torch
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('vocabulary', ['bert-base-cased', 'bert-base-uncased'])
def test_entities_of_transformers(tmp_path, data_dir, torch, transformers, vocabulary):
    """On real sentences, for every aggregation. Left out are the few whose words transformers
    guesses wrong: it takes them from the length of tokens, and here the pre-tokenizer tells."""
    settings = hub_models.CASED if vocabulary.endswith('-cased') else hub_models.UNCASED
    row = hub_models.Row('tagger', vocabulary, 'BertForTokenClassification', settings,
                         hub_models.labels(*tiny.TAGS))
    network = hub_models.write_model(row, tmp_path, data_dir)
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    model, sentences = bert.open(str(tmp_path)), read_sentences(
        str(data_dir / 'ner' / 'wnut17' / 'dev.conll'))
    all_texts = [' '.join(sentence.words) for _, sentence in zip(range(300), sentences)]
    texts = [text for text in all_texts if same_words(tokenizer, text)]
    assert len(texts) > 0.9 * len(all_texts)
    for text in texts[:50]:
        (ids, words, _), = model.tokenizer.encode_with_words([text])
        logits, = model.compute_logits([TokenSequence(ids, words, 0)], 1)
        with torch.no_grad():
            expected = network(**tokenizer(text, return_tensors='pt')).logits[0, 1:-1]
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    for aggregation in AGGREGATIONS:
        theirs = transformers.pipeline('token-classification', model=network, tokenizer=tokenizer,
                                       aggregation_strategy=aggregation)
        key = 'entity' if aggregation == 'none' else 'entity_group'
        for ours, others in zip(model(texts, aggregation), theirs(texts), strict=True):
            assert [(record[0], record.start, record.end) for record in ours] == [
                (other[key], other['start'], other['end']) for other in others]
            np.testing.assert_allclose([record.score for record in ours],
                                       [other['score'] for other in others], atol=1e-4)


@pytest.mark.torch
@pytest.mark.filterwarnings('ignore')
def test_where_transformers_differs(tmp_path, data_dir, transformers):
    """By decision: the tags of BIOES are joined here, and words are those of the pre-tokenizer."""
    row = hub_models.Row('tagger', 'bert-base-cased', 'BertForTokenClassification',
                         hub_models.CASED, hub_models.labels('B-X', 'E-X'))
    network = hub_models.write_model(row, tmp_path, data_dir)
    theirs = transformers.pipeline(
        'token-classification', model=network,
        tokenizer=transformers.AutoTokenizer.from_pretrained(str(tmp_path)))
    groups = theirs.group_entities([
        {'entity': tag, 'score': 0.5, 'index': i, 'word': word, 'start': i, 'end': i + 1}
        for i, (tag, word) in enumerate((('B-X', 'a'), ('E-X', 'b')), 1)])
    assert [(group['entity_group'], group['start'], group['end']) for group in groups] == [
        ('X', 1, 2), ('X', 2, 3)]
    assert aggregate_tokens(np.eye(2), np.arange(2), np.array([[1, 2], [2, 3]]), ('B-X', 'E-X'),
                            FIRST) == [('X', 1, 1, 3)]
