"""Vectors: text-embeddings-inference's routes and OpenAI's."""
import base64
import dataclasses

import numpy as np
from fastapi import APIRouter, Request

from bert.file_names import EMBEDDING
from bert.pipelines.pooling import similarity
from bert.serving.answers import OpenAiVectors, Vector
from bert.serving.api_errors import ApiError, OpenAiError, describe_errors
from bert.serving.json_route import JsonRoute
from bert.serving.schemas import (
    EmbedAllRequest,
    EmbedRequest,
    OpenAiEmbeddingRequest,
    SimilarityParameters,
    SimilarityRequest,
    is_from_end,
)
from bert.serving.service import ServiceOfApp, as_list, with_cuts

router = APIRouter(route_class=JsonRoute, tags=['vectors'])
# Numbers of the vectors of all tokens of a request: as JSON they need some 20 bytes each
MAX_VALUES = 1 << 24


def plan_vectors(pipeline, inputs, from_end=True, **settings):
    """The `Inference` of the vectors of texts, or of token ids in their place. from_end: where they
    are cut that are too long. settings: of `SentenceModel.select`."""
    model = pipeline.select_sentence_model(**settings)
    if are_texts(inputs):
        return pipeline.plan(inputs, model, from_end=from_end)
    return pipeline.plan_ids(ids_of(pipeline, inputs, model), model, from_end)


def plan_token_vectors(pipeline, inputs, from_end, **settings):
    """The `Inference` of the vectors of all tokens, as `plan_vectors`. Raises `ApiError` for too
    many numbers."""
    model = pipeline.select_sentence_model(**settings)
    if are_texts(inputs):
        inference = pipeline.plan_token_vectors(inputs, model, from_end)
    else:
        inference = pipeline.plan_token_vectors_of_ids(ids_of(pipeline, inputs, model), model,
                                                       from_end)
    num_values = inference.num_read * pipeline.width
    if num_values > MAX_VALUES:
        raise ApiError(413, 'Validation', '%d numbers requested (tokens × width), expected at most '
                       '%d: send several requests' % (num_values, MAX_VALUES))
    return inference


def are_texts(inputs):
    """Whether none of the inputs is a list of token ids."""
    return all(isinstance(item, str) for item in inputs)


def ids_of(pipeline, inputs, model):
    """The token ids of all inputs: texts are tokenized, lists of ids stay. model:
    `SentenceModel`."""
    texts = dataclasses.replace(model, prompt='').prepare_texts(
        [item if isinstance(item, str) else '' for item in inputs])
    return [ids if isinstance(item, str) else item
            for item, ids in zip(inputs, pipeline.tokenizer.encode(texts))]


@router.post('/embed', summary='One vector for each text', response_model=list[Vector])
async def embed(body: EmbedRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, (EMBEDDING,))
    pipeline = model.pipeline
    inputs = as_list(body.inputs)
    outcome = await service.run(request, model, lambda: plan_vectors(
        pipeline, inputs, is_from_end(body), normalize=body.normalize,
        dimensions=body.dimensions, prompt_name=body.prompt_name), inputs, body.truncate)
    return await service.answer(lambda: outcome.result, outcome)


@router.post('/embed_all', summary='A vector for each token of each text',
             response_model=list[list[Vector]])
async def embed_all(body: EmbedAllRequest, request: Request,
                    service: ServiceOfApp):
    model = service.host.find(body.model, (EMBEDDING,))
    pipeline = model.pipeline
    inputs = as_list(body.inputs)
    if body.dimensions is not None and not 0 < body.dimensions <= pipeline.width:
        raise ApiError(422, 'Validation', 'dimensions %d: expected from 1 to %d'
                       % (body.dimensions, pipeline.width))
    outcome = await service.run(request, model, lambda: plan_token_vectors(
        pipeline, inputs, is_from_end(body), prompt_name=body.prompt_name), inputs, body.truncate)
    return await service.answer(lambda: [
        np.ascontiguousarray(rows[:, :body.dimensions]) for rows in outcome.result], outcome)


@router.post('/similarity', summary='How similar other texts are to a text',
             response_model=list[float])
async def compare(body: SimilarityRequest, request: Request,
                  service: ServiceOfApp):
    model = service.host.find(body.model, (EMBEDDING,))
    pipeline = model.pipeline
    parameters = body.parameters or SimilarityParameters()
    texts = [body.inputs.source_sentence, *body.inputs.sentences]
    if len(texts) == 1:
        raise ApiError(400, 'Empty', 'inputs.sentences is empty: expected at least one text')
    outcome = await service.run(request, model, lambda: plan_vectors(
        pipeline, texts, is_from_end(parameters), prompt_name=parameters.prompt_name), texts,
        parameters.truncate, len(body.inputs.sentences))
    rows = outcome.result
    return await service.answer(lambda: similarity(
        rows[:1], rows[1:], pipeline.sentence_model.similarity)[0], outcome)


@router.post('/v1/embeddings', summary='One vector for each text, in the form of OpenAI',
             responses=describe_errors(OpenAiError), response_model=OpenAiVectors)
@router.post('/embeddings', include_in_schema=False)
async def create_embeddings(body: OpenAiEmbeddingRequest, request: Request,
                            service: ServiceOfApp):
    model = service.host.find(body.model, (EMBEDDING,))
    inputs = as_list(body.input)
    outcome = await service.run(request, model, lambda: plan_vectors(
        model.pipeline, inputs, normalize=True, dimensions=body.dimensions), inputs, body.truncate)
    return await service.answer(lambda: with_cuts({
        'object': 'list', 'model': model.name,
        'data': [{'object': 'embedding', 'index': i, 'embedding': encode(row, body)}
                 for i, row in enumerate(outcome.result)],
        'usage': {'prompt_tokens': outcome.num_read, 'total_tokens': outcome.num_read}},
        outcome), outcome)


def encode(row, body):
    """A vector in the requested format: numbers, or the bytes of float32 in base64."""
    return base64.b64encode(row.astype('<f4').tobytes()).decode() \
        if body.encoding_format == 'base64' else row
