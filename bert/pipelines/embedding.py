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
    """Contextual vectors of the words of texts, and one vector for each text.

    ctx: `mx.Context`; default: the CPU. dtype: 'float32', 'bfloat16' or 'int8' on a CPU (the last
    two make the products of the encoder faster and less exact), or 'float16' on a GPU.
    model, dataset_name: a model that models.py lists, and its corpus; default: its first corpus.
    params_path: a file with weights for this model. bert_checkpoint: any checkpoint instead: a
    folder in Hugging Face layout, a folder of ours, or a file of weights.
    max_seq_length: the most tokens of a text for vectors of words, [CLS] and [SEP] included;
    default: 25, as in the original; None: the number of positions of the model. batch_size: in
    texts. root: the cache of models. sentencepiece: not supported.
    layers: indices of the hidden states: -1 is the last, 0 is the input of the first layer.
    combine: how several of them become one vector: 'concat', 'sum' or 'mean'.
    long_text: what happens to a text with more tokens. 'warn': it is cut, and one warning says how
    many texts were; 'error': it raises an error; 'split': it is read in windows that overlap by
    half, and their vectors are averaged.

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
        """[(words, vectors)]: for each text its words, and a vector (width,) float32 per word.

        sentences: texts; a single str is one text. oov_way: how the vectors of a word's pieces
        become one: 'avg', 'sum' or 'last'. Raises `UserError` for an item that is no text.
        """
        sentences = list(iterate_texts(sentences))
        with progress_bar(len(sentences), unit='text', description='embedding') as bar:
            results = []
            for result in self.embed_iter(sentences, oov_way):
                results.append(result)
                bar.update(1)
        return results

    def embed_iter(self, sentences, oov_way='avg', pieces=False):
        """Yield (words, vectors) text by text; texts may come from any iterator, and are not kept.

        pieces: word pieces instead of words.
        """
        for names, rows in self.words(sentences, oov_way, pieces):
            yield names, list(rows)

    def sentence(self, texts, pooling=None, normalize=None, max_seq_length=None, dimensions=None,
                 prompt_name=None, prompt=None):
        """(texts, width) float32: one vector per text.

        pooling: 'mean' or 'max' of the vectors of all tokens, [CLS] and [SEP] included; 'cls': the
        vector of [CLS]; 'lasttoken': of [SEP]; 'mean_sqrt_len_tokens': their sum by the square root
        of their number; 'weightedmean': weighed by their positions; 'pooler': the model's pooled
        vector; or several, which are concatenated. normalize: scale to length 1. max_seq_length: in
        tokens. dimensions: how many numbers of a vector are kept. prompt_name, prompt: the name or
        the text of the prompt before each text. Defaults: what a folder of sentence-transformers
        says, else 'mean', length 1, the model's positions, all numbers, no prompt.
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
        """Yield the rows of `sentence`, some texts at a time, in order; texts may come from any
        iterator, and are not kept."""
        yield from self._sentence_chunks(texts, self.select_sentence_model(
            pooling=pooling, normalize=normalize, max_seq_length=max_seq_length,
            dimensions=dimensions, prompt_name=prompt_name, prompt=prompt))
