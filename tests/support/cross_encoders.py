"""Tiny cross-encoders in Hugging Face layout, and the slow scores of pairs."""
import json

import numpy as np
from reference import numpy_bert
from safetensors.numpy import load_file
from support import tiny

HEAD = {'classifier.weight': (1, tiny.CONFIG.units), 'classifier.bias': (1,)}
SIGMOID, IDENTITY = 'torch.nn.modules.activation.Sigmoid', 'torch.nn.modules.linear.Identity'


def write_cross_encoder(folder, config=None, settings=None, **files):
    """Write a model with one output. config: further keys of config.json; settings: content of
    config_sentence_transformers.json; files: {name of a JSON file without its ending: content}.
    Returns the path."""
    config = dict(config or {'sentence_transformers': {'activation_fn': SIGMOID}})
    path = tiny.write_with_head(folder, 'BertForSequenceClassification', HEAD)
    tensors = load_file(path + '/model.safetensors')
    config.update(architectures=['BertForSequenceClassification'], id2label={'0': 'LABEL_0'},
                  label2id={'LABEL_0': 0})
    tensors['classifier.weight'] *= 20      # otherwise all scores are much alike …
    tiny.write_transformers(folder, tensors, **config)
    tensors['classifier.bias'] -= np.float32(logit(path, 'good', 'bad'))    # … or near 1
    tiny.write_transformers(folder, tensors, **config)
    if settings is not None:
        files['config_sentence_transformers'] = settings
    for name, content in files.items():
        (folder / (name + '.json')).write_text(json.dumps(content))
    return path


def logit(folder, query, document, max_length=tiny.CONFIG.max_length):
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
    states = numpy_bert.sequence(tensors, tiny.CONFIG, token_ids, segment_ids)
    outputs = numpy_bert.dense(numpy_bert.pooled(tensors, states), tensors, 'classifier')
    return float(outputs[0, 0])


def sigmoid(value):
    return 1 / (1 + np.exp(-value))
