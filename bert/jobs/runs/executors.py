"""Many independent tasks: here, in several processes, or on a Dask cluster."""
import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

from bert.errors import UserError


class Here:
    """Runs tasks one after the other in this process.

    All engines are contexts with `run(function, arguments)`, which yields function(*a) of each of
    `arguments` as they are ready.
    """

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, function, arguments):
        for one in arguments:
            yield function(*one)


class Processes(Here):
    """Runs tasks in so many processes."""

    def __init__(self, number):
        # spawned, not forked: the threads of MXNet and of the tokenizer don't survive a fork
        self._pool = concurrent.futures.ProcessPoolExecutor(
            number, multiprocessing.get_context('spawn'), _start_worker)

    def __exit__(self, *exception):
        self._pool.shutdown()

    def run(self, function, arguments):
        futures = [self._pool.submit(function, *one) for one in arguments]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError('a worker process died, for want of memory perhaps: what is finished '
                            'is kept; go on with --resume and fewer of them') from None
        finally:
            for future in futures:
                future.cancel()


def _start_worker():
    """Ctrl-C is the parent's to handle; a worker whose parent is gone goes too. One thread for
    the tokenizer: the processes are many already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ['TOKENIZERS_PARALLELISM'] = 'false'
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent():
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


class Dask(Here):
    """Runs tasks on the Dask cluster whose scheduler is at `address`. Its workers have `bert`
    installed, and see the same files under the same names."""

    def __init__(self, address):
        try:
            import distributed
        except ImportError:
            raise UserError('--engine dask: Dask is not installed here: install it, on the '
                            'workers too, with \'pip install "bert[dask]"\'') from None
        try:
            self._client = distributed.Client(address)
        except (OSError, ValueError) as error:
            raise UserError('--scheduler %s: no Dask scheduler answers there: %s'
                            % (address, error)) from None
        self._distributed = distributed

    def __exit__(self, *exception):
        self._client.close()

    def run(self, function, arguments):
        # not pure: a task is run although one with the same arguments was before
        futures = self._client.map(function, *zip(*arguments), pure=False) if arguments else []
        try:
            for future in self._distributed.as_completed(futures):
                yield future.result()
        except self._distributed.scheduler.KilledWorker as error:
            raise UserError('a worker of the Dask cluster died: %s; what is finished is kept; go '
                            'on with --resume' % error) from None
        finally:
            self._client.cancel(futures)
