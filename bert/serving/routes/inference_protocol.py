"""The Open Inference Protocol, version 2, over JSON, as Triton and KServe speak it."""
from fastapi import APIRouter, Request

import bert
from bert.file_names import MODEL_KINDS
from bert.serving.answers import (
    ProtocolAnswer,
    ProtocolLive,
    ProtocolModelMetadata,
    ProtocolModelReady,
    ProtocolReady,
    ProtocolServer,
)
from bert.serving.api_errors import ApiError, ProtocolError, describe_errors
from bert.serving.body_problems import describe_value
from bert.serving.json_route import JsonRoute
from bert.serving.routes.protocol_models import (
    PROTOCOL_MODELS,
    pick_outputs,
    read_texts,
    write_tensors,
)
from bert.serving.schemas import InferenceRequest
from bert.serving.service import ServiceOfApp, answer

# Triton's own client sends JSON without a Content-Type
router = APIRouter(route_class=JsonRoute, prefix='/v2', tags=['Open Inference Protocol'],
                   strict_content_type=False, responses=describe_errors(ProtocolError))
VERSION = '1'       # models have no other versions
PLATFORM = 'mxnet_mxnet'


@router.get('', summary='The server', response_model=ProtocolServer)
async def describe_server():
    return answer({'name': 'bert', 'version': bert.__version__, 'extensions': []})


@router.get('/health/live', summary='Whether the server runs', response_model=ProtocolLive)
async def is_live():
    return answer({'live': True})


@router.get('/health/ready', summary='Whether all models answer', response_model=ProtocolReady)
async def is_ready(service: ServiceOfApp):
    await service.check_health()
    return answer({'ready': True})


def find_model(service, name, version=VERSION):
    """The `ServedModel` of a path. Raises `ApiError`."""
    if version != VERSION:
        raise ApiError(404, 'ModelNotFound', 'model "%s": there is no version "%s"; the only '
                       'version is "%s"' % (name, version, VERSION))
    return service.host.find(name, MODEL_KINDS)


@router.get('/models/{name:path}/ready', summary='Whether a model answers',
            response_model=ProtocolModelReady)
@router.get('/models/{name:path}/versions/{version}/ready', include_in_schema=False)
async def is_model_ready(name: str, service: ServiceOfApp, version: str = VERSION):
    await service.check_model(find_model(service, name, version))
    return answer({'name': name, 'ready': True})


@router.post('/models/{name:path}/infer', summary='Run a model',
             response_model=ProtocolAnswer)
@router.post('/models/{name:path}/versions/{version}/infer', include_in_schema=False)
async def infer(name: str, body: InferenceRequest, request: Request, service: ServiceOfApp,
                version: str = VERSION):
    model = find_model(service, name, version)
    texts = read_texts(model.kind, body.inputs)
    num_items = len(texts.get('text', texts.get('document', ())))
    requested = pick_outputs(model, body.outputs)
    truncate = (body.parameters or {}).get('truncate')
    if not (truncate is None or isinstance(truncate, bool)):
        raise ApiError(400, 'Validation', 'parameters.truncate: %s found, expected true or false'
                       % describe_value(truncate))
    outcome = await service.run(
        request, model, lambda: PROTOCOL_MODELS[model.kind].plan(model.pipeline, texts),
        [text for values in texts.values() for text in values], truncate, num_items)

    def make_content():
        content = {'model_name': name, 'model_version': VERSION,
                   'outputs': write_tensors(model, outcome.result, requested)}
        if body.id is not None:
            content['id'] = body.id
        if outcome.truncated:
            content['parameters'] = {'truncated': outcome.truncated}
        return content
    return await service.answer(make_content, outcome)


# The last route: a name may have a slash, as on the hub, and so this path fits those above
@router.get('/models/{name:path}', summary='The inputs and outputs of a model',
            response_model=ProtocolModelMetadata)
@router.get('/models/{name:path}/versions/{version}', include_in_schema=False)
async def describe_model(name: str, service: ServiceOfApp, version: str = VERSION):
    model = find_model(service, name, version)
    kind = PROTOCOL_MODELS[model.kind]
    return answer({'name': name, 'versions': [VERSION], 'platform': PLATFORM,
                   'inputs': [tensor.describe() for tensor in kind.inputs],
                   'outputs': [tensor.describe() for tensor in kind.outputs(model)]})
