"""Answers, entities and words for masks: routes of our own, in the form of the pipelines' records.

Offsets are characters (Unicode code points) of the texts of the request.
"""
from fastapi import APIRouter, Request

from bert.file_names import FILL_MASK, QUESTION_ANSWERING, TOKEN_CLASSIFICATION
from bert.serving.answers import Answers, Entities, FilledTexts
from bert.serving.api_errors import ApiError
from bert.serving.json_route import JsonRoute
from bert.serving.schemas import AnswerRequest, EntitiesRequest, FillRequest
from bert.serving.service import ServiceOfApp, as_list, with_cuts

MAX_WORDS = 20000   # of all masks of a request: each is written with the whole text around it
router = APIRouter(route_class=JsonRoute, tags=['extraction'])


@router.post('/answer', summary='Answers to a question in documents', response_model=Answers)
async def answer_question(body: AnswerRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, (QUESTION_ANSWERING,))
    documents = as_list(body.documents)
    outcome = await service.run(
        request, model, lambda: model.pipeline.plan([(body.question, documents)], body.top_k),
        [body.question, *documents], body.truncate)
    result, = outcome.result
    return await service.answer(lambda: with_cuts({
        'answer': result.answer, 'no_answer': result.no_answer,
        'no_answer_probability': result.no_answer_probability,
        'answers': [item._asdict() for item in result.answers]}, outcome), outcome)


@router.post('/entities', summary='The entities of texts', response_model=Entities)
async def find_entities(body: EntitiesRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, (TOKEN_CLASSIFICATION,))
    texts = as_list(body.inputs)
    outcome = await service.run(
        request, model, lambda: model.pipeline.plan(texts, body.aggregation), texts, body.truncate)
    return await service.answer(lambda: {'entities': [
        [item._asdict() for item in items] for items in outcome.result]}, outcome)


@router.post('/fill', summary='The most likely words for the masks of texts',
             response_model=FilledTexts)
async def fill_masks(body: FillRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, (FILL_MASK,))
    pipeline = model.pipeline
    texts = as_list(body.inputs)
    num_words = body.top_k * sum(text.count(pipeline.tokenizer.vocab.mask_token)
                                 for text in texts)
    if num_words > MAX_WORDS:
        raise ApiError(413, 'Validation', '%d words requested (masks × top_k), expected at most '
                       '%d: lower top_k, or send several requests' % (num_words, MAX_WORDS))
    outcome = await service.run(
        request, model, lambda: pipeline.plan_masks(texts, body.top_k, body.targets), texts,
        body.truncate)
    return await service.answer(lambda: with_cuts({'masks': [
        [mask.as_dict() for mask in masks] for masks in outcome.result]}, outcome), outcome)
