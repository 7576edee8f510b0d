"""results.json: the command of a run, its environment and its results."""
import dataclasses
import importlib.metadata
import os
import platform
import shlex
import sys

import bert
from bert import file_names, files
from bert._compat import MXNET_DISTRIBUTIONS
from bert.flags.options import command_line
from bert.model.kernels import cpu

PACKAGES = ('bert', 'gluonnlp', 'numpy', 'tokenizers')


@dataclasses.dataclass(frozen=True, repr=False)
class JobResult:
    """What a job did.

    report
        The content of its results.json, or of the report that it writes elsewhere. None in all
        workers of Horovod but worker 0.
    folder
        The folder of the run. None for a job without a run.
    exit_status
        The exit status of the script: 0 for success.
    """
    report: dict | None
    folder: str | None = None
    exit_status: int = 0

    @property
    def metrics(self):
        """{segment: {metric: value}}, empty where nothing was scored."""
        return (self.report or {}).get('metrics', {})

    def __repr__(self):
        return 'JobResult(folder=%r, metrics=%r)' % (self.folder, self.metrics)


def environment(threads):
    """The versions and the hardware, as results.json has them. threads: CPU threads of the run."""
    mxnet = next(filter(None, map(_version, MXNET_DISTRIBUTIONS)), None)
    return {'versions': dict({name: _version(name) for name in PACKAGES}, mxnet=mxnet,
                             python=platform.python_version()),
            'hardware': {'cpu': cpu.name(), 'cores': os.cpu_count(), 'threads': threads,
                         'cpu_flags': cpu.vector_flags(), 'system': platform.platform()}}


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:     # run from its folder, not installed
        return None


def write_results(folder, options, **values):
    """Write results.json into `folder`: the command, its options, the environment and `values`;
    returns the report."""
    return write_report(os.path.join(folder, file_names.RESULTS_FILE), options, **values)


def write_report(path, options, **values):
    """Write the same report to `path`; returns it."""
    report = {'command': _command(options),
              'options': options.as_dict()}
    report.update(environment(getattr(options, 'threads', None)))
    report.update(values)
    files.write_json(path, report)
    return report


def _command(options):
    """The command line, if a script of ours is the program. For a job that a program calls: the
    command that does the same."""
    package = os.path.dirname(os.path.realpath(bert.__file__))
    is_script = os.path.realpath(sys.argv[0]).startswith(package + os.sep)
    return shlex.join(sys.argv) if is_script else command_line(options)
