"""The entity comparisons: how tags are scored, and when both sides agree."""
from benchmarks.ner import scores, speed
from bert.data.ner.sentences import TaggedSentence


def test_tags_are_scored_by_entities():
    sentences = [TaggedSentence(('a', 'b', 'c'), ('B-X', 'I-X', 'O'), 'f', 1),
                 TaggedSentence(('d',), ('B-Y',), 'f', 5)]
    assert scores.score_tags(sentences, [('B-X', 'I-X', 'O'), ('O',)]) == {
        'f1': 2 / 3, 'precision': 1.0, 'recall': 0.5}


def answers(*ours):
    theirs = [[['PER', 0, 5, 0.9]], []]
    return {'ours float32': {'entities': list(ours)},
            'transformers float32': {'entities': theirs}}


def test_both_sides_agree():
    assert speed.has_same_entities(answers([['PER', 0, 5, 0.90005]], []))
    for entities in ([['PER', 0, 5, 0.9002]], [['LOC', 0, 5, 0.9]], [['PER', 0, 4, 0.9]], [],
                     [['PER', 0, 5, 0.9]] * 2):
        assert not speed.has_same_entities(answers(entities, []))
    assert not speed.has_same_entities(answers([['PER', 0, 5, 0.9]], [['PER', 0, 1, 1.0]]))
    assert speed.has_same_entities({'ours float32': {'entities': [[]]}})
