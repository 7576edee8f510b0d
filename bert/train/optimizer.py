"""Optimizers: trainers, gradient clipping, and the optimizer state as plain arrays."""
import inspect

import gluonnlp  # registers bertadam
import mxnet as mx

from bert.errors import UserError, did_you_mean
from bert.train import adamw  # noqa: F401  (registers adamw)

# Last parts of the names of parameters without weight decay (google-research/bert,
# optimization.py).
NO_DECAY_SUFFIXES = ('beta', 'gamma', 'bias')
REGISTRY = mx.optimizer.Optimizer.opt_registry
# Optimizers of the registry that BERT can't use, with the reason for the message.
UNSUPPORTED_OPTIMIZERS = {'groupadagrad': 'it updates matrices only, and BERT has vectors too',
                          'test': 'it is only for MXNet\'s own tests'}
OPTIMIZERS = sorted(set(REGISTRY) - set(UNSUPPORTED_OPTIMIZERS))


def check_optimizer(name, num_devices, num_workers):
    """Raises `UserError` for an optimizer that is unknown, can't train BERT, or whose copies on
    several devices or workers would diverge."""
    check_optimizer_name(name)
    if name == 'sgld' and num_devices * num_workers > 1:
        raise UserError('--optimizer sgld: each device and worker would draw its own noise; '
                        'choose another optimizer, or train on one device')
    if name == 'nadam' and num_devices > 1:
        raise UserError('--optimizer nadam: MXNet\'s nadam keeps one schedule for all devices; '
                        'choose another optimizer, or train on one device')


def check_optimizer_name(name):
    """Raises `UserError` for an optimizer that is unknown or can't train BERT."""
    if name in UNSUPPORTED_OPTIMIZERS:
        raise UserError('--optimizer %s: %s; choose one of %s'
                        % (name, UNSUPPORTED_OPTIMIZERS[name], ', '.join(OPTIMIZERS)))
    if name not in OPTIMIZERS:
        raise UserError('--optimizer %s: no such optimizer.%s Known are %s'
                        % (name, did_you_mean(name, OPTIMIZERS), ', '.join(OPTIMIZERS)))


def make_trainer(parameters, name, learning_rate, epsilon=None, weight_decay=0.01,
                 multi_precision=False):
    """A `gluon.Trainer` for `parameters` (a ParameterDict).

    name: any optimizer registered with MXNet, for example bertadam or lamb.
    epsilon: passed to optimizers that have this parameter.
    If the parameters are on several devices, each device has its own states, which stay equal.
    Raises the errors of `check_optimizer_name`.
    """
    check_optimizer_name(name)
    for key, parameter in parameters.items():
        if key.endswith(NO_DECAY_SUFFIXES):
            parameter.wd_mult = 0.0
    options = {'learning_rate': learning_rate, 'wd': weight_decay,
               'multi_precision': multi_precision}
    if epsilon is not None and 'epsilon' in inspect.signature(REGISTRY[name]).parameters:
        options['epsilon'] = epsilon
    devices = next(iter(parameters.values())).list_ctx()
    if len(devices) == 1:
        return mx.gluon.Trainer(parameters, name, options, kvstore=None)
    kvstore = 'device' if devices[0].device_type == 'gpu' else 'local'
    return mx.gluon.Trainer(parameters, name, options, kvstore=kvstore, update_on_kvstore=False)


def sum_gradients(trainer, workers):
    """Replace all gradients by their sums over the devices, through MXNet's kvstore, and over the
    `bert.train.workers`. With several workers each has one device."""
    parameters = [parameter for parameter in trainer._params if parameter.grad_req != 'null']
    if len(trainer._contexts) > 1:
        trainer.allreduce_grads()
    workers.sum_gradients([parameter.list_grad()[0] for parameter in parameters])
    if len(trainer._contexts) > 1 or workers.size > 1:
        for parameter in parameters:    # a device without an example has a gradient now, too
            for array in parameter.list_data():
                array._fresh_grad = True


def clip_and_update(trainer, gradients, max_norm, loss_scale=None, fused=None):
    """Update with `gradients` scaled so that their global L2 norm is at most `max_norm`.

    gradients: the NDArrays of the trainer's parameters on the first device; the gradients on other
    devices are equal. loss_scale: the factor in float16 gradients; the division is in float32,
    where small gradients don't vanish. fused: function(trainer, max_norm) that clips and updates in
    one operator and returns the norm, or does nothing and returns None.
    Returns the norm before clipping, a (1,) NDArray; in float32 nothing waits for it.
    """
    norm = fused(trainer, max_norm) if fused and not loss_scale else None
    if norm is not None:
        return norm
    norm = global_norm(gradients) / (loss_scale or 1)
    scale = mx.nd.minimum(max_norm / (norm + 1e-8), 1.0)    # 1e-8: a zero gradient stays zero
    scale = scale / (loss_scale or 1)
    optimizer = trainer._optimizer
    if isinstance(optimizer, gluonnlp.optimizer.BERTAdam) and len(trainer._contexts) == 1:
        optimizer.rescale_grad = scale      # its own kernel multiplies by this
        trainer._update()
    elif loss_scale:
        trainer.update(1 / scale.asscalar())
    else:
        if len(trainer._contexts) > 1:
            gradients = [gradient for parameter in trainer._params
                         if parameter.grad_req != 'null' for gradient in parameter.list_grad()]
        for gradient in gradients:
            factor = scale.as_in_context(gradient.context).reshape((1,) * gradient.ndim)
            mx.nd.broadcast_mul(gradient, factor, out=gradient)
        trainer.update(1)
    return norm


def global_norm(arrays):
    """The L2 norm over all elements of all arrays, a (1,) float32 NDArray."""
    # not multi_sum_sq: it adds the numbers one by one, so it is slow, and 1e-4 too small for large
    # embeddings
    vectors = [array.astype('float32', copy=False).reshape(-1) for array in arrays]
    return mx.nd.sqrt(mx.nd.add_n(*[mx.nd.dot(vector, vector) for vector in vectors]).reshape(1))


def collect_optimizer_state(trainer):
    """({name: NDArray}, {counter: number}): the complete state of the optimizer."""
    arrays = {}
    for index, state in trainer._updaters[0].states.items():
        for path, array in _flatten(state):
            arrays['.'.join([str(index)] + path)] = array
    optimizer = trainer._optimizer
    counters = {'num_update': optimizer.num_update,
                'index_update_count': optimizer._index_update_count}
    if hasattr(optimizer, 'm_schedule'):    # nadam's running product
        counters['m_schedule'] = optimizer.m_schedule
    return arrays, counters


def restore_optimizer_state(trainer, arrays, counters):
    """Restore what `collect_optimizer_state` returned. Raises KeyError or ValueError when it
    belongs to another optimizer or network."""
    optimizer, names = trainer._optimizer, set()
    for device_index, updater in enumerate(trainer._updaters):
        for index, parameter in enumerate(trainer._params):
            if parameter.grad_req == 'null':
                continue
            state = optimizer.create_state_multi_precision(
                index, parameter.list_data()[device_index])
            for path, array in _flatten(state):
                name = '.'.join([str(index)] + path)
                array[:] = arrays[name]
                names.add(name)
            updater.states[index] = state
            updater.states_synced[index] = True
    if set(arrays) - names:
        raise ValueError('unknown optimizer states: %s' % ', '.join(sorted(set(arrays) - names)))
    optimizer.num_update = counters['num_update']
    # the keys of a JSON file are text
    counts = {int(index): count for index, count in counters['index_update_count'].items()}
    for device in trainer._contexts:
        optimizer._set_current_context(device.device_id)
        optimizer._index_update_count.update(counts)
    if 'm_schedule' in counters:
        optimizer.m_schedule = counters['m_schedule']


def _flatten(state, path=()):
    """Yield (path, NDArray) for each NDArray in a nested tuple of NDArrays and Nones."""
    if isinstance(state, mx.nd.NDArray):
        yield list(path), state
    elif isinstance(state, (tuple, list)):
        for i, part in enumerate(state):
            yield from _flatten(part, path + (str(i),))
