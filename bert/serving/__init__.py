"""The HTTP service over pipelines.

A request's texts become an `Inference` in a planning thread (`engine`), whose features wait in a
queue that is fair between clients (`fair_queue`), until the computing thread takes them in batches
of as many tokens as are fast. `hosting` holds the models, `routes` the interfaces, `application`
puts them together.
"""
import importlib

from bert import _compat
from bert.flags.threads import check_threads


def serve(options, explicit):
    """Serve models until SIGTERM or Ctrl-C. options: `bert.flags.serving.ServingOptions`; explicit:
    {option: flag} of those that the command line set. Raises `UserError`."""
    options.check(explicit)
    if 'threads' in explicit:
        check_threads(options.threads)
    _compat.check_numpy()
    options.prepare_mxnet()
    importlib.import_module('bert.serving.server').serve_models(options)
