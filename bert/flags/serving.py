"""Options of serve.py."""
from bert import file_names
from bert.flags import kinds
from bert.flags.common import HUB_NAME, ThreadOptions, dtype_flag
from bert.flags.options import Options, flag, options

MEGABYTE = 1 << 20


@options('service')
class ServiceOptions(Options):
    host: str = flag('address to listen on; 0.0.0.0: all addresses of this machine', '127.0.0.1')
    port: int = flag('port to listen on; 0: a free one, which is printed', 8080, kinds.port)
    api_key_file: str | None = flag('file with one key per line; every request, except to /health '
                                    'and /metrics, must then send a key: Authorization: Bearer KEY',
                                    metavar='FILE')
    cors_origins: tuple | None = flag('web sites whose pages may send requests, such as '
                                      'https://a.org; *: all', None, kinds.text_list,
                                      metavar='A,B,…')
    access_log: bool = flag('do not log a line for each request; such a line has no texts', True,
                            names=('--no_access_log',))


@options('limits')
class LimitOptions(Options):
    auto_truncate: bool = flag('cut texts that are too long; without this flag they are refused, '
                               'unless the request says "truncate": true', False)
    max_texts: int = flag('maximum number of texts in a request', 10000, kinds.positive_int)
    max_tokens: int = flag('maximum number of tokens in a request', 1000000, kinds.positive_int)
    max_bytes: int = flag('maximum number of bytes in a request', 16 * MEGABYTE,
                          kinds.positive_int)
    max_wait: float = flag('maximum expected wait in the queue, in seconds; while it is longer, '
                           'requests are refused with status 429', 30.0, kinds.positive_float)
    max_batch_tokens: int | None = flag('maximum number of tokens that are computed together; '
                                        'default: as many as are fast', None, kinds.positive_int)
    body_timeout: float = flag('seconds within which the body of a request must arrive', 30.0,
                               kinds.positive_float)


@options()
class ServingOptions(ServiceOptions, LimitOptions, ThreadOptions):
    """serve.py"""
    model_dir: tuple = flag(
        'one or more models: the folder of a run or checkpoint; a model that transformers or '
        'sentence-transformers saved; an exported or a released model; ' + HUB_NAME +
        '. NAME= before a model is its name in requests.', nargs='+', metavar='[NAME=]MODEL',
        required=True)
    dtype: str = dtype_flag('float32', 'bfloat16', 'int8')
    task: tuple | None = flag(
        'task of the models that can do several, or with NAME= of this model only; one of '
        + ', '.join(file_names.MODEL_KINDS), nargs='+', metavar='[NAME=]KIND')
