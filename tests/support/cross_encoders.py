"""Tiny cross-encoders in Hugging Face layout, the slow scores of pairs, and STS-B's files."""
import json

import numpy as np
import pytest
from reference import numpy_bert
from safetensors.numpy import load_file
from scipy import stats
from support import tiny

HEAD = {'classifier.weight': (1, tiny.CONFIG.units), 'classifier.bias': (1,)}
QUERY = 'the film was good'
SIGMOID, IDENTITY = 'torch.nn.modules.activation.Sigmoid', 'torch.nn.modules.linear.Identity'


def write_cross_encoder(folder, config=None, settings=None, sizes=tiny.CONFIG, **files):
    """Write a model with one output. config: further keys of config.json; settings: content of
    config_sentence_transformers.json; files: {name of a JSON file without its ending: content}.
    Returns the path."""
    config = dict(config or {'sentence_transformers': {'activation_fn': SIGMOID}})
    head = {'classifier.weight': (1, sizes.units), 'classifier.bias': (1,)}
    path = tiny.write_with_head(folder, 'BertForSequenceClassification', head, sizes)
    tensors = load_file(path + '/model.safetensors')
    config.update(architectures=['BertForSequenceClassification'], id2label={'0': 'LABEL_0'},
                  label2id={'LABEL_0': 0})
    # otherwise all scores are much alike …
    tensors['classifier.weight'] *= np.float32(20 * (8 / sizes.units) ** 1.5)
    tiny.write_transformers(folder, tensors, sizes, **config)
    # … or near 1
    tensors['classifier.bias'] -= np.float32(logit(path, 'good', 'bad', sizes=sizes))
    tiny.write_transformers(folder, tensors, sizes, **config)
    if settings is not None:
        files['config_sentence_transformers'] = settings
    for name, content in files.items():
        (folder / (name + '.json')).write_text(json.dumps(content))
    return path


def logit(folder, query, document, max_length=tiny.CONFIG.max_length, sizes=tiny.CONFIG):
    """The output for a pair by the reference. The texts are words of the tiny vocabulary."""
    tensors = load_file(str(folder) + '/model.safetensors')
    first, second = ([tiny.TOKENS.index(word) for word in text.split()]
                     for text in (query, document))
    room = max_length - 3
    if len(first) + len(second) > room:     # longest_first of transformers
        short, long = (second, first) if len(first) > len(second) else (first, second)
        del short[room // 2:]
        del long[room - len(short):]
    token_ids = np.array([[2, *first, 3, *second, 3]])
    segment_ids = np.array([[0] * (len(first) + 2) + [1] * (len(second) + 1)])
    states = numpy_bert.sequence(tensors, sizes, token_ids, segment_ids)
    outputs = numpy_bert.dense(numpy_bert.pooled(tensors, states), tensors, 'classifier')
    return float(outputs[0, 0])


def sigmoid(value):
    return 1 / (1 + np.exp(-value))


def write_sts(folder):
    return tiny.write_pairs(folder / 'STS-B', ('sentence1', 'sentence2', 'score'),
                            lambda similarity: '%.3f' % (5 * similarity))


def read_rows(path):
    """[(text, text, score)] of a file of the task."""
    lines = open(path, encoding='utf-8').read().splitlines()[1:]
    return [(first, second, float(score)) for first, second, score in (
        line.split('\t') for line in lines)]


def expected_metrics(data, folder):
    """The metrics on dev by the reference."""
    rows = read_rows(data + '/dev.tsv')
    labels = [label for *_, label in rows]
    outputs = np.array([logit(folder, first, second) for first, second, _ in rows])
    metrics = {name: function(labels, sigmoid(outputs))[0] for name, function in (
        ('pearsonr', stats.pearsonr), ('spearmanr', stats.spearmanr))}
    assert abs(stats.pearsonr(labels, outputs)[0] - metrics['pearsonr']) > 0.005
    return pytest.approx(metrics, abs=1e-4)
