"""What operators ask: the models, health, metrics, a model replaced."""
import asyncio
import logging
import re

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

import bert
from bert import file_names
from bert.errors import UserError
from bert.serving.answers import Health, Info, OpenAiModels, ReloadedModel
from bert.serving.api_errors import ApiError, OpenAiError, describe_errors
from bert.serving.hosting import CLASSIFIER_KINDS
from bert.serving.json_route import JsonRoute
from bert.serving.schemas import ReloadRequest
from bert.serving.service import ServiceOfApp, answer

LOG = logging.getLogger(__name__)
router = APIRouter(route_class=JsonRoute, tags=['operation'])


@router.get('/v1/models', summary='The models, in the form of OpenAI',
            responses=describe_errors(OpenAiError), response_model=OpenAiModels)
@router.get('/models', include_in_schema=False)
async def list_models(service: ServiceOfApp):
    return answer({'object': 'list', 'data': [
        {'id': model.name, 'object': 'model', 'created': model.created, 'owned_by': 'bert',
         **describe_kind(model)} for model in service.host.models.values()]})


def describe_kind(model):
    """What a user of a `ServedModel` must know to ask it."""
    values = {'kind': model.kind, 'max_tokens': model.max_tokens, 'reads_pairs': model.reads_pairs,
              'labels': getattr(model.pipeline, 'task', {}).get('labels')}
    if model.kind == file_names.FILL_MASK:
        values['mask_token'] = model.pipeline.tokenizer.vocab.mask_token
    if model.kind == file_names.MULTI_LABEL:
        values['threshold'] = model.pipeline.threshold
    return values


@router.get('/info', summary='The first model and the limits', response_model=Info)
async def describe(service: ServiceOfApp, model: str | None = None):
    served, options = service.host.find(model, file_names.MODEL_KINDS), service.options
    return answer({
        'model_id': served.hub_name or served.name,
        'model_sha': None, 'model_dtype': served.dtype, 'served_model_name': served.name,
        'model_type': describe_type(served), 'max_input_length': served.max_tokens,
        'max_client_batch_size': options.max_texts, 'auto_truncate': options.auto_truncate,
        'max_batch_tokens': service.engine.max_batch_tokens, 'max_batch_requests': None,
        'max_concurrent_requests': None, 'payload_limit': options.max_bytes,
        'tokenization_workers': service.engine.num_planning_threads, 'version': bert.__version__})


def describe_type(model):
    """The kind of model in the words of text-embeddings-inference, where it has any."""
    if model.kind == file_names.EMBEDDING:
        return {'embedding': {'pooling': ' '.join(model.pipeline.sentence_model.pooling)}}
    labels = getattr(model.pipeline, 'task', {}).get('labels') or [model.pipeline.task['name']]
    names = {'id2label': {str(i): label for i, label in enumerate(labels)},
             'label2id': {label: i for i, label in enumerate(labels)}}
    if model.kind in CLASSIFIER_KINDS:
        return {'classifier': names}
    return {'reranker': names} if model.kind == file_names.RANKING else {model.kind: {}}


@router.get('/health', summary='Whether all models answer', response_model=Health)
@router.get('/ping', include_in_schema=False)
async def check_health(service: ServiceOfApp):
    await service.check_health()
    return answer({'status': 'ok'})


@router.get('/metrics', summary='For Prometheus', response_class=PlainTextResponse)
async def expose_metrics(service: ServiceOfApp):
    return Response(service.metrics.expose(), media_type=CONTENT_TYPE_LATEST)


def cause_without_flags(error):
    """The cause of a `UserError` of `bert.open`, for a client, who has no flags of scripts. A flag
    at the beginning only says where the value came from."""
    cause = re.sub(r'^--[a-z_]+ ', '', error.problem)
    return 'the log of the server says why' if re.search(r'(?<![^\s(])--[a-z]', cause) else cause


@router.post('/admin/reload', summary='Open a model again from its path; needs a key',
             response_model=ReloadedModel)
async def reload(body: ReloadRequest, service: ServiceOfApp):
    if service.options.api_key_file is None:
        raise ApiError(403, 'Forbidden', 'models can be replaced only on a server that asks for '
                       'keys')
    name = service.host.find(body.model, file_names.MODEL_KINDS).name
    try:
        # its client may leave, and no other reload may begin before it ends
        new = await asyncio.shield(asyncio.ensure_future(service.reload(name)))
    except UserError as error:
        LOG.warning('model %s: not opened again: %s', name, error)
        raise ApiError(424, 'Backend', 'the old model stays in use: %s' % cause_without_flags(error)
                       ) from None
    LOG.info('model %s: opened again from %s', name, new.path)
    return answer({'model': name, 'created': new.created})
