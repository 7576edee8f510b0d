"""Embedding models as they are exported: a network that gives the vectors of tokens."""
import dataclasses
import os

from mxnet.gluon import HybridBlock

from bert import file_names
from bert.data.text.tokenizer import BertTokenizer
from bert.model.bert import BERTModel
from bert.model.weights import loading
from bert.pipelines.base import Pipeline
from bert.pipelines.model_folder import folder_of
from bert.pipelines.sentence_files import read_sentence_model, write_sentence_model


class TokenVectorNetwork(HybridBlock):
    """Gives the vectors of tokens (batch, length, units) of a `BERTModel`."""

    def __init__(self, bert, **kwargs):
        super().__init__(**kwargs)
        self.bert = bert

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        return self.bert(token_ids, segment_ids, valid_length)


class TokenVectorizer(Pipeline):
    """A pipeline whose outputs are vectors of tokens.

    task: {'name', 'kind': 'embedding', 'pair': False}. sentence_model: how sentence-transformers
    makes vectors of texts of them; None if no file says so.
    """
    sentence_model = None

    @staticmethod
    def output_shape(config, task, length):
        return length, config.units

    def write_description(self, folder):
        super().write_description(folder)
        self.write_sentence_files(folder)

    def write_sentence_files(self, folder):
        """Write the files of sentence-transformers, which say how the vectors are used."""
        if self.sentence_model:
            write_sentence_model(folder, dataclasses.replace(
                self.sentence_model, max_seq_length=self.max_len), self.config)


def make_token_vectorizer(checkpoint, device):
    """The `TokenVectorizer` of a `checkpoint_reader.Checkpoint`. Raises `UserError`."""
    network = TokenVectorNetwork(BERTModel(checkpoint.config, dropout=0.0, use_pooler=False))
    loading.load_encoder_arrays(network.bert, checkpoint.arrays, checkpoint.source, device)
    network.hybridize()
    config, folder = checkpoint.config, folder_of(checkpoint)
    sentence_model = read_sentence_model(folder, config)
    task = {'name': os.path.basename(folder), 'kind': file_names.EMBEDDING, 'pair': False}
    pipeline = TokenVectorizer(
        network, BertTokenizer(checkpoint.vocabulary, lower=not config.cased), config, task,
        sentence_model.max_seq_length if sentence_model else config.max_length, device)
    pipeline.sentence_model = sentence_model
    return pipeline
