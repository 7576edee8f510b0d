"""Names that users of the original scripts import: their paths stay."""
import importlib

import pytest


@pytest.mark.parametrize('path', [
    'bert.embedding.BertEmbedding',
    'bert.embedding.similarity',
    'bert.data.transform.BERTDatasetTransform',
    'bert.data.transform.BERTSentenceTransform',
    'bert.data.qa.SquadExample',
    'bert.data.qa.SQuADFeature',
    'bert.data.qa.SQuADTransform',
    'bert.model.classification.BERTClassifier',
    'bert.model.classification.BERTRegression',
    'bert.model.qa.BertForQA',
    'bert.model.qa.BertForQALoss',
    'bert.model.static_qa.StaticBertForQA',
    'bert.model.zoo.get_model',
])
def test_the_path_stays(path):
    module, _, name = path.rpartition('.')
    assert getattr(importlib.import_module(module), name).__name__ == name
