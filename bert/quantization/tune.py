"""Accuracy-driven tuning: which operators can be INT8 while the loss of score meets a goal."""
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
from bert.graph_names import SYMBOL_INPUTS
from bert.quantization import speed
from bert.quantization.calibrate import Quantizer
from bert.quantization.config import TuningConfig
from bert.quantization.loss import ScoreLoss

LOG = logging.getLogger(__name__)

# Keys of the journal: the first two are prefixes of operator names, the third is the key of the
# fingerprint of everything that the trials depend on
TRIAL_PREFIX, HARM_PREFIX, FINGERPRINT_KEY = 'trial ', 'harm ', 'about'
TIMING_ROUNDS = 5      # timed calls of each network in a comparison of speed


class Trial(NamedTuple):
    """A mixed INT8 and float network and its measures. The field names are keys of results.json."""
    number: int                 # counted from 1
    kept: tuple[str, ...]       # operators that stayed float
    score: float
    loss: ScoreLoss
    speed: float                # as a multiple of the float network's
    verdict: str                # of `Goal.judge`
    accepted: bool              # meets the goal, and is faster than float
    seconds: float              # duration of the trial


class TuningResult(NamedTuple):
    """The result of a tuning run."""
    trial: Trial | None         # the chosen one
    is_goal_reached: bool               # False: `trial` is the best one, but misses the goal
    trials: tuple[Trial, ...]
    harms: dict                 # {operator: harm}; {} if all-INT8 met the goal
    float_score: float
    quantizer: Quantizer


def tune(network, calibration_batches, eval_func, config=None, interval=None, make=None,
         journal=None, quantizer=None):
    """Search for the operators that have to stay float; returns a `TuningResult`.

    network: an initialised block; called with symbols of token_ids, segment_ids (batch, length) and
    valid_length (batch,), it returns one symbol. It is not changed.
    calibration_batches: list of batches of training data, each three such arrays.
    eval_func: function(network) → score, larger is better, or (score, outputs). Its argument takes
    the three arrays, NumPy or NDArray, and returns an NDArray.
    config: `TuningConfig`, default the goal of 1 % relative loss.
    interval: function(outputs of the float network, outputs) → `ScoreLoss`, for an `eval_func`
    that returns outputs. Without it the loss has no interval.
    make: function(symbol, {name: NDArray}) → network, default a hybridized `SymbolBlock`.
    journal: path of a file that records every trial; recorded trials are not repeated.
    quantizer: a `Quantizer` of the network, or an object with its methods; default
    `Quantizer(network)`.

    The first trial has all operators in INT8. If it misses the goal, operators return to float one
    by one, the most harmful first. The harm of an operator says how much closer the outputs for
    the calibration batches come to those of the float network when only this operator is float. If
    config.timeout leaves time, the least harmful float operators are tried in INT8 again.
    """
    search = _Search(calibration_batches, eval_func, config or TuningConfig(), interval,
                     make or symbol_block, Journal(journal), quantizer or Quantizer(network))
    search.prepare()
    return search.run()


def rebuild_network(number, journal, network, calibration_batches, eval_func, config=None,
                    make=None, quantizer=None):
    """(operators that stayed float, (symbol, {name: NDArray})) of trial `number` in a journal.

    The other arguments are those of `tune`. Raises `UserError` when the journal has no such trial,
    or when its trials belong to another network, other batches or another score.
    """
    records = Journal(journal)
    num_trials = len(records.trials())
    if not 1 <= number <= num_trials:
        raise UserError('--rebuild %d: no such trial: %s has %d trials'
                        % (number, journal, num_trials))
    search = _Search(calibration_batches, eval_func, config or TuningConfig(), None,
                     make or symbol_block, records, quantizer or Quantizer(network))
    search.prepare()
    return search.rebuild(number)


def symbol_block(graph, parameters):
    """A hybridized `SymbolBlock`, as a function that also takes NumPy arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')     # MXNet warns that the inputs have no types yet
        block = mx.gluon.SymbolBlock(graph, [mx.sym.var(name) for name in SYMBOL_INPUTS])
    for name, parameter in block.collect_params().items():
        parameter.shape, parameter.dtype = parameters[name].shape, parameters[name].dtype
        parameter.initialize(mx.init.Zero(), ctx=mx.cpu())
        parameter.set_data(parameters[name])
    block.hybridize(static_alloc=True, static_shape=True)
    return lambda *arrays: block(*[mx.nd.array(array, dtype='float32') for array in arrays])


class Journal:
    """The results so far as {key: value}, in a file of JSON lines that survives a kill.

    path: of the file; None: keep the results in memory only. Raises `UserError` for a line that is
    not an entry.
    """

    def __init__(self, path):
        self._path, self._values = path, {}
        if path and os.path.exists(path):
            with open(path, 'rb') as file:
                content = file.read()
            complete_lines = content[:content.rfind(b'\n') + 1]
            if complete_lines != content:       # a kill cut the last line
                os.truncate(path, len(complete_lines))
            for line_number, line in enumerate(complete_lines.splitlines(), 1):
                key, value = _read_entry('%s:%d' % (path, line_number), line)
                self._values[key] = value

    def check(self, fingerprint):
        """Raises `UserError` when the trials have another fingerprint."""
        if self.compute_once(FINGERPRINT_KEY, lambda: fingerprint) != fingerprint:
            raise UserError('%s: these trials belong to other parameters, calibration batches, '
                            'options, random_seed, kind of goal (relative, absolute) or scored '
                            'examples: use another folder, or start anew with '
                            '--overwrite_output_dir' % self._path)

    def trials(self):
        """[operators that stayed float] of each trial; the first is trial number 1."""
        return [tuple(key.split()[1:]) for key in self._values if key.startswith(TRIAL_PREFIX)]

    def compute_once(self, key, compute):
        """The value of `key`; calls `compute` only if the file doesn't have the value."""
        if key not in self._values:
            self._values[key] = value = compute()
            if self._path:
                with files.explain_write_errors(self._path), \
                        open(self._path, 'a', encoding='utf-8') as out:
                    out.write(json.dumps({'key': key, 'value': files.replace_nonfinite(value)},
                                         allow_nan=False) + '\n')
                    out.flush()
                    os.fsync(out.fileno())
        return self._values[key]


# (start of the key, function: value → whether it fits) of each kind of entry
ENTRY_KINDS = ((TRIAL_PREFIX, lambda value: isinstance(value, dict)
                and {'score', 'loss', 'speed', 'seconds'} <= set(value)
                and len(value['loss']) == 3),
               (HARM_PREFIX, lambda value: isinstance(value, float)),
               (FINGERPRINT_KEY, lambda value: True))


def _read_entry(location, line):
    """(key, value) of a line of the journal. Raises `UserError`, which names the `location`, for
    any other line."""
    try:
        entry = json.loads(line.decode('utf-8'))
        key, value = entry['key'], entry['value']
        if any(key.startswith(start) and fits(value) for start, fits in ENTRY_KINDS):
            return key, value
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError('%s: not a trial of a tuning run: delete the line, or start anew with '
                    '--overwrite_output_dir' % location)


class _Search:
    """The search of `tune`."""

    def __init__(self, batches, evaluate, config, interval, make, journal, quantizer):
        self._batches, self._config, self._interval = batches, config, interval
        self._evaluate, self._make_network, self._journal = evaluate, make, journal
        self._quantizer = quantizer
        self._float_network = make(*quantizer.float_symbol())
        self._trials, self._harms = [], {}

    def prepare(self):
        """Calibrate, and score the float network. Raises `UserError` when the journal belongs to
        another search."""
        self._deadline = time.monotonic() + self._config.timeout
        self._quantizer.calibrate(self._batches)
        self._float_score, self._float_outputs = self._score(self._float_network)
        self._journal.check(self._fingerprint())

    def rebuild(self, number):
        float_operators = self._journal.trials()[number - 1]
        return float_operators, self._quantizer.quantize(float_operators)

    def run(self):
        self._config.goal.check_score(self._float_score)
        LOG.info('float: score %.4f; the goal is a loss of at most %s', self._float_score,
                 self._config.goal.describe())
        best_trial = self._first_accepted_trial()
        if best_trial is not None and self._config.timeout:
            best_trial = self._improve(best_trial)
        is_reached = best_trial is not None
        return TuningResult(best_trial or self._closest_trial(), is_reached, tuple(self._trials),
                            self._harms, self._float_score, self._quantizer)

    def _fingerprint(self):
        """Everything that the trials depend on, apart from the goal."""
        batches_digest = hashlib.sha256()
        for batch in self._batches:
            for array in batch:
                batches_digest.update(np.ascontiguousarray(array).tobytes())
        config = self._config
        return {'quantizer': self._quantizer.digest(), 'batches': batches_digest.hexdigest(),
                'float_score': round(self._float_score, 5),
                # the journal holds measured losses, so their meaning must not change
                'relative': config.goal.is_relative, 'random_seed': config.random_seed}

    def _first_accepted_trial(self):
        """The first accepted trial; None if there is none."""
        trial = self._run_trial(())
        ranking = [] if trial.accepted else self._rank_operators()
        while not trial.accepted:
            if len(trial.kept) == len(ranking) or self._is_budget_spent():
                return None
            trial = self._run_trial(tuple(ranking[:len(trial.kept) + 1]))
        return trial

    def _improve(self, best_trial):
        """Return operators of an accepted trial to INT8, the least harmful first, while there is
        time. Returns the best accepted trial."""
        for name in reversed(best_trial.kept):
            if self._is_budget_spent() or time.monotonic() > self._deadline:
                break
            float_operators = [operator for operator in best_trial.kept if operator != name]
            trial = self._run_trial(tuple(float_operators))
            if trial.accepted and trial.speed >= best_trial.speed:
                best_trial = trial
        return best_trial

    def _is_budget_spent(self):
        """Whether the number of trials or the time, if there is a limit, is used up."""
        if len(self._trials) >= self._config.max_trials:
            return True
        return bool(self._config.timeout) and time.monotonic() > self._deadline

    def _closest_trial(self):
        """If no trial meets the goal: the one with the smallest loss among those faster than float,
        or among all if none is faster."""
        candidates = [trial for trial in self._trials if trial.speed > 1] or self._trials
        return min(candidates, key=lambda trial: trial.loss.value)

    def _score(self, network):
        """(score, outputs or None) of `eval_func`. Raises `UserError` for a score that is not
        finite."""
        result = self._evaluate(network)
        score, outputs = result if isinstance(result, tuple) else (result, None)
        if not np.isfinite(score):
            raise UserError('the score is %r: tuning needs a finite score; are there enough '
                            'examples to score, with different labels?' % float(score))
        return float(score), outputs

    def _run_trial(self, float_operators):
        """The `Trial` with these operators in float; an earlier trial is not repeated."""
        for trial in self._trials:
            if trial.kept == float_operators:
                return trial
        values = self._journal.compute_once(TRIAL_PREFIX + ' '.join(float_operators),
                                            lambda: self._measure(float_operators))
        loss = ScoreLoss(*[np.nan if value is None else value for value in values['loss']])
        goal = self._config.goal
        trial = Trial(self._journal.trials().index(float_operators) + 1, float_operators,
                      values['score'], loss, values['speed'], goal.judge(loss),
                      bool(goal.accepts(loss) and values['speed'] > 1), values['seconds'])
        self._trials.append(trial)
        LOG.info('trial %d: %d of %d operators in float, score %.4f, loss %.4f (%.4f to %.4f, %s), '
                 '%.2f times float%s', trial.number, len(float_operators),
                 len(self._quantizer.operators), trial.score, *trial.loss, trial.verdict,
                 trial.speed, ': accepted' if trial.accepted else '')
        return trial

    def _measure(self, float_operators):
        """The journal's value for a trial."""
        started = time.monotonic()
        network = self._make_network(*self._quantizer.quantize(float_operators))
        goal = self._config.goal
        score, outputs = self._score(network)
        if self._interval is None or outputs is None:
            loss = ScoreLoss(*[goal.loss_between(self._float_score, score)] * 3)
        else:
            loss = self._interval(self._float_outputs, outputs)
        return {'score': score, 'loss': list(loss), 'speed': self._speed(network),
                'seconds': time.monotonic() - started}

    def _speed(self, network):
        """Speed as a multiple of the float network's, on the largest calibration batch."""
        batch = max(self._batches, key=lambda arrays: arrays[0].size)
        seconds = speed.time_interleaved({
            'float': lambda *arrays: _numpy(self._float_network(*arrays)),
            'network': lambda *arrays: _numpy(network(*arrays))}, batch, TIMING_ROUNDS)
        return float(np.median(seconds['float']) / np.median(seconds['network']))

    def _rank_operators(self):
        """The operators, the most harmful first."""
        LOG.info('ranking %d operators by the harm that INT8 does in them',
                 len(self._quantizer.operators))
        float_outputs = self._outputs(self._float_network)
        int8_error = self._error((), float_outputs)
        for name in tqdm(self._quantizer.operators, desc='ranking', disable=None):
            if self._is_budget_spent():
                break
            self._harms[name] = self._journal.compute_once(
                HARM_PREFIX + name,
                lambda name=name: int8_error - self._error((name,), float_outputs))
        return sorted(self._harms, key=self._harms.get, reverse=True)

    def _error(self, float_operators, float_outputs):
        """Mean squared difference of the outputs from those of the float network."""
        network = self._make_network(*self._quantizer.quantize(float_operators))
        return float(np.mean([np.mean(np.square(a - b))
                              for a, b in zip(self._outputs(network), float_outputs)]))

    def _outputs(self, network):
        """List of the network's outputs for the calibration batches, with 0 for padding, where the
        scores of tokens mean nothing."""
        all_outputs = []
        for batch in self._batches:
            outputs = _numpy(network(*batch))
            if outputs.ndim == 3:
                mask = np.arange(outputs.shape[1]) < np.asarray(batch[2])[:, None]
                outputs = outputs * mask[..., None]
            all_outputs.append(outputs)
        return all_outputs


def _numpy(outputs):
    return outputs if isinstance(outputs, np.ndarray) else outputs.asnumpy()
