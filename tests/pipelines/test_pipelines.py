"""Pipelines from Python: records, streams, threads, exported models, and `bert.open`."""
import concurrent.futures
import copy
import json
import logging
import os
import pickle
import subprocess
import sys

import mxnet as mx
import numpy as np
import pytest
from support import tiny

import bert
from bert.data.text.readers import Example
from bert.errors import UserError
from bert.jobs import export_onnx, export_symbol
from bert.pipelines import classification, opening, question_answering, records
from bert.pipelines.classification import Classifier
from bert.pipelines.embedder import Embedder
from bert.pipelines.exported import ExportedClassifier, ExportedQuestionAnswerer
from bert.pipelines.question_answering import QuestionAnswerer
from bert.pipelines.records import Label, Score, TextCounts

TEXTS = [text for text, _ in tiny.sentences(30, 4)]
QUESTIONS = [('the film was', ['so the film was good and so .', 'the plot was very bad .']),
             ('so was it', 'it was a poor scene .')]


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """{name: folder} of tiny models of transformers."""
    root = tmp_path_factory.mktemp('models')
    head = {name: (1,) + shape[1:] for name, shape in tiny.CLASSIFIER_HEAD.items()}
    return {
        'classifier': tiny.write_classifier(root / 'classifier'),
        'regression': tiny.write_with_head(root / 'regression', 'BertForSequenceClassification',
                                           head, id2label={'0': 'LABEL_0'}),
        'qa': tiny.write_question_answerer(root / 'qa'),
        'encoder': tiny.write_checkpoint(root / 'encoder')}


@pytest.fixture(scope='module')
def exported(folders, tmp_path_factory):
    """{(name, form): folder} of exported models."""
    root = tmp_path_factory.mktemp('exported')
    for form, export in (('symbol', export_symbol), ('onnx', export_onnx)):
        for name in ('classifier', 'qa'):
            result = export(model_dir=folders[name], output_dir=root / (name + form))
            assert result.folder == str(root / (name + form)) and result.report['files']
    return {(name, form): str(root / (name + form)) for name in ('classifier', 'qa')
            for form in ('symbol', 'onnx')}


def alone(model, text):
    """Logits of a text by itself, unpadded, by the network."""
    pieces = list(model.tokenizer.encode([text])[0][:model.max_len - 2])
    token_ids = mx.nd.array([[2] + pieces + [3]], dtype='int32')
    return model.network(token_ids, mx.nd.zeros(token_ids.shape, dtype='int32'),
                         mx.nd.array([token_ids.shape[1]])).asnumpy()[0]


# ---- what is opened

def test_open_finds_out_what_lies_there(folders, exported):
    expected = {'classifier': Classifier, 'regression': Classifier, 'qa': QuestionAnswerer,
                'encoder': Embedder}
    for name, path in folders.items():
        assert type(bert.open(path)) is expected[name]
    for (name, _), path in exported.items():
        assert type(bert.open(path)) is (
            ExportedClassifier if name == 'classifier' else ExportedQuestionAnswerer)


def test_what_cannot_be_opened(folders, exported, tmp_path):
    (tmp_path / 't5').mkdir()
    (tmp_path / 't5/config.json').write_text('{"model_type": "t5"}')
    for path, keywords, problem in (
            (tmp_path, {}, '--model_dir %s: no checkpoint in this folder' % tmp_path),
            (tmp_path / 't5', {}, '%s/t5/config.json: the model_type is "t5": this ' % tmp_path),
            (folders['qa'], {'batch_size': 2.5}, 'argument --batch_size: 2.5 found, expected'),
            (folders['qa'], {'batch_tokens': 'x'}, 'argument --batch_tokens: x found, expected'),
            (folders['qa'], {'threads': 0}, 'argument --threads: 0 found, expected'),
            (folders['qa'], {'dtype': 'int4'}, 'argument --dtype: invalid choice'),
            (folders['qa'], {'runtime': 'mxnet'}, 'runtime: it is for an exported model, but '),
            (folders['encoder'], {'params_path': 'x'}, 'params_path and checkpoint: give one'),
            (folders['encoder'], {'batch_size': 0}, 'argument --batch_size: 0 found, expected'),
            (folders['encoder'], {'model': 'bert_6_384_12'}, 'model bert_6_384_12: '
             '%s/model.safetensors has its own config.json and vocabulary' % folders['encoder']),
            (folders['encoder'], {'dataset_name': 'wiki_cn'}, 'model wiki_cn: '),
            (folders['encoder'], {'layers': '-1,-2'}, "layers '-1,-2': expected numbers from -3"),
            (folders['encoder'], {'device': 'cpu'}, "device 'cpu': expected an mxnet.Context"),
            ('', {}, 'argument path: an empty text found'),
            ('bert_6_384', {}, 'bert_6_384: no such file or folder. Did you mean '
             '"bert_6_384_12"?'),
            (folders['qa'], {'dtyp': 'x'}, 'unknown argument dtyp. Did you mean "dtype"?'),
            (folders['encoder'], {'truncate_dim': 2},
             'unknown argument truncate_dim. Did you mean "dimensions"?'),
            (folders['qa'], {'pooling': 'cls'}, 'pooling: it is for an Embedder, but %s holds'
             % folders['qa']),
            (exported['qa', 'symbol'], {'dtype': 'bfloat16'}, 'dtype bfloat16: the exported model'),
            (folders['qa'], {'threads': 77}, '--threads 77: MXNet already computes with '),
            (folders['qa'], {'gpu': 0}, 'gpu 0: no GPU for this MXNet')):
        with pytest.raises(UserError) as error:
            bert.open(path, **keywords)
        assert str(error.value).startswith(problem)


def test_a_file_of_an_export_is_opened(folders, exported):
    for form, ending in (('symbol', '-symbol.json'), ('onnx', '.onnx')):
        folder = exported['classifier', form]
        name, = [entry for entry in os.listdir(folder) if entry.endswith(ending)]
        assert isinstance(bert.open(os.path.join(folder, name)), ExportedClassifier)


def test_a_released_model_is_opened_by_its_name(folders, monkeypatch):
    names = []
    monkeypatch.setattr(opening, 'Embedder', lambda **keywords: names.append(keywords))
    bert.open('bert_6_384_12', batch_size=3, pooling='cls')
    assert names == [{'model': 'bert_6_384_12', 'gpu': None, 'dtype': 'float32', 'batch_size': 3,
                      'pooling': 'cls'}]


def test_pipelines_are_not_copied_and_have_short_names(folders):
    for name, shown in (('classifier', '<Classifier classifier: 2 layers of width 8, up to 40 '
                                       'tokens, on cpu(0)>'),
                        ('qa', '<QuestionAnswerer SQuAD: 2 layers of width 8, up to 40 tokens, on '
                               'cpu(0)>'),
                        ('encoder', '<Embedder: 2 layers of width 8, up to 40 tokens, on '
                                    'cpu(0)>')):
        model = bert.open(folders[name])
        assert repr(model) == shown
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="can't be copied or pickled: open the model again"):
                make(model)


def test_import_needs_neither_mxnet_nor_numpy():
    code = ('import sys, bert, bert.jobs\n'
            'print({"mxnet", "numpy", "gluonnlp"} & set(sys.modules))\n'
            'bert.Classifier\nprint("mxnet" in sys.modules)\n'
            'try:\n    bert.Classifer\nexcept AttributeError as error:\n    print(error)\n')
    process = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert process.stdout.splitlines() == [
        'set()', 'True', "module 'bert' has no attribute 'Classifer'"], process.stderr
    assert {'open', 'Classifier', 'QuestionAnswerer', 'Embedder'} <= set(dir(bert))


# ---- classifier

def test_labels(folders):
    model = bert.open(folders['classifier'], batch_size=7)
    labels = model(TEXTS)
    for text, record in zip(TEXTS, labels):
        logits = alone(model, text)
        probabilities = np.exp(logits) / np.exp(logits).sum()
        assert isinstance(record, Label)
        np.testing.assert_allclose(list(record.probabilities.values()), probabilities, atol=1e-5)
        assert record.label == ['bad', 'fine', 'good'][probabilities.argmax()]
        assert record.probability == max(record.probabilities.values())
    assert model(TEXTS[0]).probabilities == pytest.approx(labels[0].probabilities, abs=1e-5)
    assert list(model.stream([])) == []


def test_scores_and_pairs(folders):
    model = bert.open(folders['regression'])
    single, pair = model('good film'), model(('good film', 'bad plot'))
    assert isinstance(single, Score) and isinstance(pair, Score) and single != pair
    assert model([('good film', 'bad plot'), ['good', 'bad']])[0] == pytest.approx(pair)
    assert single.score == pytest.approx(float(alone(model, 'good film')[0]), abs=1e-5)


def test_a_model_of_transformers_cuts_pairs_by_its_rule(folders, exported):
    """Exported, too. A model that was trained here has no such key in its task."""
    example = Example(('good ' * 30, 'bad ' * 30), None, '', 0)
    for folder in (folders['classifier'], exported['classifier', 'onnx']):
        model = bert.open(folder)
        assert model.task['truncation'] == 'transformers'
        assert model.featurize([example])[0].segment_ids.tolist() == [0] * 20 + [1] * 20
        del model.task['truncation']
        assert model.featurize([example])[0].segment_ids.tolist() == [0] * 21 + [1] * 19


@pytest.mark.parametrize('pair, item, problem', [
    (None, 3, 'text 1: int found, expected a str'),
    (None, ('b', 'c'), 'text 1: 2 texts found, expected a single text'),
    (None, '\ud800', 'text 1: half a surrogate pair found: the text is not valid Unicode'),
    (False, ('a', 'b'), 'text 1: 2 texts found, expected a single text'),
    (True, 'a', 'text 1: 1 text found, expected a pair of texts')])
def test_items_that_are_no_text(folders, pair, item, problem):
    model = bert.open(folders['classifier'])
    model.task['pair'] = pair
    with pytest.raises(UserError) as error:
        model([('a', 'b') if pair else 'good', item])
    assert str(error.value) == problem


def test_a_stream_reads_no_more_than_it_needs(folders, monkeypatch):
    monkeypatch.setattr(classification, 'CHUNK', 4)
    model, num_read = bert.open(folders['classifier']), 0

    def texts():
        nonlocal num_read
        for text in TEXTS:
            num_read += 1
            yield text
    stream = model.stream(texts())
    for num_records, (record, text) in enumerate(zip(stream, TEXTS), 1):
        assert num_records <= num_read <= num_records + 4
        assert record.label == model(text).label


def test_nothing_is_cut_in_silence(folders, caplog):
    model, long_text = bert.open(folders['classifier']), ' '.join(['good'] * 60)
    with caplog.at_level(logging.WARNING):
        model(['good'])
        assert not caplog.records
        model(['good', long_text, long_text])
    assert caplog.messages == [
        '2 of 3 texts were cut at 40 tokens, the length the model was trained with']
    counts = TextCounts()
    list(model.stream(['good', long_text], counts))
    assert counts == TextCounts(2, 1) and len(caplog.messages) == 1
    with caplog.at_level(logging.WARNING):
        next(iter(zip(['a'], model.stream([long_text, 'good']))))     # ends before the stream does
    assert len(caplog.messages) == 2


def test_batch_tokens_bound_a_batch(folders, monkeypatch):
    shapes = []
    model = bert.open(folders['classifier'], batch_tokens=24, batch_size=5)
    outputs = model.outputs
    monkeypatch.setattr(model, 'outputs', lambda batch: (
        shapes.append(batch.token_ids.shape), outputs(batch))[1])
    labels = [record.label for record in model(TEXTS)]
    assert max(rows * columns for rows, columns in shapes) <= 24
    assert max(rows for rows, _ in shapes) <= 5 and sum(rows for rows, _ in shapes) == len(TEXTS)
    assert labels == [record.label for record in bert.open(folders['classifier'])(TEXTS)]


# ---- question answerer

def assert_same_answers(results, expected, tolerance=1e-5):
    """That the answers are the same, and their probabilities about the same."""
    assert len(results) == len(expected)
    for result, other_result in zip(results, expected):
        assert [answer[:4] for answer in result.answers] == \
            [answer[:4] for answer in other_result.answers]
        np.testing.assert_allclose([answer.probability for answer in result.answers],
                                   [answer.probability for answer in other_result.answers],
                                   atol=tolerance)


def test_answers(folders):
    model = bert.open(folders['qa'])
    for (question, documents), result in zip(QUESTIONS, model.stream(QUESTIONS, top_k=4)):
        documents = [documents] if isinstance(documents, str) else documents
        assert 1 <= len(result.answers) <= 4 and not result.no_answer
        assert result.no_answer_probability is None
        for answer in result.answers:
            assert documents[answer.document][answer.start:answer.end] == answer.answer
        probabilities = [answer.probability for answer in result.answers]
        assert probabilities == sorted(probabilities, reverse=True) and sum(probabilities) <= 1
        assert result.answer == result.answers[0].answer
        assert_same_answers([model(question, documents, top_k=4)], [result])


def test_no_answer(folders):
    model = bert.open(folders['qa'])
    model.task.update(version_2=True, null_score_diff_threshold=-1000.)
    result = model(*QUESTIONS[0])
    assert result.no_answer and result.answer == '' and 0 < result.no_answer_probability < 1
    model.task.update(null_score_diff_threshold=1000.)
    result = model(*QUESTIONS[0])
    assert not result.no_answer and result.answer == result.answers[0].answer


@pytest.mark.parametrize('question, documents, problem', [
    ('the film', [], 'question 0: no document'), ('the film', ['good', ' '],
                                                  'question 0: a document is empty'),
    (' ', 'good', 'question 0: the question is empty'),
    ('the film', [3], 'a document of question 0: int found, expected a str'),
    ('the film', None, 'question 0: expected (question, document) or (question, list of '
                       'documents)')])
def test_questions_without_text(folders, question, documents, problem):
    with pytest.raises(UserError) as error:
        bert.open(folders['qa'])(question, documents)
    assert str(error.value) == problem


class Table:
    """As pandas' DataFrame: its items are the names of its columns."""
    columns = ('text', 'label')

    def __iter__(self):
        return iter(self.columns)


def test_wrong_items_and_numbers(folders):
    model = bert.open(folders['qa'])
    for questions, top_k, problem in (
            (['a question'], 3, 'question 0: expected (question, document) or '),
            (3, 3, 'texts: int found, '), ('abc', 3, 'texts: str found, '),
            ({'a': 'b'}, 3, 'texts: dict found, '),
            (b'abc', 3, 'texts: bytes found, expected a str or an iterable of str'),
            ([('q', {'a'})], 3, 'question 0: expected (question, document) or '),
            (QUESTIONS, 0, 'top_k 0: expected a whole number of answers from 1 on')):
        with pytest.raises(UserError) as error:
            list(model.stream(questions, top_k))
        assert str(error.value).startswith(problem)
    with pytest.raises(UserError, match='^texts: NoneType found, expected a str or an iterable of '
                                        'str$'):
        bert.open(folders['classifier'])(None)
    with pytest.raises(UserError, match='^texts: dict found, expected a str or an '):
        bert.open(folders['encoder'])({'text': 'good'})
    with pytest.raises(UserError, match='^texts: Table found, expected a str or an iterable'):
        bert.open(folders['encoder'])(Table())
    for name in ('classifier', 'encoder', 'qa'):
        with pytest.raises(UserError, match='^counts: 3 found, expected a TextCounts of '
                                            'bert.pipelines.records$'):
            list(bert.open(folders[name]).stream([], counts=3))


def test_documents_come_from_any_ordered_iterable(folders):
    model = bert.open(folders['qa'])
    question, documents = QUESTIONS[0]
    for form in (iter, tuple, np.array):
        assert_same_answers([model(question, form(documents))], [model(question, documents)])


def test_questions_are_streamed_and_counted(folders, monkeypatch, caplog):
    monkeypatch.setattr(question_answering, 'CHUNK', 1)
    model, counts = bert.open(folders['qa']), TextCounts()
    long_question = ' '.join(['good'] * 30), 'the film was good .'
    results = list(model.stream(iter(QUESTIONS + [long_question]), counts=counts))
    assert_same_answers(results[:2], [model(*query) for query in QUESTIONS])
    assert counts == TextCounts(3, 1)
    with caplog.at_level(logging.WARNING):
        model(*long_question)
    assert caplog.messages == ['1 of 1 questions were cut at 20 tokens']
    monkeypatch.setattr(question_answering, 'CHUNK', 9)
    counts = TextCounts()
    next(model.stream([QUESTIONS[0], long_question, long_question], counts=counts))
    assert counts == TextCounts(3, 2)


# ---- embedder

def test_vectors(folders):
    model = bert.open(folders['encoder'])
    vectors = model(TEXTS)
    assert vectors.shape == (len(TEXTS), 8) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model(TEXTS[3]), vectors[3], atol=1e-5)
    assert model([]).shape == (0, 8)
    np.testing.assert_array_equal(list(model.stream(iter(TEXTS))), vectors)
    (words, rows), = model.words(['the films'])
    assert words == ['the', 'films'] and rows.shape == (2, 8)


def test_options_of_an_embedder(folders, caplog):
    model = bert.open(folders['encoder'], pooling='cls', normalize=False, max_tokens=4)
    with caplog.at_level(logging.WARNING):
        vector = model('the film was good')
    assert caplog.messages == [
        '1 of 1 texts were cut at 4 tokens, special tokens included; max_tokens=None reads up to '
        "40; long_text='split' reads whole texts"]
    counts = TextCounts()
    list(model.stream(['the film was good', 'good'], counts))
    assert counts == TextCounts(2, 1) and len(caplog.messages) == 1
    reference = Embedder(folders['encoder'], pooling='cls', normalize=False)
    np.testing.assert_allclose(vector, reference('the film'), atol=1e-5)
    assert abs(np.linalg.norm(vector) - 1) > 1e-3
    with pytest.raises(UserError, match='^pooling "median": expected one of mean, cls, max'):
        Embedder(folders['encoder'], pooling='median')
    with pytest.raises(UserError, match='^batch_tokens 0: expected a whole number of tokens '):
        Embedder(folders['encoder'], batch_tokens=0)


def test_batch_tokens_of_an_embedder(folders, monkeypatch):
    model, sizes = Embedder(folders['encoder'], batch_tokens=24), []
    compute = model._networks.compute
    monkeypatch.setattr(model._networks, 'compute', lambda name, batch: (
        sizes.append(batch.token_ids.size), compute(name, batch))[1])
    np.testing.assert_allclose(model(TEXTS), Embedder(folders['encoder'])(TEXTS), atol=1e-5)
    assert max(sizes) <= 24 and len(sizes) > 5


# ---- exported models have the same methods

@pytest.mark.parametrize('form', ['symbol', 'onnx'])
def test_an_exported_model_answers_alike(folders, exported, form):
    labels, expected = (bert.open(path)(TEXTS)
                        for path in (exported['classifier', form], folders['classifier']))
    for record, other_record in zip(labels, expected):
        assert record.label == other_record.label
        assert record.probability == pytest.approx(other_record.probability, abs=1e-4)
    results, expected = (list(bert.open(path).stream(QUESTIONS))
                         for path in (exported['qa', form], folders['qa']))
    assert_same_answers(results, expected, tolerance=1e-3)


# ---- outputs that are not finite

@pytest.mark.parametrize('name', ['classifier', 'qa', 'encoder'])
def test_outputs_that_are_not_finite(folders, name, monkeypatch):
    """One error that names the first such text. (Weights that are not finite are not opened.)"""
    model = bert.open(folders[name], batch_size=2)
    predictor = model._networks.predictor('states') if name == 'encoder' else model._predict
    monkeypatch.setattr(type(predictor), '__call__', poisoned(type(predictor).__call__, 12))
    with pytest.raises(UserError) as error:
        if name == 'qa':
            list(model.stream([(' '.join(['so'] * i), 'the film was good .') for i in (3, 12, 5)]))
        else:
            list(model.stream(' '.join(['so'] * i) for i in (3, 5, 12, 7)))
    assert str(error.value) == (
        'text %d: the outputs of the network are not finite (nan or inf): its training diverged, '
        'or its weights are damaged' % (1 if name == 'qa' else 2))


def poisoned(predict, num_words):
    """A function as `Predictor.__call__`, whose outputs are NaN for a text with so many words."""
    def call(self, token_ids, *arguments):
        outputs = predict(self, token_ids, *arguments).asnumpy()
        word = tiny.TOKENS.index('so')
        outputs[(token_ids.asnumpy() == word).sum(axis=1) == num_words] = np.nan
        return mx.nd.array(outputs)
    return call


# ---- threads

@pytest.mark.parametrize('name', ['classifier', 'qa', 'encoder'])
def test_several_threads_use_one_object(folders, name):
    """A model that no thread has called before gives each of them the answers of one thread."""
    def compute(model, i):
        if name == 'qa':
            return list(model.stream(QUESTIONS * 2))
        texts = TEXTS[i % 3:] + TEXTS[:i % 3]
        result = model(texts)
        if name == 'classifier':
            return [record.label for record in result]
        return np.roll(result, i % 3, axis=0)
    expected = compute(bert.open(folders[name]), 0)
    model = bert.open(folders[name])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for i, result in enumerate(pool.map(compute, [model] * 12, range(12))):
            if name == 'encoder':
                np.testing.assert_allclose(result, expected, atol=1e-5)
            elif name == 'classifier':
                assert result[len(TEXTS) - i % 3:] + result[:len(TEXTS) - i % 3] == expected
            else:
                assert_same_answers(result, expected)


def test_records_are_values_for_json():
    record = Label('good', 0.75, {'good': 0.75, 'bad': 0.25})
    assert json.loads(json.dumps(record._asdict())) == record._asdict()
    result = records.QuestionResult([records.ExtractedAnswer('a', 0, 1, 0, 0.5)], False, None)
    assert result.answer == 'a'
