"""Fine-tuning: 90 curves fitted together to at most 51,200 examples, and forecast beyond.

The curves are those of 30 models on three data sets (Lin et al. 2024, arXiv:2402.02314). They are
fitted by one hierarchical model, in which every curve is a group. The points of 102,400 to 1.6
million examples are forecast. Sampling is one run of NUTS of a given length, whose convergence is
in the results.

    python benchmarks/finetuning.py [draws, 400]
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import pandas as pd
from common import interval_score, reference, write

import bayescale as bs

LAW, MOST = "rectified(finetune)", 51_200
LEVELS = (50, 80, 90, 95)


def main(draws: int = 400) -> None:
    warnings.simplefilter("ignore")
    frame = pd.read_csv(reference("finetuning_rectified.csv")).query("examples > 0")
    frame = frame.assign(curve=frame["dataset"] + " " + frame["model"])
    frame = frame.rename(columns={"params": "N", "examples": "finetune"})
    fitted = frame["finetune"] <= MOST
    seen, later = (frame[rows].reset_index(drop=True) for rows in (fitted, ~fitted))
    runs = bs.Runs.from_frame(seen[["N", "finetune", "loss", "curve"]], groups="curve")
    started, processor = time.perf_counter(), time.process_time()
    fit = bs.fit(
        runs,
        LAW,
        groups="curve",
        draws=draws,
        tune=draws,
        chains=2,
        target_accept=0.9,
        random_seed=1,
    )
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    print(f"{len(runs)} points, {fit.convergence}", flush=True)
    drawn = bs.forecast(fit, later[["finetune", "curve"]], random_seed=1).data["loss"]
    drawn = np.log(drawn.transpose("chain", "draw", "point").to_numpy()).reshape(-1, len(later))
    truth = np.log(later["loss"].to_numpy())
    points = pd.DataFrame({"data set": later["dataset"], "error": np.median(drawn, axis=0) - truth})
    for level in LEVELS:
        low, high = np.quantile(drawn, [0.5 - level / 200, 0.5 + level / 200], axis=0)
        points[f"coverage{level}"] = 100.0 * ((low <= truth) & (truth <= high))
        if level == 90:
            points["interval_score"] = interval_score(truth, low, high, 0.1)
    columns = [c for c in points if c != "data set"]
    by = points.groupby("data set")[columns].mean()
    by.loc["all"] = points[columns].mean()
    by = by.assign(
        points=points.groupby("data set").size().reindex(by.index).fillna(len(points)).astype(int),
        largest_r_hat=fit.convergence.r_hat,
        seconds=seconds,
        processor_seconds=processor,
    )
    write(by.reset_index(), "finetuning", "Fine-tuning beyond 51,200 examples")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
