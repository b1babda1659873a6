"""Do groups share the discrepancy from the law, and the drift beyond the runs?

Laws are fitted to public tables with groups. The discrepancy (`bayescale.model.discrepancy`) is
then taken to have a part that all groups share and a part of each group. The result is the log
likelihood for each share of the common part in the variance, less that without a common part.

With ``drift``, the cheaper runs of each table are fitted, and the differences in log loss between
groups at the same columns are forecast for the others. The walk of the drift has a common part of
each share in its variance; the variance for each group is the same.

    python benchmarks/shared.py [drift]
"""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from itertools import combinations

import numpy as np
import pandas as pd
from common import interval_score, keep, reference, write

import bayescale as bs
from bayescale.forecasting import draw_losses
from bayescale.model import discrepancy as module
from bayescale.model import drift as drifts
from bayescale.model import labels_in_points, settle_groups

LAWS = ("chinchilla", "skaling")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def tables() -> dict[str, tuple[bs.Runs, str]]:
    """Runs by name, with their group column."""
    frame = pd.read_csv(reference("xlstm_isoflop.csv"))
    frame = frame[frame["loss"] < 4.5]
    frame = frame.assign(context=frame["context"].astype(str))
    out = {"OpenLM by corpus": (bs.Runs.example("openlm"), "dataset")}
    for length in ("8192", "16384"):
        part = frame[frame["context"] == length]
        out[f"xLSTM, context {length}, by architecture"] = (
            bs.Runs.from_frame(part),
            "architecture",
        )
    for kind, part in frame.groupby("architecture"):
        if part["context"].nunique() > 1:
            out[f"xLSTM, {kind}, by context"] = (bs.Runs.from_frame(part), "context")
    return out


def log_likelihood(fit: bs.Fit, share: float) -> float:
    """Of the residuals, averaged over tau and the length under their prior; up to a constant."""
    every = max(1, fit.posterior.sizes["chain"] * fit.posterior.sizes["draw"] // module.FEW)
    few = module.residuals(fit.posterior.isel(draw=slice(None, None, every)), fit.plan)
    noise = module._noise(fit.posterior, few)
    residual = few["standardised"] * few["scale"] / noise
    x = np.column_stack([np.log(v) for v in fit.plan.columns.values()])
    features = []
    for length in module.LENGTHS:
        common, own = module._features(x / length), []
        for cell in np.unique(fit.plan.cell):
            rows = fit.plan.cell == cell
            block = module._features(x[rows] / length)
            own.append(np.zeros((len(x), block.shape[1])))
            own[-1][rows] = block
        parts = [np.sqrt(share) * common, np.sqrt(1 - share) * np.concatenate(own, axis=1)]
        features.append(np.concatenate(parts, axis=1) / noise[:, None])
    log, prior = module.log_likelihoods(features, residual)
    return float(np.logaddexp.reduce(log + np.log(prior / prior.sum() / len(log)), axis=None))


def splits():
    """Name, kind of groups, law, group column, runs, and which are forecast."""
    frame = bs.Runs.example("openlm").table
    for above in (1e19, 1e20):
        yield "OpenLM", "corpora", "chinchilla", "dataset", frame, frame["C"] > above
    frame = pd.read_csv(reference("porian_isoflop.csv"))
    frame = frame.rename(columns={"params": "N", "tokens": "D", "flops": "C"})
    frame["experiment"] = frame["experiment"].str[0]
    frame = frame[frame["experiment"].isin(list("345")) & (frame["loss_split"] == "val")]
    for number, part in frame.groupby("experiment"):
        name = f"Porian, experiment {number}"
        yield name, "corpora", "chinchilla", "dataset", part, part["C"] > 4e17
    for corpus, part in frame.groupby("dataset"):
        name = f"Porian, {corpus}"
        yield name, "recipes", "chinchilla", "experiment", part, part["C"] > 8e17
    runs, group = tables()["xLSTM, context 16384, by architecture"]
    frame = runs.table
    yield "xLSTM, context 16384", "architectures", "chinchilla", group, frame, frame["C"] > 1.2e19
    frame = pd.read_csv(reference("clark_moe.csv")).rename(columns={"params": "N"})
    frame = frame[frame["router"] != "Dense"]
    frame["N"] = frame.groupby("size_label")["N"].transform("median")
    yield "Clark", "architectures", "routed_experts", "router", frame, frame["N"] > 3e8


@contextmanager
def common_walk(share: float):
    """The drift of one forecast, whose walk has a part that all groups share."""
    own, kept = drifts.mean_walk, []
    grid = np.linspace(0.0, 15.0, 301)

    def walk(distance, size, rng, start=0.0):
        if not kept:
            one = np.random.default_rng(5)
            kept.append(own(grid, size, one, size * one.standard_normal(len(size))))
        place = np.clip(np.searchsorted(grid, distance), 1, len(grid) - 1)
        part = (distance - grid[place - 1]) / (grid[place] - grid[place - 1])
        common = (1 - part) * kept[0][:, place - 1] + part * kept[0][:, place]
        return np.sqrt(1 - share) * own(distance, size, rng, start) + np.sqrt(share) * common

    drifts.mean_walk = walk
    try:
        yield
    finally:
        drifts.mean_walk = own


def of_drift() -> None:
    rows = []
    for name, kind, law, group, frame, held in splits():
        columns = list(bs.laws.get(law).columns)
        frame, held = frame.reset_index(drop=True), held.to_numpy()
        seen = bs.Runs.from_frame(frame.loc[~held, [*columns, "loss", group]], groups=group)
        fit = bs.fit(seen, law, groups=group, draws=500, random_seed=1)
        points = frame[held].reset_index(drop=True)
        # Columns of runs of several groups differ by rounding, those of xLSTM by more.
        digits = 0.5 if name.startswith("xLSTM") else 0.1
        key = np.round(np.log(points[columns].astype(float)) / digits).to_numpy()
        of = points[group].astype(str).to_numpy()
        pairs = combinations(range(len(points)), 2)
        i, j = np.array([(a, b) for a, b in pairs if (key[a] == key[b]).all() and of[a] != of[b]]).T
        truth = np.log(points["loss"].to_numpy())
        place = {c: points[c].to_numpy(float) for c in columns}
        labels = labels_in_points(points, fit.groups, None)
        labels = settle_groups(fit.plan, labels, len(points))
        for share in SHARES:
            with common_walk(share):
                drawn = draw_losses({law: fit}, {law: 1.0}, place, labels, 1)
            centre, scale, loss = (
                drawn[v].transpose("chain", "draw", "point").to_numpy().reshape(-1, len(points))
                for v in ("centre", "scale", "loss")
            )
            error, delta = truth - np.median(centre, axis=0), truth[i] - truth[j]
            # The density of a difference, with normal noise given each draw.
            variance = scale[:, i] ** 2 + scale[:, j] ** 2
            square = (delta - centre[:, i] + centre[:, j]) ** 2 / variance
            density = np.exp(-square / 2) / np.sqrt(2 * np.pi * variance)
            low, high = np.quantile(np.log(loss[:, i] / loss[:, j]), [0.05, 0.95], axis=0)
            norm = np.sqrt((error[i] ** 2).sum() * (error[j] ** 2).sum())
            rows.append(
                dict(
                    table=name,
                    groups=kind,
                    fitted=int((~held).sum()),
                    pairs=len(i),
                    passed=fit.convergence.passed,
                    # About zero, because errors of the same sign are in question.
                    correlation=(error[i] * error[j]).sum() / norm,
                    share=share,
                    coverage=((low <= delta) & (delta <= high)).mean(),
                    score=interval_score(delta, low, high, alpha=0.1).mean(),
                    log_score=np.log(np.maximum(density.mean(axis=0), 1e-30)).mean(),
                )
            )
        print(pd.DataFrame(rows[-len(SHARES) :]).round(4).to_string(), flush=True)
        keep(pd.DataFrame(rows), "shared_drift_each")
    numbers = ["correlation", "coverage", "score", "log_score"]
    by = pd.DataFrame(rows).groupby(["groups", "share"], as_index=False)[numbers].mean()
    write(by, "shared_drift", "differences between groups by the share of a common drift")


def main() -> None:
    warnings.simplefilter("ignore")  # convergence is a column
    if sys.argv[1:] == ["drift"]:
        of_drift()
        return
    rows = []
    for name, (runs, group) in tables().items():
        for law in LAWS:
            fit = bs.fit(runs, law, groups=group, random_seed=1)
            found = [log_likelihood(fit, share) for share in SHARES]
            rows.append(
                {
                    "table": name,
                    "law": law,
                    "runs": len(runs),
                    "passed": fit.convergence.passed,
                    **{f"share {s:g}": v - found[0] for s, v in zip(SHARES, found, strict=True)},
                }
            )
            print(rows[-1], flush=True)
    write(pd.DataFrame(rows), "shared", "log likelihood by the share of the common part")


if __name__ == "__main__":
    main()
