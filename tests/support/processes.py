"""Scripts run as a user runs them: by their path, in a process of their own."""
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
        """The one line of a failed command."""
        return self.err.strip().splitlines()[-1]


def start(script, *arguments, env=None, **options):
    """A `Popen` of a script of the package, run as a user does: by its path."""
    return subprocess.Popen(
        [sys.executable, str(PACKAGE / script)] + [str(argument) for argument in arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=dict(os.environ, **(env or {})), **options)


def spawn(script, *arguments, **options):
    """Run a script to its end in a process of its own → Outcome."""
    process = start(script, *arguments, **options)
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)


def wait_for_step(folder, step):
    """Until the checkpoint of `step`, or a later one, is there."""
    deadline = time.time() + 120
    while time.time() < deadline:
        if any(name.startswith('step-') and name[5:].isdigit() and int(name[5:]) >= step
               for name in (os.listdir(folder) if os.path.isdir(folder) else ())):
            return
        time.sleep(0.001)
    raise AssertionError('no checkpoint of step %d' % step)


def die(*arguments):
    """A task of a worker process that some other program kills."""
    os.abort()
