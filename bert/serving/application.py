"""The application: routes, the form of errors, the page."""
import pathlib

from fastapi import Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.routing import Mount, Route

import bert
from bert.serving.api_errors import (
    ApiError,
    NativeError,
    describe_errors,
    error_body,
    is_openai_path,
    native_body,
)
from bert.serving.body_problems import describe_body_problems
from bert.serving.middleware import Guard, read_keys
from bert.serving.routes import (
    classification,
    embedding,
    extraction,
    inference_protocol,
    operation,
    own_task,
    ranking,
    tokens,
)

PAGE = pathlib.Path(__file__).parent / 'page'
# The most frequent ones first: a request is compared with them in this order
ROUTERS = (embedding.router, ranking.router, classification.router,
           extraction.router, tokens.router, own_task.router, inference_protocol.router,
           operation.router)


def make_application(service):
    """The ASGI application of a `service.Service`."""
    app = FastAPIOffline(title='BERT', version=bert.__version__, redoc_url=None,
                         description='Vectors, labels, scores, answers, entities and words.')
    app.state.service = service
    for router in ROUTERS:
        app.include_router(router, responses=describe_errors(NativeError), dependencies=(
            [Security(HTTPBearer(auto_error=False))] if service.options.api_key_file else []))
    app.add_exception_handler(ApiError, answer_api_error)
    app.add_exception_handler(HTTPException, answer_http_error)
    app.add_exception_handler(RequestValidationError, answer_invalid_body)
    app.add_exception_handler(Exception, answer_failure)
    app.router.redirect_slashes = False     # else to where the client's header Host says
    app.mount('/page', PageFiles(directory=PAGE), name='page')
    app.add_api_route('/', show_page, methods=['GET'], include_in_schema=False)
    options = service.options
    keys = None if options.api_key_file is None else read_keys(options.api_key_file)
    routes = [route for router in ROUTERS for route in router.routes]
    guard = Guard(app, keys, service, routes + [route for route in app.routes
                                                if isinstance(route, (Route, Mount))])
    if not options.cors_origins:
        return guard
    return CrossOrigins(guard, allow_origins=options.cors_origins, allow_methods=['*'],
                        allow_headers=['*'], expose_headers=['x-truncated', 'x-truncated-count',
                                                             'x-total-time', 'x-compute-tokens']
                        )       # outside, so that pages can read its errors


class CrossOrigins(CORSMiddleware):
    """Starlette's, whose refusals are JSON with a cause, as all errors."""

    def preflight_response(self, request_headers):
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        error = ApiError(response.status_code, 'Forbidden', '%s, in a request of a page of %s: '
                         'the server takes none from pages of this site' % (
                             response.body.decode(), ascii(request_headers['origin'])[1:-1]))
        headers = {name: value for name, value in response.headers.items()
                   if name not in ('content-length', 'content-type')}
        return JSONResponse(native_body(error), error.status, headers)


# no-cache: a browser asks whether a file has changed, and so never mixes those of two versions
PAGE_HEADERS = {'Cache-Control': 'no-cache', 'X-Content-Type-Options': 'nosniff',
                'Content-Security-Policy': "frame-ancestors 'none'"}


class PageFiles(StaticFiles):
    """The files of the page, with its headers."""

    def file_response(self, *arguments, **options):
        response = super().file_response(*arguments, **options)
        response.headers.update(PAGE_HEADERS)
        return response


async def show_page():
    return FileResponse(PAGE / 'index.html', headers=PAGE_HEADERS)


def answer_api_error(request: Request, error: ApiError):
    request.state.error_kind = error.kind
    return JSONResponse(error_body(request.url.path, error), error.status, error.headers)


def answer_failure(request: Request, error: Exception):
    """An error that nothing foresaw; Starlette raises it again, and the guard logs it."""
    return answer_api_error(request, ApiError(500, 'Internal', 'the server failed: %s'
                                              % type(error).__name__))


def answer_http_error(request: Request, error: HTTPException):
    """No such route, no such method, a body that is no JSON."""
    message = {404: 'there is no path %s' % request.url.path,
               405: '%s does not support %s' % (request.url.path, request.method)}.get(
                   error.status_code, str(error.detail))
    return answer_api_error(request, ApiError(error.status_code, 'Validation', message,
                                              dict(error.headers or {})))


def answer_invalid_body(request: Request, error: RequestValidationError):
    """A body that is no JSON: 400; one with other keys or values than expected: 422, for the
    protocol, whose clients know no 422, and OpenAI's, 400."""
    problems = error.errors()
    is_json = not any(problem['type'] == 'json_invalid' for problem in problems)
    path = request.url.path
    status = 400 if not is_json or is_openai_path(path) or path.startswith('/v2') else 422
    return answer_api_error(request, ApiError(status, 'Validation',
                                              describe_body_problems(problems)))
