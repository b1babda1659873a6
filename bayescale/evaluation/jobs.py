"""One held-out forecast as a task that any process can do: fit, predict, score."""

from __future__ import annotations

import pickle
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayescale.data import FEWEST_RUNS
from bayescale.errors import ConvergenceWarning, ExtrapolationWarning, FitError
from bayescale.evaluation import scores as scoring
from bayescale.evaluation.baselines import Baseline, huber_bootstrap, persistence
from bayescale.evaluation.splits import Problem
from bayescale.forecasting import ahead_in_average, forecast
from bayescale.laws import Law
from bayescale.model import Fit, design, fit_design
from bayescale.progress import bar

OURS, BASELINE = "bayescale", "baseline"
AVERAGED = "log_score_averaged"  # the column of log scores as a member of an average
KEPT = 1000  # draws of a forecast that are sent back
#: The columns that say where a forecast lies, and the probability below each.
BOUNDS = {"median": 0.5} | {
    f"{side}{100 * q:.0f}": (1 + sign * q) / 2
    for q in scoring.LEVELS for side, sign in (("low", -1), ("high", 1))
}  # fmt: skip


class Prediction(NamedTuple):
    """Predictive draws, (draw, point), log density of the truth, (point,), and whether the chains
    agreed; draws and density once more as a member of an average, where that differs."""

    draws: np.ndarray
    log_density: np.ndarray
    converged: bool = True
    as_member: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One forecast to make, with all that another process needs for it.

    Attributes
    ----------
    name : str
        Of the law or the baseline.
    predict : callable
        `by_posterior`, `by_huber` or `by_last_value`.
    problem : Problem
    law : Law
    column : str
        Along which a learning curve runs.
    groups : tuple of str
    options : mapping
        Further keywords of `bayescale.fit`.
    seed : numpy.random.SeedSequence
        This task's own, so that neither order nor executor matters.
    averaged : bool
        Whether the forecast may be averaged with those of other laws.
    """

    name: str
    predict: Callable[[Task], Prediction]
    problem: Problem
    law: Law
    column: str
    groups: tuple[str, ...]
    options: Mapping[str, object]
    seed: np.random.SeedSequence
    averaged: bool = False

    @property
    def is_baseline(self) -> bool:
        return self.predict is not by_posterior


@dataclass(frozen=True, eq=False)
class Answer:
    """Scored points and draws of the loss (draw, point), or a note why there are none; draws as a
    member of an average, where they differ."""

    points: pd.DataFrame | None = None
    draws: np.ndarray | None = None
    note: str = ""
    member: np.ndarray | None = None


# -- doing one ---------------------------------------------------------------------------------


def do(task: Task) -> Answer:
    """Make a forecast and score it. A baseline that cannot be made leaves a note."""
    started = time.perf_counter()
    try:
        with _quiet:
            said = task.predict(task)
    except FitError as error:
        if not task.is_baseline:
            error.add_note(f"while predicting {task.problem.name} with {task.name}")
            raise
        return Answer(note=f"no {task.name} for {task.problem.name}: {error}")
    points = scored(
        task.name,
        BASELINE if task.is_baseline else OURS,
        task.problem.places,
        said.draws,
        said.log_density,
        converged=said.converged,
        seconds=time.perf_counter() - started,
    )
    # Of the many draws of the baselines the points keep what is asked for.
    draws = None if task.is_baseline else _thinned(said.draws)
    if said.as_member is None:
        return Answer(points.assign(**{AVERAGED: points["log_score"]}), draws)
    member, log_score = said.as_member
    return Answer(points.assign(**{AVERAGED: log_score}), draws, member=_thinned(member))


def _thinned(draws: np.ndarray) -> np.ndarray:
    return draws[:: -(-len(draws) // KEPT)].astype(np.float32)


def by_posterior(task: Task) -> Prediction:
    """Fit with this package and forecast."""
    for_fit, for_forecast = (int(s) for s in task.seed.generate_state(2) >> 1)
    said = dict(task.options)
    sampling = {k: said.pop(k) for k in ("draws", "tune", "target_accept") if k in said}
    plan = design(task.problem.seen, task.law, task.groups, **said)
    fitted = fit_design(plan, random_seed=for_fit, progressbar=False, **sampling)
    asked = task.problem.points(task.law, task.groups)

    def told(fit: Fit) -> tuple[np.ndarray, np.ndarray]:
        ahead = forecast(fit, asked, random_seed=for_forecast)
        loss = ahead.data["loss"].transpose("chain", "draw", "point").to_numpy()
        return loss.reshape(-1, loss.shape[-1]), np.asarray(ahead.log_density(task.problem.truth))

    member = None
    if task.averaged and plan.drift == "ahead":
        member = told(replace(fitted, plan=replace(plan, ahead=ahead_in_average(fitted))))
    return Prediction(*told(fitted), fitted.convergence.passed, member)


def by_huber(task: Task) -> Prediction:
    """The log-Huber fit of each group by itself, bootstrapped; unseen groups by that of all."""
    seen, later, rng = task.problem.seen.table, task.problem.later, _generator(task)
    parts = []
    for rows in _by_label(later, task.groups):
        own = _alike(seen, later.iloc[rows[0]], task.groups)
        fitted = seen[own] if own.sum() >= FEWEST_RUNS else seen
        ahead = huber_bootstrap(
            task.law, fitted, np.log(fitted["loss"].to_numpy(float)), later.iloc[rows], rng
        )
        parts.append((rows, ahead.draws))
    draws = np.empty((len(parts[0][1]), len(later)))
    for rows, there in parts:
        draws[:, rows] = there
    return Prediction(draws, Baseline(draws).log_density(task.problem.truth))


def by_last_value(task: Task) -> Prediction:
    """A learning curve that stays where it is."""
    seen, later = task.problem.seen.table, task.problem.later
    ahead = persistence(
        seen[task.column],
        np.log(seen["loss"].to_numpy(float)),
        later[task.column],
        _generator(task),
    )
    return Prediction(ahead.draws, ahead.log_density(task.problem.truth))


def _generator(task: Task) -> np.random.Generator:
    return np.random.default_rng(task.seed)


def _by_label(table: pd.DataFrame, groups: Sequence[str]) -> list[np.ndarray]:
    """Row numbers of every combination of labels."""
    if not groups:
        return [np.arange(len(table))]
    labels = table[list(groups)].astype(str).reset_index(drop=True)
    return list(labels.groupby(list(groups), sort=False).indices.values())


def _alike(table: pd.DataFrame, row: pd.Series, groups: Sequence[str]) -> np.ndarray:
    """Which runs have all the labels of `row`."""
    alike = np.ones(len(table), dtype=bool)
    for g in groups:
        alike &= (table[g].astype(str) == str(row[g])).to_numpy()
    return alike


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
    """Places of held-out runs with their forecasts and scores, a row per run."""
    scores = scoring.score(places["loss"], draws, log_density)
    bounds = np.exp(np.quantile(np.log(draws), list(BOUNDS.values()), axis=0))
    places = places.reset_index(drop=True)
    named = pd.DataFrame({"law": law, "method": method}, index=places.index)
    forecasts = pd.DataFrame(dict(zip(BOUNDS, bounds, strict=True)))
    return pd.concat([named, places, forecasts, scores], axis=1).assign(
        converged=converged, seconds=seconds
    )


class _Quiet:
    """Silence the warnings that the points tell of, for all threads of this process at once.

    Filters of warnings belong to the process, so a thread must not restore what it found while
    another is still at work.
    """

    def __init__(self):
        self.lock, self.inside, self.before = threading.Lock(), 0, None

    def __enter__(self):
        with self.lock:
            if self.inside == 0:
                self.before = warnings.catch_warnings()
                self.before.__enter__()
                for told in (ConvergenceWarning, ExtrapolationWarning):
                    warnings.simplefilter("ignore", told)
            self.inside += 1

    def __exit__(self, *error):
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.before.__exit__(*error)


_quiet = _Quiet()


# -- doing all ---------------------------------------------------------------------------------


def do_all(tasks: Sequence[Task], executor=None, progressbar: bool | None = None) -> list[Answer]:
    """The answers in the order of the tasks, by whichever process made them.

    Raises
    ------
    FitError
        As a task raised it, or for a law that cannot be sent to another process.
    """
    futures, answers = [], []
    of, past = Counter(task.name for task in tasks), Counter()
    with bar(progressbar) as step:
        try:
            futures += (executor.submit(do, task) for task in tasks if executor is not None)
            for i, task in enumerate(tasks):
                past[task.name] += 1
                step(f"{task.name}, problem {past[task.name]} of {of[task.name]}", i, len(tasks))
                answers.append(futures[i].result() if futures else do(task))
        except (pickle.PicklingError, AttributeError, TypeError, BrokenExecutor) as error:
            if executor is not None and (stuck := _stuck(tasks, error)):
                raise FitError(stuck, where="executor") from error
            raise
        finally:
            for future in futures:
                future.cancel()
    return answers


def _stuck(tasks: Sequence[Task], error: Exception) -> list[str]:
    """The laws that other processes could not be told of."""
    stuck = []
    for law in dict.fromkeys(t.law for t in tasks):
        try:
            pickle.dumps(law)
            # Found by name here, but a process that died may have had another __main__.
            unknown = isinstance(error, BrokenExecutor) and law.loss.__module__ == "__main__"
        except (pickle.PicklingError, AttributeError, TypeError):
            unknown = True
        if unknown:
            stuck.append(
                f"law {law.name!r} cannot be sent to another process, because its "
                "functions are not found there by name: define them at the top level of "
                "a module that can be imported, not in a notebook or a function"
            )
    return stuck
