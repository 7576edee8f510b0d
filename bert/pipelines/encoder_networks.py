"""The networks of an embedder: one for the vectors of tokens, one for pooled vectors."""
import numbers
import warnings

from mxnet.gluon import HybridBlock

from bert.errors import UserError
from bert.flags.embedding import DEFAULT_LAYERS, POOLER, POOLINGS
from bert.model import zoo
from bert.model.arrays import to_device
from bert.model.bert import set_compute_dtype
from bert.model.inference import Predictor
from bert.model.weights.checkpoint_reader import Checkpoint
from bert.pipelines.inference import NETWORK_LOCK

STATES = 'states'       # the name of the first network; POOLER is that of the other one


class PoolerNetwork(HybridBlock):
    """Gives the pooled vectors (batch, units) of a `BERTModel`."""

    def __init__(self, bert, **kwargs):
        super().__init__(**kwargs)
        self.bert = bert

    def hybrid_forward(self, F, token_ids, segment_ids, valid_length=None):
        return self.bert.pooled(F, token_ids, segment_ids, valid_length)


class EncoderNetworks:
    """The networks with the weights of a source, each loaded once.

    source: {name, dataset, params_path, root, checkpoint}, as in `Embedder`; checkpoint may be a
    `Checkpoint` that was read. device: `mx.Context`.
    layers, combine: the hidden states and how several become one vector. Attributes: config,
    vocabulary, layers, and width: numbers in the vector of a token. Raises `UserError`.
    """

    def __init__(self, source, device, dtype, layers, combine):
        self._source, self._device, self._dtype = source, device, dtype
        self._input_dtype = 'float16' if dtype == 'float16' else 'float32'
        self._predictors, self._parameters = {}, {}     # {STATES or POOLER: …}
        network, self.vocabulary = self._load(use_pooler=False)
        if isinstance(source['checkpoint'], Checkpoint):        # its arrays are in the network
            self._source = dict(source, checkpoint=source['checkpoint'].source)
        self.config = network.config
        self._choose_layers(network, layers, combine)
        self._add(STATES, network)

    def _load(self, use_pooler):
        """(`BERTModel`, vocabulary) of the weights that the arguments name."""
        source = self._source
        parts = dict(use_pooler=use_pooler, use_decoder=False, use_classifier=False, dropout=0.0,
                     ctx=self._device, root=source['root'])
        if source['checkpoint']:
            return zoo.load_checkpoint(source['checkpoint'], source['name'], source['dataset'],
                                       **parts)
        network, vocabulary = zoo.get_released_model(
            source['name'], source['dataset'], not source['params_path'], **parts)
        if source['params_path']:
            zoo.load_encoder(network, source['params_path'], vocabulary, self._device)
        return network, vocabulary

    def _add(self, name, network):
        """Make a network ready for prediction, and store it under `name`."""
        if self._dtype == 'float16':
            network.cast(self._dtype)
        else:
            set_compute_dtype(network, self._dtype)
        network.hybridize()
        self._predictors[name] = Predictor(network)
        self._parameters[name] = network._collect_params_with_prefix()

    def _choose_layers(self, network, layers, combine):
        depth = self.config.num_layers
        layers = [layers] if isinstance(layers, (str, numbers.Integral)) else layers
        layers = tuple(int(i) if isinstance(i, numbers.Integral) else i for i in layers)
        invalid = [i for i in layers if not (isinstance(i, int) and -depth - 1 <= i <= depth)]
        if invalid or not layers:
            raise UserError('layers %s: expected numbers from %d to %d: this model has %d layers, '
                            'and 0 is the input of the first'
                            % (','.join(map(repr, layers)) or 'none', -depth - 1, depth, depth))
        self.layers = layers
        if layers != DEFAULT_LAYERS:
            network.encoder.layers = layers, combine
        self.width = self.config.units * (len(layers) if combine == 'concat' else 1)

    def predictor(self, name):
        """The `Predictor` that computes the vectors of tokens, or `POOLER`."""
        if name != POOLER:
            return self._predictors[STATES]
        if self.layers != DEFAULT_LAYERS:
            raise UserError('pooling "pooler": it reads only the last layer; leave layers out')
        with NETWORK_LOCK:
            if POOLER not in self._predictors:
                network, _ = self._load(use_pooler=True)
                if network.random_parts:
                    raise UserError('pooling "pooler": the weights have no pooler: choose one of %s'
                                    % ', '.join(POOLINGS[:-1]))
                self._add(POOLER, PoolerNetwork(network))
        return self._predictors[POOLER]

    def update_digest(self, digest, name):
        """Add the parameters of the network `name` to a digest of `hashlib`."""
        self.predictor(name)
        for key, parameter in sorted(self._parameters[name].items()):
            digest.update(key.encode() + parameter.data(self._device).asnumpy().tobytes())

    def compute(self, name, batch):
        """The outputs of the network `name` for a `Batch`."""
        network = self.predictor(name)
        arrays = [to_device(array, self._device) for array in (
            batch.token_ids, batch.segment_ids, batch.valid_length.astype(self._input_dtype))]
        is_padded = bool((batch.valid_length < batch.token_ids.shape[1]).any())
        with warnings.catch_warnings():     # about layers above the highest of `layers`
            warnings.filterwarnings('ignore', 'Parameter .* is not used', UserWarning)
            return network(*arrays, is_padded)
