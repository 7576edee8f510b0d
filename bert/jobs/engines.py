"""Many independent tasks: here, in several processes, or on a Dask cluster."""
import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading

from bert.errors import UserError


def run_here(function, arguments):
    """Yield function(*a) of each of `arguments`, in order."""
    for one in arguments:
        yield function(*one)


def run_processes(number):
    """A function like `run_here` with so many processes; results come as they are ready."""
    def run(function, arguments):
        # spawned, not forked: the threads of MXNet and of the tokenizer don't survive a fork
        with concurrent.futures.ProcessPoolExecutor(
                number, multiprocessing.get_context('spawn'), _start_worker) as pool:
            futures = [pool.submit(function, *one) for one in arguments]
            try:
                for future in concurrent.futures.as_completed(futures):
                    yield future.result()
            except concurrent.futures.process.BrokenProcessPool:
                raise UserError('a worker process died, for want of memory perhaps: what is '
                                'finished is kept; go on with --resume and fewer '
                                '--num_workers') from None
            finally:
                for future in futures:
                    future.cancel()
    return run


def _start_worker():
    """Ctrl-C is the parent's to handle; a worker whose parent is gone goes too. One thread for
    the tokenizer: the processes are many already."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ['TOKENIZERS_PARALLELISM'] = 'false'
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent():
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def run_dask(address):
    """A function like `run_here` on the Dask cluster whose scheduler is at `address`. Its workers
    have `bert` installed, and see the same files under the same names."""
    try:
        import distributed
    except ImportError:
        raise UserError('--engine dask: Dask is not installed here: install it, on the workers '
                        'too, with \'pip install "bert[dask]"\'') from None

    def run(function, arguments):
        try:
            client = distributed.Client(address)
        except (OSError, ValueError) as error:
            raise UserError('--scheduler %s: no Dask scheduler answers there: %s'
                            % (address, error)) from None
        with client:
            futures = client.map(function, *zip(*arguments), pure=False) if arguments else []
            try:
                for future in distributed.as_completed(futures):
                    yield future.result()
            except distributed.scheduler.KilledWorker as error:
                raise UserError('a worker of the Dask cluster died: %s; what is finished is kept; '
                                'go on with --resume' % error) from None
            finally:
                client.cancel(futures)
    return run
