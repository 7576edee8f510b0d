"""Executors: run many independent tasks in this process, in several, or on a Dask cluster."""
import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

from bert.errors import UserError


class LocalExecutor:
    """Runs tasks one after the other in this process.

    All executors are context managers. Their method run(function, arguments) calls
    function(*values) for every tuple `values` of the list `arguments`, and yields each result as
    soon as it is ready.
    """

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, function, arguments):
        for values in arguments:
            yield function(*values)


class ProcessExecutor(LocalExecutor):
    """Runs tasks in `num_processes` processes."""

    def __init__(self, num_processes):
        # spawn, not fork: the threads of MXNet and of the tokenizer don't survive a fork
        self._pool = concurrent.futures.ProcessPoolExecutor(
            num_processes, multiprocessing.get_context('spawn'), _start_worker)

    def __exit__(self, *exception):
        self._pool.shutdown()

    def run(self, function, arguments):
        futures = [self._pool.submit(function, *values) for values in arguments]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError('a worker process died, perhaps out of memory: finished parts are '
                            'kept; continue with --resume and fewer workers') from None
        finally:
            for future in futures:
                future.cancel()


def _start_worker():
    """Set up a worker process. It leaves Ctrl-C to its parent, and exits when the parent does. Its
    tokenizer gets one thread, because there are many processes already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ['TOKENIZERS_PARALLELISM'] = 'false'
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent():
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


class DaskExecutor(LocalExecutor):
    """Runs tasks on the Dask cluster whose scheduler is at `address`. Its workers need `bert`
    installed, and must see the same files under the same names."""

    def __init__(self, address):
        try:
            import distributed
        except ImportError:
            raise UserError('--engine dask: Dask is not installed here: install it, on the '
                            'workers too, with "pip install distributed"') from None
        try:
            self._client = distributed.Client(address)
        except (OSError, ValueError) as error:
            raise UserError('--scheduler %s: no Dask scheduler answers there: %s'
                            % (address, error)) from None
        self._distributed = distributed

    def __exit__(self, *exception):
        self._client.close()

    def run(self, function, arguments):
        # pure=False: Dask runs a task even if an earlier one had the same arguments
        futures = self._client.map(function, *zip(*arguments), pure=False) if arguments else []
        try:
            for future in self._distributed.as_completed(futures):
                yield future.result()
        except self._distributed.scheduler.KilledWorker as error:
            raise UserError('a worker of the Dask cluster died: %s; finished parts are kept; '
                            'continue with --resume' % error) from None
        finally:
            self._client.cancel(futures)
