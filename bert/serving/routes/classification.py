"""Labels and scores of texts and pairs: text-embeddings-inference's route."""
from fastapi import APIRouter, Request

from bert.pipelines.records import Score
from bert.serving.answers import LabelScore
from bert.serving.hosting import CLASSIFIER_KINDS
from bert.serving.json_route import JsonRoute
from bert.serving.schemas import PredictRequest, is_from_end
from bert.serving.service import ServiceOfApp

router = APIRouter(route_class=JsonRoute, tags=['classification'])


@router.post('/predict', summary='The labels of texts or pairs, with probabilities',
             response_model=list[LabelScore] | list[list[LabelScore]])
async def predict(body: PredictRequest, request: Request, service: ServiceOfApp):
    model = service.host.find(body.model, CLASSIFIER_KINDS)
    pipeline = model.pipeline
    is_batch = not isinstance(body.inputs, str) and (
        not body.inputs or isinstance(body.inputs[0], list))
    items = body.inputs if is_batch else [body.inputs]
    # a list of one text is that text, a list of two is a pair
    items = [item if isinstance(item, str) else item[0] if len(item) == 1 else tuple(item)
             for item in items]
    texts = [text for item in items for text in ([item] if isinstance(item, str) else item)]
    outcome = await service.run(request, model, lambda: pipeline.plan_outputs(
        items, is_from_end(body)), texts, body.truncate, len(items) if texts else 0)

    def describe():
        results = describe_outputs(pipeline, outcome.result, body.raw_scores)
        return results if is_batch else results[0]
    return await service.answer(describe, outcome)


def describe_outputs(pipeline, outputs, raw_scores):
    """For each text [{'score', 'label'}] of all labels, best first. raw_scores: the outputs
    themselves, not probabilities."""
    labels = pipeline.task['labels'] or [pipeline.task['name']]
    if raw_scores:
        rows = outputs.tolist()
    else:
        rows = [[record.score] if isinstance(record, Score) else
                list(record.probabilities.values()) for record in pipeline.records(outputs)]
    return [sorted(({'score': score, 'label': label} for score, label in zip(row, labels)),
                   key=lambda item: -item['score']) for row in rows]
