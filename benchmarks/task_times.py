"""Time of emergence and links, each in a fresh process, with imports.

    python benchmarks/task_times.py [job ...]

Jobs that are not named keep their rows. Processor seconds are those of the process and its
children; they are comparable between runs. Wall seconds are not if other work is going on: the
column ``load`` is the mean number of running processes in the minute before.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd
from common import RESULTS, write

import bayescale as bs

#: Target in wall seconds on two idle cores, by job.
TARGETS = {
    "emergence of seven tasks, 70 models, 20 families": 60,
    "emergence of one task, 40 models": 5,
    "emergence of 100 loss curves of 20 points": 60,
    "link of fifteen tasks, 104 runs": 30,
    "link of 46 tasks, 104 runs": 120,
}
SEED = 1


def curves() -> pd.DataFrame:
    """100 loss curves with 1 % noise; the slope of every second one doubles in the middle."""
    rng = np.random.default_rng(SEED)
    s = np.linspace(-5, 5, 20)
    parts = []
    for i in range(100):
        loss = 0.4 + 0.6 * np.exp(-0.3 * (s + (i % 2) * np.maximum(s, 0)))
        loss *= np.exp(0.01 * rng.standard_normal(len(s)))
        parts.append(pd.DataFrame({"C": 1e20 * np.exp(s), "loss": loss, "task": f"curve {i}"}))
    return pd.concat(parts, ignore_index=True)


def work(job: str) -> None:
    """What is timed."""
    quiet = dict(random_seed=SEED, progressbar=False)
    if job.startswith("link"):
        from links_many import table

        results = table() if "46" in job else bs.datasets.openlm_tasks()
        link = bs.link(None, results, groups="dataset", engine="particles", **quiet)
        print(link.convergence)
    elif "loss curves" in job:
        bs.emergence(curves(), y="loss", groups="task", **quiet)
    else:
        tasks = bs.datasets.emergent_tasks()
        if "one task" in job:
            one = tasks[tasks["task"] == "arithmetic_3da"].dropna(subset=["C"])
            tasks = one.sort_values("C").iloc[:: len(one) // 40].head(40)
        bs.emergence(tasks, family="family", **quiet)


def timed(job: str) -> dict:
    """Wall and processor seconds of a job in a fresh process."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, load = resource.getrusage(resource.RUSAGE_CHILDREN), os.getloadavg()[0]
    started = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--work", job], check=True, env=environment)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    of_processors = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "job": job,
        "target": TARGETS[job],
        "processor seconds": of_processors,
        "seconds": seconds,
        "cores": os.cpu_count(),
        "load": load,
    }


def main(chosen: list[str]) -> None:
    path = RESULTS / "task_times.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    for job in [j for j in TARGETS if not chosen or any(c in j for c in chosen)]:
        rows = [r for r in rows if r["job"] != job] + [timed(job)]
        table = pd.DataFrame(rows).set_index("job").reindex(TARGETS).dropna().reset_index()
        write(table, "task_times", "Emergence and links: whole processes")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    else:
        main(sys.argv[1:])
