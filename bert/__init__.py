"""BERT for Apache MXNet / Gluon: fine-tune, pre-train, embed, quantize, deploy."""
from bert import _compat  # noqa: F401  (must come before anything imports mxnet)

__version__ = '0.1.0'
