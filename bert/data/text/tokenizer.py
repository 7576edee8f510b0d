"""WordPiece through Hugging Face `tokenizers`, with the ids of transformers' BertTokenizer."""
import numpy as np
from tokenizers import BertWordPieceTokenizer

# Number of texts in one call of the Rust tokenizer: enough for its threads, little memory.
TEXTS_PER_CALL = 10000


class BertTokenizer:
    """Text → word pieces → ids.

    vocabulary: a `gluonnlp.vocab.BERTVocab`.
    lower: lower-case the text and strip its accents; only for uncased vocabularies.
        (gluonnlp's BERTTokenizer strips accents for cased vocabularies too and turns 'café' into
        'cafe'; the published models were not trained that way.)
    """

    def __init__(self, vocabulary, lower):
        self.vocab = vocabulary
        self.lower = lower
        self._tokenizer = BertWordPieceTokenizer(dict(vocabulary.token_to_idx), lowercase=lower)

    def __call__(self, text):
        """The word pieces of one text, without [CLS] and [SEP]."""
        return self._tokenizer.encode(text, add_special_tokens=False).tokens

    def convert_tokens_to_ids(self, tokens):
        """Word pieces → ids; an unknown piece gets the id of [UNK]."""
        return self.vocab.to_indices(tokens)

    def encode(self, texts):
        """Many texts → their ids: a list of int32 arrays (tokens,), without [CLS] and [SEP]."""
        ids = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            encodings = self._tokenizer.encode_batch(texts[start:start + TEXTS_PER_CALL],
                                                     add_special_tokens=False)
            ids.extend(np.array(encoding.ids, dtype='int32') for encoding in encodings)
        return ids

    def encode_with_spans(self, texts):
        """Yield (ids (tokens,) int32, spans (tokens, 2) int32) for each text. The span of a piece
        is its first character in the original text, and the character after its last."""
        for ids, _, spans in self.encode_with_words(texts):
            yield ids, spans

    def encode_with_words(self, texts):
        """Yield (ids (tokens,) int32, words (tokens,) int32, spans (tokens, 2) int32) for each
        text: `words` has the index of each piece's word, from 0; for `spans` see
        `encode_with_spans`."""
        for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=False):
            yield (np.array(encoding.ids, dtype='int32'),
                   np.array(encoding.word_ids, dtype='int32'),
                   np.array(encoding.offsets, dtype='int32').reshape(-1, 2))


def encode_texts(tokenizer, texts):
    """The ids of `texts`, by our tokenizer or by any tokenizer with gluonnlp's two methods."""
    if hasattr(tokenizer, 'encode'):
        return tokenizer.encode(texts)
    return [np.array(tokenizer.convert_tokens_to_ids(tokenizer(text)), dtype='int32')
            for text in texts]
