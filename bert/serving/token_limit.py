"""The limit on the tokens of a request, before all of it is tokenized."""
import itertools

# Bytes of UTF-8 a token, for texts that were not tokenized yet. A guess on the low side: it rather
# overestimates the time that such texts will take.
BYTES_PER_TOKEN = 3
# Characters of a piece, and pieces that are tokenized at once: the tokens of 16 MB of punctuation
# would need gigabytes
PIECE, PIECES_AT_ONCE = 4096, 64
# More tokens than this can't come of cutting a word: WordPiece reads longer words as one
MAX_WORD = 100


def estimate_tokens(text):
    """The tokens of a text that was not tokenized yet, roughly; of token ids their number."""
    return len(text.encode('utf-8', 'replace')) // BYTES_PER_TOKEN if isinstance(text, str) else \
        len(text)


def may_exceed(texts, limit):
    """Whether texts, or lists of token ids, may have more than `limit` tokens: a token has at least
    a byte, since byte pairs cut characters too."""
    return sum(len(text.encode('utf-8', 'replace') if isinstance(text, str) else text)
               for text in texts) > limit


def exceeds(texts, tokenizer, limit):
    """Whether texts, or lists of token ids, have more than `limit` tokens. Tokenizes piece by
    piece, no further than to the limit. Never True for texts that keep the limit."""
    count = sum(len(text) for text in texts if not isinstance(text, str))
    pieces = (text[start:start + PIECE] for text in texts if isinstance(text, str)
              for start in range(0, len(text), PIECE))
    while count <= limit and (batch := list(itertools.islice(pieces, PIECES_AT_ONCE))):
        cuts = sum(len(piece) == PIECE for piece in batch)
        count += sum(map(len, tokenizer.encode(batch))) - cuts * MAX_WORD
    return count > limit
