"""Errors of the HTTP interfaces, and how OpenAPI describes them."""
from pydantic import BaseModel


class ApiError(Exception):
    """An answer that is an error. status: of HTTP; kind: a word for programs, as
    text-embeddings-inference has them; headers: {name: value}."""

    def __init__(self, status, kind, message, headers=None):
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.headers = headers or {}


def native_body(error):
    """The body of an error in the form of text-embeddings-inference."""
    return {'error': error.message, 'error_type': error.kind}


# {kind: the type that OpenAI's own server gives}
OPENAI_TYPES = {'Overloaded': 'rate_limit_error', 'Unauthorized': 'authentication_error',
                'Backend': 'server_error', 'Unhealthy': 'server_error'}


def openai_body(error):
    """In OpenAI's form."""
    return {'error': {'message': error.message, 'param': None, 'code': error.status,
                      'type': OPENAI_TYPES.get(error.kind, 'invalid_request_error')}}


def protocol_body(error):
    """In the form of the Open Inference Protocol."""
    return {'error': error.message}


OPENAI_ALIASES = '/embeddings', '/models'   # of routes of /v1


def is_openai_path(path):
    """Whether a path is of OpenAI's interface."""
    return path.startswith('/v1/') or path in OPENAI_ALIASES


def error_body(path, error):
    """The body of an error on a path, in the form of its interface."""
    if is_openai_path(path):
        return openai_body(error)
    return protocol_body(error) if path.startswith('/v2') else native_body(error)


# Descriptions

class NativeError(BaseModel):
    error: str
    error_type: str


class OpenAiCause(BaseModel):
    message: str
    type: str
    param: str | None
    code: int


class OpenAiError(BaseModel):
    error: OpenAiCause


class ProtocolError(BaseModel):
    error: str


STATUSES = {400: 'the body is not JSON in UTF-8, or its list has no text',
            401: 'a key is missing or wrong',
            403: 'only if the server asks for keys', 404: 'there is no such model',
            413: 'too large',
            422: 'values that are not allowed, or a text that is too long',
            424: 'the model is of another kind, or has failed',
            429: 'the server is busy: try again after the seconds in the header Retry-After',
            503: 'a model does not answer'}


def describe_errors(model):
    """The errors in the form of `model`, for `responses` of FastAPI."""
    return {status: {'model': model, 'description': text} for status, text in STATUSES.items()}
