"""Optimizers, gradient clipping, and optimizer state as plain arrays."""
import inspect

import gluonnlp  # registers bertadam
import mxnet as mx

from bert.errors import UserError, nearest
from bert.train import adamw  # noqa: F401  (registers adamw)

# Parameters that weight decay leaves alone (google-research/bert, optimization.py).
NO_DECAY = ('beta', 'gamma', 'bias')
REGISTRY = mx.optimizer.Optimizer.opt_registry
# What the registry has and BERT can't use. 'test' is MXNet's own for its unit tests.
UNFIT = {'groupadagrad': 'it updates matrices only, and BERT has vectors too',
         'test': 'it is there for MXNet\'s own tests'}
OPTIMIZERS = sorted(set(REGISTRY) - set(UNFIT))


def check_name(name):
    """Raises `UserError` for an unknown optimizer, or one that is unfit for networks here."""
    if name in UNFIT:
        raise UserError('--optimizer %s: %s; choose one of %s'
                        % (name, UNFIT[name], ', '.join(OPTIMIZERS)))
    if name not in OPTIMIZERS:
        raise UserError('--optimizer %s: no such optimizer.%s Known are %s'
                        % (name, nearest(name, OPTIMIZERS), ', '.join(OPTIMIZERS)))


def check_copies(name, num_devices, num_workers):
    """Raises `UserError` for an optimizer whose copies would drift apart."""
    if name == 'sgld' and num_devices * num_workers > 1:
        raise UserError('--optimizer sgld: each device and worker would draw its own noise; '
                        'choose another one, or train on one device')
    if name == 'nadam' and num_devices > 1:
        raise UserError('--optimizer nadam: MXNet\'s keeps one schedule for all devices; choose '
                        'another one, or train on one device')


def make_trainer(parameters, name, learning_rate, epsilon=None, weight_decay=0.01,
                 multi_precision=False):
    """A `gluon.Trainer` for `parameters` (a ParameterDict).

    name: any optimizer registered with MXNet, bertadam and lamb among them.
    epsilon: given to optimizers that have one. UserError for an unknown or unfit name.
    With parameters on several devices each device has its own states, which stay equal.
    """
    check_name(name)
    for key, parameter in parameters.items():
        if key.endswith(NO_DECAY):
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
    """Have all gradients be their sum over the devices, through MXNet's kvstore, and over the
    `bert.train.workers`, of which each has one device then."""
    parameters = [parameter for parameter in trainer._params if parameter.grad_req != 'null']
    if len(trainer._contexts) > 1:
        trainer.allreduce_grads()
    workers.sum_gradients([parameter.list_grad()[0] for parameter in parameters])
    if len(trainer._contexts) > 1 or workers.size > 1:
        for parameter in parameters:    # who got no example has the sum now
            for array in parameter.list_data():
                array._fresh_grad = True


def clipped_update(trainer, gradients, max_norm, loss_scale=None, fused=None):
    """Update with `gradients` scaled so that their global L2 norm is at most `max_norm`.

    gradients: the NDArrays of the trainer's parameters, on the first device; those on others are
    equal. loss_scale: what float16 gradients were multiplied by; they are divided in float32,
    where small ones don't vanish. fused: function(trainer, max_norm) that does all this at once
    and returns the norm, or does nothing and returns None.
    Returns the norm before scaling, a (1,) NDArray; in float32 nothing waits for it.
    """
    norm = fused(trainer, max_norm) if fused and not loss_scale else None
    if norm is not None:
        return norm
    norm = global_norm(gradients) / (loss_scale or 1)
    scale = mx.nd.minimum(max_norm / (norm + 1e-8), 1.0)    # 1e-8: a zero gradient stays zero
    scale = scale / (loss_scale or 1)
    optimizer = trainer._optimizer
    if isinstance(optimizer, gluonnlp.optimizer.BERTAdam) and len(trainer._contexts) == 1:
        optimizer.rescale_grad = scale      # it multiplies in its own kernel
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
    # multi_sum_sq adds one number after the other: on large embeddings 1e-4 too small, and slow
    flat = [array.astype('float32', copy=False).reshape(-1) for array in arrays]
    return mx.nd.sqrt(mx.nd.add_n(*[mx.nd.dot(array, array) for array in flat]).reshape(1))


def save_state(trainer):
    """({name: NDArray}, {counter: number}): all that the optimizer remembers."""
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


def load_state(trainer, arrays, counters):
    """Put back what `save_state` returned; raises KeyError or ValueError when it belongs to
    another optimizer or network."""
    optimizer, known = trainer._optimizer, set()
    for place, updater in enumerate(trainer._updaters):
        for index, parameter in enumerate(trainer._params):
            if parameter.grad_req == 'null':
                continue
            state = optimizer.create_state_multi_precision(index, parameter.list_data()[place])
            for path, array in _flatten(state):
                name = '.'.join([str(index)] + path)
                array[:] = arrays[name]
                known.add(name)
            updater.states[index] = state
            updater.states_synced[index] = True
    if set(arrays) - known:
        raise ValueError('unknown optimizer states: %s' % ', '.join(sorted(set(arrays) - known)))
    optimizer.num_update = counters['num_update']
    # JSON made the keys text
    counts = {int(index): count for index, count in counters['index_update_count'].items()}
    for device in trainer._contexts:
        optimizer._set_current_context(device.device_id)
        optimizer._index_update_count.update(counts)
    if 'm_schedule' in counters:
        optimizer.m_schedule = counters['m_schedule']


def _flatten(state, path=()):
    """Yield (path, NDArray) of a nested tuple of NDArrays and Nones."""
    if isinstance(state, mx.nd.NDArray):
        yield list(path), state
    elif isinstance(state, (tuple, list)):
        for i, part in enumerate(state):
            yield from _flatten(part, path + (str(i),))
