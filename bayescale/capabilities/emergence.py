"""Emergence: which scores rise sharply, from which scale on, and whether one smooth law fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.capabilities import emergence_foresight as foresight
from bayescale.capabilities.emergence_curves import check_metric, read_scores, why_not
from bayescale.capabilities.emergence_models import Model, TaskCurve, part
from bayescale.capabilities.emergence_shapes import Posterior, Shapes, sample, shapes
from bayescale.capabilities.emergence_verdicts import (
    ABRUPT,
    GRADUAL,
    LATE,
    SPECIFIC,
    UNKNOWN,
    decide,
    definitions,
    departure,
    overview,
    probabilities,
    sentence,
    what_would_tell,
)
from bayescale.data import Runs, task_columns
from bayescale.inference import run_all
from bayescale.intervals import defaults
from bayescale.keywords import hinted
from bayescale.model import Storable
from bayescale.seeds import settle_seed

QUANTITIES = ("onset", "half_rise", "sharpness", "slope_ratio")


@dataclass(frozen=True, eq=False)
class Emergence(Storable):
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
    metric : str
        Name of the column of the continuous metric; empty without one.
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
    metric: str = ""

    _stored = (TaskCurve, Posterior)

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
        cache = self.__dict__.setdefault("_shapes", {})
        if key not in cache:
            posterior = (self.continuous if is_continuous else self.posteriors)[task]
            rng = np.random.default_rng([self.random_seed, 1, self.tasks.index(task)])
            cache[key] = shapes(posterior.averaged(rng))
        return cache[key]

    def onset(self, task: str) -> float:
        """log10 of the median onset of a task; NaN if fewer than half of the draws have one."""
        draws = self.shapes(task).onset
        known = draws[np.isfinite(draws)]
        return float(np.median(known)) if 2 * len(known) > len(draws) else np.nan

    def smallest(self, task: str) -> float:
        """x of the smallest model of a task, with a margin for rounding."""
        return float(10 ** self.shapes(task).grid[0] * (1 + 1e-9))

    def underneath(self, task: str) -> Posterior:
        """The posterior of the continuous metric if there is one, otherwise of the score."""
        return self.continuous.get(task, self.posteriors[task])

    def probabilities(self) -> pd.DataFrame:
        """Probability of each verdict (columns), one row per task; NaN for unfitted tasks.

        The verdicts exclude each other, and a row sums to one. `summary` gives the verdict that
        reaches 0.8. If none does, it gives a more general statement that does: *abrupt or gradual
        change*, or *emergent as measured*. Otherwise it is *cannot be told*.
        """
        rows = {
            task: self._probabilities(task)
            if task in self.posteriors
            else dict.fromkeys(SPECIFIC, np.nan)
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
            ``verdict`` (see `probabilities`) and ``P(verdict)``, its probability (NaN where it
            cannot be told); ``P(departure)``: no single smooth law fits all models, and its parts
            ``P(abrupt)``, ``P(gradual)`` and ``P(late start)``; ``P(flattening)``: one smooth law
            fits, whose log odds flatten as they do if they are linear in a loss;
            ``P(emergent as measured)``: the score rises at least 3.5 times as fast in its steepest
            decade as before it; and medians with ``_low`` and ``_high`` of

            * ``onset``: x from which 97.5 % of models are above chance by more than the question
              noise (NaN for losses);
            * ``half_rise``: x where half of the rise is reached;
            * ``sharpness``: the largest share of the rise in one decade of x;
              ``sharpness_smooth`` is its median under the more probable smooth law of log odds;
            * ``slope_ratio``: slope in the upper third of log x over that in the lower third, of
              the log odds above chance, or of the log of a loss above its floor, under a change
              (of losses: an abrupt one); NaN if its probability is below 0.5.

            ``sentence`` says the same in words.
        """
        prob, _ = defaults(ci_prob)
        rows = {task: self._row(task, prob) for task in self.tasks}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")

    def _row(self, task: str, prob: float) -> dict[str, object]:
        parts = ("P(departure)", "P(abrupt)", "P(gradual)", "P(late start)", "P(flattening)")
        if task not in self.posteriors:
            row = {"verdict": UNKNOWN, "P(verdict)": np.nan} | dict.fromkeys(parts, np.nan)
            row["P(emergent as measured)"] = np.nan
            for name in QUANTITIES:
                row |= {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
            return row | {
                "sharpness_smooth": np.nan,
                "sentence": f"{UNKNOWN}: {self.unfitted[task]}",
            }
        plotted, under = self.shapes(task), self.shapes(task, "underneath")
        posterior = self.underneath(task)
        p = self._probabilities(task)
        values = (departure(p), p[ABRUPT], p[GRADUAL], p[LATE], posterior.probability["flattening"])
        emergent = float(plotted.is_emergent.mean())
        row = dict(zip(("verdict", "P(verdict)"), decide(p, emergent), strict=True))
        row |= dict(zip(parts, values, strict=True)) | {"P(emergent as measured)": emergent}
        draws = dict(
            onset=10**plotted.onset,
            half_rise=10**plotted.half_rise,
            sharpness=plotted.sharpness,
            slope_ratio=under.slope_ratio,
        )
        tails = [(1 - prob) / 2, 0.5, (1 + prob) / 2]
        for name in QUANTITIES:
            known = draws[name][np.isfinite(draws[name])]
            # An onset that few draws have lies beyond the data; so few changes are no change.
            few = len(known) < 0.5 * len(draws[name])
            low, middle, high = [np.nan] * 3 if few else np.quantile(known, tails)
            row |= {name: middle, f"{name}_low": low, f"{name}_high": high}
        row["sharpness_smooth"] = self._smooth_sharpness(task)
        tell = what_would_tell(
            posterior, plotted, under, p, x=self.x, has_continuous=task in self.continuous
        )
        row["sentence"] = sentence(
            row,
            p,
            tell,
            self.smallest(task),
            prob=prob,
            x=self.x,
            loss=self._loss,
            metric=self.metric,
        )
        return row

    def foresight(
        self,
        ci_prob: float | None = None,
        *,
        more_models: bool = True,
        random_seed: int | None = None,
        executor=None,
        progressbar: bool | None = None,
    ) -> pd.DataFrame:
        """Whether the rise of a task could have been forecast from the models below its onset.

        Each task is fitted again to the models below the median of its onset. The forecast of the
        models above averages all kinds of curves, and allows for another change of slope.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals; 90 % by default.
        more_models : bool
            Also ask whether four times as many models below the onset would have shown the rise.
            This takes most of the time.
        random_seed : int, optional
            The seed of this result by default.
        executor, progressbar : optional
            As in `emergence`.

        Returns
        -------
        pandas.DataFrame
            One row per task: ``onset``; ``models_below`` and ``models_above``; ``held``, the share
            of later scores in their intervals; at the largest x the ``score``, and the median
            ``forecast`` with ``forecast_low`` and ``forecast_high``; ``width``, the mean width of
            the intervals as a share of the range from chance to 1, and ``width_with_more``, the
            same with four times as many models below the onset, whose scores are simulated;
            ``answer``: *foreseen* (the intervals hold at least half of the later scores and are at
            most half of the range wide), *not foreseen* (they are wider), or *excluded wrongly*
            (they hold less than half); and ``sentence``.
            Tasks without an onset, and losses, have only a sentence.
        """
        prob, _ = defaults(ci_prob)
        seed = self.random_seed if random_seed is None else settle_seed(random_seed)
        onsets, reasons = {}, {}
        for task, curve in self.curves.items():
            if not curve.is_accuracy:
                reasons[task] = "only accuracies have an onset"
            elif task in self.unfitted:
                reasons[task] = self.unfitted[task]
            else:
                onsets[task] = self.onset(task)
                reasons[task] = foresight.why_not(curve, onsets[task])
        chosen = [task for task in self.tasks if not reasons[task]]
        jobs = []
        for task in chosen:
            number, posterior = self.tasks.index(task), self.posteriors[task]
            keep = foresight.below(posterior.curve, onsets[task])
            jobs.append((task, part(posterior.curve, keep), [seed, number, 3]))
            if more_models:
                rng = np.random.default_rng([seed, 2, number])
                more = foresight.with_more_models(posterior, keep, rng)
                jobs.append((task, more, [seed, number, 4]))
        found = _run(jobs, executor, progressbar)
        rows: dict[str, dict[str, object]] = {
            task: {"sentence": f"not assessed: {reasons[task]}"} for task in self.tasks
        }
        for i, task in enumerate(chosen):
            rng = np.random.default_rng([seed, 5, self.tasks.index(task)])
            fits = found[2 * i : 2 * i + 2] if more_models else found[i : i + 1]
            row = foresight.row(self.curves[task], onsets[task], fits, prob, rng)
            rows[task] = row | {"sentence": foresight.sentence(row, prob)}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("task")
        return table[[*(c for c in table if c != "sentence"), "sentence"]]

    def _smooth_sharpness(self, task: str) -> float:
        posterior = self.posteriors[task]
        laws = [k for k in ("unbroken", "flattening") if k in posterior.positions]
        kind = max(laws, key=posterior.probability.__getitem__)
        law = shapes([(Model(posterior.curve, kind), posterior.positions[kind])])
        return float(np.nanmedian(law.sharpness)) if np.isfinite(law.sharpness).any() else np.nan

    @property
    def _loss(self) -> str:
        """Name of the score if it is a loss, which falls as models improve; otherwise empty."""
        return "" if next(iter(self.curves.values())).is_accuracy else self.y

    @property
    def definitions(self) -> str:
        """What the sentences mean by a sharp rise, and by a smooth law."""
        return definitions(self.x, loss=self._loss, metric=self.metric)

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """The sentence of the only task, or how many tasks are emergent and how many smooth."""
        table = self.summary(ci_prob)
        if len(table) == 1:
            return f"{table.index[0]}: {table['sentence'].iloc[0]}"
        return overview(table["P(emergent as measured)"], table["P(departure)"])

    def __repr__(self) -> str:
        table = self.summary()
        lines = [f"<Emergence of {len(self.tasks)} task{'s' * (len(self.tasks) != 1)} in {self.x}>"]
        if len(table) > 1:
            lines.append(self.bottom_line())
        lines += [f"  {task}: {said}" for task, said in table["sentence"].items()]
        lines += [f"  note: {note}" for note in self.notes]
        if self.posteriors:
            lines.append(self.definitions)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        columns = ["verdict", "P(verdict)", "P(departure)", "P(emergent as measured)", "sentence"]
        table = self.summary()[columns]
        with pd.option_context("display.max_colwidth", None):
            return table.to_html(float_format="{:.2f}".format)


@hinted
def emergence(
    data: Runs | pd.DataFrame | str | Path,
    x: str = "C",
    y: str = "accuracy",
    groups: str | None = None,
    *,
    family: str | None = None,
    continuous: str | None = None,
    n_questions="n_questions",
    chance="chance",
    samples=None,
    tasks: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    random_seed: int | None = None,
    executor=None,
    progressbar: bool | None = None,
) -> Emergence:
    """Find out which tasks emerge, where, and whether the metric explains it.

    Six kinds of curves are compared for each task. Three are smooth laws: log odds above chance
    that are straight in log x, log odds that flatten as if they were linear in a loss that follows
    a power law, and a score that is straight as plotted. Three are departures: a late start, a
    change of slope at one place, and a slope that drifts
    (`bayescale.capabilities.emergence_models`). For a loss, and for the continuous metric, these
    are a power law above a floor, a change of slope and drift. An ability is called emergent if it
    is "not present in smaller models but present in larger models" (Wei et al. 2022,
    arXiv:2206.07682). It may be so as measured while it is smooth on another scale or in another
    metric (Schaeffer et al. 2023, arXiv:2304.15004).

    Parameters
    ----------
    data : Runs, DataFrame, or path of a file
        One row per model and task; or one row per model and one column per task, which `tasks`
        names. Columns are recognised by their names as `bayescale.Runs.read` does it.
    x, y : str
        Columns of the scale, and of the score: an accuracy in [0, 1] if its name contains "acc",
        "match", "score" or "pass", otherwise a positive metric that falls as models improve.
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
    samples : str, float or mapping, optional
        Samples of each question for scores or tasks called ``pass@k`` (or ``pass_at_k``), given
        like `n_questions`. The noise of the unbiased estimator is at most that of
        ``n_questions * samples / k`` single answers, which is used.
    tasks : sequence of str, optional
        The tasks to use: labels of the column of tasks, or the columns that are tasks.
    columns : mapping of str to str, optional
        Column or expression of a quantity with another name or unit, such as
        ``{"C": "gflop*1e9", "accuracy": "percent/100"}``.
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
    call = f"bs.emergence(table, {'' if x == 'C' else f'x={x!r}, '}"
    settings = dict(y=y, task=groups or "task", tasks=tasks, columns=columns)
    scores, groups, _, told = task_columns(data, (x,), **settings, chance=chance, call=call)
    about = family, n_questions, chance, samples
    curves, families, notes = read_scores(scores, x, y, groups, *about)
    smooth = {}
    if continuous is not None:
        check_metric(scores, continuous, x, groups)
        smooth = read_scores(scores, x, continuous, groups, family, continuous=True)[0]
    # A task is judged only if both of its curves can be.
    checked = [*smooth.items(), *curves.items()]
    unfitted = {task: why for task, curve in checked if (why := why_not(curve))}
    jobs = [
        (task, curve, [random_seed, i, number])
        for number, of in enumerate((curves, smooth))
        for i, (task, curve) in enumerate(of.items())
        if task not in unfitted
    ]
    found = _run(jobs, executor, progressbar)
    tasks = [task for task, *_ in jobs]
    plotted = dict(zip(tasks[: len(curves) - len(unfitted)], found, strict=False))
    underneath = dict(zip(tasks[len(plotted) :], found[len(plotted) :], strict=True))
    notes = (*told, *notes)
    parts = (curves, plotted, underneath, unfitted)
    return Emergence(*parts, x, y, families, notes, random_seed, continuous or "")


def _fit(job) -> Posterior:
    *_, curve, seed = job
    return sample(curve, seed)


def _run(jobs, executor, progressbar) -> list[Posterior]:
    """Posteriors of all jobs, on all cores if there are several."""
    names = [task for task, *_ in jobs]
    return run_all(_fit, jobs, names, executor=executor, progressbar=progressbar)
