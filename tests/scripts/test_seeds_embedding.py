"""The seeds' snippets and command for embeddings, read from docs/seeds.rst. A flat model with the
same vocabulary replaces Google's models, which are only on a hub."""
import ast
import dataclasses
import re

import numpy as np
import pytest
from support import tiny
from support.processes import spawn
from support.seeds_page import ALL_COMMANDS, EMBEDDING, PAGE

from bert import embedding as script
from bert.errors import UserError
from bert.flags.options import parse
from bert.model import zoo
from bert.model.weights import vocabularies

PAGE_TEXT = PAGE.read_text(encoding='utf-8').split('Embeddings\n----------\n')[1]
SNIPPETS = [re.sub('(?m)^    ', '', block) for block in re.findall(
    r'\.\. code-block:: python\n\n((?:    .*\n|\n)+)', PAGE_TEXT)]


@pytest.fixture(scope='module')
def flat_bert(tmp_path_factory):
    """One layer as wide as BERT-base, with its vocabulary."""
    tokens, _ = vocabularies.fetch_vocabulary('book_corpus_wiki_en_uncased')
    config = dataclasses.replace(tiny.CONFIG, vocab_size=len(tokens), units=768, num_heads=12,
                                 num_layers=1, max_length=512)
    return tiny.write_checkpoint(tmp_path_factory.mktemp('flat') / 'bert', config, tokens)


@pytest.fixture
def model_requests(monkeypatch, flat_bert):
    """[(name, dataset, pretrained)] of all calls of `get_released_model`, which loads flat_bert."""
    calls = []

    def get_model(name, dataset, pretrained, **parts):
        calls.append((name, dataset, pretrained))
        return zoo.load_checkpoint(flat_bert, name, dataset, **parts)
    monkeypatch.setattr(zoo, 'get_released_model', get_model)
    return calls


def test_the_snippets_are_the_seeds(data_dir):
    seed, = (data_dir.parent / 'seeds').glob('001*.txt')
    seed_text = seed.read_text(encoding='utf-8')
    assert len(SNIPPETS) == 4
    for snippet in SNIPPETS:
        indented = ''.join('    ' * bool(line.strip()) + line
                           for line in snippet.rstrip('\n').splitlines(True))
        assert indented in seed_text


def test_words_and_results(model_requests, caplog):
    """Every value that the seed prints except the numbers, which come from other weights."""
    names = {}
    exec(SNIPPETS[0], names)
    assert model_requests == [('bert_12_768_12', None, True)]
    assert len(names['result']) == 5
    assert '4 of 5 texts were cut at 25 tokens' in caplog.text
    num_compared = 0
    for part in re.split(r'\n(?=\w)', SNIPPETS[1]):
        code, *output = part.strip().split('\n# ', 1)
        if not output:
            exec(code, names)
            continue
        actual, expected = eval(code, names), output[0].replace('\n#', '')
        num_compared += 1
        if expected.startswith('array('):
            assert actual.shape == (768,) and actual.dtype == np.float32
        else:
            assert actual == ast.literal_eval(expected)
    assert num_compared == 5


def test_on_a_gpu(model_requests):
    with pytest.raises(UserError, match='^ctx 0: no GPU for this MXNet: it is the CPU build, .*; '
                                        'leave ctx out to run on the CPU$'):
        exec(SNIPPETS[2], {})


def test_the_large_model(model_requests):
    names = {}
    exec(SNIPPETS[3], names)
    assert model_requests == [('bert_24_1024_16', 'book_corpus_wiki_en_cased', True)]


@pytest.mark.parametrize('name', ['embedding.py', EMBEDDING])
def test_the_command(name, flat_bert, tmp_path):
    (_, _, arguments, _), = [command for command in ALL_COMMANDS if command[1] == EMBEDDING]
    options, _ = parse(script.OPTIONS, '', arguments)
    assert list(options.sentences) == arguments[1:] and len(arguments) == 2
    outcome = spawn(name, *arguments, '--bert_checkpoint', flat_bert, cwd=str(tmp_path))
    assert outcome.code == 0, outcome.err
    text, vectors = outcome.out.split('\n', 1)
    assert text == 'Text: ' + arguments[1]
    assert re.fullmatch(r'Tokens embedding: \[array\(\[[^]]*\], dtype=float32\)'
                        r'(, array\(\[[^]]*, \.\.\.,[^]]*\], dtype=float32\)){12}\]\n', vectors)
    assert '1 of 1 texts were cut at 25 tokens' in outcome.err
