"""bert/model/weights/heads.py: what a set of weights makes up, and what it lacks."""
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


def arrays_of(keep, **more):
    """Gluon arrays of a random BertForPreTraining, those whose transformers name begins so."""
    tensors = {name: array for name, array in numpy_bert.random_tensors(CONFIG).items()
               if name.startswith(keep)}
    return mapping.from_transformers(dict(tensors, **more), 'x')


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
@pytest.mark.parametrize('keep,more,architecture,left', KINDS)
def test_the_head_is_found_from_the_names(keep, more, architecture, left, in_task):
    arrays = arrays_of(keep, **more)
    if in_task:     # as a classifier's network saves them
        arrays = {name if loading.HEAD_PATTERN.match(name) else 'bert.' + name: array
                  for name, array in arrays.items()}
    head, mine, left_out = heads.identify_head(arrays, 'x')
    assert head.architecture == architecture
    assert len(left_out) == left and len(mine) == len(arrays) - left
    heads.check_head_arrays(CONFIG, head, mine, 'x')


def test_the_number_of_the_classifiers_layer_does_not_matter():
    arrays = arrays_of(ENCODER + (POOLER,), **CLASSIFIER)
    arrays['classifier.0.weight'] = arrays.pop('classifier.1.weight')   # without dropout
    arrays['classifier.0.bias'] = arrays.pop('classifier.1.bias')
    head, mine, _ = heads.identify_head(arrays, 'x')
    assert head.name == 'classification' and mine['classifier.1.bias'].shape == (3,)


def without(arrays, name):
    return {key: array for key, array in arrays.items() if key != name}


@pytest.mark.parametrize('change,message', [
    (lambda a: without(a, 'encoder.transformer_cells.1.proj.bias'),
     'x: missing: bert.encoder.transformer_cells.1.proj.bias$'),
    (lambda a: without(a, 'pooler.weight'), 'x: missing: bert.pooler.weight$'),
    (lambda a: without(a, 'classifier.1.bias'), 'x: missing: classifier.1.bias$'),
    (lambda a: dict(a, **{'pooler.bias': np.zeros((1, 8))}),
     r'x: wrong shape: bert.pooler.bias: \(1, 8\) in the file, \(8,\) in the model'),
    (lambda a: dict(a, **{'word_embed.0.weight': np.zeros((31, 8))}), r'\(31, 8\) in the file'),
    (lambda a: dict(a, **{'encoder.transformer_cells.2.proj.bias': np.zeros(8)}),
     'x: unknown: bert.encoder.transformer_cells.2.proj.bias$'),
])
def test_what_does_not_fit_is_named(change, message):
    head, mine, _ = heads.identify_head(change(arrays_of(ENCODER + (POOLER,), **CLASSIFIER)), 'x')
    with pytest.raises(UserError, match=message):
        heads.check_head_arrays(CONFIG, head, mine, 'x')


def test_names_that_no_head_has_are_refused():
    arrays = dict(arrays_of(ENCODER), **{'lstm.weight': np.zeros(2), 'crf': np.zeros(2)})
    with pytest.raises(UserError, match='^x: unknown: crf, lstm.weight$'):
        heads.identify_head(arrays, 'x')


@pytest.mark.parametrize('keep,more,architecture,left', KINDS)
def test_gluon_names_are_those_of_the_network(keep, more, architecture, left):
    head, mine, _ = heads.identify_head(arrays_of(keep, **more), 'x')
    network = heads.make_network_with_head(CONFIG, head, mine)
    assert set(heads.with_gluon_names(head, mine, CONFIG)) == \
        set(network._collect_params_with_prefix())


def test_an_architecture_with_another_head_is_refused():
    for known in ({}, {'architectures': None}, {'architectures': ['BertForMaskedLM']},
                  {'architectures': 'BertModel'}):
        heads.check_architecture(known, 'x')
    with pytest.raises(UserError, match='^config.json: architecture BertForMultipleChoice; '
                                        'supported: BertForSequenceClassification, '):
        heads.check_architecture({'architectures': ['BertForMultipleChoice']}, 'config.json')
