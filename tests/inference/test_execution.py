"""Where independent computations run."""

import os
import threading
import warnings

from bayescale.inference import execution


def test_many_jobs_run_in_other_processes_and_few_in_this_one(monkeypatch):
    """A function that only this test knows is sent by value."""
    monkeypatch.setattr(execution, "FEWEST_FOR_PROCESSES", 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def run(jobs):
        return execution.run_all(lambda job: (job, os.getpid()), jobs, [str(j) for j in jobs])

    many = run([1, 2, 3, 4])
    assert [job for job, _ in many] == [1, 2, 3, 4]
    assert os.getpid() not in {process for _, process in many}
    assert {process for _, process in run([1, 2])} == {os.getpid()}


def test_a_few_jobs_share_the_cores_in_threads_if_they_may(monkeypatch):
    """Each of two jobs waits until the other has begun."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both = threading.Barrier(2, timeout=60)

    def run(job):
        both.wait()
        return job, threading.get_ident()

    found = execution.run_all(run, [1, 2], ["a", "b"], threads=True)
    assert [job for job, _ in found] == [1, 2]
    assert len({thread for _, thread in found}) == 2
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    one = execution.run_all(lambda job: threading.get_ident(), [1, 2], ["a", "b"], threads=True)
    assert set(one) == {threading.get_ident()}


def test_one_core_starts_no_process(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(execution, "FEWEST_FOR_PROCESSES", 3)
    found = execution.run_all(lambda job: os.getpid(), [1, 2, 3], ["a", "b", "c"])
    assert set(found) == {os.getpid()}


def test_jobs_of_a_process_that_ends_are_computed_here(monkeypatch):
    monkeypatch.setattr(execution, "FEWEST_FOR_PROCESSES", 3)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    here = os.getpid()

    def run(job):
        if job == 2 and os.getpid() != here:
            os._exit(1)
        return job, os.getpid()

    found = execution.run_all(run, [1, 2, 3, 4], ["a", "b", "c", "d"])
    assert [job for job, _ in found] == [1, 2, 3, 4]
    assert dict(found)[2] == here


def test_a_restart_of_a_process_is_not_reported(recwarn):
    def run(job):
        warnings.warn("A worker was restarted while some jobs were given", UserWarning, 2)
        return job

    assert execution.run_all(run, [1], ["a"]) == [1]
    assert not recwarn.list
