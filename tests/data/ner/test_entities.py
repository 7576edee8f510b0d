"""entities.py and metric.py: entities of any scheme, and their scores."""
import random

import pytest

from bert.data.ner.entities import find_entities, split_tag
from bert.data.ner.metric import EntityScore
from bert.data.ner.sentences import TaggedSentence, check_tags
from bert.errors import UserError

TAGS = ['O'] + ['%s-%s' % (prefix, kind) for prefix in 'BIES' for kind in ('PER', 'LOC')]


@pytest.mark.parametrize('tags, entities', [
    ('O O', []), ('', []),
    ('B-PER I-PER O B-LOC', [('PER', 0, 2), ('LOC', 3, 4)]),            # IOB2
    ('I-PER I-PER I-LOC B-LOC', [('PER', 0, 2), ('LOC', 2, 3), ('LOC', 3, 4)]),     # IOB1
    ('S-PER B-LOC I-LOC E-LOC S-LOC', [('PER', 0, 1), ('LOC', 1, 4), ('LOC', 4, 5)]),   # BIOES
    ('E-PER E-PER I-PER', [('PER', 0, 1), ('PER', 1, 2), ('PER', 2, 3)]),
    ('B-PER E-LOC O I-PER S-PER', [('PER', 0, 1), ('LOC', 1, 2), ('PER', 3, 4), ('PER', 4, 5)]),
    ('B-a-b I-a-b', [('a-b', 0, 2)])])
def test_entities(tags, entities):
    assert find_entities(tags.split()) == entities


def reference_entities(tags):
    """By the definition: where an entity may begin and end between two tags, tag by tag, as in
    conlleval's tables."""
    pairs = [tuple((tag.split('-', 1) + [''])[:2]) for tag in ['O', *tags, 'O']]
    starts, ends = [], []
    for i in range(1, len(pairs)):
        (prefix, kind), (last_prefix, last_kind) = pairs[i], pairs[i - 1]
        changes = kind != last_kind
        if last_prefix != 'O' and (last_prefix in 'ES' or prefix in 'BSO' or changes):
            ends.append(i - 1)
        if prefix != 'O' and (prefix in 'BS' or last_prefix in 'ESO' or changes):
            starts.append((kind, i - 1))
    return [(kind, start, end) for (kind, start), end in zip(starts, ends, strict=True)]


def random_sequences(count):
    generator = random.Random(1)
    for _ in range(count):
        gold = [generator.choice(TAGS) for _ in range(generator.randrange(1, 12))]
        yield gold, [tag if generator.random() < 0.6 else generator.choice(TAGS) for tag in gold]


def test_random_tags():
    """The numbers are those of seqeval 1.2.2 for the same 10,000 pairs of sequences."""
    score = EntityScore()
    for gold, predicted in random_sequences(10000):
        assert find_entities(gold) == reference_entities(gold)
        score.add(gold, predicted)
    assert score.types == ['LOC', 'PER']
    values = score.scores()
    assert (values['precision'], values['recall'], values['f1']) == pytest.approx(
        (0.6898985259113877, 0.6909516739507747, 0.6904246983231468), abs=1e-12)
    assert (values['gold'], values['predicted'], values['right']) == (47821, 47894, 33042)
    assert [score.scores(kind)['f1'] for kind in score.types] == pytest.approx(
        [0.68954406, 0.6913029], abs=1e-8)


def test_scores():
    score = EntityScore()
    assert score.scores() == {'precision': 0, 'recall': 0, 'f1': 0, 'gold': 0, 'predicted': 0,
                              'right': 0}
    score.add(['B-PER', 'I-PER', 'O', 'B-LOC'], ['B-PER', 'O', 'O', 'B-LOC'])
    assert score.scores('PER') == {'precision': 0, 'recall': 0, 'f1': 0, 'gold': 1, 'predicted': 1,
                                   'right': 0}
    assert score.scores('LOC')['f1'] == 1 and score.scores()['f1'] == 0.5
    score.add(['O'], ['B-ORG'])
    assert score.types == ['LOC', 'ORG', 'PER'] and score.scores()['precision'] == 1 / 3


@pytest.mark.parametrize('tag', ['', 'o', 'PER', 'B', 'B-', '-PER', 'X-PER', 'L-PER', 'b-PER'])
def test_what_is_no_tag(tag):
    with pytest.raises(ValueError):
        split_tag(tag)
    with pytest.raises(UserError, match='^a.conll:8: the tag "%s" of "b": expected O, or a '
                                        r'prefix \(B-, I-, E-, S-\) and a type, such as B-PER$'
                                        % tag):
        check_tags(TaggedSentence(('a', 'b'), ('O', tag), 'a.conll', 7))
