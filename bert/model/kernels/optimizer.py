"""One optimizer step on all parameters, computed by the operator `bert_update`."""
import math

import mxnet as mx
import numpy as np

from bert.model.kernels import library


def fused_update(trainer, max_norm):
    """Update the trainer's parameters with their gradients, which are scaled down to a global L2
    norm of at most `max_norm`.

    Returns the norm before scaling, an asynchronous NDArray of shape (1,). Does nothing and returns
    None where the operator doesn't apply: on other devices than one CPU, for other optimizers than
    bertadam, adamw, adam and lamb, and for other types than float32.
    """
    optimizer = trainer._optimizer
    rule = _find_rule(optimizer)
    indices = [i for i, parameter in enumerate(trainer._params) if parameter.grad_req != 'null']
    if not rule or not library.load() or not _can_update(trainer, indices):
        return None
    states = [_state(trainer, i) for i in indices]
    weights = [trainer._params[i].list_data()[0] for i in indices]
    gradients = [trainer._params[i].list_grad()[0] for i in indices]
    optimizer._update_count(indices)
    step = optimizer._index_update_count[indices[0]]
    base_class = mx.optimizer.Optimizer     # adamw overrides these methods with its correction
    options, rates = rule(optimizer, step, np.array(base_class._get_lrs(optimizer, indices)),
                          np.array(base_class._get_wds(optimizer, indices)))
    norm = mx.nd.bert_update(
        mx.nd.array(np.stack(rates, axis=1), dtype='float32'), *weights, *gradients,
        *[mean for mean, _ in states], *[variance for _, variance in states],
        parameters=len(indices), max_norm=max_norm, beta1=optimizer.beta1, beta2=optimizer.beta2,
        **options)
    for weight in weights:
        weight._fresh_grad = False
    return norm


def _find_rule(optimizer):
    """The function in `RULES` for an optimizer. None for any other optimizer, including another
    class of the same name."""
    name = type(optimizer).__name__.lower()
    registered_class = mx.optimizer.Optimizer.opt_registry.get(name)
    return RULES.get(name) if registered_class is type(optimizer) else None


def _can_update(trainer, indices):
    """Whether all parameters are on one CPU, dense and float32, have new gradients since the last
    step and the same number of steps."""
    optimizer = trainer._optimizer
    counts = {optimizer._index_update_count.get(i, optimizer.begin_num_update) for i in indices}
    return (len(trainer._contexts) == 1 and trainer._contexts[0].device_type == 'cpu'
            and not trainer._kvstore_params['kvstore'] and trainer._scale == 1
            and not optimizer.clip_gradient and len(counts) == 1
            and all(_is_ready(trainer._params[i]) for i in indices))


def _is_ready(parameter):
    """Whether a parameter has a new gradient, and both are dense and float32."""
    weight, gradient = parameter.list_data()[0], parameter.list_grad()[0]
    return weight._fresh_grad and all(array.dtype == np.float32 and array.stype == 'default'
                                      for array in (weight, gradient))


def _state(trainer, index):
    """(mean, variance) of a parameter, created when it has none."""
    updater = trainer._updaters[0]
    if index not in updater.states:
        updater.states[index] = trainer._optimizer.create_state_multi_precision(
            index, trainer._params[index].list_data()[0])
        updater.states_synced[index] = True
    return updater.states[index]


# Each rule returns (attributes of the operator, (rates, decays, decays added to the gradients)) for
# an optimizer at a step, which is the same for all parameters.

def _bertadam(optimizer, step, rates, decays):
    return {'epsilon': optimizer.epsilon, 'is_lamb': 0}, (rates, decays, 0 * decays)


def _adamw(optimizer, step, rates, decays):
    root = math.sqrt(1 - optimizer.beta2 ** step)
    correction = root / (1 - optimizer.beta1 ** step)
    return ({'epsilon': optimizer.base_epsilon * root, 'is_lamb': 0},
            (rates * correction, decays / correction, 0 * decays))


def _adam(optimizer, step, rates, decays):
    correction = math.sqrt(1 - optimizer.beta2 ** step) / (1 - optimizer.beta1 ** step)
    return ({'epsilon': optimizer.epsilon, 'is_lamb': 0},
            (rates * correction, 0 * decays, decays))


def _lamb(optimizer, step, rates, decays):
    has_correction = optimizer.bias_correction
    return ({'epsilon': optimizer.epsilon, 'is_lamb': 1,
             'mean_correction': 1 - optimizer.beta1 ** step if has_correction else 1,
             'variance_correction': 1 - optimizer.beta2 ** step if has_correction else 1,
             'lower_bound': optimizer.lower_bound or 0,
             'upper_bound': optimizer.upper_bound or math.inf}, (rates, decays, 0 * decays))


RULES = {'bertadam': _bertadam, 'adamw': _adamw, 'adam': _adam, 'lamb': _lamb}
