"""Emergence: which tasks depart from an unbroken law, where, and whether the metric explains it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from bayescale.capabilities.emergence_models import Model, TaskCurve
from bayescale.capabilities.emergence_shapes import Posterior, Shapes, sample, shapes
from bayescale.capabilities.emergence_verdicts import (
    UNKNOWN,
    VERDICTS,
    decide,
    departure,
    probabilities,
    sentence,
    what_would_tell,
)
from bayescale.data import Runs, task_table
from bayescale.errors import RunsError
from bayescale.intervals import defaults
from bayescale.progress import bar
from bayescale.seeds import settle_seed

ACCURACY_WORDS = ("acc", "match", "score")
ONLY_TASK = "the task"
#: With fewer metrics of tasks than this, other processes are not started.
FEWEST_FOR_PROCESSES = 6
IDLE = 60
#: A task is at chance if no accuracy exceeds it by this many standard errors, and solved if all
#: are at most as many below 1.
STANDARD_ERRORS = 3.0
QUANTITIES = ("onset", "half_rise", "sharpness", "slope_ratio")
AT_CHANCE = "all models are at chance; larger models would tell"
SOLVED = "all models solve the task; smaller models or harder questions would tell"


@dataclass(frozen=True, eq=False)
class Emergence:
    """Verdicts on tasks.

    Attributes
    ----------
    curves : mapping of str to TaskCurve
        The scores by task, in the order of the data.
    posteriors : mapping of str to Posterior
        Posterior of the score by task, without tasks at chance and solved tasks.
    continuous : mapping of str to Posterior
        The same for the continuous metric; empty without one.
    unfitted : mapping of str to str
        Why a task was not fitted, by task.
    x, y : str
        Names of columns.
    families : tuple of str
    notes : tuple of str
        Cautions about the data.
    random_seed : int
        The seed that was used.
    """

    curves: Mapping[str, TaskCurve] = field(repr=False)
    posteriors: Mapping[str, Posterior] = field(repr=False)
    continuous: Mapping[str, Posterior] = field(repr=False)
    unfitted: Mapping[str, str] = field(repr=False)
    x: str
    y: str
    families: tuple[str, ...]
    notes: tuple[str, ...]
    random_seed: int
    _cache: dict = field(default_factory=dict, repr=False)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order of the data."""
        return tuple(self.curves)

    def shapes(self, task: str, metric: str = "plotted") -> Shapes:
        """Draws of the shape of a curve.

        Parameters
        ----------
        task : str
        metric : {"plotted", "underneath"}
            The score, or the continuous metric if there is one.
        """
        is_continuous = metric == "underneath" and task in self.continuous
        key = task, is_continuous
        if key not in self._cache:
            posterior = (self.continuous if is_continuous else self.posteriors)[task]
            rng = np.random.default_rng([self.random_seed, 1, self.tasks.index(task)])
            self._cache[key] = shapes(posterior.averaged(rng))
        return self._cache[key]

    def underneath(self, task: str) -> Posterior:
        """The posterior of the continuous metric if there is one, otherwise of the score."""
        return self.continuous.get(task, self.posteriors[task])

    def probabilities(self) -> pd.DataFrame:
        """Probability of each verdict (columns), one row per task; NaN for unfitted tasks.

        A row sums to one. The verdict *cannot be told* has no probability: it is given if no other
        verdict reaches 0.6.
        """
        rows = {
            task: self._probabilities(task)
            if task in self.posteriors
            else dict.fromkeys(VERDICTS[:-1], np.nan)
            for task in self.tasks
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")

    def _probabilities(self, task: str) -> dict[str, float]:
        return probabilities(
            self.underneath(task), self.shapes(task), has_continuous=task in self.continuous
        )

    def summary(self, ci_prob: float | None = None) -> pd.DataFrame:
        """One row per task.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the equal-tailed intervals; 90 % by default.

        Returns
        -------
        pandas.DataFrame
            ``verdict`` and ``P(verdict)``, the probability of the most probable one;
            ``P(departure)`` from an unbroken law, and its parts ``P(abrupt)``, ``P(gradual)`` and
            ``P(late start)``; ``P(emergent as plotted)``: the score rises at least 3.5 times as
            fast in its steepest decade as below it; and medians with ``_low`` and ``_high`` of

            * ``onset``: x from which 97.5 % of models are above chance by more than the question
              noise (NaN for losses);
            * ``half_rise``: x where half of the rise is reached;
            * ``sharpness``: the largest share of the rise in one decade of x;
              ``sharpness_smooth`` is its median under an unbroken law;
            * ``slope_ratio``: slope in the upper third of log x over that in the lower third, on
              the scale where an unbroken law is straight.

            ``sentence`` says the same in words.
        """
        prob, _ = defaults(ci_prob)
        rows = {task: self._row(task, prob) for task in self.tasks}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")

    def _row(self, task: str, prob: float) -> dict[str, object]:
        parts = ("P(departure)", "P(abrupt)", "P(gradual)", "P(late start)")
        if task not in self.posteriors:
            row = {"verdict": UNKNOWN, "P(verdict)": np.nan} | dict.fromkeys(parts, np.nan)
            row["P(emergent as plotted)"] = np.nan
            for name in QUANTITIES:
                row |= {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
            return row | {
                "sharpness_smooth": np.nan,
                "sentence": f"{UNKNOWN}: {self.unfitted[task]}",
            }
        plotted, under = self.shapes(task), self.shapes(task, "underneath")
        posterior = self.underneath(task)
        p = self._probabilities(task)
        values = (departure(p), p["abrupt change"], p["gradual change"], p["late start"])
        row = {"verdict": decide(p), "P(verdict)": max(p.values())}
        row |= dict(zip(parts, values, strict=True))
        row["P(emergent as plotted)"] = float(plotted.is_emergent.mean())
        draws = dict(
            onset=10**plotted.onset,
            half_rise=10**plotted.half_rise,
            sharpness=plotted.sharpness,
            slope_ratio=under.slope_ratio,
        )
        tails = [(1 - prob) / 2, 0.5, (1 + prob) / 2]
        for name in QUANTITIES:
            known = draws[name][np.isfinite(draws[name])]
            # An onset that few draws have lies beyond the data.
            few = len(known) < 0.5 * len(draws[name])
            low, middle, high = [np.nan] * 3 if few else np.quantile(known, tails)
            row |= {name: middle, f"{name}_low": low, f"{name}_high": high}
        row["sharpness_smooth"] = self._smooth_sharpness(task)
        tell = what_would_tell(
            posterior, plotted, under, p, x=self.x, has_continuous=task in self.continuous
        )
        row["sentence"] = sentence(row, p, tell)
        return row

    def _smooth_sharpness(self, task: str) -> float:
        posterior = self.posteriors[task]
        law = shapes([(Model(posterior.curve, "unbroken"), posterior.positions["unbroken"])])
        return float(np.nanmedian(law.sharpness)) if np.isfinite(law.sharpness).any() else np.nan

    def __repr__(self) -> str:
        table = self.summary()
        lines = [f"<Emergence of {len(self.tasks)} task{'s' * (len(self.tasks) != 1)} in {self.x}>"]
        lines += [f"  {task}: {row['sentence']}" for task, row in table.iterrows()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        columns = ["verdict", "P(verdict)", "P(departure)", "P(emergent as plotted)", "sentence"]
        table = self.summary()[columns]
        with pd.option_context("display.max_colwidth", None):
            return table.to_html(float_format="{:.2f}".format)


def emergence(
    data: Runs | pd.DataFrame,
    x: str = "C",
    y: str = "accuracy",
    groups: str | None = None,
    *,
    family: str | None = None,
    continuous: str | None = None,
    n_questions="n_questions",
    chance="chance",
    random_seed: int | None = None,
    executor=None,
    progressbar: bool | None = None,
) -> Emergence:
    """Find out which tasks emerge, where, and whether the metric explains it.

    Five kinds of curves are compared for each task: an unbroken law in log odds above chance, a
    straight line as plotted, a late start, a change of slope at one place, and a slope that drifts
    (`bayescale.capabilities.emergence_models`). For a loss, and for the continuous metric, these
    are an unbroken power law above a floor, a change of slope and drift. An ability is called
    emergent if it is "not present in smaller models but present in larger models" (Wei et al. 2022,
    arXiv:2206.07682). It may be so as measured while it is smooth on another scale or in another
    metric (Schaeffer et al. 2023, arXiv:2304.15004).

    Parameters
    ----------
    data : Runs or DataFrame
        One row per model and task.
    x, y : str
        Columns of the scale, and of the score: an accuracy in [0, 1] if its name contains "acc",
        "match" or "score", otherwise a positive metric that falls as models improve.
    groups : str, optional
        Column of the names of tasks; by default ``task`` if there is one, otherwise all rows are
        one task.
    family : str, optional
        Column of model families, which share an intercept.
    continuous : str, optional
        Column of a positive metric of the same answers that falls as models improve, such as a
        Brier score or a loss. If it is given, departures are those of this metric.
    n_questions, chance : str, float or mapping
        A column, one value, or a mapping from task to value. For accuracies only. Without numbers
        of questions, the noise at chance is estimated from the scores.
    random_seed : int, optional
    executor : concurrent.futures.Executor, optional
        By default several tasks are fitted on all cores.
    progressbar : bool, optional

    Returns
    -------
    Emergence

    Raises
    ------
    RunsError
        If the table is not valid. The message names every problem.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> C = np.geomspace(1e19, 1e24, 20)
    >>> accuracy = (2000 / (1 + (C / 1e23) ** -1.0)).round() / 2000
    >>> table = pd.DataFrame({"C": C, "accuracy": accuracy})
    >>> verdicts = bs.emergence(table, n_questions=2000, chance=0.0, random_seed=1)
    >>> verdicts.summary()["verdict"].tolist()
    ['emergent as measured, smooth underneath']
    """
    random_seed = settle_seed(random_seed)
    frame = data.table if isinstance(data, Runs) else data
    if not isinstance(frame, pd.DataFrame):
        raise RunsError(f"expected Runs or a DataFrame, got {type(frame).__name__}")
    if groups is None:
        groups = "task"
        if groups not in frame:
            frame = frame.assign(**{groups: ONLY_TASK})
    curves, families, notes = _curves(frame, x, y, groups, family, n_questions, chance)
    smooth = {}
    if continuous is not None:
        smooth = _curves(frame, x, continuous, groups, family, is_accuracy=False)[0]
    unfitted = {task: why for task, curve in curves.items() if (why := _why_not(curve))}
    jobs = [
        (number, task, curve, [random_seed, i, number])
        for number, of in enumerate((curves, smooth))
        for i, (task, curve) in enumerate(of.items())
        if task not in unfitted
    ]
    found = _run(jobs, executor, progressbar)
    results: tuple[dict, dict] = ({}, {})
    for (number, task, *_), posterior in zip(jobs, found, strict=True):
        results[number][task] = posterior
    return Emergence(curves, *results, unfitted, x, y, families, tuple(notes), random_seed)


def _fit(job) -> Posterior:
    *_, curve, seed = job
    return sample(curve, seed)


def _run(jobs, executor, progressbar) -> list[Posterior]:
    """Posteriors of all jobs, on all cores if there are several."""
    cores = os.cpu_count() or 1
    is_main = multiprocessing.parent_process() is None
    if executor is None and len(jobs) >= FEWEST_FOR_PROCESSES and cores > 1 and is_main:
        from loky import get_reusable_executor

        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        executor = get_reusable_executor(cores, timeout=IDLE, env=one_thread)
    results = map(_fit, jobs) if executor is None else executor.map(_fit, jobs)
    out = []
    with bar(progressbar) as step:
        for i, posterior in enumerate(results):
            out.append(posterior)
            step("comparing curves", i + 1, len(jobs))
    return out


def _curves(
    frame: pd.DataFrame,
    x: str,
    y: str,
    groups: str,
    family: str | None,
    n_questions="n_questions",
    chance="chance",
    is_accuracy: bool | None = None,
) -> tuple[dict[str, TaskCurve], tuple[str, ...], list[str]]:
    """Check a table and split it into the curves of tasks; labels of families; notes."""
    if is_accuracy is None:
        is_accuracy = any(word in y.lower() for word in ACCURACY_WORDS)
    keep = [family] if family else []
    options = dict(y=y, task=groups, needs=(x,), keep=keep)
    notes: list[str] = []
    if is_accuracy:
        unknown = n_questions is None or (
            n_questions == "n_questions" and "n_questions" not in frame
        )
        if unknown:
            notes.append(
                "without n_questions the noise of the accuracies is estimated from their scatter, "
                "and small rises above chance may be missed"
            )
        table, _ = task_table(
            frame, n_questions=1 if unknown else n_questions, chance=chance, **options
        )
        if unknown:
            table["n_questions"] = np.inf
    else:
        table, _ = task_table(frame, metric="positive", **options)
    families = tuple(sorted(table[family].astype(str).unique())) if family else ()
    curves = {}
    for task, rows in table.groupby("task", sort=False):
        s = np.log(rows[x].to_numpy(float))
        middle = float((s.min() + s.max()) / 2)
        curves[str(task)] = TaskCurve(
            s - middle,
            rows["y"].to_numpy(float),
            middle,
            rows["n_questions"].to_numpy(float) if is_accuracy else None,
            float(rows["chance"].iloc[0]) if is_accuracy else 0.0,
            pd.factorize(rows[family].astype(str))[0] if family else np.zeros(0, int),
        )
    return curves, families, notes


def _why_not(curve: TaskCurve) -> str:
    """Why a curve cannot be fitted; empty if it can."""
    if not curve.is_accuracy:
        return ""
    n = np.where(np.isfinite(curve.n), curve.n, 1000.0)
    chance = curve.chance
    at_chance = np.sqrt(np.maximum(chance * (1 - chance), 1 / n) / n)
    if not (curve.y - chance > STANDARD_ERRORS * at_chance).any():
        return AT_CHANCE
    if (1 - curve.y <= STANDARD_ERRORS / n).all():
        return SOLVED
    return ""
