"""results.json and curves.png: the command of a run, its environment and its results."""
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

    report: the content of its results.json, or of the report that it writes elsewhere; None in all
    workers of Horovod but worker 0. folder: of the run; None for a job without one. metrics:
    {segment: {metric: value}}. exit_status: of the script.
    """
    report: dict | None
    folder: str | None = None
    exit_status: int = 0

    @property
    def metrics(self):
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


def draw_curves(path, state):
    """Draw loss and learning rate over the steps, with the dev metrics below, as a PNG."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, (losses, scores) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 6))
    steps = [point['step'] for point in state.curve]
    losses.plot(steps, [point['loss'] for point in state.curve], label='training loss')
    losses.set_ylabel('loss')
    rates = losses.twinx()
    rates.plot(steps, [point['lr'] for point in state.curve], 'k:', label='learning rate')
    rates.set_ylabel('learning rate')
    for segment in state.history[0]['metrics'] if state.history else ():
        for name in state.history[0]['metrics'][segment]:
            scores.plot([entry['step'] for entry in state.history],
                        [entry['metrics'][segment][name] for entry in state.history], 'o-',
                        label='%s %s' % (segment, name))
    scores.set_xlabel('optimizer step')
    scores.set_ylabel('dev metrics')
    for axes in (losses, scores):
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.tight_layout()
    with files.atomic_write(path, 'wb') as out:
        figure.savefig(out, format='png', dpi=100)
    pyplot.close(figure)
