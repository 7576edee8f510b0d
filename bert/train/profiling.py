"""A profile of a few training steps, by MXNet's profiler."""
import logging
import os

import mxnet as mx

from bert.train.step import PretrainingStepper

# Steps of a session, counted from 1; the original script profiles the same ones
FIRST_PROFILED_STEP, LAST_PROFILED_STEP = 10, 14
# Options of hybridize(): operators that run as one bulk would be a single entry of the profile
NO_BULKING_OPTIONS = {'forward_bulk_size': 0, 'backward_bulk_size': 0}


class ProfileFinished(Exception):
    """The profile is written; there is nothing more to do."""


class ProfiledStepper(PretrainingStepper):
    """A stepper that writes a profile of some steps and then raises `ProfileFinished`.

    path: of the profile, in Chrome's trace format. None: no profile is written, as in workers other
    than 0. arguments: of `PretrainingStepper`.
    """

    def __init__(self, *arguments, path=None):
        super().__init__(*arguments)
        # MXNet would replace a link
        self._name, self._path = path, path and os.path.realpath(path)
        self._num_steps = 0

    def step(self, *arguments):
        self._num_steps += 1
        if self._path and self._num_steps == FIRST_PROFILED_STEP:
            self._start()
        result = super().step(*arguments)
        if self._num_steps == LAST_PROFILED_STEP:
            mx.nd.waitall()
            self._write()
            raise ProfileFinished
        return result

    def _start(self):
        mx.nd.waitall()
        mx.profiler.set_config(filename=self._path, profile_symbolic=True, profile_imperative=True,
                               profile_memory=False, profile_api=False)
        mx.profiler.set_state('run')

    def _write(self):
        if self._path:
            mx.profiler.set_state('stop')
            mx.profiler.dump()
            logging.info('profile of steps %d to %d: %s', FIRST_PROFILED_STEP, LAST_PROFILED_STEP,
                         self._name)
