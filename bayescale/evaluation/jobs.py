"""One held-out forecast as a job for any process: fit, predict, score."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.data import FEWEST_RUNS
from bayescale.errors import FitError
from bayescale.evaluation import scores as scoring
from bayescale.evaluation.baselines import Baseline, huber_bootstrap, persistence
from bayescale.evaluation.splits import Problem
from bayescale.forecasting import ahead_of, forecast
from bayescale.inference import quiet, run_all
from bayescale.laws import Law
from bayescale.model import Fit, design, fit_design

#: The two values of the column ``method`` of a rollout's points.
BAYESCALE, BASELINE = "bayescale", "baseline"
LOG_EVIDENCE = "log_evidence"
AVERAGED = "log_score_averaged"  # column of the log scores of a law as a member of an average
MOST_DRAWS = 1000  # largest number of draws of a forecast that a job returns
SAMPLING = ("draws", "tune", "chains", "cores", "target_accept")
#: Columns with quantiles of the forecast, and the probability below each.
BOUNDS = {"median": 0.5} | {
    f"{side}{100 * q:.0f}": (1 + sign * q) / 2
    for q in scoring.LEVELS for side, sign in (("low", -1), ("high", 1))
}  # fmt: skip


class Prediction(NamedTuple):
    """A forecast of the held-out runs of one problem.

    Attributes
    ----------
    draws : array, dims (draw, point)
        Predictive draws of the loss.
    log_density : array, dims (point,)
        Log predictive density of the measured loss.
    converged : bool
        Whether the fit converged.
    as_member : tuple of two arrays, optional
        Draws and log density of the law as a member of an average, if they differ from those of the
        law alone.
    log_evidence : float
        Log of the marginal likelihood of the fitted runs, for members of an average.
    """

    draws: np.ndarray
    log_density: np.ndarray
    converged: bool = True
    as_member: tuple[np.ndarray, np.ndarray] | None = None
    log_evidence: float = np.nan


@dataclass(frozen=True, eq=False)
class Job:
    """One forecast to make, with all inputs that another process needs.

    Attributes
    ----------
    name : str
        Name of the law or the baseline.
    predict : callable
        `by_posterior`, `by_huber` or `by_last_value`.
    problem : Problem
    law : Law
    column : str
        The x axis of a learning curve.
    groups : tuple of str
    options : mapping
        Further keywords of `bayescale.fit`.
    seed : numpy.random.SeedSequence
        A separate seed for this job, so that results depend neither on order nor on the executor.
    averaged : bool
        Whether the forecast may be averaged with those of other laws.
    law_error : bool
        Whether the law as a member of the average has an error in small runs, as in an ensemble.
    """

    name: str
    predict: Callable[[Job], Prediction]
    problem: Problem
    law: Law
    column: str
    groups: tuple[str, ...]
    options: Mapping[str, object]
    seed: np.random.SeedSequence
    averaged: bool = False
    law_error: bool = False

    @property
    def is_baseline(self) -> bool:
        """Whether no posterior is sampled."""
        return self.predict is not by_posterior


@dataclass(frozen=True, eq=False)
class JobResult:
    """Scored points, or a note with the reason why there are none.

    Attributes
    ----------
    points : pandas.DataFrame, optional
        A row per held-out run; see `scored`.
    draws : array, dims (draw, point), optional
        Predictive draws of the loss.
    note : str
    member : array, dims (draw, point), optional
        Draws of the law as a member of an average, if they differ from `draws`.
    """

    points: pd.DataFrame | None = None
    draws: np.ndarray | None = None
    note: str = ""
    member: np.ndarray | None = None


# -- one job -----------------------------------------------------------------------------------


def run_job(job: Job) -> JobResult:
    """Make a forecast and score it. If a baseline cannot be made, the result is a note."""
    started = time.perf_counter()
    try:
        with quiet:
            prediction = job.predict(job)
    except FitError as error:
        if not job.is_baseline:
            error.add_note(f"while predicting {job.problem.name} with {job.name}")
            raise
        return JobResult(note=f"no {job.name} for {job.problem.name}: {error}")
    points = scored(
        job.name,
        BASELINE if job.is_baseline else BAYESCALE,
        job.problem.places,
        prediction.draws,
        prediction.log_density,
        converged=prediction.converged,
        seconds=time.perf_counter() - started,
    )
    if not job.is_baseline:
        points[LOG_EVIDENCE] = prediction.log_evidence
    # The draws of a baseline are not returned: its points contain the results.
    draws = None if job.is_baseline else _thinned(prediction.draws)
    if prediction.as_member is None:
        return JobResult(points.assign(**{AVERAGED: points["log_score"]}), draws)
    member, log_score = prediction.as_member
    return JobResult(points.assign(**{AVERAGED: log_score}), draws, member=_thinned(member))


def _thinned(draws: np.ndarray) -> np.ndarray:
    return draws[:: -(-len(draws) // MOST_DRAWS)].astype(np.float32)


def by_posterior(job: Job) -> Prediction:
    """Fit with this package and forecast."""
    for_fit, for_forecast = (int(s) for s in job.seed.generate_state(2) >> 1)
    options = dict(job.options)
    sampling = {k: options.pop(k) for k in SAMPLING if k in options}
    plan = design(job.problem.seen, job.law, job.groups, **options)
    fitted = fit_design(plan, random_seed=for_fit, progressbar=False, **sampling)
    points = job.problem.points(job.law, job.groups)

    def predicted(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
        ahead = forecast(fit, points, random_seed=for_forecast)
        loss = ahead.data["loss"].transpose("chain", "draw", "point").to_numpy()
        return loss.reshape(-1, loss.shape[-1]), np.asarray(ahead.log_density(job.problem.truth))

    if not job.averaged:
        return Prediction(*predicted(fitted), fitted.convergence.passed)
    member, passed = fitted, fitted.convergence.passed
    as_others = replace(plan, law_error=job.law_error)
    if as_others.has_law_error != plan.has_law_error:
        member = fit_design(as_others, random_seed=for_fit, progressbar=False, **sampling)
        passed &= member.convergence.passed
    evidence, as_member = member.evidence.log, None
    if plan.drift == "ahead":
        ahead = ahead_of(member, True)
        as_member = predicted(replace(member, plan=replace(member.plan, ahead=ahead)))
    return Prediction(*predicted(fitted), passed, as_member, evidence)


def by_huber(job: Job) -> Prediction:
    """Bootstrap the log-Huber fit of each group separately.

    A group with too few runs to fit is predicted by the fit to the runs of all groups.
    """
    seen, later, rng = job.problem.seen.table, job.problem.later, np.random.default_rng(job.seed)
    parts = []
    for rows in _rows_by_label(later, job.groups):
        same = _same_labels(seen, later.iloc[rows[0]], job.groups)
        fitted = seen[same] if same.sum() >= FEWEST_RUNS else seen
        ahead = huber_bootstrap(
            job.law, fitted, np.log(fitted["loss"].to_numpy(float)), later.iloc[rows], rng
        )
        parts.append((rows, ahead.draws))
    draws = np.empty((len(parts[0][1]), len(later)))
    for rows, part in parts:
        draws[:, rows] = part
    return Prediction(draws, Baseline(draws).log_density(job.problem.truth))


def by_last_value(job: Job) -> Prediction:
    """Predict that a learning curve stays at its last value."""
    seen, later = job.problem.seen.table, job.problem.later
    ahead = persistence(
        seen[job.column],
        np.log(seen["loss"].to_numpy(float)),
        later[job.column],
        np.random.default_rng(job.seed),
    )
    return Prediction(ahead.draws, ahead.log_density(job.problem.truth))


def _rows_by_label(table: pd.DataFrame, groups: Sequence[str]) -> list[np.ndarray]:
    """Row numbers of every combination of labels."""
    if not groups:
        return [np.arange(len(table))]
    labels = table[list(groups)].astype(str).reset_index(drop=True)
    return list(labels.groupby(list(groups), sort=False).indices.values())


def _same_labels(table: pd.DataFrame, row: pd.Series, groups: Sequence[str]) -> np.ndarray:
    """Whether each run has all the labels of `row`; dims (run,)."""
    same = np.ones(len(table), dtype=bool)
    for g in groups:
        same &= (table[g].astype(str) == str(row[g])).to_numpy()
    return same


def scored(
    law: str,
    method: str,
    places: pd.DataFrame,
    draws: np.ndarray,
    log_density: np.ndarray,
    *,
    converged: bool,
    seconds: float,
) -> pd.DataFrame:
    """The held-out runs of one problem with their forecasts and scores, a row per run.

    Parameters
    ----------
    law, method : str
    places : pandas.DataFrame
        Columns that identify the runs, and the measured ``loss``.
    draws : array, dims (draw, point)
        Predictive draws of the loss.
    log_density : array, dims (point,)
        Log predictive density of the measured loss.
    converged : bool
    seconds : float
    """
    scores = scoring.score(places["loss"], draws, log_density)
    bounds = np.exp(np.quantile(np.log(draws), list(BOUNDS.values()), axis=0))
    places = places.reset_index(drop=True)
    names = pd.DataFrame({"law": law, "method": method}, index=places.index)
    forecasts = pd.DataFrame(dict(zip(BOUNDS, bounds, strict=True)))
    return pd.concat([names, places, forecasts, scores], axis=1).assign(
        converged=converged, seconds=seconds
    )


# -- all jobs ----------------------------------------------------------------------------------


def run_jobs(
    jobs: Sequence[Job], executor=None, progressbar: bool | None = None
) -> list[JobResult]:
    """The results in the order of the jobs; see `bayescale.inference.run_all`."""
    total, started = Counter(job.name for job in jobs), Counter()
    names = []
    for job in jobs:
        started[job.name] += 1
        names.append(f"{job.name}, problem {started[job.name]} of {total[job.name]}")
    laws = [job.law for job in jobs]
    return run_all(run_job, jobs, names, laws, executor=executor, progressbar=progressbar)
