"""Runs scripts as a user does: by their path, each in its own process."""
import os
import pathlib
import subprocess
import sys
import time
from typing import NamedTuple

PACKAGE = pathlib.Path(__file__).resolve().parents[2] / 'bert'


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def error(self):
        """The error message of a failed command, which is one line."""
        return self.err.strip().splitlines()[-1]


def start(script, *arguments, env=None, **options):
    """Start a script of the package by its path, as a user does → `Popen`."""
    return subprocess.Popen(
        [sys.executable, str(PACKAGE / script)] + [str(argument) for argument in arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, **(env or {})), **options)


def spawn(script, *arguments, **options):
    """Run a script to its end in its own process → Outcome."""
    process = start(script, *arguments, **options)
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)


def wait_for_step(folder, step):
    """Wait until the checkpoint of `step`, or a later checkpoint, is in the folder."""
    deadline = time.time() + 120
    while time.time() < deadline:
        if any(name.startswith('step-') and name[5:].isdigit() and int(name[5:]) >= step
               for name in (os.listdir(folder) if os.path.isdir(folder) else ())):
            return
        time.sleep(0.001)
    raise AssertionError('no checkpoint of step %d' % step)


def die(*arguments):
    """A task that crashes its worker process, as if another program had killed it."""
    os.abort()
