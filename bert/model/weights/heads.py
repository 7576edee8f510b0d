"""What a set of weights makes up: an encoder alone, or one with the head of a task."""
import collections

from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.classification import BERTClassifier
from bert.model.qa import BertForQA
from bert.model.weights import loading, mapping

# name: for people; architecture: transformers' name of it; marks: tensors that tell it;
# parts: those that it has beside the encoder.
Head = collections.namedtuple('Head', 'name architecture marks parts')

CLASSIFICATION, QUESTION_ANSWERING = 'classification', 'question answering'

# The first one whose marks are all there.
HEADS = (
    Head(CLASSIFICATION, 'BertForSequenceClassification',
         ('classifier.1.weight',), ('pooler.', 'classifier.1.')),
    Head(QUESTION_ANSWERING, 'BertForQuestionAnswering',
         ('span_classifier.weight',), ('span_classifier.',)),
    Head('pre-training', 'BertForPreTraining',
         ('decoder.0.weight', 'classifier.weight'), ('pooler.', 'decoder.', 'classifier.')),
    Head('masked language model', 'BertForMaskedLM', ('decoder.0.weight',), ('decoder.',)),
    Head('next sentence', 'BertForNextSentencePrediction',
         ('classifier.weight',), ('pooler.', 'classifier.')),
    Head('encoder', 'BertModel', (), ('pooler.',)),
)
ENCODER = ('word_embed.', 'token_type_embed.', 'encoder.')


def find_head(arrays, source):
    """(`Head`, its arrays, names of those that don't belong to it).

    arrays: {Gluon name: array}, `bert.` in front or not. Raises `UserError` naming `source`
    for a name that no head has.
    """
    arrays = mapping.plain_names(arrays)
    parts = ENCODER + tuple(part for head in HEADS for part in head.parts)
    unknown = [name for name in arrays if not name.startswith(parts)]
    if unknown:
        raise UserError('%s: unknown: %s' % (source, loading.name_some(unknown)))
    head = next(head for head in HEADS if set(head.marks) <= set(arrays))
    mine = {name: array for name, array in arrays.items()
            if name.startswith(ENCODER + head.parts)}
    return head, mine, sorted(set(arrays) - set(mine))


def check_architecture(values, source):
    """Raises `UserError` when the dictionary of a transformers config.json names a network
    whose head is none of these: others may have tensors of the same names."""
    known = [head.architecture for head in HEADS]
    names = values.get('architectures') or ()
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            raise UserError('%s: architecture %s; supported: %s'
                            % (source, name, ', '.join(known)))


def num_classes(arrays):
    """Outputs of the classifier among the arrays of `find_head`."""
    return len(arrays['classifier.1.weight'])


def make_network(config, head, arrays):
    """A network of `config` with this head, without values, for the arrays of `find_head`."""
    # transformers can leave the pooler out of an encoder alone
    has_pooler = 'pooler.' in head.parts and (head.name != 'encoder' or 'pooler.weight' in arrays)
    bert = BERTModel(config, use_pooler=has_pooler, use_decoder='decoder.' in head.parts,
                     use_classifier='classifier.' in head.parts)
    if head.name == CLASSIFICATION:
        return BERTClassifier(bert, num_classes=num_classes(arrays), dropout=0.1)
    return BertForQA(bert) if head.name == QUESTION_ANSWERING else bert


def check(config, head, arrays, source):
    """Raises `UserError` unless `arrays` are all that a network of `config` with this head
    needs, each of the right shape."""
    loading.match(make_network(config, head, arrays), arrays, source)


def gluon_names(head, arrays, config):
    """The arrays of `find_head` as the network of this head names and saves them: inside a
    task's network the encoder is `bert.`, and a tied decoder's weight stands there twice."""
    arrays = dict(arrays)
    if 'decoder.' in head.parts and config.tied_decoder:
        arrays[loading.TIED] = arrays[loading.EMBEDDING]
    if head.name not in (CLASSIFICATION, QUESTION_ANSWERING):
        return arrays
    return {name if loading.HEAD.match(name) else 'bert.' + name: array
            for name, array in arrays.items()}
