"""Run time of whole processes, with imports and compilation: a csv to a forecast, each command.

    python benchmarks/cold.py [--runs 5] [--only NAME,NAME]

* `cold.csv`: a csv file to a forecast in Python, and the imports alone.
* `cold_commands.csv`: each command of the command line, in a fresh process.

Run it on a machine without other work. The first process fills the caches of the operating system
and of numba; it is listed apart.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import chinchilla240, write

RUNS = 5
#: Commands by name; {runs}, {tasks}, {fit} and {out} are files and a folder.
COMMANDS = {
    "--help": ("--help",),
    "fit one law": ("fit", "{runs}", "--law", "chinchilla", "--out", "{fit}", "--overwrite"),
    "fit default family": ("fit", "{runs}", "--out", "{fit}", "--overwrite"),
    "forecast": ("forecast", "{fit}", "--flops", "1e24"),
    "forecast --plot": ("forecast", "{fit}", "--flops", "1e24", "--plot", "{out}/forecast.png"),
    "allocate": ("allocate", "{fit}", "--flops", "1e24"),
    "report": ("report", "{runs}", "--flops", "1e24", "--out", "{out}", "--overwrite"),
    "rollout": ("rollout", "{runs}", "--above", "1e21"),
    "hypotheses": ("hypotheses", "{runs}"),
    "breaks": ("breaks", "{tasks}", "--x", "C", "--y", "loss"),
}

SCRIPT = """
import time; started = time.perf_counter()
import bayescale as bs
fit = {call}
print(bs.forecast(fit, N="70B", D="1.4T").summary())
"""
#: How the runs are fitted, by name.
CALLS = {
    "one law": 'bs.fit({path!r}, "chinchilla", random_seed={seed})',
    "default family": "bs.ensemble({path!r}, random_seed={seed})",
}


def seconds_of(*command: str) -> float:
    """Wall time of one process, which keeps the bytecode of modules, as Python does by default."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def curve() -> pd.DataFrame:
    """A learning curve of twenty points with a break."""
    x = np.geomspace(1e18, 1e21, 20)
    return pd.DataFrame({"C": x, "loss": np.where(x < 3e19, 3.0, 3 * (x / 3e19) ** -0.3)})


def row_of(name: str, first: float, later: list[float]) -> tuple:
    """A row of a table: the first process, then the median and the range of the others."""
    return (name, first, np.median(later), min(later), max(later))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", default=None)
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else list(COMMANDS)
    columns = ["process", "first", "median", "least", "most"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = {"runs": place / "runs.csv", "tasks": place / "curve.csv", "fit": place / "fit.nc",
                 "out": place / "page"}  # fmt: skip
        files["out"].mkdir()
        chinchilla240().table[["N", "D", "loss"]].to_csv(files["runs"], index=False)
        curve().to_csv(files["tasks"], index=False)
        if given.only is None:
            imports = [seconds_of("-c", "import pymc, nutpie, pandas") for _ in range(given.runs)]
            rows = [row_of("importing pymc, nutpie and pandas alone", np.nan, imports)]
            for name, call in CALLS.items():
                calls = [
                    call.format(path=str(files["runs"]), seed=s) for s in range(given.runs + 1)
                ]
                first, *later = [seconds_of("-c", SCRIPT.format(call=c)) for c in calls]
                rows.append(row_of(f"csv to forecast with {name}", first, later))
            write(pd.DataFrame(rows, columns=columns), "cold", "Whole processes")
        rows = []
        for name in COMMANDS:
            words = [word.format(**files) for word in COMMANDS[name]]
            if name in chosen:
                first, *later = [
                    seconds_of("-m", "bayescale", *words) for _ in range(given.runs + 1)
                ]
                rows.append(row_of(name, first, later))
            elif name.startswith("fit"):  # the other commands need the file
                seconds_of("-m", "bayescale", *words)
        write(pd.DataFrame(rows, columns=columns), "cold_commands", "Each command, cold")


if __name__ == "__main__":
    main()
