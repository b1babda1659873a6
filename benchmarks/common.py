"""What benchmarks share: where data lie, how results are written, scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
REFERENCE = HERE.parent.parent / "shared" / "data" / "reference"


def chinchilla240() -> bs.Runs:
    """The 240 runs that Besiroglu et al. fit: from a local copy, else from their repository."""
    local = REFERENCE / "chinchilla.csv"
    if local.exists():
        runs = bs.Runs.read(local)
        return runs[runs.table["epoch_excluded"].astype(str) != "True"]
    return bs.Runs.example("chinchilla", drop_outliers=True)


def interval_score(truth, low, high, alpha: float) -> np.ndarray:
    """Winkler's score of central intervals of probability 1 - alpha: width plus misses."""
    miss = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return high - low + 2 / alpha * miss


def crps(truth: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score per point, from draws with axes (draw, point)."""
    ordered = np.sort(draws, axis=0)
    n = len(ordered)
    rank = (2 * np.arange(1, n + 1) - n - 1)[:, None]
    spread = (rank * ordered).sum(axis=0) / n**2
    return np.abs(draws - truth).mean(axis=0) - spread


def write(table: pd.DataFrame, name: str, title: str) -> None:
    """Print a table, and keep it as csv."""
    RESULTS.mkdir(exist_ok=True)
    print(f"\n{title}\n")
    print(table.to_string(index=False, float_format="{:.4g}".format, na_rep=""))
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.4g")
