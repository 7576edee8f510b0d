"""The seeds' snippets and command of embeddings, read from docs/seeds.rst; the models of Google's,
which are on a hub only, are replaced by a flat one with their vocabulary."""
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
def asked(monkeypatch, flat_bert):
    """The names of the models that were asked for, all of them answered by the flat one."""
    names = []

    def get_model(name, dataset, pretrained, **parts):
        names.append((name, dataset, pretrained))
        return zoo.load_checkpoint(flat_bert, name, dataset, **parts)
    monkeypatch.setattr(zoo, 'get_model', get_model)
    return names


def test_the_snippets_are_the_seeds(data_dir):
    seed, = (data_dir.parent / 'seeds').glob('001*.txt')
    printed = seed.read_text(encoding='utf-8')
    assert len(SNIPPETS) == 4
    for snippet in SNIPPETS:
        indented = ''.join('    ' * bool(line.strip()) + line
                           for line in snippet.rstrip('\n').splitlines(True))
        assert indented in printed


def test_words_and_what_comes_out(asked, caplog):
    """Every value that the seed prints but the numbers, which are of other weights."""
    names = {}
    exec(SNIPPETS[0], names)
    assert asked == [('bert_12_768_12', None, True)]
    assert len(names['result']) == 5
    assert '4 of 5 texts were cut at 25 tokens' in caplog.text
    compared = 0
    for part in re.split(r'\n(?=\w)', SNIPPETS[1]):
        code, *printed = part.strip().split('\n# ', 1)
        if not printed:
            exec(code, names)
            continue
        found, wanted = eval(code, names), printed[0].replace('\n#', '')
        compared += 1
        if wanted.startswith('array('):
            assert found.shape == (768,) and found.dtype == np.float32
        else:
            assert found == ast.literal_eval(wanted)
    assert compared == 5


def test_on_a_gpu(asked):
    with pytest.raises(UserError, match='^ctx 0: no GPU for this MXNet: it is the CPU build, .*; '
                                        'leave ctx out to run on the CPU$'):
        exec(SNIPPETS[2], {})


def test_the_large_model(asked):
    names = {}
    exec(SNIPPETS[3], names)
    assert asked == [('bert_24_1024_16', 'book_corpus_wiki_en_cased', True)]


@pytest.mark.parametrize('name', ['embedding.py', EMBEDDING])
def test_the_command(name, flat_bert, tmp_path):
    (_, _, arguments, _), = [found for found in ALL_COMMANDS if found[1] == EMBEDDING]
    parsed = script.make_parser().parse_args(arguments)
    assert parsed.sentences == arguments[1:] and len(arguments) == 2
    outcome = spawn(name, *arguments, '--bert_checkpoint', flat_bert, cwd=str(tmp_path))
    assert outcome.code == 0, outcome.err
    text, vectors = outcome.out.split('\n', 1)
    assert text == 'Text: ' + arguments[1]
    assert re.fullmatch(r'Tokens embedding: \[array\(\[[^]]*\], dtype=float32\)'
                        r'(, array\(\[[^]]*, \.\.\.,[^]]*\], dtype=float32\)){12}\]\n', vectors)
    assert '1 of 1 texts were cut at 25 tokens' in outcome.err
