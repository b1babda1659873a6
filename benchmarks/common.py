"""Functions that the benchmarks share: paths, results, parts of rollouts, forms of drift."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import bayescale as bs
from bayescale.evaluation.scores import crps, interval_score
from bayescale.forecasting import stacking
from bayescale.model import drift as drifts
from bayescale.model.posterior import parameters, settle_groups
from bayescale.model.predictive import LARGEST_NOISE

__all__ = [
    "HERE",
    "REFERENCE",
    "RESULTS",
    "along",
    "chinchilla240",
    "crps",
    "forms_of_drift",
    "interval_score",
    "keep",
    "log_scores",
    "noise_of",
    "part",
    "reference",
    "stacked",
    "workers",
    "write",
]

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
REFERENCE = HERE.parent.parent / "shared" / "data" / "reference"

#: Sources of the tables that are not part of this repository.
SOURCES = {
    "chinchilla.csv": "Besiroglu et al. 2024, arXiv:2404.10102",
    "datablations_c4.csv": "Muennighoff et al. 2023, arXiv:2305.16264",
    "clark_moe.csv": "Clark et al. 2022, arXiv:2202.01169",
    "lr_schedule_gpt100m.csv": "Luo et al. 2025, arXiv:2503.12811",
    "domain_mixture.csv": "Ye et al. 2024, arXiv:2403.16952",
    "lr_batch.csv": "Li et al. 2025, arXiv:2503.04715",
    "parallel.csv": "Chen et al. 2025, arXiv:2505.10475",
    "sparsity.csv": "Liew et al. 2025, arXiv:2502.03009",
    "vocabulary.csv": "Tao et al. 2024, arXiv:2407.13623",
    "bnsl_addition.csv": "Caballero et al. 2022, arXiv:2210.14891",
    "double_descent.csv": "Nakkiran et al. 2019, arXiv:1912.02292",
    "emergence_tasks.csv": "Wu and Lo 2024, arXiv:2410.01692",
    "gadre_downstream.csv": "Gadre et al. 2024, arXiv:2403.08540",
    "finetuning_rectified.csv": "Lin et al. 2024, arXiv:2402.02314",
    "language_learning_curves.csv": "Alabdulmohsin et al. 2022, arXiv:2209.06640",
    "misfitting_best_lr.csv": "Li et al. 2025, arXiv:2502.18969",
    "porian_isoflop.csv": "Porian et al. 2024, arXiv:2406.19146",
    "vision_learning_curves.csv": "Alabdulmohsin et al. 2022, arXiv:2209.06640",
    "xlstm_isoflop.csv": "Beck et al. 2025, arXiv:2510.02228",
}


def reference(name: str) -> Path:
    """The path of a table outside the repository; exits with a message if it does not exist."""
    path = REFERENCE / name
    if not path.exists():
        raise SystemExit(f"{path} does not exist: this benchmark needs the data of {SOURCES[name]}")
    return path


def chinchilla240() -> bs.Runs:
    """The 240 runs that Besiroglu et al. fit, from a local copy or from their repository."""
    local = REFERENCE / "chinchilla.csv"
    if local.exists():
        runs = bs.Runs.read(local)
        return runs[runs.table["epoch_excluded"].astype(str) != "True"]
    return bs.Runs.example("chinchilla", drop_outliers=True)


@contextmanager
def workers(n: int):
    """A pool of processes for `bayescale.rollout`, or None for a single process."""
    if n <= 1:
        yield None
        return
    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        yield pool


def part(rollout: bs.Rollout, where) -> bs.Rollout:
    """The part of a rollout that a mask over its points selects: some of its problems."""
    points = rollout.points[np.asarray(where)]
    kept = set(points["problem"])
    return replace(
        rollout, points=points, draws={k: d for k, d in rollout.draws.items() if k[1] in kept}
    )


def stacked(points: pd.DataFrame, laws: Sequence[str]) -> dict[str, float]:
    """Stacking weights of laws from points of a rollout; equal weights without points."""
    table = log_scores(points, laws)
    if not len(table):
        return dict.fromkeys(laws, 1 / len(laws))
    found = stacking(table.to_numpy(), table.index.get_level_values("problem"))
    return dict(zip(laws, found, strict=True))


def log_scores(points: pd.DataFrame, laws: Sequence[str]) -> pd.DataFrame:
    """Log scores; a row per problem and run, a column per law."""
    of_laws = points[points["law"].isin(laws)]
    return of_laws.pivot(index=["problem", "run"], columns="law", values="log_score").reindex(
        columns=list(laws)
    )


# -- forms of drift ----------------------------------------------------------------------------
# Each form is a function of three arguments: the log law as a function of a shift along the scale
# in e-folds (a number, or dims (point,) or (draw, point)); the distance of each point from the
# start of the drift; and draws of the mean of a random walk over that distance. It returns the
# deviation of log loss.


def drift_of_slope(law, distance, walk):
    """The slope of log loss deviates by the walk."""
    return walk * distance


def drift_of_decrease(law, distance, walk):
    """The decrease of the loss under the law deviates by a share: the form of the package."""
    return walk * (law(0.0) - law(-distance))


def drift_of_compute(law, distance, walk):
    """The effective compute deviates by a share."""
    return law(walk * distance) - law(0.0)


def drift_of_reducible(law, distance, walk):
    """As `drift_of_decrease`, for the loss above the limit of the law."""
    floor = np.exp(law(600.0))

    def above(moved):
        return np.log(np.maximum(np.exp(law(moved)) - floor, 1e-12))

    return np.log(floor + np.exp(above(0.0) + drift_of_decrease(above, distance, walk))) - law(0.0)


SHARES = (0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
FORMS = {
    "slope of log loss": (drift_of_slope, (0.002, 0.004, 0.007, 0.01, 0.015)),
    "share of the decrease": (drift_of_decrease, SHARES),
    "effective compute": (drift_of_compute, SHARES),
    "share of the reducible decrease": (drift_of_reducible, SHARES),
}
#: The sum of a separate walk along each column.
APART = {"share of each column's decrease": (drift_of_decrease, SHARES)}


def along(fit: bs.Fit, problem, groups: Sequence[str], seed: int, moving: Sequence[str] = ()):
    """The law at the runs to predict, in the form that the forms of drift require.

    Returns
    -------
    law : callable
        The log law, dims (draw, point), as a function of a shift along the scale of the columns
        `moving` (by default all).
    distance : array, dims (point,)
        Distance of each run from the start of the drift, in e-folds.
    labels : array, dims (point,)
        Runs with the same label share one walk.
    """
    points = problem.points(fit.law, groups)
    settled = settle_groups(fit.plan, {g: list(points[g]) for g in groups} or None, len(points))
    values = parameters(fit.posterior, fit.plan, settled, np.random.default_rng(seed))
    columns = {c: points[c].to_numpy(float) for c in fit.law.columns}
    moving = moving or tuple(columns)
    edge = np.quantile(sum(np.log(fit.plan.columns[c]) for c in moving), drifts.STARTS_AT)
    distance = np.maximum(sum(np.log(columns[c]) for c in moving) - edge, 0)
    labels = points[list(groups)].astype(str).agg(" ".join, axis=1) if groups else points["C"] * 0
    shape = (fit.posterior.sizes["chain"], fit.posterior.sizes["draw"], len(points))

    def law(moved):
        moved = np.broadcast_to(
            np.exp(np.asarray(moved) / len(moving)), (shape[0] * shape[1], shape[2])
        ).reshape(shape)
        shifted = {
            c: xr.DataArray(
                v * moved if c in moving else np.broadcast_to(v, shape),
                dims=("chain", "draw", "point"),
            )
            for c, v in columns.items()
        }
        log_loss = np.log(fit.law(shifted, fit.plan.scales, values))
        return (
            log_loss.broadcast_like(shifted[fit.law.columns[0]])
            .transpose("chain", "draw", "point")
            .to_numpy()
            .reshape(-1, shape[2])
        )

    return law, distance, labels.to_numpy()


def noise_of(plain: bs.Forecast) -> dict[str, xr.DataArray]:
    """The noise of a forecast, dims (chain, draw, point)."""
    return {v: plain.noise[v].transpose("chain", "draw", "point") for v in plain.noise}


def forms_of_drift(fit: bs.Fit, problem, groups: Sequence[str], spread: float, seed: int):
    """Forecasts of a table under every form and size of drift: name, size, draws, log density."""
    plain = bs.forecast(fit, problem.points(fit.law, groups), drift="off", random_seed=seed)
    noise = noise_of(plain)
    shape = noise["scale"].shape
    together = [along(fit, problem, groups, seed)]
    apart = [along(fit, problem, groups, seed, (c,)) for c in fit.law.columns]
    forms = [
        (name, *how, paths)
        for of, paths in ((FORMS, together), (APART, apart))
        for name, how in of.items()
    ]
    for name, drift, sizes, paths in forms:
        for size in sizes:
            rng = np.random.default_rng(seed)
            drawn = size * spread ** rng.standard_normal(shape[0] * shape[1])
            moved = sum(
                drift(law, distance, _walk(distance, labels, drawn, rng))
                for law, distance, labels in paths
            )
            centre = noise["centre"] + moved.reshape(shape)
            ahead = replace(plain, noise=plain.noise.assign(centre=centre))
            scatter = noise["scale"] * rng.standard_t(noise["nu"])
            loss = np.exp(centre + scatter.clip(-LARGEST_NOISE, LARGEST_NOISE))
            drawn_loss = loss.to_numpy().reshape(-1, shape[2])
            yield name, size, drawn_loss, ahead.log_density(problem.truth)


def _walk(distance, labels, drawn, rng):
    """Means of random walks over distances, with one walk per label; dims (draw, point)."""
    walk = np.zeros((len(drawn), len(distance)))
    for label in np.unique(labels):
        labelled = labels == label
        start = drawn * rng.standard_normal(len(drawn))
        walk[:, labelled] = drifts.mean_walk(distance[labelled], drawn, rng, start)
    return walk


def write(table: pd.DataFrame, name: str, title: str) -> None:
    """Print a table and write it as csv."""
    print(f"\n{title}\n")
    print(table.to_string(index=False, float_format="{:.4g}".format, na_rep=""))
    keep(table, name)


def keep(table: pd.DataFrame, name: str) -> None:
    """Write a table as csv without printing it."""
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.4g")
