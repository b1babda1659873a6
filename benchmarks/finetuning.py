"""Fine-tuning: 90 curves fitted together to at most 51,200 examples, and forecast beyond.

The curves are those of 30 models on three data sets (Lin et al. 2024, arXiv:2402.02314). The points
of 102,400 to 1.6 million examples are forecast. The fits:

* `together`: one hierarchical model of 90 curves, each of which is a group;
* `by data set`: one such model of the 30 curves of each data set;
* `as series`: each curve alone, with drift along it, as learning curves are fitted.

    python benchmarks/finetuning.py [fits to make, separated by commas] [data sets, all]

Rows of other fits from an earlier run remain in the results.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pandas as pd
from common import RESULTS, interval_score, reference, write

import bayescale as bs

LAW, MOST = "rectified(finetune)", 51_200
LEVELS = (50, 80, 90, 95)
#: Columns of the table that are fitted separately, by fit.
FITS = {"together": None, "by data set": "dataset", "as series": "curve"}


def curves() -> pd.DataFrame:
    frame = pd.read_csv(reference("finetuning_rectified.csv")).query("examples > 0")
    frame = frame.assign(curve=frame["dataset"] + " " + frame["model"])
    return frame.rename(columns={"params": "N", "examples": "finetune"}).reset_index(drop=True)


def forecast(part: pd.DataFrame, kind: str) -> tuple[pd.DataFrame, dict]:
    """Draws of the log losses of the later points of some curves, and figures of the fit."""
    fitted = part["finetune"] <= MOST
    seen, later = (part[rows].reset_index(drop=True) for rows in (fitted, ~fitted))
    columns = ["N", "finetune", "loss", "curve"]
    how = dict(groups="curve")
    if kind == "as series":
        seen, how = seen.assign(series=seen["curve"]), {}
        columns = ["N", "finetune", "loss", "series"]
        later = later.assign(series=later["curve"])
    started, processor = time.perf_counter(), time.process_time()
    fit = bs.fit(bs.Runs.from_frame(seen[columns], **how), LAW, random_seed=1, **how)
    figures = dict(
        seconds=time.perf_counter() - started,
        processor_seconds=time.process_time() - processor,
        smallest_ess=fit.convergence.ess,
        largest_r_hat=getattr(fit.convergence, "r_hat", np.nan),
        converged=fit.convergence.passed,
    )
    asked = later[["finetune", "series" if kind == "as series" else "curve"]]
    drawn = bs.forecast(fit, asked, random_seed=1).data["loss"]
    drawn = np.log(drawn.transpose("chain", "draw", "point").to_numpy()).reshape(-1, len(later))
    return scored(drawn, np.log(later["loss"].to_numpy()), later), figures


def scored(drawn: np.ndarray, truth: np.ndarray, later: pd.DataFrame) -> pd.DataFrame:
    """Error, coverage and interval score of each point."""
    points = pd.DataFrame({"data set": later["dataset"], "error": np.median(drawn, axis=0) - truth})
    for level in LEVELS:
        low, high = np.quantile(drawn, [0.5 - level / 200, 0.5 + level / 200], axis=0)
        points[f"coverage{level}"] = 100.0 * ((low <= truth) & (truth <= high))
        if level == 90:
            points["interval_score"] = interval_score(truth, low, high, 0.1)
    return points


def rows_of(kind: str, sets: str) -> pd.DataFrame:
    """Scores by data set under one kind of fit, and the figures of all its fits."""
    frame = curves()
    if sets != "all":
        frame = frame[frame["dataset"].isin(sets.split(","))]
    split = [part for _, part in frame.groupby(FITS[kind])] if FITS[kind] else [frame]
    parts, figures = zip(*(forecast(part, kind) for part in split), strict=True)
    points, figures = pd.concat(parts), pd.DataFrame(list(figures))
    columns = [c for c in points if c != "data set"]
    by = points.groupby("data set")[columns].mean()
    numbers = [*points.groupby("data set").size()]
    if sets == "all":
        by.loc["all"] = points[columns].mean()
        numbers.append(len(points))
    return by.reset_index().assign(
        fit=kind,
        points=numbers,
        fits=len(figures),
        converged=int(figures["converged"].sum()),
        largest_r_hat=figures["largest_r_hat"].max(),
        smallest_ess=figures["smallest_ess"].min(),
        seconds=figures["seconds"].sum(),
        processor_seconds=figures["processor_seconds"].sum(),
    )


def main(only: str = ",".join(FITS), sets: str = "all") -> None:
    warnings.simplefilter("ignore")
    path = RESULTS / "finetuning.csv"
    for kind in only.split(","):
        new = rows_of(kind, sets)
        new = new[["fit", *(c for c in new if c != "fit")]]
        if path.exists() and "fit" in (old := pd.read_csv(path)):
            new = pd.concat([old[old["fit"] != kind], new], ignore_index=True)
        place = new["fit"].map({k: i for i, k in enumerate(FITS)})
        new = new.iloc[np.argsort(place, kind="stable")]
        write(new, "finetuning", "Fine-tuning beyond 51,200 examples")


if __name__ == "__main__":
    main(*sys.argv[1:3])
