"""The embedder under the name and with the methods of the original script."""
import numpy as np

from bert.errors import UserError
from bert.flags.embedding import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_LAYERS,
    DEFAULT_MODEL,
    WORD_VECTORS_MAX_LENGTH,
)
from bert.pipelines.embedder import Embedder, iterate_texts
from bert.train.log import progress_bar


class BertEmbedding(Embedder):
    """The vectors of the words of texts, and one vector for each text.

    ctx
        An `mx.Context`. The default is the CPU.
    dtype
        'float32', 'bfloat16' or 'int8' on a CPU; 'float16' on a GPU. 'bfloat16' and 'int8' make the
        products of the encoder faster and less exact.
    model, dataset_name
        A model that models.py lists, and its corpus. The default is its first corpus.
    params_path
        A file with weights for this model.
    bert_checkpoint
        Any checkpoint in the place of a released model: a folder in Hugging Face layout, a folder
        of this package, or a file of weights.
    max_seq_length
        The number of tokens of a text at most for vectors of words, special tokens included. The
        default is 25, as in the original. None stands for the positions of the model.
    batch_size
        Texts of a batch.
    root
        The cache of released models.
    sentencepiece
        Not supported.
    layers
        Indices of the hidden states: -1 is the last, 0 is the input of the first layer.
    combine
        How several hidden states become one vector: 'concat', 'sum' or 'mean'.
    long_text
        What happens to a text with more tokens. 'warn' cuts it, and one warning says how many texts
        were cut. 'error' raises an error. 'split' reads the text in windows that overlap by half,
        and averages their vectors.

    Raises `UserError` for an unknown model, unreadable weights, a missing GPU, or invalid values.
    """
    length_keyword, device_keyword, checkpoint_keyword = (
        'max_seq_length', 'ctx', 'bert_checkpoint')

    def __init__(self, ctx=None, dtype='float32', model=DEFAULT_MODEL, dataset_name=None,
                 params_path=None, max_seq_length=WORD_VECTORS_MAX_LENGTH,
                 batch_size=DEFAULT_BATCH_SIZE, sentencepiece=None, root=None,
                 bert_checkpoint=None, layers=DEFAULT_LAYERS, combine='concat', long_text='warn'):
        if sentencepiece is not None:
            raise UserError('sentencepiece: SentencePiece models are not supported; a BERT '
                            'vocabulary is a vocab.txt, see bert_checkpoint')
        if bert_checkpoint and model == DEFAULT_MODEL:
            model = None
        super().__init__(bert_checkpoint, model=model, dataset_name=dataset_name,
                         params_path=params_path, root=root, device=ctx, dtype=dtype,
                         max_tokens=max_seq_length, batch_size=batch_size, layers=layers,
                         combine=combine, long_text=long_text)
        self.sentence_model = self.select_sentence_model()      # max_seq_length is for words

    def __call__(self, sentences, oov_way='avg'):
        """The words of each text with their vectors: a list of (words, vectors), each vector
        (width,) float32.

        sentences
            An iterable of str. A single str is one text.
        oov_way
            How the vectors of a word's pieces become one vector: 'avg', 'sum' or 'last'.

        Raises `UserError` for an item that is no text.
        """
        sentences = list(iterate_texts(sentences))
        with progress_bar(len(sentences), unit='text', description='embedding') as bar:
            results = []
            for result in self.embed_iter(sentences, oov_way):
                results.append(result)
                bar.update(1)
        return results

    def embed_iter(self, sentences, oov_way='avg', pieces=False):
        """Yield (words, vectors) of each text, in order.

        sentences
            An iterable of str. It is not kept.
        oov_way
            As for a call.
        pieces
            Whether to give word pieces in the place of words.
        """
        for names, rows in self.words(sentences, oov_way, pieces):
            yield names, list(rows)

    def sentence(self, texts, pooling=None, normalize=None, max_seq_length=None, dimensions=None,
                 prompt_name=None, prompt=None):
        """The vectors of texts, (texts, width) float32.

        pooling
            'mean' or 'max' of the vectors of all tokens, special tokens included; 'cls': the vector
            of [CLS]; 'lasttoken': the vector of [SEP]; 'mean_sqrt_len_tokens': the sum over the
            square root of the number of tokens; 'weightedmean': a mean weighed by position;
            'pooler': the model's pooled vector. Several are concatenated.
        normalize
            Whether vectors are scaled to length 1.
        max_seq_length
            The number of tokens of a text at most.
        dimensions
            How many numbers of a vector are kept.
        prompt_name, prompt
            The name, or the text, of the prompt before each text.

        The defaults are those of a folder of sentence-transformers, else 'mean', length 1, the
        model's positions, all numbers and no prompt. Raises `UserError` for an item that is no
        text.
        """
        texts = list(iterate_texts(texts))
        model = self.select_sentence_model(
            pooling=pooling, normalize=normalize, max_seq_length=max_seq_length,
            dimensions=dimensions, prompt_name=prompt_name, prompt=prompt)
        vectors = np.zeros((len(texts), model.output_width(self.width)), 'float32')
        num_done = 0
        with progress_bar(len(texts), unit='text', description='embedding') as bar:
            for rows in self._sentence_chunks(texts, model):
                vectors[num_done:num_done + len(rows)] = rows
                num_done += len(rows)
                bar.update(len(rows))
        return vectors

    def sentence_iter(self, texts, pooling=None, normalize=None, max_seq_length=None,
                      dimensions=None, prompt_name=None, prompt=None):
        """Yield arrays with some rows of `sentence`, in order. The arguments are the same. The
        texts may come from any iterator, and are not kept."""
        yield from self._sentence_chunks(texts, self.select_sentence_model(
            pooling=pooling, normalize=normalize, max_seq_length=max_seq_length,
            dimensions=dimensions, prompt_name=prompt_name, prompt=prompt))
