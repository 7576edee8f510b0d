"""Answers, entities and words for masks: routes of our own, in the form of the pipelines' records.

Offsets are characters (Unicode code points) of the texts of the request.
"""
from fastapi import APIRouter, Request

from bert.file_names import FILL_MASK, QUESTION_ANSWERING, TOKEN_CLASSIFICATION
from bert.pipelines.mask_filling import TOP_K
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
        [body.question, *documents], body.truncate, len(documents))
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
    texts, words = as_list(body.inputs), body.targets or []
    if words:
        service.engine.check_count(len(words), 'targets')
    outcome = await service.run(
        request, model, lambda: plan_masks(model.pipeline, texts, body.top_k, body.targets),
        texts + words, body.truncate, len(texts))
    filled_texts, replaced = outcome.result

    def make_content():
        content = {'masks': [[mask.as_dict() for mask in masks] for masks in filled_texts]}
        return with_cuts(dict(content, replaced_targets=replaced) if replaced else content,
                         outcome)
    return await service.answer(make_content, outcome)


def plan_masks(pipeline, texts, top_k=TOP_K, targets=None):
    """The `Inference` whose result is the list of [`Mask`] of each text, and {target that is no
    token: the token in its place}. Raises `ApiError` for too many words."""
    num_words = top_k * sum(text.count(pipeline.tokenizer.vocab.mask_token) for text in texts)
    if num_words > MAX_WORDS:
        raise ApiError(413, 'Validation', '%d words requested (masks × top_k), expected at most '
                       '%d: lower top_k, or send several requests' % (num_words, MAX_WORDS))
    found = None if targets is None else pipeline.find_targets(targets)
    return pipeline.plan_masks(texts, top_k, found).then(
        lambda filled_texts: (filled_texts, found.replaced if found else {}))
