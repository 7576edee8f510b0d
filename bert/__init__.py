"""BERT for Apache MXNet / Gluon: fine-tune, pre-train, embed, quantize, deploy.

    import bert
    model = bert.open('output_dir/MRPC-001')
    model([('The cat sat.', 'A cat was sitting.')])

`bert.open` opens any trained or exported model; `bert.jobs` has the scripts as functions. Importing
this package imports no mxnet and no numpy; the first use does.
"""
import importlib

from bert import _compat  # noqa: F401  (must come before anything imports mxnet)

__version__ = '0.1.0'

# {public name: the module that has it}; imported at the first use
_LAZY_NAMES = {'open': 'bert.pipelines', 'Classifier': 'bert.pipelines.classification',
               'MultiLabelClassifier': 'bert.pipelines.classification',
               'QuestionAnswerer': 'bert.pipelines.question_answering',
               'TokenClassifier': 'bert.pipelines.token_classification',
               'CrossEncoder': 'bert.pipelines.ranking',
               'Embedder': 'bert.pipelines.embedder',
               'MaskFiller': 'bert.pipelines.mask_filling'}


def __getattr__(name):
    if name not in _LAZY_NAMES:
        raise AttributeError('module %r has no attribute %r' % (__name__, name))
    if name != 'open':      # which takes the number of threads
        importlib.import_module('bert.flags.threads').claim_threads()
    return getattr(importlib.import_module(_LAZY_NAMES[name]), name)


def __dir__():
    return sorted([*globals(), *_LAZY_NAMES])
