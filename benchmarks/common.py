"""Functions that the benchmarks share: paths, results, parts of rollouts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

import bayescale as bs
from bayescale.evaluation.scores import crps, interval_score
from bayescale.forecasting import stacking

__all__ = ["crps", "interval_score"]

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
    points = rollout.points.loc[list(where)]
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


def write(table: pd.DataFrame, name: str, title: str) -> None:
    """Print a table and write it as csv."""
    print(f"\n{title}\n")
    print(table.to_string(index=False, float_format="{:.4g}".format, na_rep=""))
    keep(table, name)


def keep(table: pd.DataFrame, name: str) -> None:
    """Write a table as csv without printing it."""
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.4g")
