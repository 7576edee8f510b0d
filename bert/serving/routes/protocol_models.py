"""The models as the Open Inference Protocol sees them: their inputs and outputs as tensors."""
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import orjson

from bert import file_names
from bert.serving.api_errors import ApiError
from bert.serving.body_problems import describe_value
from bert.serving.routes.extraction import plan_masks

BYTES, FP32, INT64 = 'BYTES', 'FP32', 'INT64'


class Tensor(NamedTuple):
    """A tensor of a model. shape: -1 for any size."""
    name: str
    datatype: str
    shape: tuple

    def describe(self):
        return {'name': self.name, 'datatype': self.datatype, 'shape': list(self.shape)}


class ProtocolModel(NamedTuple):
    """How models of a kind read and give tensors.

    inputs: tensors of texts; optional: names of those that may be missing. outputs: function of the
    `hosting.ServedModel` → tensors. plan: function (pipeline, {name: list of texts}) → `Inference`.
    tensors: function (pipeline, result of the inference) → {name of an output: values}.
    """
    inputs: tuple
    outputs: Callable
    plan: Callable
    tensors: Callable
    optional: tuple = ()


TEXT = Tensor('text', BYTES, (-1,))


def _json(items):
    return [orjson.dumps(item).decode() for item in items]


def _plan_texts(pipeline, texts):
    return pipeline.plan(texts['text'])


# Classifiers

def _plan_classes(pipeline, texts):
    items = list(zip(texts['text'], texts['text_pair'])) if 'text_pair' in texts else \
        texts['text']
    return pipeline.plan(items)


def _class_tensors(pipeline, records):
    return {'label': [record.label for record in records],
            'probabilities': [list(record.probabilities.values()) for record in records]}


def _label_set_tensors(pipeline, records):
    return {'labels': _json(record.labels for record in records),
            'probabilities': [list(record.probabilities.values()) for record in records]}


def _score_tensors(pipeline, records):
    return {'score': [record.score for record in records]}


def _probabilities(model):
    return Tensor('probabilities', FP32, (-1, len(model.pipeline.task['labels'])))


# Rankings

def _plan_ranking(pipeline, texts):
    if len(texts['query']) != 1:
        raise ApiError(400, 'Validation', 'query: %d texts found, expected 1' % len(texts['query']))
    return pipeline.plan([(texts['query'][0], text) for text in texts['text']])


# Answers

def _plan_answers(pipeline, texts):
    return pipeline.plan(list(zip(texts['question'], texts['document'])))


def _answer_tensors(pipeline, results):
    best = [None if result.no_answer or not result.answers else result.answers[0]
            for result in results]
    return {'answer': ['' if item is None else item.answer for item in best],
            'start': [-1 if item is None else item.start for item in best],
            'end': [-1 if item is None else item.end for item in best],
            'probability': [0.0 if item is None else item.probability for item in best]}


def _constant(*tensors):
    return lambda model: tensors


_CLASS_INPUTS = TEXT, Tensor('text_pair', BYTES, (-1,))
# {kind of `file_names.MODEL_KINDS`: ProtocolModel}
PROTOCOL_MODELS = {
    file_names.EMBEDDING: ProtocolModel(
        (TEXT,), lambda model: (Tensor('embedding', FP32, (
            -1, model.pipeline.sentence_model.output_width(model.pipeline.width))),),
        _plan_texts, lambda pipeline, vectors: {'embedding': vectors}),
    file_names.CLASSIFICATION: ProtocolModel(
        _CLASS_INPUTS, lambda model: (Tensor('label', BYTES, (-1,)), _probabilities(model)),
        _plan_classes, _class_tensors, ('text_pair',)),
    file_names.MULTI_LABEL: ProtocolModel(
        _CLASS_INPUTS, lambda model: (Tensor('labels', BYTES, (-1,)), _probabilities(model)),
        _plan_classes, _label_set_tensors, ('text_pair',)),
    file_names.REGRESSION: ProtocolModel(
        _CLASS_INPUTS, _constant(Tensor('score', FP32, (-1,))), _plan_classes, _score_tensors,
        ('text_pair',)),
    file_names.RANKING: ProtocolModel(
        (Tensor('query', BYTES, (1,)), TEXT), _constant(Tensor('score', FP32, (-1,))),
        _plan_ranking, _score_tensors),
    file_names.QUESTION_ANSWERING: ProtocolModel(
        (Tensor('question', BYTES, (-1,)), Tensor('document', BYTES, (-1,))),
        _constant(Tensor('answer', BYTES, (-1,)), Tensor('start', INT64, (-1,)),
                  Tensor('end', INT64, (-1,)), Tensor('probability', FP32, (-1,))),
        _plan_answers, _answer_tensors),
    file_names.TOKEN_CLASSIFICATION: ProtocolModel(
        (TEXT,), _constant(Tensor('entities', BYTES, (-1,))), _plan_texts,
        lambda pipeline, results: {'entities': _json(
            [item._asdict() for item in items] for items in results)}),
    file_names.FILL_MASK: ProtocolModel(
        (TEXT,), _constant(Tensor('masks', BYTES, (-1,))),
        lambda pipeline, texts: plan_masks(pipeline, texts['text']),
        lambda pipeline, result: {'masks': _json(
            [mask.as_dict() for mask in masks] for masks in result[0])})}


def read_texts(kind, tensors):
    """{name: list of texts} of the `schemas.InferenceInput`s of a request. Raises `ApiError`."""
    model = PROTOCOL_MODELS[kind]
    names = [tensor.name for tensor in model.inputs]
    texts = {}
    for tensor in tensors:
        if tensor.name not in names:
            raise _refusal('input "%s": unknown; the inputs are %s'
                           % (tensor.name, ', '.join(names)))
        if tensor.name in texts:
            raise _refusal('input "%s": it occurs twice' % tensor.name)
        texts[tensor.name] = _read_strings(tensor)
    for name in names:
        if name not in texts and name not in model.optional:
            raise _refusal('input "%s" is missing: the inputs are %s' % (name, ', '.join(names)))
    sizes = {name: len(values) for name, values in texts.items() if name != 'query'}
    if len(set(sizes.values())) > 1:
        raise _refusal('expected inputs of one size, found %s' % ', '.join(
            '%d of %s' % (size, name) for name, size in sizes.items()))
    return texts


def _read_strings(tensor):
    """The texts of an input, row after row."""
    if tensor.datatype != BYTES:
        raise _refusal('input "%s": datatype %s found, expected BYTES'
                       % (tensor.name, tensor.datatype))
    values = tensor.data
    while values and all(isinstance(value, list) for value in values):
        values = [item for value in values for item in value]
    for value in values:
        if not isinstance(value, str):
            raise _refusal('input "%s": %s found, expected texts'
                           % (tensor.name, describe_value(value)))
    if int(np.prod(tensor.shape, dtype=object)) != len(values):
        raise _refusal('input "%s": %d texts found, but its shape is %s'
                       % (tensor.name, len(values), tensor.shape))
    return values


def pick_outputs(model, requested):
    """The output tensors that a request asks for. model: `hosting.ServedModel`; requested: list of
    `schemas.RequestedOutput`, None for all. Raises `ApiError`."""
    tensors = {tensor.name: tensor for tensor in PROTOCOL_MODELS[model.kind].outputs(model)}
    names = [output.name for output in requested or ()] or list(tensors)
    for name in names:
        if name not in tensors:
            raise _refusal('output "%s": unknown; the outputs are %s' % (name, ', '.join(tensors)))
    return {name: tensors[name] for name in names}


def write_tensors(model, result, tensors):
    """The outputs of a response. model: `hosting.ServedModel`; result: of its inference; tensors:
    of `pick_outputs`."""
    values = PROTOCOL_MODELS[model.kind].tensors(model.pipeline, result)
    outputs = []
    for name in tensors:
        array = values[name] if tensors[name].datatype == BYTES else np.asarray(
            values[name], {FP32: 'float32', INT64: 'int64'}[tensors[name].datatype])
        outputs.append({'name': name, 'datatype': tensors[name].datatype,
                        'shape': [len(array)] if isinstance(array, list) else list(array.shape),
                        'data': array if isinstance(array, list) else array.ravel()})
    return outputs


def _refusal(message):
    return ApiError(400, 'Validation', message)
