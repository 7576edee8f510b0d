"""bert/model/weights/heads.py: which head a set of weights has, and what it lacks."""
import numpy as np
import pytest
from reference import numpy_bert

from bert.errors import UserError
from bert.model.bert import BertConfig
from bert.model.weights import heads, loading, mapping

CONFIG = BertConfig(num_layers=2, units=8, hidden_size=16, num_heads=2, vocab_size=30,
                    max_length=12)
CLASSIFIER = {'classifier.weight': np.ones((3, 8), 'f4'), 'classifier.bias': np.ones(3, 'f4')}
SPAN = {'qa_outputs.weight': np.ones((2, 8), 'f4'), 'qa_outputs.bias': np.ones(2, 'f4')}


def arrays_of(prefixes, **head_tensors):
    """Gluon arrays of `head_tensors`, and of those tensors of a random BertForPreTraining whose
    transformers names start with `prefixes`."""
    tensors = {name: array for name, array in numpy_bert.random_tensors(CONFIG).items()
               if name.startswith(prefixes)}
    return mapping.from_transformers(dict(tensors, **head_tensors), 'x')


ENCODER = ('bert.embeddings', 'bert.encoder')
MLM, NSP, POOLER = 'cls.predictions', 'cls.seq_relationship', 'bert.pooler'
KINDS = [
    (ENCODER, {}, 'BertModel', 0), (ENCODER + (POOLER,), {}, 'BertModel', 0),
    (ENCODER + (MLM,), {}, 'BertForMaskedLM', 0),
    (ENCODER + (POOLER, MLM), {}, 'BertForMaskedLM', 2),
    (ENCODER + (POOLER, NSP), {}, 'BertForNextSentencePrediction', 0),
    (ENCODER + (POOLER, MLM, NSP), {}, 'BertForPreTraining', 0),
    (ENCODER + (POOLER,), CLASSIFIER, 'BertForSequenceClassification', 0),
    (ENCODER + (POOLER, MLM, NSP), CLASSIFIER, 'BertForSequenceClassification', 7),
    (ENCODER, SPAN, 'BertForQuestionAnswering', 0),
    (ENCODER + (POOLER,), SPAN, 'BertForQuestionAnswering', 2),
]


@pytest.mark.parametrize('in_task', [False, True])
@pytest.mark.parametrize('prefixes,head_tensors,architecture,num_unused', KINDS)
def test_the_names_identify_the_head(prefixes, head_tensors, architecture, num_unused, in_task):
    arrays = arrays_of(prefixes, **head_tensors)
    if in_task:     # as a classifier's network saves them
        arrays = {name if loading.HEAD_PATTERN.match(name) else 'bert.' + name: array
                  for name, array in arrays.items()}
    head, head_arrays, unused_names = heads.identify_head(arrays, 'x')
    assert heads.architecture_of(head, 'bert') == architecture
    assert len(unused_names) == num_unused and len(head_arrays) == len(arrays) - num_unused
    heads.check_head_arrays(CONFIG, head, head_arrays, 'x')


def test_the_index_of_the_classifier_layer_does_not_matter():
    arrays = arrays_of(ENCODER + (POOLER,), **CLASSIFIER)
    arrays['classifier.0.weight'] = arrays.pop('classifier.1.weight')   # without dropout
    arrays['classifier.0.bias'] = arrays.pop('classifier.1.bias')
    head, head_arrays, _ = heads.identify_head(arrays, 'x')
    assert head.name == 'classification' and head_arrays['classifier.1.bias'].shape == (3,)


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


@pytest.mark.parametrize('change,message', [
    (lambda a: without(a, 'encoder.transformer_cells.1.proj.bias'),
     'x: missing tensors: bert.encoder.transformer_cells.1.proj.bias$'),
    (lambda a: without(a, 'pooler.weight'), 'x: missing tensors: bert.pooler.weight$'),
    (lambda a: without(a, 'classifier.1.bias'), 'x: missing tensors: classifier.1.bias$'),
    (lambda a: dict(a, **{'pooler.bias': np.zeros((1, 8))}),
     r'x: wrong shape: bert.pooler.bias: \(1, 8\) in the file, \(8,\) in the model'),
    (lambda a: dict(a, **{'word_embed.0.weight': np.zeros((31, 8))}), r'\(31, 8\) in the file'),
    (lambda a: dict(a, **{'encoder.transformer_cells.2.proj.bias': np.zeros(8)}),
     'x: unknown tensors: bert.encoder.transformer_cells.2.proj.bias$'),
])
def test_errors_name_the_arrays_that_do_not_fit(change, message):
    arrays = change(arrays_of(ENCODER + (POOLER,), **CLASSIFIER))
    head, head_arrays, _ = heads.identify_head(arrays, 'x')
    with pytest.raises(UserError, match=message):
        heads.check_head_arrays(CONFIG, head, head_arrays, 'x')


def test_names_that_no_head_has_are_refused():
    arrays = dict(arrays_of(ENCODER), **{'lstm.weight': np.zeros(2), 'crf': np.zeros(2)})
    with pytest.raises(UserError, match='^x: unknown tensors: crf, lstm.weight$'):
        heads.identify_head(arrays, 'x')


@pytest.mark.parametrize('prefixes,head_tensors,architecture,num_unused', KINDS)
def test_gluon_names_are_those_of_the_network(prefixes, head_tensors, architecture, num_unused):
    head, head_arrays, _ = heads.identify_head(arrays_of(prefixes, **head_tensors), 'x')
    network = heads.make_network_with_head(CONFIG, head, head_arrays)
    assert set(heads.with_gluon_names(head, head_arrays, CONFIG)) == \
        set(network._collect_params_with_prefix())


def test_an_architecture_with_another_head_is_refused():
    for values in ({}, {'architectures': None}, {'architectures': ['BertForMaskedLM']},
                   {'architectures': 'BertModel'}):
        heads.check_architecture(values, 'x')
    with pytest.raises(UserError, match='^config.json: architecture BertForMultipleChoice; '
                                        'supported: BertForSequenceClassification, '):
        heads.check_architecture({'architectures': ['BertForMultipleChoice']}, 'config.json')
