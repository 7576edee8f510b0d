"""Tokenizers, run by Hugging Face `tokenizers`: the ids of transformers' tokenizers."""
import numpy as np
from tokenizers import BertWordPieceTokenizer

from bert.data.text.frames import tokenizer_frame, vocabulary_frame
from bert.tokenizer_definitions import load_definition

# Number of texts in one call of the Rust tokenizer: enough for its threads, little memory.
TEXTS_PER_CALL = 10000


class BertTokenizer:
    """Text → tokens → ids.

    vocabulary: a `gluonnlp.vocab.BERTVocab`. If it has a `tokenizer_json` (see
    `bert.vocabulary.make_vocabulary`), that is the tokenizer; else BERT's WordPiece.
    lower: whether text is lower-cased. WordPiece then strips its accents, too. A `tokenizer_json`
    has its own rules, and `lower` says what they are.
        (gluonnlp's BERTTokenizer strips accents for cased vocabularies too and turns 'café' into
        'cafe'; the published models were not trained that way.)
    """

    def __init__(self, vocabulary, lower):
        self.vocab = vocabulary
        self.lower = lower
        self.definition = getattr(vocabulary, 'tokenizer_json', None)
        self._tokenizer = load_definition(self.definition) if self.definition else \
            BertWordPieceTokenizer(dict(vocabulary.token_to_idx), lowercase=lower)
        self._frames = {}       # {pair: Frame}

    def frame(self, pair):
        """The `Frame` of special tokens around one text or a pair."""
        if pair not in self._frames:
            self._frames[pair] = tokenizer_frame(self._tokenizer, pair)
        return self._frames[pair]

    def to_json(self):
        """The text of its tokenizer.json."""
        return self._tokenizer.to_str()

    def __call__(self, text):
        """The tokens of one text, without special tokens around it."""
        return self._tokenizer.encode(text, add_special_tokens=False).tokens

    def convert_tokens_to_ids(self, tokens):
        """Tokens → ids; an unknown token gets the id of the unknown token, such as [UNK]."""
        return self.vocab.to_indices(tokens)

    def decode(self, ids, skips_specials=False):
        """Ids → the text that they make up. skips_specials: leave special tokens out."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=skips_specials)

    def token_id(self, token):
        """The id of a token, None if there is none."""
        return self._tokenizer.token_to_id(token)

    def encode(self, texts):
        """Many texts → their ids: a list of int32 arrays (tokens,), without special tokens around
        them."""
        ids = []
        for start in range(0, len(texts), TEXTS_PER_CALL):
            encodings = self._tokenizer.encode_batch(texts[start:start + TEXTS_PER_CALL],
                                                     add_special_tokens=False)
            ids.extend(np.array(encoding.ids, dtype='int32') for encoding in encodings)
        return ids

    def encode_with_spans(self, texts):
        """Yield (ids (tokens,) int32, spans (tokens, 2) int32) for each text. The span of a token
        is its first character in the original text, and the character after its last."""
        for ids, _, spans in self.encode_with_words(texts):
            yield ids, spans

    def encode_with_words(self, texts):
        """Yield (ids (tokens,) int32, words (tokens,) int32, spans (tokens, 2) int32) for each
        text: `words` has the index of each token's word, from 0; for `spans` see
        `encode_with_spans`."""
        texts = list(texts)
        for text, encoding in zip(texts, self._tokenizer.encode_batch(texts,
                                                                      add_special_tokens=False)):
            spans = np.array(encoding.offsets, dtype='int32').reshape(-1, 2)
            yield (np.array(encoding.ids, dtype='int32'),
                   np.array(encoding.word_ids, dtype='int32'),
                   _without_spaces(text, spans) if self.definition else spans)

    def encode_words(self, sentences):
        """Yield (ids (tokens,) int32, words (tokens,) int32) for each sentence, a sequence of
        words: `words` has the index of each token's word. A word may have no token."""
        for start in range(0, len(sentences), TEXTS_PER_CALL):
            for encoding in self._tokenizer.encode_batch(
                    [list(words) for words in sentences[start:start + TEXTS_PER_CALL]],
                    is_pretokenized=True, add_special_tokens=False):
                yield (np.array(encoding.ids, dtype='int32'),
                       np.array(encoding.word_ids, dtype='int32'))


def _without_spaces(text, spans):
    """The spans without the spaces at their ends, which some tokenizers count as parts of a token.
    A token of nothing but spaces keeps its span."""
    for i, (start, end) in enumerate(spans):
        token = text[start:end]
        if token and token != token.strip() != '':
            spans[i] = (start + len(token) - len(token.lstrip()),
                        start + len(token.rstrip()))
    return spans


def frame_of(tokenizer, pair):
    """The `Frame` of our tokenizer, or of any with gluonnlp's methods."""
    if hasattr(tokenizer, 'frame'):
        return tokenizer.frame(pair)
    return vocabulary_frame(tokenizer.vocab, pair)


def encode_texts(tokenizer, texts):
    """The ids of `texts`, by our tokenizer or by any tokenizer with gluonnlp's two methods."""
    if hasattr(tokenizer, 'encode'):
        return tokenizer.encode(texts)
    return [np.array(tokenizer.convert_tokens_to_ids(tokenizer(text)), dtype='int32')
            for text in texts]
