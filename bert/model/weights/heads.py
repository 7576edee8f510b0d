"""Heads: recognises the head in a set of weights, and makes networks with that head."""
import collections

from bert.errors import UserError
from bert.families import FAMILIES, read_family
from bert.model.bert import BERTModel
from bert.model.classification import BERTClassifier
from bert.model.discriminator import ReplacedTokenDetector
from bert.model.qa import BertForQA
from bert.model.token_classification import BertForTokenClassification
from bert.model.weights import loading, mapping

# name: for messages; architecture: transformers' name of the network, after that of its family;
# marks: names of the tensors that identify it; parts: name prefixes of its tensors outside the
# encoder; families: that have it, as prefixes in transformers; None: all.
Head = collections.namedtuple('Head', 'name architecture marks parts families', defaults=(None,))

ENCODER, CLASSIFICATION, QUESTION_ANSWERING = 'encoder', 'classification', 'question answering'
TOKEN_CLASSIFICATION, MASKED_WORDS = 'token classification', 'masked language model'
PRETRAINING, DISCRIMINATOR = 'pre-training', 'discriminator'
WORD_HEADS = MASKED_WORDS, PRETRAINING      # those with a decoder
TASK_HEADS = CLASSIFICATION, QUESTION_ANSWERING, TOKEN_CLASSIFICATION
TAGGER_ARCHITECTURE = 'ForTokenClassification'

# The first row whose marks are all present applies.
HEADS = (
    Head(CLASSIFICATION, 'ForSequenceClassification',
         ('classifier.1.weight',), ('pooler.', 'classifier.1.')),
    Head(QUESTION_ANSWERING, 'ForQuestionAnswering',
         ('span_classifier.weight',), ('span_classifier.',)),
    Head(TOKEN_CLASSIFICATION, TAGGER_ARCHITECTURE,
         ('tag_classifier.weight',), ('tag_classifier.',)),
    Head(PRETRAINING, 'ForPreTraining', ('decoder.0.weight', 'classifier.weight'),
         ('pooler.', 'decoder.', 'classifier.'), ('bert', 'ernie')),
    Head(MASKED_WORDS, 'ForMaskedLM', ('decoder.0.weight',), ('decoder.',),
         ('bert', 'ernie', 'roberta', 'distilbert')),
    Head('next sentence', 'ForNextSentencePrediction', ('classifier.weight',),
         ('pooler.', 'classifier.'), ('bert', 'ernie')),
    Head(DISCRIMINATOR, 'ForPreTraining', ('discriminator.0.weight',), ('discriminator.',),
         ('electra',)),
    Head(ENCODER, 'Model', (), ('pooler.',)),
)
ENCODER_PREFIXES = ('word_embed.', 'token_type_embed.', 'encoder.')


def identify_head(arrays, source, architectures=()):
    """(`Head`, arrays of the encoder and the head, names of all other arrays).

    arrays: {Gluon name: array}, with or without the prefix `bert.`. architectures: names of the
    network in transformers, which has one name for two layers: the classifier of texts and that of
    tokens; without them it is that of tokens if there is no pooler. Raises `UserError`, with the
    name of `source`, for a name that no head has.
    """
    arrays = mapping.plain_names(arrays)
    has_pooler = any(name.startswith('pooler.') for name in arrays)
    is_tagger = any(name.endswith(TAGGER_ARCHITECTURE) for name in architectures)
    if is_tagger or not (architectures or has_pooler):
        arrays = mapping.with_tag_classifier(arrays)
    parts = ENCODER_PREFIXES + tuple(part for head in HEADS for part in head.parts)
    unknown = [name for name in arrays if not name.startswith(parts)]
    if unknown:
        raise UserError('%s: unknown tensors: %s' % (source, loading.format_names(unknown)))
    head = next(head for head in HEADS if set(head.marks) <= set(arrays))
    head_arrays = {name: array for name, array in arrays.items()
                   if name.startswith(ENCODER_PREFIXES + head.parts)}
    return head, head_arrays, sorted(set(arrays) - set(head_arrays))


def architecture_of(head, family):
    """transformers' name of the network with a head. family: of `bert.families.FAMILIES`."""
    return FAMILIES[family].class_prefix + head.architecture


def check_architecture(values, source):
    """The names of the architectures in a transformers configuration. Raises `UserError` for one
    without a row in HEADS: its tensors may have the same names. values: the dictionary in
    config.json."""
    family = read_family(values, source)
    supported_names = [architecture_of(head, family) for head in HEADS
                       if head.families is None or FAMILIES[family].prefix in head.families]
    names = values.get('architectures') or ()
    names = [names] if isinstance(names, str) else names
    for name in names:
        if name not in supported_names:
            raise UserError('%s: architecture %s; supported: %s'
                            % (source, name, ', '.join(supported_names)))
    return tuple(names)


def num_classes(arrays):
    """Number of outputs of the classifier of texts or tokens. arrays: those of
    `identify_head`."""
    return len(arrays['classifier.1.weight' if 'classifier.1.weight' in arrays
                      else 'tag_classifier.weight'])


def make_network_with_head(config, head, arrays):
    """A network of `config` with this head, uninitialised, for the arrays of `identify_head`."""
    # transformers can save a bare encoder without its pooler
    has_pooler = 'pooler.' in head.parts and (head.name != ENCODER or 'pooler.weight' in arrays)
    bert = BERTModel(config, use_pooler=has_pooler, use_decoder='decoder.' in head.parts,
                     use_classifier='classifier.' in head.parts)
    if head.name == CLASSIFICATION:
        return BERTClassifier(bert, num_classes=num_classes(arrays), dropout=0.1)
    if head.name == TOKEN_CLASSIFICATION:
        return BertForTokenClassification(bert, num_classes(arrays))
    if head.name == DISCRIMINATOR:
        return ReplacedTokenDetector(bert)
    return BertForQA(bert) if head.name == QUESTION_ANSWERING else bert


def check_head_arrays(config, head, arrays, source):
    """Raises `UserError` unless `arrays` are exactly those of a network of `config` with this head,
    each of the right shape."""
    loading.match_arrays(make_network_with_head(config, head, arrays), arrays, source)


def with_gluon_names(head, arrays, config):
    """The arrays of `identify_head` under the names that a network with this head saves. In a task
    network the encoder has the prefix `bert.`; a tied decoder's weight appears twice."""
    arrays = dict(arrays)
    if 'decoder.' in head.parts and config.tied_decoder:
        arrays[loading.DECODER_WEIGHT] = arrays[loading.EMBEDDING_WEIGHT]
    if head.name not in (*TASK_HEADS, DISCRIMINATOR):
        return arrays
    return {name if loading.HEAD_PATTERN.match(name) else 'bert.' + name: array
            for name, array in arrays.items()}
