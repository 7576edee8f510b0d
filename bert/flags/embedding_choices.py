"""How vectors of words and texts are made: what `BertEmbedding` and embedding.py offer. Nothing
here imports mxnet, so that flags can be parsed before."""

OOV_WAYS = ('avg', 'sum', 'last')       # of pieces to a word
POOLINGS = ('mean', 'cls', 'max', 'pooler')     # of tokens to a text
COMBINATIONS = ('concat', 'sum', 'mean')        # of several hidden states to one
LONG_TEXTS = ('warn', 'error', 'split')
PRECISIONS = ('float32', 'float16')
LAST = (-1,)            # the hidden state that is taken by default
WORDS_LENGTH = 25       # tokens of a text where words are asked for, as in the original
BATCH_SIZE = 256        # texts, as in the original
