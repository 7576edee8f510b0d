"""The schemes of tags: IOB1, IOB2 and BIOES."""
import collections
import logging
from typing import NamedTuple

from bert.data.ner.entities import OUTSIDE, find_entities
from bert.flags.token_classification import BIOES, IOB1, IOB2

LOG = logging.getLogger(__name__)

# the tags of a type in each scheme
SCHEME_PREFIXES = {IOB1: 'BI', IOB2: 'BI', BIOES: 'BIES'}


def encode_entities(entities, length, scheme):
    """The tags of a sentence of `length` words. entities: in their order, as `find_entities` gives
    them. In IOB1, B- begins an entity only where one of the same type ends before it; in IOB2
    always; in BIOES, E- is its last word, and S- its only one."""
    tags, previous = [OUTSIDE] * length, None
    for entity in entities:
        prefixes = ['I'] * (entity.stop - entity.start)
        follows = previous is not None and \
            (previous.type, previous.stop) == (entity.type, entity.start)
        if scheme != IOB1 or follows:
            prefixes[0] = 'B'
        if scheme == BIOES:
            prefixes[-1] = 'S' if len(prefixes) == 1 else 'E'
        tags[entity.start:entity.stop] = ['%s-%s' % (prefix, entity.type) for prefix in prefixes]
        previous = entity
    return tags


def convert_tags(tags, scheme):
    """Tags of any scheme in `scheme`."""
    return encode_entities(find_entities(tags), len(tags), scheme)


class SchemeReport(NamedTuple):
    """The scheme of some sentences, and the tags that don't fit it. num_misfits: their number;
    first_misfit: (`TaggedSentence`, index of the word) of the first; None without any."""
    scheme: str
    num_misfits: int
    first_misfit: tuple | None

    def describe_misfits(self):
        """A sentence for a warning."""
        sentence, word = self.first_misfit
        return '%d tags do not fit the scheme %s; the first is %s ("%s") in %s:%d; they are read ' \
            'by the rules of conlleval' % (
                self.num_misfits, self.scheme, sentence.tags[word], sentence.words[word],
                sentence.path, sentence.line_of(word))


def examine_scheme(sentences, scheme=None):
    """The `SchemeReport` of `TaggedSentence`s of a file; a warning counts the misfits. scheme: what
    the tags should fit; default: the scheme that most tags fit, IOB2 where several do."""
    misfits = {name: _find_misfits(sentences, name)
               for name in ([scheme] if scheme else (IOB2, IOB1, BIOES))}
    scheme = min(misfits, key=lambda name: len(misfits[name]))
    report = SchemeReport(scheme, len(misfits[scheme]), next(iter(misfits[scheme]), None))
    if report.num_misfits:
        LOG.warning('%s: %s', sentences[0].path, report.describe_misfits())
    return report


def _find_misfits(sentences, scheme):
    """[(sentence, index of a word)] of the tags that the scheme would write otherwise."""
    return [(sentence, i) for sentence in sentences
            for i, (tag, right_tag) in enumerate(zip(sentence.tags,
                                                     convert_tags(sentence.tags, scheme)))
            if tag != right_tag]


def make_labels(types, scheme):
    """The classes of a token: O, and those of each type in the scheme."""
    return (OUTSIDE, *('%s-%s' % (prefix, kind) for kind in types
                       for prefix in SCHEME_PREFIXES[scheme]))


def warn_of_unknown_types(sentences, types):
    """Warn of the entities of `TaggedSentence`s of a file that a model of these types can't find.
    """
    unknown = {kind: count for kind, count in sorted(count_types(sentences).items())
               if kind not in types}
    if unknown:
        LOG.warning('%s: %d entities have types that the model does not know: %s',
                    sentences[0].path,
                    sum(unknown.values()), ', '.join('%s (%d)' % item for item in unknown.items()))


def count_types(sentences):
    """{type: number of entities} of `TaggedSentence`s."""
    return collections.Counter(entity.type for sentence in sentences
                               for entity in find_entities(sentence.tags))
