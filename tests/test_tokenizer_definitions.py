"""A tokenizer.json is read with the numbers that stand in it."""
import json
import random

from support import unigram
from tokenizers import AddedToken, Tokenizer, models

from bert.tokenizer_definitions import load_definition


def test_scores_of_unigrams_are_exact():
    generator = random.Random(0)
    backend = Tokenizer(models.Unigram([('<unk>', 0.0)] + [
        ('piece%d' % i, -generator.random() * 15) for i in range(200)], 0))
    text = backend.to_str()
    assert load_definition(text).to_str() == text
    # the library alone changes some; once it does not, `load_definition` can go
    assert Tokenizer.from_str(text).to_str() != text


def test_the_rest_is_as_the_library_reads_it():
    values = unigram.unigram()
    values['model']['byte_fallback'] = True
    text = json.dumps(values)
    backend, expected = load_definition(text), Tokenizer.from_str(text)
    assert json.loads(backend.to_str()) == json.loads(expected.to_str())
    backend.add_tokens([AddedToken('new', lstrip=True)])
    text = backend.to_str()
    backend, expected = load_definition(text), Tokenizer.from_str(text)
    assert backend.get_added_tokens_decoder() == expected.get_added_tokens_decoder()
    for sample in ('a b<mask> c', 'a new  b', 'zc'):
        assert backend.encode(sample, sample).ids == expected.encode(sample, sample).ids


def test_other_models_are_left_to_the_library():
    backend = Tokenizer(models.WordLevel({'[UNK]': 0, 'Unigram': 1}, '[UNK]'))
    assert load_definition(backend.to_str()).to_str() == backend.to_str()
