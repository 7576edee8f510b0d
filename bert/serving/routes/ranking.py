"""Documents in the order of their scores for a query: text-embeddings-inference's route."""
from fastapi import APIRouter, Request

from bert.file_names import RANKING
from bert.probabilities import sigmoid
from bert.serving.answers import CohereRanking, RankedText
from bert.serving.api_errors import OpenAiError, describe_errors
from bert.serving.json_route import JsonRoute
from bert.serving.schemas import CohereRerankRequest, RerankRequest, is_from_end
from bert.serving.service import ServiceOfApp, with_cuts

router = APIRouter(route_class=JsonRoute, tags=['ranking'])


@router.post('/rerank', summary='Documents, best first', response_model=list[RankedText])
async def rerank(body: RerankRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, (RANKING,))
    outcome = await service.run(
        request, model, lambda: model.pipeline.plan_outputs(
            [(body.query, text) for text in body.texts], is_from_end(body)),
        [body.query, *body.texts], body.truncate, len(body.texts))
    return await service.answer(lambda: rank_outputs(outcome.result[:, 0], body), outcome)


def rank_outputs(outputs, body):
    """[{'index', 'score', perhaps 'text'}], best first. outputs: (texts,) of the network."""
    scores = (outputs if body.raw_scores else sigmoid(outputs)).tolist()
    order = sorted(range(len(scores)), key=lambda i: -scores[i])       # sorted is stable
    return [{'index': i, 'score': scores[i],
             **({'text': body.texts[i]} if body.return_text else {})} for i in order]


@router.post('/v1/rerank', summary='Documents, best first, in the form of Cohere',
             responses=describe_errors(OpenAiError), response_model=CohereRanking)
async def rank_documents(body: CohereRerankRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, (RANKING,))
    outcome = await service.run(
        request, model,
        lambda: model.pipeline.plan_ranking(body.query, body.documents, body.top_n),
        [body.query, *body.documents], body.truncate, len(body.documents))
    return await service.answer(lambda: with_cuts({
        'model': model.name,
        'results': [{'index': item.document, 'relevance_score': item.score,
                     **({'document': {'text': item.text}} if body.return_documents else {})}
                    for item in outcome.result],
        'usage': {'total_tokens': outcome.num_read}}, outcome), outcome)
