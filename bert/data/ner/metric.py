"""Precision, recall and F1 of entities, as conlleval counts them."""
import collections

from bert.data.ner.entities import find_entities


class EntityScore:
    """Counts entities. One is right only if its type and both its ends are."""

    def __init__(self):
        self._gold, self._predicted, self._right = (collections.Counter() for _ in range(3))

    def add(self, gold_tags, predicted_tags):
        """The tags of a sentence, as many of both. Returns the numbers of gold, predicted and right
        entities."""
        gold, predicted = find_entities(gold_tags), find_entities(predicted_tags)
        right = set(gold) & set(predicted)
        for counter, entities in ((self._gold, gold), (self._predicted, predicted),
                                  (self._right, right)):
            counter.update(entity.type for entity in entities)
        return len(gold), len(predicted), len(right)

    @property
    def types(self):
        """The types of all entities, in alphabetical order."""
        return sorted(self._gold.keys() | self._predicted.keys())

    def scores(self, kind=None):
        """{'precision', 'recall', 'f1', 'gold', 'predicted', 'right'} of a type; None: of all
        entities together. A ratio of nothing is 0, as in conlleval."""
        gold, predicted, right = (
            counter[kind] if kind is not None else sum(counter.values())
            for counter in (self._gold, self._predicted, self._right))
        return dict(entity_ratios(gold, predicted, right), gold=gold, predicted=predicted,
                    right=right)


def entity_ratios(gold, predicted, right):
    """{'precision', 'recall', 'f1'} from numbers of entities; a ratio of nothing is 0."""
    precision, recall = (float(right / total) if total else 0.0 for total in (predicted, gold))
    f1 = float(2 * right / (gold + predicted)) if gold + predicted else 0.0
    return {'precision': precision, 'recall': recall, 'f1': f1}
