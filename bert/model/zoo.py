"""Networks with weights: released models, models on the hub, and local checkpoints."""
import logging
import os

import mxnet as mx

from bert.errors import UserError
from bert.model.bert import BERTModel
from bert.model.weights import catalogue, loading, released_weights
from bert.model.weights.checkpoint_reader import (
    describe_release,
    load_checkpoint,
    load_encoder,
    load_model,
    read_checkpoint,
)
from bert.model.weights.loading import load_parameters
from bert.vocabulary import make_vocabulary

LOG = logging.getLogger(__name__)

__all__ = ['get_model', 'get_released_model', 'load_checkpoint', 'load_encoder', 'load_model',
           'load_parameters']


def get_model(name='bert_12_768_12', dataset_name=None, pretrained=True, ctx=None,
              root=None, use_pooler=True, use_decoder=True, use_classifier=True, dropout=0.1,
              compute_dtype='float32'):
    """A released BERT and its vocabulary: (`BERTModel`, gluonnlp's `BERTVocab`). The model has its
    `BertConfig` as `.config`.

    name, dataset_name
        A released model and its corpus, which models.py lists. The default corpus is the model's
        first corpus: book_corpus_wiki_en_uncased for Google's two models. RoBERTa, DistilBERT and
        ERNIE have gluonnlp's names, and their files come from the hub. Or a model on the hub,
        `owner/name` or `owner/name@revision`, or a path that `load_checkpoint` takes.
    pretrained
        Whether to load the released weights. Without them the parameters stay uninitialised, as in
        gluonnlp.
    ctx
        The `mx.Context` of the parameters. The default is the CPU.
    root
        The cache folder. The default is $MXNET_HOME/models.
    use_pooler, use_decoder, use_classifier
        Which parts the network has. Parts that the released weights lack are initialised at random,
        and one warning names them. ELECTRA's discriminator can have no decoder: it is left out,
        with a warning.
    dropout
        The share of numbers that dropout sets to 0 in training.
    compute_dtype
        See `BERTModel`.

    The vocabulary has the tokens in the order of the published vocab.txt, whatever the source. It
    has the model's special tokens under the usual attributes: cls_token may be '<s>'. Its attribute
    `tokenizer_json` is the definition of a tokenizer that is not BERT's own, else None;
    `bert.data.text.tokenizer.BertTokenizer` runs it. Raises `UserError` for an unknown name, and
    when no source can be reached.
    """
    is_released = isinstance(name, str) and (name in catalogue.NAMES or not (
        set('/@') & set(name) or os.path.exists(name) or catalogue.find_hub_release(name)))
    parts = dict(use_pooler=use_pooler, use_decoder=use_decoder, use_classifier=use_classifier,
                 compute_dtype=compute_dtype)
    if is_released:
        return get_released_model(name, dataset_name, pretrained, ctx, root, dropout, **parts)
    return _get_any_model(name, dataset_name, pretrained, ctx, dropout, parts)


def get_released_model(name, dataset_name=None, pretrained=True, ctx=None, root=None, dropout=0.1,
                       **parts):
    """`get_model` for the names in the catalogue alone: what --bert_model and --model take. A name
    on the hub is for --bert_checkpoint, where jobs pin its commit."""
    repository = catalogue.find_relative(name, dataset_name)
    if repository and root:
        raise UserError('root: %s comes from the hub, which has a cache of its own: set '
                        'HF_HUB_CACHE' % name)
    if repository and pretrained:
        return load_checkpoint(repository, ctx=ctx, dropout=dropout, **parts)
    if repository:
        config, vocabulary = describe_release(name)
        return BERTModel(config, dropout=dropout, **parts), vocabulary
    release = released_weights.Release(name, dataset_name, root)
    config = catalogue.config_of(release.model, release.corpus)
    if pretrained:
        network = loading.build_bert(config, released_weights.fetch_arrays(release), release.name,
                                     ctx or mx.cpu(), dropout, **parts)
    else:
        network = BERTModel(config, dropout=dropout, **parts)
    return network, make_vocabulary(released_weights.fetch_tokens(release), release.corpus)


def _get_any_model(name, dataset_name, pretrained, ctx, dropout, parts):
    """`get_model` for a name on the hub or a path."""
    if dataset_name:
        raise UserError('%s: this model has its own vocabulary: leave out the corpus %s'
                        % (name, dataset_name))
    checkpoint = read_checkpoint(name)
    if parts['use_decoder'] and not checkpoint.config.has_decoder:
        LOG.warning('%s: a model of the family %s has no decoder: left out', name,
                    checkpoint.config.family)
        parts['use_decoder'] = False
    if pretrained:
        return load_checkpoint(checkpoint, ctx=ctx, dropout=dropout, **parts)
    return BERTModel(checkpoint.config, dropout=dropout, **parts), checkpoint.vocabulary
