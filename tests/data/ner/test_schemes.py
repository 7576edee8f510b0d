"""schemes.py: tags written in a scheme, and the scheme of a file recognised."""
import itertools
import random

import pytest

from bert.data.ner.entities import Entity, find_entities
from bert.data.ner.schemes import (
    convert_tags,
    count_types,
    encode_entities,
    examine_scheme,
    make_labels,
)
from bert.data.ner.sentences import TaggedSentence, read_tagged_file
from bert.flags.token_classification import SCHEMES

# neighbours of one type, of another type, single words, and a gap
NEIGHBOURS = [Entity('A', 0, 2), Entity('A', 2, 3), Entity('B', 3, 4), Entity('B', 5, 8)]


def random_entities(count):
    """(entities, length): any parts of a sentence, some side by side."""
    generator = random.Random(2)
    for _ in range(count):
        length = generator.randrange(1, 14)
        bounds = sorted(generator.sample(range(length + 1), generator.randrange(1, length + 1)))
        yield [Entity(generator.choice('AB'), *pair) for pair in itertools.pairwise(bounds)
               if generator.random() < 0.7], length


def reference_tags(entities, length, scheme):
    """Word by word, from what its neighbours belong to."""
    owners = [next((i for i, entity in enumerate(entities)
                    if entity.start <= word < entity.stop), None) for word in range(length)]
    tags = []
    for word, owner in enumerate(owners):
        if owner is None:
            tags.append('O')
            continue
        before = owners[word - 1] if word else None
        after = owners[word + 1] if word + 1 < length else None
        begins, ends = before != owner, after != owner
        if scheme == 'BIOES':
            prefix = {(1, 1): 'S', (1, 0): 'B', (0, 1): 'E', (0, 0): 'I'}[begins, ends]
        elif scheme == 'IOB2':
            prefix = 'B' if begins else 'I'
        else:
            prefix = 'B' if begins and before is not None and \
                entities[before].type == entities[owner].type else 'I'
        tags.append('%s-%s' % (prefix, entities[owner].type))
    return tags


@pytest.mark.parametrize('scheme, tags', [
    ('IOB1', 'I-A I-A B-A I-B O I-B I-B I-B'), ('IOB2', 'B-A I-A B-A B-B O B-B I-B I-B'),
    ('BIOES', 'B-A E-A S-A S-B O B-B I-B E-B')])
def test_each_scheme(scheme, tags):
    assert encode_entities(NEIGHBOURS, 8, scheme) == tags.split()


@pytest.mark.parametrize('scheme', SCHEMES)
def test_random_entities(scheme):
    for entities, length in random_entities(1000):
        tags = encode_entities(entities, length, scheme)
        assert tags == reference_tags(entities, length, scheme)
        assert find_entities(tags) == entities
        for other_scheme in SCHEMES:
            assert convert_tags(tags, other_scheme) == reference_tags(entities, length,
                                                                      other_scheme)


def test_tags_of_no_scheme_are_converted_by_the_rules_of_conlleval():
    assert convert_tags(['E-A', 'I-A', 'S-A', 'O', 'I-B'], 'IOB2') == ['B-A', 'B-A', 'B-A', 'O',
                                                                       'B-B']


def test_labels():
    assert make_labels(('LOC', 'PER'), 'IOB2') == ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    assert make_labels(('LOC',), 'IOB1') == ('O', 'B-LOC', 'I-LOC')
    assert make_labels(('LOC',), 'BIOES') == ('O', 'B-LOC', 'I-LOC', 'E-LOC', 'S-LOC')


def sentence(tags, line=1):
    tags = tuple(tags.split())
    return TaggedSentence(('w',) * len(tags), tags, 'a.conll', line)


def test_types_are_counted():
    assert count_types([sentence('B-A I-A B-B'), sentence('I-A'), sentence('O')]) == {'A': 2,
                                                                                     'B': 1}


@pytest.mark.parametrize('scheme', SCHEMES)
def test_the_scheme_is_recognised(scheme):
    sentences = [sentence(' '.join(reference_tags(entities, length, scheme)))
                 for entities, length in random_entities(50)]
    assert examine_scheme(sentences) == (scheme, 0, None)


@pytest.mark.parametrize('tags', ['O O', 'O', 'B-A B-A B-A'])
def test_iob2_where_several_fit(tags):
    assert examine_scheme([sentence(tags)]).scheme == 'IOB2'


def test_a_scheme_that_is_told_counts_what_does_not_fit():
    report = examine_scheme([sentence('O'), sentence('O I-A I-A B-B', 3), sentence('E-A', 8)],
                            'IOB2')
    assert report[:2] == ('IOB2', 2)
    assert report.describe_misfits() == (
        '2 tags do not fit the scheme IOB2; the first is I-A ("w") in a.conll:4; they '
        'are read by the rules of conlleval')


def test_few_misfits_do_not_hide_the_scheme():
    report = examine_scheme([sentence('B-A E-A O S-B')] * 5 + [sentence('I-A', 9)])
    assert report[:2] == ('BIOES', 1) and report.first_misfit[1] == 0
    assert 'in a.conll:9; they' in report.describe_misfits()


@pytest.mark.parametrize('name, text, line', [
    ('a.conll', 'x O\ny B-A\n\nz O\nu I-B\nv I-B\n', 5),
    ('a.jsonl', '{"tokens": ["x", "y"], "tags": ["O", "B-A"]}\n\n'
                '{"tokens": ["z", "u", "v"], "tags": ["O", "I-B", "I-B"]}\n', 3)])
def test_the_line_of_the_first_misfit(tmp_path, name, text, line):
    path = tmp_path / name
    path.write_text(text)
    report = examine_scheme(read_tagged_file(str(path)), 'IOB2')
    assert report.describe_misfits() == (
        '1 tags do not fit the scheme IOB2; the first is I-B ("u") in %s:%d; they are '
        'read by the rules of conlleval' % (path, line))
