"""Networks with weights by name or path: released models and local checkpoints."""
import mxnet as mx

from bert.model.bert import BERTModel
from bert.model.weights import catalogue, loading, released_weights
from bert.model.weights.checkpoint_reader import load_checkpoint, load_encoder, load_model
from bert.model.weights.loading import load_parameters
from bert.vocabulary import make_vocabulary

__all__ = ['get_model', 'load_checkpoint', 'load_encoder', 'load_model', 'load_parameters']


def get_model(name='bert_12_768_12', dataset_name=None, pretrained=True, ctx=None,
              root=None, use_pooler=True, use_decoder=True, use_classifier=True, dropout=0.1,
              compute_dtype='float32'):
    """A released BERT and its vocabulary.

    name, dataset_name: a model and a corpus in `bert.model.weights.catalogue`. The default corpus
    is the model's first one (book_corpus_wiki_en_uncased for Google's two models).
    pretrained: load the released weights onto `ctx` (default: CPU); if False, the parameters
    stay uninitialised, as in gluonnlp.
    root: the cache folder, default $MXNET_HOME/models. compute_dtype: see `BERTModel`.
    Token ids are those of the published vocab.txt, whatever the source.
    Returns (`BERTModel` with its `BertConfig` as `.config`, gluonnlp's `BERTVocab`).
    Parts that the released weights lack are initialised at random; one warning names them.
    Raises `UserError` for an unknown name, and when no source can be reached.
    """
    release = released_weights.Release(name, dataset_name, root)
    config = catalogue.config_of(release.model, release.corpus)
    parts = dict(use_pooler=use_pooler, use_decoder=use_decoder, use_classifier=use_classifier,
                 compute_dtype=compute_dtype)
    if pretrained:
        network = loading.build_bert(config, released_weights.fetch_arrays(release), release.name,
                                     ctx or mx.cpu(), dropout, **parts)
    else:
        network = BERTModel(config, dropout=dropout, **parts)
    return network, make_vocabulary(released_weights.fetch_tokens(release), release.corpus)
