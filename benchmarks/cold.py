"""Run time of whole processes, from a csv file to a forecast, with imports and compilation.

python benchmarks/cold.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import chinchilla240, write

RUNS = 5

SCRIPT = """
import time; started = time.perf_counter()
import bayescale as bs
fit = bs.fit(bs.Runs.read({path!r}), "chinchilla", random_seed={seed})
print(bs.forecast(fit, N="70B", D="1.4T").summary())
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "runs.csv")
        chinchilla240().table[["N", "D", "loss"]].to_csv(path, index=False)
        seconds = []
        for seed in range(RUNS + 1):  # the first fills the operating system's and numba's caches
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", SCRIPT.format(path=path, seed=seed)],
                check=True,
                capture_output=True,
            )
            seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import pymc, nutpie, pandas"], check=True)
        imports = time.perf_counter() - started
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "bayescale", "--help"], check=True, capture_output=True
        )
        help_seconds = time.perf_counter() - started
    rows = [
        ("csv to forecast, first process", seconds[0], np.nan, np.nan),
        (
            "csv to forecast, later processes",
            np.median(seconds[1:]),
            min(seconds[1:]),
            max(seconds[1:]),
        ),
        ("importing pymc, nutpie and pandas alone", imports, np.nan, np.nan),
        ("bayescale --help", help_seconds, np.nan, np.nan),
    ]
    write(
        pd.DataFrame(rows, columns=["process", "seconds", "least", "most"]),
        "cold",
        "Whole processes",
    )


if __name__ == "__main__":
    main()
