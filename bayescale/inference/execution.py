"""Run independent computations on all cores, or by an executor of the caller."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor

from bayescale.errors import ConvergenceWarning, ExtrapolationWarning, FitError
from bayescale.laws import Law
from bayescale.progress import bar

#: With fewer jobs than this, starting other processes takes longer than they save.
FEWEST_FOR_PROCESSES = 6
#: Libraries for linear algebra must not start threads in several processes at once.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
#: Seconds after which idle processes end.
IDLE = 60


def run_all[Job, Result](
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    names: Sequence[str],
    laws: Iterable[Law] = (),
    *,
    executor=None,
    threads: bool = False,
    progressbar: bool | None = None,
) -> list[Result]:
    """Apply a function to every job.

    Parameters
    ----------
    function : callable
        Takes one job. With an executor of processes it must be defined at the top level of a
        module, and jobs and results must be picklable.
    jobs : sequence
        Each carries its own random seed, so results depend neither on order nor on the executor.
    names : sequence of str
        Names of the jobs on the progress bar.
    laws : iterable of Law
        The laws of the jobs, to name those that cannot be sent to another process.
    executor : concurrent.futures.Executor, optional
        Or any object with the same ``submit``. By default many jobs are run on all cores, and a few
        in this process.
    threads : bool
        Whether a few jobs may be run in threads of this process. They cannot be interrupted, so
        each should take a few seconds.
    progressbar : bool, optional

    Returns
    -------
    list
        Results in the order of the jobs.

    Raises
    ------
    FitError
        If the function raises it, or for a law that cannot be sent to another process.
    """
    given = executor is not None
    with warnings.catch_warnings():
        # loky restarts a process that has grown; nothing is lost by it.
        warnings.filterwarnings("ignore", "A worker was restarted", UserWarning)
        if not given and len(jobs) >= FEWEST_FOR_PROCESSES:
            executor = _all_cores()
        elif not given and threads and len(jobs) > 1 and _cores() > 1:
            with ThreadPoolExecutor(_cores()) as pool:
                return _run(function, jobs, names, laws, pool, given, progressbar)
        return _run(function, jobs, names, laws, executor, given, progressbar)


def _run(function, jobs, names, laws, executor, given: bool, progressbar) -> list:
    futures, results = [], []
    with bar(progressbar) as step:
        try:
            if executor is not None:
                futures += (executor.submit(function, job) for job in jobs)
            for i, (job, name) in enumerate(zip(jobs, names, strict=True)):
                step(name, i, len(jobs))
                results.append(futures[i].result() if futures else function(job))
        except (pickle.PicklingError, AttributeError, TypeError, BrokenExecutor) as error:
            if given and (problems := _not_sendable(laws, error)):
                raise FitError(problems, where="executor") from error
            if given or not isinstance(error, BrokenExecutor):
                raise
            # A process ended, for example for want of memory: the rest is computed in this one.
            for i in range(len(results), len(jobs)):
                step(names[i], i, len(jobs))
                results.append(function(jobs[i]))
        finally:
            for future in futures:
                future.cancel()
    return results


def _all_cores():
    """An executor with a process per core; None if there is one core, or inside such a process.

    Its processes are started once and used again. Functions that are defined in a notebook or a
    script are sent by value, so laws of a notebook can be used.
    """
    cores = _cores()
    if cores == 1:
        return None
    from loky import get_reusable_executor

    return get_reusable_executor(cores, timeout=IDLE, env=ONE_THREAD)


def _cores() -> int:
    """The number of cores; 1 inside a process that runs one of several jobs."""
    return 1 if multiprocessing.parent_process() is not None else os.cpu_count() or 1


def _not_sendable(laws: Iterable[Law], error: Exception) -> list[str]:
    """One sentence per law that cannot be unpickled in another process."""
    problems = []
    for law in dict.fromkeys(laws):
        try:
            pickle.dumps(law)
            # Pickling succeeds in this process, but the process that ended may have had another
            # __main__.
            not_found = isinstance(error, BrokenExecutor) and law.loss.__module__ == "__main__"
        except (pickle.PicklingError, AttributeError, TypeError):
            not_found = True
        if not_found:
            problems.append(
                f"law {law.name!r} cannot be sent to another process, because its "
                "functions are not found there by name: define them at the top level of "
                "a module that can be imported, not in a notebook or a function"
            )
    return problems


class _Quiet:
    """Suppress warnings that the caller repeats once for all jobs.

    Warning filters belong to the process. The first thread to enter saves them and the last one to
    leave restores them, so that no thread restores them while another still computes.
    """

    def __init__(self):
        self.lock, self.inside, self.saved = threading.Lock(), 0, None

    def __enter__(self):
        with self.lock:
            if self.inside == 0:
                self.saved = warnings.catch_warnings()
                self.saved.__enter__()
                for category in (ConvergenceWarning, ExtrapolationWarning):
                    warnings.simplefilter("ignore", category)
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.saved.__exit__(*error)


quiet = _Quiet()
