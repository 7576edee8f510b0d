"""What a model is for, at one address: text-embeddings-inference's `/` and `/invocations`."""
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from bert import file_names
from bert.serving import schemas
from bert.serving.json_route import JsonRoute
from bert.serving.routes import classification, embedding, extraction, ranking
from bert.serving.service import ServiceOfApp

router = APIRouter(route_class=JsonRoute, tags=['a model\'s own task'])

# {kind of `file_names.MODEL_KINDS`: (class of the body, function of the route)}
OWN_TASKS = {
    file_names.EMBEDDING: (schemas.EmbedRequest, embedding.embed),
    **dict.fromkeys((file_names.CLASSIFICATION, file_names.MULTI_LABEL, file_names.REGRESSION),
                    (schemas.PredictRequest, classification.predict)),
    file_names.RANKING: (schemas.RerankRequest, ranking.rerank),
    file_names.QUESTION_ANSWERING: (schemas.AnswerRequest, extraction.answer_question),
    file_names.TOKEN_CLASSIFICATION: (schemas.EntitiesRequest, extraction.find_entities),
    file_names.FILL_MASK: (schemas.FillRequest, extraction.fill_masks)}


@router.post('/', summary='The route for the kind of the model: /embed, /predict, /rerank …')
@router.post('/invocations', include_in_schema=False)
async def do_own_task(body: schemas.OwnTaskRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, file_names.MODEL_KINDS)
    body_class, route = OWN_TASKS[model.kind]
    try:
        values = body_class.model_validate({**body.model_dump(exclude_unset=True),
                                            'model': model.name})
    except ValidationError as error:
        raise RequestValidationError([dict(problem, loc=('body', *problem['loc']))
                                      for problem in error.errors()]) from None
    return await route(values, request, service)
