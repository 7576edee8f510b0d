"""The fastest mixture of INT8 and float operators that loses little enough of the score."""
import hashlib
import json
import logging
import os
import time
import warnings
from typing import NamedTuple

import mxnet as mx
import numpy as np
from tqdm import tqdm

from bert import files
from bert.errors import UserError
from bert.file_names import SYMBOL_INPUTS
from bert.quantization import speed
from bert.quantization.calibrate import Quantizer
from bert.quantization.config import Config
from bert.quantization.loss import Loss

LOG = logging.getLogger(__name__)

# Keys of the journal, before the names of operators, and of what the trials are of
TRIAL, HARM, ABOUT = 'trial ', 'harm ', 'about'
ROUNDS = 5      # batches of each network when their speed is compared


class Trial(NamedTuple):
    """One network that was tried."""
    number: int
    kept: tuple[str, ...]       # operators that stayed float
    score: float
    loss: Loss
    speed: float                # times the float network's
    verdict: str                # of `Goal.judge`
    accepted: bool              # meets the goal, and is faster than float
    seconds: float


class Tuned(NamedTuple):
    """What a tuning run found."""
    trial: Trial | None      # the chosen one
    reached: bool               # whether it meets the goal; else it is the best found
    trials: tuple[Trial, ...]
    harms: dict                 # {operator: harm}, where they had to be ranked
    float_score: float
    quantizer: Quantizer


def tune(network, calibration_batches, eval_func, config=None, interval=None, make=None,
         journal=None, quantizer=None):
    """Search for the operators that have to stay float; returns a `Tuned`.

    network: an initialised block; called with symbols of token_ids, segment_ids (batch, length) and
    valid_length (batch,) it gives one. It stays as it is.
    calibration_batches: list of such arrays, three each; of training data.
    eval_func: function(network) → score, larger is better, or (score, outputs). Its argument takes
    the three arrays, NumPy or NDArray, and gives an NDArray.
    config: `Config`, default the goal of 1 % relative loss. interval: function(outputs of the float
    network, outputs) → `Loss`, for an `eval_func` that gives outputs; else the loss has none.
    make: function(symbol, {name: NDArray}) → network, default a hybridized `SymbolBlock`.
    journal: path of a file that takes every trial; those that it has are not tried again.
    quantizer: of the network, a `Quantizer` or what has its methods; default `Quantizer(network)`.

    All is INT8 first. When the goal is missed, operators return to float one after another, the
    most harmful first: harm is how much nearer the outputs for the calibration batches come to
    those of the float network when this operator alone is float. With time left (config.timeout)
    those of them that harm least are tried in INT8 again.
    """
    search = _Search(calibration_batches, eval_func, config or Config(), interval,
                     make or symbol_block, Journal(journal), quantizer or Quantizer(network))
    search.prepare()
    return search.run()


def rebuild(number, journal, network, calibration_batches, eval_func, config=None, make=None,
            quantizer=None):
    """(the operators that stayed float, (symbol, {name: NDArray})) of trial `number` in a journal.

    The other arguments are those of `tune`. Raises `UserError` when the journal has no such trial,
    or when its trials are of another network, of other batches, or scored otherwise.
    """
    found = Journal(journal)
    if not 1 <= number <= len(found.trials()):
        raise UserError('--rebuild %d: %s has %d trials' % (number, journal, len(found.trials())))
    search = _Search(calibration_batches, eval_func, config or Config(), None,
                     make or symbol_block, found, quantizer or Quantizer(network))
    search.prepare()
    return search.rebuild(number)


def symbol_block(graph, parameters):
    """A hybridized `SymbolBlock` that also takes NumPy arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')     # the inputs' types are open until they come
        block = mx.gluon.SymbolBlock(graph, [mx.sym.var(name) for name in SYMBOL_INPUTS])
    for name, parameter in block.collect_params().items():
        parameter.shape, parameter.dtype = parameters[name].shape, parameters[name].dtype
        parameter.initialize(mx.init.Zero(), ctx=mx.cpu())
        parameter.set_data(parameters[name])
    block.hybridize(static_alloc=True, static_shape=True)
    return lambda *arrays: block(*[mx.nd.array(array, dtype='float32') for array in arrays])


class Journal:
    """A file of JSON lines that survives a kill: {key: value} of what was found so far."""

    def __init__(self, path):
        self._path, self._found = path, {}
        if path and os.path.exists(path):
            with open(path, 'rb') as file:
                content = file.read()
            whole = content[:content.rfind(b'\n') + 1]
            if whole != content:        # a kill cut the last line
                os.truncate(path, len(whole))
            for number, line in enumerate(whole.splitlines(), 1):
                key, value = _read_entry('%s:%d' % (path, number), line)
                self._found[key] = value

    def check(self, about):
        """Raises `UserError` when the trials are of something else than `about`."""
        if self.once(ABOUT, lambda: about) != about:
            raise UserError('%s: its trials are of other parameters, calibration batches, '
                            'options, random_seed or kind of goal (relative, absolute), or scored '
                            'on other examples: start anew in another folder, or by '
                            '--overwrite_output_dir' % self._path)

    def trials(self):
        """The operators that stayed float, for each trial in order: the first is number 1."""
        return [tuple(key.split()[1:]) for key in self._found if key.startswith(TRIAL)]

    def once(self, key, compute):
        """The value of `key`, computed where the file doesn't have it."""
        if key not in self._found:
            self._found[key] = value = compute()
            if self._path:
                with files.writing(self._path), open(self._path, 'a', encoding='utf-8') as out:
                    out.write(json.dumps({'key': key, 'value': value}) + '\n')
                    out.flush()
                    os.fsync(out.fileno())
        return self._found[key]


# What an entry of each kind holds
KINDS = ((TRIAL, lambda value: isinstance(value, dict) and not {'score', 'loss', 'speed', 'seconds'}
          - set(value) and len(value['loss']) == 3),
         (HARM, lambda value: isinstance(value, float)), (ABOUT, lambda value: True))


def _read_entry(where, line):
    """(key, value) of a line of the journal; `UserError` for anything else."""
    try:
        entry = json.loads(line.decode('utf-8'))
        key, value = entry['key'], entry['value']
        if any(key.startswith(start) and fits(value) for start, fits in KINDS):
            return key, value
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError('%s: not a trial of a tuning run: take the line out, or start anew by '
                    '--overwrite_output_dir' % where)


class _Search:
    """The search of `tune`."""

    def __init__(self, batches, evaluate, config, interval, make, journal, quantizer):
        self._batches, self._config, self._interval = batches, config, interval
        self._evaluate, self._make, self._journal = evaluate, make, journal
        self._quantizer = quantizer
        self._float = make(*quantizer.unquantized())
        self._trials, self._harms = [], {}

    def prepare(self):
        """Calibrate, and score the float network. Raises `UserError` when the journal is of
        something else."""
        self._deadline = time.monotonic() + self._config.timeout
        self._quantizer.calibrate(self._batches)
        self._reference = self._score(self._float)
        self._journal.check(self._about())

    def rebuild(self, number):
        kept = self._journal.trials()[number - 1]
        return kept, self._quantizer.quantize(kept)

    def run(self):
        self._config.goal.check_score(self._reference[0])
        LOG.info('float: score %.4f; the goal is a loss of at most %s', self._reference[0],
                 self._config.goal.describe())
        chosen = self._find()
        if chosen is not None and self._config.timeout:
            chosen = self._improve(chosen)
        reached = chosen is not None
        return Tuned(chosen or self._best(), reached, tuple(self._trials), self._harms,
                     self._reference[0], self._quantizer)

    def _about(self):
        """What the trials depend on, beside the goal."""
        total = hashlib.sha256()
        for batch in self._batches:
            for array in batch:
                total.update(np.ascontiguousarray(array).tobytes())
        config = self._config
        return {'quantizer': self._quantizer.digest(), 'batches': total.hexdigest(),
                'float_score': round(self._reference[0], 5),
                # the loss of a trial is measured once: it must mean the same
                'relative': config.goal.is_relative, 'random_seed': config.random_seed}

    def _find(self):
        """The first accepted trial; None where there is none."""
        trial = self._try(())
        ranked = [] if trial.accepted else self._rank()
        while not trial.accepted:
            if len(trial.kept) == len(ranked) or self._is_over():
                return None
            trial = self._try(tuple(ranked[:len(trial.kept) + 1]))
        return trial

    def _improve(self, chosen):
        """Return operators of an accepted trial to INT8, the least harmful first, while time is
        left."""
        for name in reversed(chosen.kept):
            if self._is_over() or time.monotonic() > self._deadline:
                break
            trial = self._try(tuple(kept for kept in chosen.kept if kept != name))
            if trial.accepted and trial.speed >= chosen.speed:
                chosen = trial
        return chosen

    def _is_over(self):
        """Whether the trials, or the time where it is limited, are used up."""
        if len(self._trials) >= self._config.max_trials:
            return True
        return bool(self._config.timeout) and time.monotonic() > self._deadline

    def _best(self):
        """Of trials none of which meets the goal: the one that loses least, of those faster than
        float; of all where none is."""
        faster = [trial for trial in self._trials if trial.speed > 1] or self._trials
        return min(faster, key=lambda trial: trial.loss.value)

    def _score(self, network):
        found = self._evaluate(network)
        score, outputs = found if isinstance(found, tuple) else (found, None)
        if not np.isfinite(score):
            raise UserError('the score is %r: there is nothing to tune by; is the set to score on '
                            'large enough, and has it different labels?' % float(score))
        return float(score), outputs

    def _try(self, kept):
        """The `Trial` with these operators in float; one that there is already is not repeated."""
        known = next((trial for trial in self._trials if trial.kept == kept), None)
        if known is not None:
            return known
        values = self._journal.once(TRIAL + ' '.join(kept), lambda: self._measure(kept))
        loss, goal = Loss(*values['loss']), self._config.goal
        trial = Trial(self._journal.trials().index(kept) + 1, kept, values['score'], loss,
                      values['speed'], goal.judge(loss),
                      bool(goal.accepts(loss) and values['speed'] > 1), values['seconds'])
        self._trials.append(trial)
        LOG.info('trial %d: %d of %d operators in float, score %.4f, loss %.4f (%.4f to %.4f, %s), '
                 '%.2f times float%s', trial.number, len(kept), len(self._quantizer.operators),
                 trial.score, *trial.loss, trial.verdict, trial.speed,
                 ': accepted' if trial.accepted else '')
        return trial

    def _measure(self, kept):
        started = time.monotonic()
        network = self._make(*self._quantizer.quantize(kept))
        goal = self._config.goal
        score, outputs = self._score(network)
        if self._interval is None or outputs is None:
            loss = Loss(*[goal.of_scores(self._reference[0], score)] * 3)
        else:
            loss = self._interval(self._reference[1], outputs)
        return {'score': score, 'loss': list(loss), 'speed': self._speed(network),
                'seconds': time.monotonic() - started}

    def _speed(self, network):
        """Times the float network's, on the longest of the calibration batches."""
        batch = max(self._batches, key=lambda arrays: arrays[0].size)
        seconds = speed.time_together({
            'float': lambda *arrays: _numpy(self._float(*arrays)),
            'network': lambda *arrays: _numpy(network(*arrays))}, batch, ROUNDS)
        return float(np.median(seconds['float']) / np.median(seconds['network']))

    def _rank(self):
        """The operators, the most harmful first."""
        LOG.info('ranking %d operators by the harm that INT8 does in them',
                 len(self._quantizer.operators))
        wanted = self._outputs(self._float)
        all_int8 = self._error((), wanted)
        for name in tqdm(self._quantizer.operators, desc='ranking', disable=None):
            if self._is_over():
                break
            self._harms[name] = self._journal.once(
                HARM + name, lambda name=name: all_int8 - self._error((name,), wanted))
        return sorted(self._harms, key=self._harms.get, reverse=True)

    def _error(self, kept, wanted):
        """Mean squared difference of the outputs from those of the float network."""
        found = self._outputs(self._make(*self._quantizer.quantize(kept)))
        return float(np.mean([np.mean(np.square(a - b)) for a, b in zip(found, wanted)]))

    def _outputs(self, network):
        """What the network gives for the calibration batches; 0 for padding, where scores of tokens
        mean nothing."""
        found = []
        for batch in self._batches:
            outputs = _numpy(network(*batch))
            if outputs.ndim == 3:
                used = np.arange(outputs.shape[1]) < np.asarray(batch[2])[:, None]
                outputs = outputs * used[..., None]
            found.append(outputs)
        return found


def _numpy(outputs):
    return outputs if isinstance(outputs, np.ndarray) else outputs.asnumpy()
