"""Negative controls: curves and tables for which the law is wrong or cannot be identified.

    python benchmarks/controls.py [--curves 3]

* Double descent (Nakkiran et al. 2019): the first half of each non-monotone curve is fitted as one
  series, and the rest is forecast.
* Another law: runs of a broken power law are fitted below the break by a power law.
* Six runs, and compute-optimal runs only (OpenLM at 20 tokens per parameter): there are as many
  parameters as the table can identify, or one direction in the columns does not vary.

The expected result is either wide intervals with sufficient coverage, or a failed check or a
warning.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd
from common import reference, write

import bayescale as bs
from bayescale.evaluation.scores import score

LAWS = ("delayed_power(D)", "power(D)")
SETTINGS = dict(draws=1000, tune=500, progressbar=False)


def evaluate(
    control: str,
    name: str,
    law: str,
    seen: bs.Runs,
    later: pd.DataFrame,
    seed: int,
    group: str | None = None,
) -> dict:
    """Fit and forecast: coverage, scores, failed checks and warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = bs.fit(seen, law, groups=group, random_seed=seed, **SETTINGS)
        points = later[[c for c in (*fit.law.columns, *fit.groups, "series") if c in later]]
        ahead = bs.forecast(fit, points, random_seed=seed)
        draws = ahead.data["loss"].transpose("chain", "draw", "point").to_numpy()
        truth = later["loss"].to_numpy(float)
        scores = score(truth, draws.reshape(-1, len(later)), ahead.log_density(truth))
        check = fit.check()
    problems = {
        level: [f.name for f in check.problems if f.level == level]
        for level in ("failed", "caution")
    }
    return {
        "control": control,
        "table": name,
        "law": law,
        "fitted": len(seen),
        "held": len(later),
        "reach": float(ahead.data["extrapolation"].max()),
        "coverage50": scores["inside50"].mean(),
        "coverage90": scores["inside90"].mean(),
        "coverage95": scores["inside95"].mean(),
        "width90": scores["width90"].mean(),
        "rmsle": np.sqrt((scores["log_error"] ** 2).mean()),
        "interval_score": scores["interval_score"].mean(),
        "log_score": scores["log_score"].mean(),
        "failed": " ".join(problems["failed"]),
        "cautions": " ".join(problems["caution"]),
        "warnings": " ".join(
            dict.fromkeys(
                w.category.__name__ for w in caught if w.category.__module__.startswith("bayescale")
            )
        ),
        "confidently wrong": bool(
            scores["inside95"].mean() < 0.5 and not problems["failed"] and not problems["caution"]
        ),
    }


def double_descent(curves: int | None, seed: int) -> list[dict]:
    frame = pd.read_csv(reference("double_descent.csv"))
    rows = []
    for name, curve in list(frame.groupby("series", sort=False))[:curves]:
        curve = curve.drop_duplicates("x").sort_values("x")
        runs = bs.Runs.from_frame(
            pd.DataFrame({"D": curve["x"], "loss": curve["value"], "series": name}),
            D="D*1",
            source="double descent",
        )
        first = np.arange(len(runs)) < len(runs) // 2
        for law in LAWS:
            rows.append(
                evaluate("double descent", name, law, runs[first], runs[~first].table, seed)
            )
    return rows


def broken(seed: int) -> list[dict]:
    """Slopes that double or halve at a break beyond the fitted runs."""
    rows, C = [], np.geomspace(1e18, 1e22, 40)
    for name, later in (("slope doubles", 0.3), ("slope halves", 0.075)):
        truth = dict(E=1.5, A=2.0 * 1e18**0.15, alpha0=0.15, alpha1=later, d=1e20, f=0.3)
        runs = bs.simulate("broken_power", pd.DataFrame({"C": C}), truth, random_seed=seed)
        for what, law in (("table", "power"), ("series", "power")):
            selected = (
                runs
                if what == "table"
                else bs.Runs.from_frame(runs.table.assign(series="one")[["C", "loss", "series"]])
            )
            first = selected.table["C"].to_numpy() < 1e20
            rows.append(
                evaluate(
                    "another law",
                    f"{name}, as a {what}",
                    law,
                    selected[first],
                    selected[~first].table,
                    seed,
                )
            )
    return rows


def little(seed: int) -> list[dict]:
    """OpenLM: six runs of a corpus, and only its compute-optimal runs."""
    runs, rows = bs.Runs.example("openlm"), []
    for corpus in runs.table["dataset"].unique():
        selected = runs[runs.table["dataset"] == corpus]
        small = selected.table["N"].to_numpy() < 4.13e8
        smallest = np.argsort(selected.table["C"].to_numpy())[:6]
        six = np.isin(np.arange(len(selected)), smallest)
        optimal = (selected.table["tokens_per_param"] == 20).to_numpy() & small
        for control, fitted, held in (
            ("six runs", six, ~six),
            ("compute-optimal only, to larger runs", optimal, ~small),
            ("compute-optimal only, to other ratios", optimal, small & ~optimal),
        ):
            rows.append(
                evaluate(
                    control,
                    f"openlm {corpus}",
                    "chinchilla",
                    selected[fitted],
                    selected[held].table,
                    seed,
                )
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--curves", type=int, help="curves of double descent; all by default")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rows = little(options.seed) + broken(options.seed)
    rows += double_descent(options.curves, options.seed)
    write(pd.DataFrame(rows), "controls", "Negative controls")


if __name__ == "__main__":
    main()
