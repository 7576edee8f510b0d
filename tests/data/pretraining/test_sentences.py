"""Splitting of prose into sentences."""
import json

import pytest

from bert.data.pretraining import sentences

TEXTS = ['Mr. Smith met Mrs. Jones. They talked. It rained in St. Louis.',
         'Dr. Brown came late. Mr. Smith left at once. He had seen Mr. Green.'] * 20


@pytest.fixture
def no_nltk_data(tmp_path, monkeypatch):
    monkeypatch.setattr('nltk.data.path', [str(tmp_path / 'nltk_data')])


def test_a_splitter_learns_from_the_text(no_nltk_data, tmp_path):
    splitter, origin = sentences.make_splitter(lambda: TEXTS)
    size = sum(len(text) for text in TEXTS)
    assert origin == 'trained on the first %d bytes of the corpus' % size
    lines = ['Mr. Smith saw Dr.', 'Brown. They did', 'not talk.']
    expected = ['Mr. Smith saw Dr. Brown.', 'They did not talk.']
    assert sentences.split_sentences(splitter, lines) == expected
    path = str(tmp_path / 'punkt.json')
    sentences.save_splitter(splitter, path)
    assert sentences.split_sentences(sentences.load_splitter(path), lines) == expected
    assert 'mr' in json.loads((tmp_path / 'punkt.json').read_text())['abbreviations']


def test_a_saved_splitter_is_the_same(no_nltk_data, data_dir, tmp_path):
    text = (data_dir / 'corpus' / 'sotu_sentences.txt').read_text(encoding='utf-8')[:300000]
    splitter, _ = sentences.make_splitter(lambda: [text.replace('\n', ' ')])
    path = str(tmp_path / 'punkt.json')
    sentences.save_splitter(splitter, path)
    lines = text[:100000].split('\n')
    actual = sentences.split_sentences(sentences.load_splitter(path), lines)
    assert actual == sentences.split_sentences(splitter, lines) and len(actual) > 300
    content = (tmp_path / 'punkt.json').read_bytes()
    sentences.save_splitter(sentences.load_splitter(path), path)
    assert (tmp_path / 'punkt.json').read_bytes() == content


def test_training_ends_when_it_has_enough(no_nltk_data, monkeypatch):
    monkeypatch.setattr(sentences, 'TRAINING_SIZE', 100)
    training_texts = []

    def texts():
        for text in TEXTS:
            training_texts.append(text)
            yield text
    sentences.make_splitter(texts)
    assert len(training_texts) == 2


def test_nltk_s_own_model_comes_first(monkeypatch):
    class InstalledTokenizer:
        def __init__(self, language):
            assert language == 'english'
    monkeypatch.setattr('nltk.tokenize.punkt.PunktTokenizer', InstalledTokenizer)
    splitter, origin = sentences.make_splitter(lambda: 1 / 0)   # nothing is trained
    assert isinstance(splitter, InstalledTokenizer)
    assert origin == "NLTK's tokenizers/punkt_tab/english/"
