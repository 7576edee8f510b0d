"""Looking at a few steps of a training with MXNet's profiler."""
import logging

import mxnet as mx

FIRST_PROFILED, LAST_PROFILED = 10, 14      # of a session, from 1: those of the original script
# For hybridize(): operators that run in one go would be one entry
ONE_BY_ONE = {'forward_bulk_size': 0, 'backward_bulk_size': 0}


class ProfiledStepper:
    """A `Stepper` that writes a profile of some steps, and then ends the program.

    path: of the file, in Chrome's trace format; None: only end it, as other workers do.
    """

    def __init__(self, stepper, path):
        self._stepper, self._path, self._done = stepper, path, 0

    def __getattr__(self, name):
        return getattr(self._stepper, name)

    def step(self, *arguments):
        self._done += 1
        if self._path and self._done == FIRST_PROFILED:
            self._start()
        result = self._stepper.step(*arguments)
        if self._done == LAST_PROFILED:
            mx.nd.waitall()
            self._write()
            raise SystemExit(0)
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
            logging.info('profile of steps %d to %d: %s', FIRST_PROFILED, LAST_PROFILED,
                         self._path)
