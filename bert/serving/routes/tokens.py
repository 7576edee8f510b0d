"""Texts as tokens, and back: text-embeddings-inference's routes."""
from fastapi import APIRouter, Request

from bert import file_names
from bert.errors import UserError
from bert.serving.answers import Token
from bert.serving.api_errors import ApiError
from bert.serving.json_route import JsonRoute
from bert.serving.schemas import DecodeRequest, TokenizeRequest
from bert.serving.service import ServiceOfApp, answer, as_list

router = APIRouter(route_class=JsonRoute, tags=['tokens'])


@router.post('/tokenize', summary='The tokens of texts, with their places in them',
             response_model=list[list[Token]])
async def tokenize(body: TokenizeRequest, request: Request, service: ServiceOfApp):
    pipeline = service.host.find(body.model, file_names.MODEL_KINDS).pipeline
    texts, prompt = as_list(body.inputs), ''
    if body.prompt_name is not None:
        if not hasattr(pipeline, 'select_sentence_model'):
            raise ApiError(422, 'Validation', 'prompt_name: only models that make vectors have '
                           'prompts')
        prompt = (await service.engine.in_planning_thread(
            lambda: pipeline.select_sentence_model(prompt_name=body.prompt_name))).prompt
    prepared = [prompt + text for text in texts]
    return await service.engine.plan(lambda: answer([
        list(describe_tokens(pipeline.tokenizer, text, encoding, body.add_special_tokens))
        for text, encoding in zip(prepared, pipeline.tokenizer.encode_with_spans(prepared))]),
        texts, service.client_of(request), tokenizer=pipeline.tokenizer)


def describe_tokens(tokenizer, text, encoding, with_specials):
    """Yield {'id', 'text', 'special', 'start', 'stop'} of each token; special tokens have no
    place."""
    def describe(token_id, name, is_special, start=None, stop=None):
        return {'id': token_id, 'text': name, 'special': is_special, 'start': start, 'stop': stop}
    ids, spans = encoding
    before, after = tokenizer.frame(pair=False).ids if with_specials else ((), ())
    for token_id in before:
        yield describe(token_id, tokenizer.vocab.to_tokens(token_id), True)
    for token_id, (start, stop) in zip(ids.tolist(), spans.tolist()):
        yield describe(token_id, text[start:stop], False, start, stop)
    for token_id in after:
        yield describe(token_id, tokenizer.vocab.to_tokens(token_id), True)


@router.post('/decode', summary='The texts of token ids', response_model=list[str])
async def decode(body: DecodeRequest, request: Request, service: ServiceOfApp):
    pipeline = service.host.find(body.model, file_names.MODEL_KINDS).pipeline
    id_lists = [body.ids] if body.ids and isinstance(body.ids[0], int) else body.ids
    return await service.engine.plan(
        lambda: answer(decode_ids(pipeline, id_lists, body.skip_special_tokens)), id_lists,
        service.client_of(request))


def decode_ids(pipeline, id_lists, skips_specials):
    """The texts of lists of token ids. Raises `UserError` for an id that is no token."""
    vocab_size = pipeline.config.vocab_size
    for i, ids in enumerate(id_lists):
        for token_id in ids:
            if not 0 <= token_id < vocab_size:
                raise UserError('ids %d: token id %d: expected from 0 to %d'
                                % (i, token_id, vocab_size - 1))
    return [pipeline.tokenizer.decode(ids, skips_specials) for ids in id_lists]
