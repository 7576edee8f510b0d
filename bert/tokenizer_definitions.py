"""Tokenizers of the library `tokenizers` from the text of a tokenizer.json."""
import json

from tokenizers import AddedToken, Tokenizer, models

TOKEN_FLAGS = ('single_word', 'lstrip', 'rstrip', 'normalized', 'special')
UNIGRAM = 'Unigram'


def load_definition(text):
    """The `tokenizers.Tokenizer` that the text of a tokenizer.json defines.

    The library reads scores of unigrams with an error in the last bit, which decides between two
    segmentations of one score. Here Python reads them, exactly, as for transformers' own classes.
    Raises what the library raises.
    """
    values = json.loads(text) if '"%s"' % UNIGRAM in text else {}
    model = values.get('model')
    if not isinstance(model, dict) or model.get('type') != UNIGRAM:
        return Tokenizer.from_str(text)
    pieces, added_tokens = model['vocab'], values.pop('added_tokens', None) or []
    unknown = model.get('unk_id')
    # without pieces beyond the unknown one the library has nothing to read
    model['vocab'] = pieces[:(unknown or 0) + 1]
    backend = Tokenizer.from_str(json.dumps(dict(values, added_tokens=[])))
    backend.model = models.Unigram([tuple(piece) for piece in pieces], unknown,
                                   bool(model.get('byte_fallback')))
    add_tokens(backend, map(added_token, added_tokens))
    return backend


def added_token(entry):
    """The `AddedToken` of an entry of transformers' files, a dictionary."""
    return AddedToken(entry['content'], **{key: entry[key] for key in TOKEN_FLAGS if key in entry})


def add_tokens(backend, tokens):
    """Add tokens. transformers gives them ids in this order, whatever ids the files declare."""
    for token in tokens:
        (backend.add_special_tokens if token.special else backend.add_tokens)([token])
