"""An embedder whose network is an exported model, opened from a folder."""
import os

import mxnet as mx

from bert import file_names, files
from bert.errors import UserError
from bert.flags.embedding import DEFAULT_LAYERS, POOLER
from bert.pipelines.embedder import Embedder
from bert.pipelines.exported import open_exported_network
from bert.pipelines.sentence_files import read_sentence_model
from bert.pipelines.sentence_model import SentenceModel


class ExportedNetworks:
    """`encoder_networks.EncoderNetworks` of a runtime of `bert.export.runtimes`, which gives the
    last hidden states."""
    layers = DEFAULT_LAYERS

    def __init__(self, runtime, vocabulary, config):
        self._runtime, self.vocabulary, self.config = runtime, vocabulary, config
        self.width = config.units

    def compute(self, name, batch):
        """The vectors of tokens for a `Batch`."""
        if name == POOLER:
            raise UserError('pooling "pooler": the exported model has no pooler')
        return mx.nd.array(self._runtime(*batch[:3]))

    def update_digest(self, digest, name):
        raise UserError("an exported model can't write files of vectors: name the model that it "
                        'was exported from')


class ExportedEmbedder(Embedder):
    """An `Embedder` from an exported folder. networks: `ExportedNetworks`."""

    def __init__(self, networks, folder, **keywords):
        self._given_networks, self._folder = networks, folder
        super().__init__(**keywords)

    def _make_networks(self, source, dtype, layers, combine):
        if dtype != 'float32' or tuple(layers) != DEFAULT_LAYERS:
            raise UserError('%s: the exported model has its own dtype and layers: leave dtype and '
                            'layers out' % self._folder)
        return self._given_networks

    def _read_sentence_model(self, checkpoint):
        return read_sentence_model(self._folder, self.config) or \
            SentenceModel(max_seq_length=self.config.max_length)


def holds_embedding_export(folder):
    """Whether the folder of an export is that of an embedding model."""
    path = os.path.join(folder, file_names.TASK_FILE)
    return os.path.isfile(path) and files.read_json(path).get('kind') == file_names.EMBEDDING


def open_exported_embedder(folder, prefix, runtime_name, device, threads, **keywords):
    """Open the `Embedder` in an exported folder: the arguments of `open_exported_pipeline`, and
    keywords of `Embedder`. Raises `UserError`."""
    for name in ('model', 'dataset_name', 'params_path', 'root'):
        if keywords.get(name):
            raise UserError('%s: %s holds an exported model with its own weights: leave the '
                            'keyword out' % (name, folder))
    runtime, vocabulary, config, _ = open_exported_network(
        folder, prefix, runtime_name, device, threads)
    return ExportedEmbedder(ExportedNetworks(runtime, vocabulary, config), folder, device=device,
                            **keywords)
