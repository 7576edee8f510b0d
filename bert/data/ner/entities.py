"""Entities from the tags of a sentence, in any of the schemes IOB1, IOB2 and BIOES."""
from typing import NamedTuple

OUTSIDE = 'O'
PREFIXES = 'B', 'I', 'E', 'S'       # begins, inside, ends, a single word


class Entity(NamedTuple):
    """Words `start` to before `stop` of a sentence."""
    type: str
    start: int
    stop: int


def split_tag(tag):
    """(prefix, type) of a tag such as B-PER; ('O', '') of O. Raises `ValueError` for another."""
    prefix, separator, kind = tag.partition('-')
    if tag == OUTSIDE or separator and kind and prefix in PREFIXES:
        return prefix, kind
    raise ValueError(tag)


def find_entities(tags):
    """The entities of a sentence, in their order, by the rules of conlleval, the evaluator of
    CoNLL-2000: an entity also begins where I or E follow O or another type, and ends where the type
    changes. Raises `ValueError` for what is no tag."""
    entities, start, kind = [], None, ''
    previous = OUTSIDE, ''
    for i, tag in enumerate([*map(split_tag, tags), (OUTSIDE, '')]):
        if start is not None and _ends(previous, tag):
            entities.append(Entity(kind, start, i))
            start = None
        if start is None and tag[0] != OUTSIDE:
            start, kind = i, tag[1]
        previous = tag
    return entities


def _ends(tag, next_tag):
    """Whether an entity ends between a tag and the next one."""
    return tag[0] in 'ES' or next_tag[0] in 'BSO' or tag[1] != next_tag[1]
