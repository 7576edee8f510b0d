"""The tests' reference: BERT in plain NumPy, slow and independent of the package.

Written from Devlin et al. 2018 (arXiv:1810.04805) for tensors with transformers' names. Computes
in float64. `sizes` is any object with num_layers, num_heads, layer_norm_eps and activation. For
BERT's relatives: without embeddings of segments (Sanh et al. 2019, arXiv:1910.01108), with narrow
embeddings (Clark et al. 2020, arXiv:2003.10555), with other activations of the pooler.
"""
import math

import numpy as np

ERF = np.vectorize(math.erf)


def gelu(x):
    return x * 0.5 * (1 + ERF(x / math.sqrt(2)))


def gelu_new(x):
    return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def relu(x):
    return np.maximum(x, 0)


ACTIVATIONS = {'gelu': gelu, 'gelu_new': gelu_new, 'relu': relu}


def dense(x, tensors, name):
    return x @ tensors[name + '.weight'].astype(np.float64).T + tensors[name + '.bias']


def layer_norm(x, tensors, name, eps):
    mean = x.mean(axis=-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return ((x - mean) / np.sqrt(variance + eps) * tensors[name + '.weight']
            + tensors[name + '.bias'])


def softmax(x):
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


def attention(x, tensors, name, heads, valid_length):
    """Attention in one sentence x (length, units), masked from position `valid_length` on."""
    query, key, value = (np.split(dense(x, tensors, '%s.self.%s' % (name, part)), heads, axis=-1)
                         for part in ('query', 'key', 'value'))
    context = []
    for q, k, v in zip(query, key, value):
        scores = q @ k[:valid_length].T / math.sqrt(q.shape[-1])
        context.append(softmax(scores) @ v[:valid_length])
    return dense(np.concatenate(context, axis=-1), tensors, name + '.output.dense')


def layer(x, tensors, name, sizes, valid_length):
    eps = sizes.layer_norm_eps
    context = attention(x, tensors, name + '.attention', sizes.num_heads, valid_length)
    x = layer_norm(x + context, tensors, name + '.attention.output.LayerNorm', eps)
    hidden = ACTIVATIONS[sizes.activation](dense(x, tensors, name + '.intermediate.dense'))
    return layer_norm(x + dense(hidden, tensors, name + '.output.dense'), tensors,
                      name + '.output.LayerNorm', eps)


def hidden_states(tensors, sizes, token_ids, segment_ids, valid_length=None):
    """token_ids, segment_ids (batch, length) → [(batch, length, units)]: the input of the first
    layer, then the output of each layer."""
    batch, length = np.shape(token_ids)
    valid_length = [length] * batch if valid_length is None else valid_length
    rows = []
    for ids, segments, num_tokens in zip(token_ids, segment_ids, valid_length):
        x = (tensors['bert.embeddings.word_embeddings.weight'][ids].astype(np.float64)
             + tensors['bert.embeddings.position_embeddings.weight'][:length])
        if 'bert.embeddings.token_type_embeddings.weight' in tensors:
            x = x + tensors['bert.embeddings.token_type_embeddings.weight'][segments]
        x = layer_norm(x, tensors, 'bert.embeddings.LayerNorm', sizes.layer_norm_eps)
        if 'bert.embeddings_project.weight' in tensors:
            x = dense(x, tensors, 'bert.embeddings_project')
        states = [x]
        for i in range(sizes.num_layers):
            states.append(layer(states[-1], tensors, 'bert.encoder.layer.%d' % i, sizes,
                                int(num_tokens)))
        rows.append(states)
    return [np.stack(state) for state in zip(*rows)]


def sequence(tensors, sizes, token_ids, segment_ids, valid_length=None):
    """The output of the last layer, (batch, length, units)."""
    return hidden_states(tensors, sizes, token_ids, segment_ids, valid_length)[-1]


def pooled(tensors, states, activation=np.tanh):
    """Hidden states (batch, length, units) → (batch, units)"""
    return activation(dense(states[:, 0], tensors, 'bert.pooler.dense'))


def next_sentence(tensors, pooled_states):
    """(batch, units) → logits (batch, 2)"""
    return dense(pooled_states, tensors, 'cls.seq_relationship')


def token_logits(tensors, sizes, states, positions):
    """Hidden states, positions (batch, count) → logits (batch, count, vocabulary)"""
    vectors = np.stack([row[indices] for row, indices in zip(states, positions)])
    hidden = ACTIVATIONS[sizes.activation](
        dense(vectors, tensors, 'cls.predictions.transform.dense'))
    hidden = layer_norm(hidden, tensors, 'cls.predictions.transform.LayerNorm',
                        sizes.layer_norm_eps)
    return (hidden @ tensors['bert.embeddings.word_embeddings.weight'].T.astype(np.float64)
            + tensors['cls.predictions.bias'])


def random_tensors(config, seed=0):
    """float32 tensors of a whole BertForPreTraining with transformers' names. The values are
    larger than those of a new model, so that every tensor influences the outputs."""
    random = np.random.RandomState(seed)
    units, hidden = config.units, config.hidden_size
    tensors = {}

    def add(name, *shape):
        tensors[name] = random.normal(0, 0.3, shape).astype(np.float32)

    def add_dense(name, outputs, inputs):
        add(name + '.weight', outputs, inputs)
        add(name + '.bias', outputs)

    def add_norm(name, width=units):
        tensors[name + '.weight'] = random.uniform(0.5, 1.5, width).astype(np.float32)
        add(name + '.bias', width)

    width = config.embedding_size or units
    add('bert.embeddings.word_embeddings.weight', config.vocab_size, width)
    add('bert.embeddings.position_embeddings.weight', config.max_length, width)
    if config.token_type_vocab_size:
        add('bert.embeddings.token_type_embeddings.weight', config.token_type_vocab_size, width)
    add_norm('bert.embeddings.LayerNorm', width)
    if config.embedding_size:
        add_dense('bert.embeddings_project', units, width)
    for i in range(config.num_layers):
        name = 'bert.encoder.layer.%d.' % i
        for part in ('self.query', 'self.key', 'self.value', 'output.dense'):
            add_dense(name + 'attention.' + part, units, units)
        add_norm(name + 'attention.output.LayerNorm')
        add_dense(name + 'intermediate.dense', hidden, units)
        add_dense(name + 'output.dense', units, hidden)
        add_norm(name + 'output.LayerNorm')
    add_dense('bert.pooler.dense', units, units)
    add_dense('cls.predictions.transform.dense', units, units)
    add_norm('cls.predictions.transform.LayerNorm')
    add('cls.predictions.bias', config.vocab_size)
    add_dense('cls.seq_relationship', 2, units)
    return tensors
