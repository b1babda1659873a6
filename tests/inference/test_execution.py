"""Where independent computations run."""

import os

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


def test_one_core_starts_no_process(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(execution, "FEWEST_FOR_PROCESSES", 3)
    found = execution.run_all(lambda job: os.getpid(), [1, 2, 3], ["a", "b", "c"])
    assert set(found) == {os.getpid()}
