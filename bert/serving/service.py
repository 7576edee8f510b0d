"""What the routes share: from a request to its outcome, from the outcome to the answer."""
import asyncio
import time
from typing import Annotated

import orjson
from fastapi import Depends, Request, Response

from bert.serving.api_errors import ApiError

# The server is healthy if it has computed a batch in the last seconds; else it computes one
HEALTHY_SECONDS, PROBE_SECONDS = 10, 30
MAX_LISTED = 100    # texts that were cut, in a header


class Service:
    """The models with the engine that computes them. host: `hosting.ModelHost`; engine:
    `engine.Engine`; options: `bert.flags.serving.ServingOptions`; metrics: `metrics.Metrics`.
    num_given_up: requests without an answer, because the server ended."""

    def __init__(self, host, engine, options, metrics):
        self.host, self.engine, self.options, self.metrics = host, engine, options, metrics
        self.num_given_up = 0
        self._reload_lock, self._probe_lock = asyncio.Lock(), asyncio.Lock()
        for model in host.models.values():
            engine.learn_speed(model.runner, model.speed)

    async def reload(self, name):
        """Open a model anew; returns it. Raises `UserError`."""
        async with self._reload_lock:
            model = await asyncio.to_thread(self.host.reload, name)
            self.engine.learn_speed(model.runner, model.speed)
            return model

    async def check_health(self):
        """Raises the error of `check_model` for the first model that does not answer."""
        for model in list(self.host.models.values()):
            await self.check_model(model)

    async def check_model(self, model):
        """Raises `ApiError` unless a `ServedModel` has computed a batch lately, or does it now."""
        async with self._probe_lock:    # those who ask meanwhile wait for the same answer
            if time.monotonic() - self.engine.last_success(model.runner) < HEALTHY_SECONDS:
                return
            try:
                await asyncio.wait_for(self.engine.probe(model.plan_sample), PROBE_SECONDS)
            except (ApiError, asyncio.TimeoutError) as error:
                raise ApiError(503, 'Unhealthy', 'model "%s" does not answer: %s' % (
                    model.name, str(error) or 'no answer within %d s' % PROBE_SECONDS)) from None

    async def run(self, request, model, plan, texts, truncate=None, num_items=None):
        """The `Outcome` of a request to a `ServedModel`. plan: function → `Inference`; texts: all
        texts of the request; truncate: of the request, None for the server's own; num_items: what
        the user has listed, None for all of `texts`. Raises `ApiError`."""
        truncate = self.options.auto_truncate if truncate is None else truncate
        num_items = len(texts) if num_items is None else num_items
        try:
            outcome = await self.engine.run(
                model.runner, plan, texts, self.client_of(request), truncate, num_items=num_items,
                tokenizer=model.pipeline.tokenizer)
        except ApiError:
            self.metrics.observe_failure(model.kind, num_items)
            raise
        self.metrics.observe_outcome(model.kind, outcome)
        request.state.num_texts = len(outcome.num_tokens)
        request.state.num_tokens = outcome.num_read
        return outcome

    @staticmethod
    def client_of(request):
        """Whose request it is: the key's, or the address's where no keys are asked for."""
        return getattr(request.state, 'key', None) or (
            request.client.host if request.client else '')

    async def answer(self, make_content, outcome):
        """The response to a request. make_content: function that gives its content; it is called,
        and written as JSON, as `Engine.finish` does."""
        return await self.engine.finish(lambda: answer(make_content(), outcome), outcome.num_read)


async def _service_of(request: Request):     # async: FastAPI gives others to a thread
    return request.app.state.service


# The type of a route's argument that gets the service
ServiceOfApp = Annotated[Service, Depends(_service_of)]


def answer(content, outcome=None):
    """A response of JSON. outcome: its times, tokens and cut texts are in the headers."""
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY),
                    media_type='application/json',
                    headers=None if outcome is None else outcome_headers(outcome))


def outcome_headers(outcome):
    """{name: value} in the names of text-embeddings-inference, times in milliseconds."""
    headers = {name: '%.0f' % (1000 * seconds) for name, seconds in (
        ('x-tokenization-time', outcome.planning_time), ('x-queue-time', outcome.queue_time),
        ('x-inference-time', outcome.inference_time), ('x-total-time', outcome.total_time))}
    headers['x-compute-tokens'] = '%d' % outcome.num_read
    truncated = outcome.truncated
    if truncated:
        headers['x-truncated-count'] = str(len(truncated))
        headers['x-truncated'] = orjson.dumps(truncated[:MAX_LISTED]).decode()
    return headers


def with_cuts(content, outcome):
    """The content with the texts that were cut, if there are any."""
    return dict(content, truncated=outcome.truncated) if outcome.truncated else content


def as_list(inputs):
    """The texts of a request as a list; a single text or list of token ids is one."""
    is_single = isinstance(inputs, str) or (bool(inputs) and isinstance(inputs[0], int))
    return [inputs] if is_single else inputs
