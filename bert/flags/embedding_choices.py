"""Choices and defaults of `BertEmbedding` and embedding.py. Nothing here imports mxnet, so the
script can parse its flags first."""

OOV_WAYS = ('avg', 'sum', 'last')       # from word pieces to a word
POOLINGS = ('mean', 'cls', 'max', 'pooler')     # from tokens to a text
COMBINATIONS = ('concat', 'sum', 'mean')        # from several hidden states to one
LONG_TEXT_MODES = ('warn', 'error', 'split')
PRECISIONS = ('float32', 'float16')
DEFAULT_LAYERS = (-1,)            # the default hidden state: the last one
WORD_VECTORS_MAX_LENGTH = 25       # tokens per text for word vectors, as in the original
DEFAULT_BATCH_SIZE = 256        # texts per batch, as in the original
