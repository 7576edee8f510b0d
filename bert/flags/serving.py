"""Options of serve.py."""
from bert import file_names
from bert.flags import kinds
from bert.flags.common import HUB_NAME, ThreadOptions, dtype_flag
from bert.flags.options import Options, flag, options

MEGABYTE = 1 << 20


@options('service')
class ServiceOptions(Options):
    host: str = flag('address to listen on; 0.0.0.0: every one of this machine', '127.0.0.1')
    port: int = flag('0: a free one, which is printed', 8080, kinds.port)
    api_key_file: str | None = flag('file with a key a line; every request must then bring one, '
                                    'but for /health and /metrics: Authorization: Bearer KEY',
                                    metavar='FILE')
    cors_origins: tuple | None = flag('sites whose pages may ask, such as https://a.org; *: all',
                                      None, kinds.text_list, metavar='A,B,…')
    access_log: bool = flag('leave out the log\'s line for each request, which has no texts', True,
                            names=('--no_access_log',))


@options('limits')
class LimitOptions(Options):
    auto_truncate: bool = flag('cut texts that are too long; otherwise they are refused, unless '
                               'the request says "truncate": true', False)
    max_texts: int = flag('texts of a request', 10000, kinds.positive_int)
    max_tokens: int = flag('tokens of a request', 1000000, kinds.positive_int)
    max_bytes: int = flag('bytes of a request', 16 * MEGABYTE, kinds.positive_int)
    max_wait: float = flag('seconds that the queue may need; while it needs longer, requests are '
                           'refused with status 429', 30.0, kinds.positive_float)
    max_batch_tokens: int | None = flag('tokens that are computed together; default: as many as '
                                        'are fast', None, kinds.positive_int)
    body_timeout: float = flag('seconds in which the body of a request must come', 30.0,
                               kinds.positive_float)


@options()
class ServingOptions(ServiceOptions, LimitOptions, ThreadOptions):
    """serve.py"""
    model_dir: tuple = flag(
        'one or more models: folder of a run or checkpoint, a model that transformers or '
        'sentence-transformers saved, an exported one, a released one, or ' + HUB_NAME +
        '; NAME= before it names it for requests', nargs='+', metavar='[NAME=]MODEL',
        required=True)
    dtype: str = dtype_flag('float32', 'bfloat16', 'int8')
    task: tuple | None = flag(
        'what to do with models that can be used in more ways than one, or with the model NAME '
        'alone; of ' + ', '.join(file_names.MODEL_KINDS), nargs='+', metavar='[NAME=]KIND')
