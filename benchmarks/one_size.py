"""Forecasts of tables in which all runs have the same N, or the same D.

Such tables are cut from public ones: the runs of one N, and those of one D. The lower half of each,
along the column that varies, is fitted, and the rest is forecast: by the default laws of one
column, with the drift of an average, with that of one law, and with errors in small runs; and by
the default laws of N and D, which are the default for such tables.

    python benchmarks/one_size.py
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from common import interval_score, keep, reference, write

import bayescale as bs
from bayescale.evaluation.ensembles import FLAT, OF_ONE_COLUMN
from bayescale.model.drift import ahead

#: Fewest runs of a table, and fewest different values of the column that varies.
FEWEST, VALUES = 8, 7
#: Of Farseer, whose runs form a grid, every fifth N and D is used.
EVERY = 5
LEVELS = (0.5, 0.8, 0.9, 0.95)
DRAWS = dict(draws=1000, chains=2, random_seed=1)


def sources() -> Iterator[tuple[str, bs.Runs]]:
    """Public tables with several runs of one N or D."""
    runs = bs.Runs.example("openlm")
    for corpus in runs.table["dataset"].unique():
        yield f"openlm {corpus}", runs[runs.table["dataset"] == corpus]
    yield "farseer", bs.Runs.from_frame(pd.read_csv(reference("farseer.csv")))
    yield "misfitting", bs.Runs.read(reference("misfitting_best_lr.csv"))
    runs = bs.Runs.read(reference("chinchilla.csv"))
    yield "chinchilla", runs[runs.table["epoch_excluded"].astype(str) != "True"]


def tables() -> Iterator[tuple[str, str, bs.Runs]]:
    """The source, the column that varies, and the runs."""
    for name, runs in sources():
        for same, varied in (("N", "D"), ("D", "N")):
            size = np.round(np.log(runs.table[same]), 2)
            for value in np.unique(size)[:: EVERY if name == "farseer" else 1]:
                chosen = runs[(size == value).to_numpy()]
                if len(chosen) >= FEWEST and chosen.table[varied].round(-3).nunique() >= VALUES:
                    # Sizes that differ by rounding are one.
                    middle = float(np.exp(value))
                    table = chosen.table.assign(**{same: middle}).drop(
                        columns=["C"], errors="ignore"
                    )
                    yield name, varied, bs.Runs.from_frame(table[["N", "D", "loss"]])


def forecasts(runs: bs.Runs, varied: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The method, draws of log loss, dims (draw, point), and the true log loss."""
    lower = runs.table[varied] <= runs.table[varied].median()
    seen, later = runs[lower.to_numpy()], runs[~lower.to_numpy()]
    truth = np.log(later.table["loss"].to_numpy())
    alone = bs.Positive(ahead(False, False).median, spread=ahead(False, False).spread)
    laws = [f"{law}({varied})" for law in OF_ONE_COLUMN]
    default = bs.ensemble(seen, laws, **DRAWS)
    drifting = {n: replace(f, plan=replace(f.plan, ahead=alone)) for n, f in default.fits.items()}
    for method, best in (
        ("laws of one column", default),
        ("laws of one column, drift of one law", replace(default, fits=drifting)),
        ("laws of one column with errors", bs.ensemble(seen, laws, law_error=True, **DRAWS)),
        ("laws of N and D", bs.ensemble(seen, list(FLAT), **DRAWS)),
    ):
        places = {c: later.table[c].to_numpy() for c in "ND" if c in best.law.columns}
        loss = np.log(bs.forecast(best, **places, random_seed=2).data["loss"].to_numpy())
        yield method, loss.reshape(-1, loss.shape[-1]), truth


def points() -> pd.DataFrame:
    """One row for each forecast."""
    rows = []
    for number, (source, varied, runs) in enumerate(tables()):
        for method, loss, truth in forecasts(runs, varied):
            row = {"source": source, "varied": varied, "table": number, "method": method}
            bounds = {}
            for level in LEVELS:
                bounds[level] = np.quantile(loss, [(1 - level) / 2, (1 + level) / 2], axis=0)
            for i, actual in enumerate(truth):
                inside = {
                    f"{100 * p:g}": float(b[0, i] <= actual <= b[1, i]) for p, b in bounds.items()
                }
                low, high = bounds[0.9][:, i]
                score = float(interval_score(actual, low, high, 0.1))
                rows.append(row | inside | {"score": score, "width": high - low})
    return pd.DataFrame(rows)


def main() -> None:
    warnings.simplefilter("ignore")
    each = points()
    keep(each, "one_size_each")
    names = [f"{100 * p:g}" for p in LEVELS]
    shares = {n: 100.0 * each[n] for n in names}
    by = each.assign(**shares).groupby(["varied", "method"], sort=False)
    summary = by[[*names, "score", "width"]].mean()
    summary.insert(0, "tables", by["table"].nunique())
    summary.insert(1, "runs", by.size())
    write(summary.reset_index(), "one_size", "Tables of one N or one D")


if __name__ == "__main__":
    main()
