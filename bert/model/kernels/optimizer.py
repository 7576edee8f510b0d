"""One step of an optimizer on all parameters by the operator `bert_update`."""
import math

import mxnet as mx
import numpy as np

from bert.model.kernels import library


def fused_update(trainer, max_norm):
    """Update the trainer's parameters with their gradients, scaled so that their global L2 norm is
    at most `max_norm`.

    Returns the norm before scaling, a (1,) NDArray that nothing waits for; None, having done
    nothing, where the operator can't: on other devices than one CPU, for other optimizers than
    bertadam, adamw, adam and lamb, for other types than float32.
    """
    optimizer = trainer._optimizer
    rule = _find_rule(optimizer)
    indices = [i for i, parameter in enumerate(trainer._params) if parameter.grad_req != 'null']
    if not rule or not library.load() or not _fits(trainer, indices):
        return None
    states = [_state(trainer, i) for i in indices]
    weights = [trainer._params[i].list_data()[0] for i in indices]
    gradients = [trainer._params[i].list_grad()[0] for i in indices]
    optimizer._update_count(indices)
    step = optimizer._index_update_count[indices[0]]
    plain = mx.optimizer.Optimizer      # adamw has its correction in its own of these
    options, rates = rule(optimizer, step, np.array(plain._get_lrs(optimizer, indices)),
                          np.array(plain._get_wds(optimizer, indices)))
    norm = mx.nd.bert_update(
        mx.nd.array(np.stack(rates, axis=1), dtype='float32'), *weights, *gradients,
        *[mean for mean, _ in states], *[variance for _, variance in states],
        parameters=len(indices), max_norm=max_norm, beta1=optimizer.beta1, beta2=optimizer.beta2,
        **options)
    for weight in weights:
        weight._fresh_grad = False
    return norm


def _find_rule(optimizer):
    """The entry of RULES, None for another optimizer, be it one of the same name."""
    name = type(optimizer).__name__.lower()
    known = mx.optimizer.Optimizer.opt_registry.get(name)
    return RULES.get(name) if known is type(optimizer) else None


def _fits(trainer, indices):
    """Whether all is on one CPU, dense and float32, new since the last step, and as far."""
    optimizer = trainer._optimizer
    counts = {optimizer._index_update_count.get(i, optimizer.begin_num_update) for i in indices}
    return (len(trainer._contexts) == 1 and trainer._contexts[0].device_type == 'cpu'
            and not trainer._kvstore_params['kvstore'] and trainer._scale == 1
            and not optimizer.clip_gradient and len(counts) == 1
            and all(_is_plain(trainer._params[i]) for i in indices))


def _is_plain(parameter):
    weight, gradient = parameter.list_data()[0], parameter.list_grad()[0]
    return weight._fresh_grad and all(array.dtype == np.float32 and array.stype == 'default'
                                      for array in (weight, gradient))


def _state(trainer, index):
    """(mean, variance) of a parameter, made where it has none."""
    updater = trainer._updaters[0]
    if index not in updater.states:
        updater.states[index] = trainer._optimizer.create_state_multi_precision(
            index, trainer._params[index].list_data()[0])
        updater.states_synced[index] = True
    return updater.states[index]


# (attributes of the operator, (rates, decays, decays of the gradients)) of an optimizer at a step,
# of which all parameters have the same number

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
    corrected = optimizer.bias_correction
    return ({'epsilon': optimizer.epsilon, 'is_lamb': 1,
             'mean_correction': 1 - optimizer.beta1 ** step if corrected else 1,
             'variance_correction': 1 - optimizer.beta2 ** step if corrected else 1,
             'lower_bound': optimizer.lower_bound or 0,
             'upper_bound': optimizer.upper_bound or math.inf}, (rates, decays, 0 * decays))


RULES = {'bertadam': _bertadam, 'adamw': _adamw, 'adam': _adam, 'lamb': _lamb}
