"""What went wrong between this machine and the Hugging Face hub, in one line."""
import errno
import os
import re

from bert import downloads, files
from bert.errors import UserError

TOKEN_VARIABLES = ('HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN')
OFFLINE_VARIABLES = ('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE')
RANGE_ERROR = 416           # the HTTP status


class HubUnreachableError(UserError):
    """The hub is out of reach or refuses to serve now, and the files are not in the cache."""


def explain_hub_error(error, name, repository, revision):
    """The `UserError` for an exception of huggingface_hub. name: of the model, or of one of its
    files, for the message."""
    from huggingface_hub import constants
    chain = error_chain(error)
    for link in chain:
        if getattr(link, 'response', None) is not None:
            return _explain_answer(link.response, name, repository, revision)
    code = _write_error(error)
    if code:
        return UserError('%s: can\'t write to the hub\'s cache %s: %s; free some space or rights '
                         'there, or set HF_HUB_CACHE to another folder'
                         % (name, constants.HF_HUB_CACHE, os.strerror(code)))
    # an error with a cause is one of the library's own, which in some releases are ValueErrors
    is_strange = isinstance(error, (ValueError, KeyError)) and error.__cause__ is None
    if is_strange or any(type(link).__name__ == 'FileMetadataError' for link in chain):
        return HubUnreachableError('%s: what %s answers is not the answer of a hub: check '
                                   'HF_ENDPOINT, and whether a proxy wants a login'
                                   % (name, constants.ENDPOINT))
    return HubUnreachableError(
        '%s not in the cache %s, and %s can\'t be reached: %s; HF_ENDPOINT names a mirror' % (
            _missing(name), constants.HF_HUB_CACHE, constants.ENDPOINT,
            downloads.network_reason(error)))


def offline_error(name):
    """The `HubUnreachableError` for a library that may not use the network."""
    from huggingface_hub import constants
    variable = next((name for name in OFFLINE_VARIABLES if os.environ.get(name)),
                    OFFLINE_VARIABLES[0])
    return HubUnreachableError(
        '%s not in the cache %s, and %s is set: unset it, or fetch the model with models.py '
        '--fetch %s where there is a network' % (
            _missing(name), constants.HF_HUB_CACHE, variable, name))


def _missing(name):
    """The beginning of a message. name: of a model, or "model: file"."""
    return name + (':' if ': ' in name else ': no such file or folder here; as a model of the hub '
                                            'it is')


def is_length_error(error):
    """Whether an exception of huggingface_hub means that a file has not the declared length: its
    own check of that, or the rest of an earlier download that does not fit."""
    return type(error) is OSError and error.errno is None or any(
        getattr(getattr(link, 'response', None), 'status_code', None) == RANGE_ERROR
        for link in error_chain(error))


def error_chain(error):
    """The exception and what caused it, outermost first."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _write_error(error):
    """The errno of a failed write, or None. hf_xet names it only in its text."""
    code = getattr(error, 'errno', None)
    if code is None:
        match = re.search(r'\(os error (\d+)\)', str(error))
        code = int(match.group(1)) if match else None
    return code if code in files.WRITE_FIXES and code != errno.ENOENT else None


def _explain_answer(response, name, repository, revision):
    """The error for an answer of the hub that is not the file."""
    from huggingface_hub import constants
    hub, status = constants.ENDPOINT, response.status_code
    page, tokens = '%s/%s' % (hub, repository), hub + '/settings/tokens'
    code = response.headers.get('X-Error-Code')
    has_token = 'authorization' in response.request.headers
    if code == 'RevisionNotFound':
        return UserError('%s: the model has no branch, tag or commit "%s": %s/commits/main lists '
                         'them; models.py --fetch %s takes the newest'
                         % (name, revision or 'main', page, repository))
    if code == 'GatedRepo' and has_token:
        return UserError('%s: the model is gated, and the token in %s has no access to it: ask for '
                         'it at %s' % (name, token_place(), page))
    if code == 'GatedRepo':
        return UserError('%s: the model is gated: ask for access at %s, and set HF_TOKEN to a '
                         'token of %s' % (name, page, tokens))
    if status == 401 and has_token and code != 'RepoNotFound':
        return UserError('%s: %s does not know the token in %s: set HF_TOKEN to a valid one of %s, '
                         'or remove it' % (name, hub, token_place(), tokens))
    if status in (401, 404) and code != 'EntryNotFound':
        return UserError(
            '%s: no such file or folder here, and %s has no %s: check the spelling%s' % (
                name, hub, 'model of that name that the token in %s may read' % token_place()
                if has_token else 'public model of that name', '' if has_token else
                '; a private model needs HF_TOKEN, a token of ' + tokens))
    if status == 403:
        return UserError('%s: %s forbids it (HTTP 403): let the token in %s read this model, at %s'
                         % (name, hub, token_place(), tokens))
    if status == 429:
        seconds = response.headers.get('Retry-After')
        return HubUnreachableError('%s: too many requests to %s (HTTP 429): try again %s%s' % (
            name, hub, 'after %s seconds' % seconds if seconds else 'later',
            '' if has_token else ', or set HF_TOKEN, which allows more'))
    if status >= 500:
        return HubUnreachableError('%s: %s is out of order (HTTP %d): try again later; HF_ENDPOINT '
                                   'names a mirror' % (name, hub, status))
    return UserError('%s: %s refuses it (HTTP %d %s): check HF_ENDPOINT' % (
        name, hub, status, response.headers.get('X-Error-Message') or code or ''))


def token_place():
    """Where the token comes from: a variable or a file."""
    from huggingface_hub import constants
    return next((name for name in TOKEN_VARIABLES if os.environ.get(name)),
                constants.HF_TOKEN_PATH)
