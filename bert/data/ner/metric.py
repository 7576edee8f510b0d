"""Precision, recall and F1 of entities, as conlleval counts them."""
import collections

from bert.data.ner.entities import find_entities


class EntityScore:
    """Counts entities. One is right only if its type and both its ends are."""

    def __init__(self):
        self._gold, self._predicted, self._right = (collections.Counter() for _ in range(3))

    def add(self, gold_tags, predicted_tags):
        """The tags of a sentence, as many of both."""
        gold, predicted = find_entities(gold_tags), find_entities(predicted_tags)
        self._gold.update(entity.type for entity in gold)
        self._predicted.update(entity.type for entity in predicted)
        self._right.update(entity.type for entity in set(gold) & set(predicted))

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
        precision, recall = (right / total if total else 0.0 for total in (predicted, gold))
        f1 = 2 * right / (gold + predicted) if gold + predicted else 0.0
        return {'precision': precision, 'recall': recall, 'f1': f1, 'gold': gold,
                'predicted': predicted, 'right': right}
