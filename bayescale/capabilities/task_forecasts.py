"""Forecasts of accuracies on tasks, from draws of the loss and draws of a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.link_predictive import expected, measured
from bayescale.capabilities.links import AT_CHANCE, Link
from bayescale.costs import Cost, read_budgets
from bayescale.errors import FitError, unknown
from bayescale.forecasting import (
    DRIFTS,
    FURTHER,
    PredictiveDraws,
    complete_counts,
    forecast,
    read_points,
)
from bayescale.intervals import SAMPLE, defaults
from bayescale.model import labels_in_points, number_of_points, settle_labels
from bayescale.units import FLOP_PER_PARAMETER_TOKEN, counted, format_loss, times_in_words

#: Accuracies of one run on more tasks are not put in a sentence.
MOST_TASKS = 4


@dataclass(frozen=True, eq=False, repr=False)
class TaskForecast(PredictiveDraws):
    """The posterior predictive of the accuracies of new runs.

    `summary` gives the medians and credible intervals of ``mean`` and ``accuracy``. `decompose`
    gives the width of the interval of ``accuracy`` and the shares of three sources of uncertainty:
    ``loss``, ``link`` (its parameters, its drift and the shifts of new groups) and ``measurement``
    (scatter between runs and binomial noise).

    Attributes
    ----------
    data : xarray.Dataset
        Shares of correct answers, dims (chain, draw, point, task). ``mean``: the expected accuracy
        at a forecast or known loss. ``accuracy``: the measured accuracy of a new run, with the
        scatter between runs and the binomial noise. ``at_loss``: ``mean`` at the median of the
        loss. Also ``loss`` in the unit of the runs, dims (chain, draw, point): the losses at
        which the link is evaluated. Coordinates of ``point``: the columns of the points, and
        ``group``.
    link : Link
        The link that was used.
    random_seed : int
        The seed of noise, drift and new groups.
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    """

    dims = ("point", "task")
    shown = ("mean", "accuracy")
    rows_in_text = 8

    link: Link
    random_seed: int
    conversions: tuple[str, ...] = ()

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """How budgets were converted, and tasks of which the fitted runs say nothing; or empty."""
        doubts = [n for n in self.link.notes if not n.startswith(("read ", "divided by "))]
        doubts = [f"Main reason for doubt: {note}." for note in (*self._distance, *doubts)[:1]]
        return " ".join([*self.conversions, *doubts])

    def answer(self, ci_prob: float | None = None) -> str:
        """The accuracies of one run on few tasks, in a sentence; otherwise empty."""
        frame = self.summary(ci_prob)
        frame = frame[~frame["task"].isin(self.link.untold)]
        if self.data.sizes["point"] > 1 or not 0 < len(frame) <= MOST_TASKS:
            return ""
        at = list(frame).index("accuracy")
        each = [
            f"{row['task']} {row.iloc[at]:.3f} ({row.iloc[at + 1]:.3f} to {row.iloc[at + 2]:.3f})"
            for _, row in frame.iterrows()
        ]
        prob, _ = defaults(ci_prob)
        run = self._place(frame.iloc[0])
        return f"Accuracy of a run of {run}: {', '.join(each)}, with {100 * prob:g} % intervals."

    @property
    def _distance(self) -> tuple[str, ...]:
        """A clause if a run lies beyond the best one that has scores."""
        plan = self.link.plan
        column = plan.form.along
        scored = plan.table[column].to_numpy(float)
        if column == "C":
            times = float(self.data["C"].max()) / float(scored.max())
            if times < FURTHER:
                return ()
            what = f"{times_in_words(times)} times the compute of the largest model with scores"
        else:
            drawn = self.data["known_loss"] if "known_loss" in self.data else self.data["loss"]
            lowest = float(drawn.median(set(drawn.dims) - {"point"}).min())
            if lowest >= scored.min():
                return ()
            what = f"a loss of {format_loss(lowest)}, and no model with scores is below "
            what += format_loss(float(scored.min()))
        return (f"the run has {what}; curves may change beyond",)

    @property
    def _source(self) -> Link:
        return self.link

    def _parts(self) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
        rows = self._rows(("mean", "accuracy", "at_loss"))
        return rows["accuracy"], {
            "loss": rows["mean"] - rows["at_loss"],
            "link": rows["at_loss"],
            "measurement": rows["accuracy"] - rows["mean"],
        }

    def _heading(self) -> str:
        listed = ", ".join(counted(self.data.sizes[noun], noun) for noun in self.dims)
        return f"TaskForecast by {self.link.kind} link, {listed}"

    def _line(self, row: pd.Series, outcome: str) -> str:
        place = f"{self._place(row)}, " if self.data.sizes["point"] > 1 else ""
        return f"{place}{row.task}: {AT_CHANCE if row.task in self.link.at_chance else outcome}"


def forecast_tasks(
    link: Link,
    points: pd.DataFrame | None = None,
    *,
    N=None,
    D=None,
    C=None,
    loss=None,
    group=None,
    tasks: str | Sequence[str] | None = None,
    cost: Cost | None = None,
    drift: str = "auto",
    random_seed: int | None = None,
    **columns,
) -> TaskForecast:
    """Forecast the accuracies of new runs.

    Draws of the link are evaluated at draws of the loss, so the intervals include the uncertainty
    of both.

    Parameters
    ----------
    link : Link
        The posterior of a link.
    points : pandas.DataFrame, optional
        One row for each run: columns as in `bayescale.forecast`, or ``loss``.
    N, D, C : float, str or array_like, optional
        Parameters, tokens and training FLOP, as in `bayescale.forecast`: any two of them, or `C`
        alone for the best split.
    loss : float or array_like, optional
        Measured losses in the unit of the runs, used instead of forecasts. The only uncertainty is
        then that of the link and the measurement of accuracy.
    group : str, array_like of str, or mapping, optional
        Fitted groups: one for all points, or one for each point. One run with several groups gives
        one point for each group. None stands for a new group, drawn from the population.
    tasks : str or sequence of str, optional
        Names of tasks; all by default.
    cost : Cost, optional
        The hardware and its prices, for budgets in units other than FLOP; by default the
        accelerator that they name, or an H100.
    drift : {"auto", "off"}
        ``"auto"``: law and link drift beyond the fitted runs. ``"off"``: they do not.
    random_seed : int, optional
        Seed of noise, drift and new groups; by default that of the link, so that repeated calls
        give the same draws.
    **columns : array_like
        Columns of the law other than N, D and C.

    Returns
    -------
    TaskForecast

    Raises
    ------
    FitError
        If a column that the link or its fit needs is missing, or if a column, group, task or the
        value of `drift` is unknown.
    LawError
        If a count cannot be read.

    Examples
    --------
    >>> import bayescale as bs
    >>> results = bs.datasets.openlm_tasks().query("task in ['hellaswag', 'piqa'] and N < 5e8")
    >>> link = bs.link(None, results, groups="dataset", random_seed=1)
    >>> ahead = bs.forecast_tasks(link, loss=2.5, group="c4", tasks="hellaswag", random_seed=1)
    >>> bool(0.5 < ahead.data["mean"].median() < 0.75)
    True
    """
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    tasks = _tasks(link, tasks)
    seed = link.random_seed if random_seed is None else int(random_seed)
    rng = np.random.default_rng(seed)
    given = {"N": N, "D": D, "C": C, **columns}
    inputs = _inputs(link, points, loss, given, group, cost, drift, seed)
    labels = _member_labels(link, inputs.group, inputs.values.shape[-1])
    values, size = inputs.values, len(labels)
    if values.shape[-1] == 1 < size:
        values = np.repeat(values, size, axis=-1)
    where = link.plan.where(*(np.resize(v, (2 * size, 1)) for v in inputs.sizes))
    chains, draws = (link.posterior.sizes[d] for d in SAMPLE)
    if values.ndim == 1:
        drawn = np.broadcast_to(values, (chains * draws, size))
    else:  # the two posteriors are independent: any pairing of their draws is valid
        drawn = values[np.resize(rng.permutation(len(values)), chains * draws)]
    # The same walks are also evaluated at the median loss, to separate the uncertainty of the loss.
    median = np.broadcast_to(np.median(drawn, axis=0), drawn.shape)
    at = np.concatenate([drawn, median], axis=1)
    both, precision = expected(link, at, [*labels, *labels], tasks, drift, rng, where)
    mean, at_loss, precision = both[:, :size], both[:, size:], precision[:, :size]
    accuracy = measured(link, tasks, mean, precision, rng)
    coords = {d: link.posterior[d] for d in SAMPLE} | {"task": list(tasks)}
    coords |= {name: (dim, np.resize(v, size)) for name, (dim, v) in inputs.coords.items()}
    if link.groups:
        coords["group"] = ("point", labels)
    along_loss = link.plan.form.along == "loss"
    if along_loss and values.ndim == 1:
        coords["known_loss"] = ("point", values)
    data = {"mean": mean, "accuracy": accuracy, "at_loss": at_loss}
    data |= {"loss": drawn} if along_loss else {}
    dims = (*SAMPLE, "point", "task")
    variables = {
        name: (dims[: 1 + v.ndim], v.reshape(chains, draws, *v.shape[1:]))
        for name, v in data.items()
    }
    return TaskForecast(xr.Dataset(variables, coords=coords), link, seed, inputs.conversions)


def accuracies(
    link: Link, values: np.ndarray, group, tasks=None, *, drift: str, seed: int
) -> xr.DataArray:
    """The expected accuracies at draws of the loss, or of the compute for a link from compute.

    Parameters
    ----------
    link : Link
    values : numpy.ndarray
        Dims (sample, point); the draws of one sample share the parameters of the link.
    group
        The group of all points, as in `forecast_tasks`.
    tasks : str or sequence of str, optional
        All by default.
    drift : {"auto", "off"}
    seed : int

    Returns
    -------
    xarray.DataArray
        Dims (chain, draw, point, task), with the draws of the link.
    """
    if link.plan.form.by_size:
        raise FitError(
            "a direct link needs N and D of every run, and a trajectory has only its compute: give "
            "a link from the loss, or one with kind='compute'"
        )
    tasks = _tasks(link, tasks)
    rng = np.random.default_rng(seed)
    chains, draws = (link.posterior.sizes[d] for d in SAMPLE)
    labels = _member_labels(link, group, values.shape[-1])
    drawn = values[np.resize(rng.permutation(len(values)), chains * draws)]
    mean, _ = expected(link, drawn, labels, tasks, drift, rng)
    dims = (*SAMPLE, "point", "task")
    return xr.DataArray(
        mean.reshape(chains, draws, *mean.shape[1:]), dims=dims, coords={"task": list(tasks)}
    )


def _tasks(link: Link, tasks: str | Sequence[str] | None) -> tuple[str, ...]:
    """The names of the tasks to forecast."""
    if tasks is None:
        return link.tasks
    names = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if unknown_tasks := [t for t in names if t not in link.tasks]:
        raise FitError([unknown("task", t, link.tasks) for t in unknown_tasks])
    return names


class _Inputs(NamedTuple):
    """The losses or compute at which a link is evaluated.

    Attributes
    ----------
    values : numpy.ndarray
        Losses, with dims (draw, point) if they are forecast and (point,) if they are given. For
        links without a loss, compute in FLOP, dims (point,).
    coords : dict
        Coordinates of the points.
    group : object
        Labels of the groups of the link, in the form of the argument ``group=``.
    conversions : tuple of str
        How budgets in other units were converted to FLOP.
    sizes : tuple of numpy.ndarray
        N and D of the points, for a direct link.
    """

    values: np.ndarray
    coords: dict[str, tuple[str, np.ndarray]]
    group: object
    conversions: tuple[str, ...] = ()
    sizes: tuple[np.ndarray, ...] = (np.ones(1), np.ones(1))

    @classmethod
    def of_counts(cls, link: Link, counts, coords, group, conversions) -> _Inputs:
        """Inputs of a link without a loss, from the columns N, D and C that are known."""
        if not link.plan.form.by_size:
            return cls(counts["C"], coords, group, conversions)
        if missing := [c for c in "ND" if c not in counts]:
            raise FitError(
                f"a direct link needs N and D, and {' and '.join(missing)} cannot be computed: "
                "give two of N=, D= and C="
            )
        sizes = counts["N"], counts["D"]
        flop = FLOP_PER_PARAMETER_TOKEN * sizes[0] * sizes[1]
        return cls(flop, coords, group, conversions, sizes)


def _inputs(
    link: Link, points, loss, given: dict, group, cost: Cost | None, drift: str, seed: int
) -> _Inputs:
    """Losses or compute from the arguments, or forecasts of the loss by the fit."""
    without_loss = link.plan.form.along == "C"
    if without_loss and loss is not None:
        raise FitError(f"a {link.kind} link has no loss: give N=, D= or C=")
    if not without_loss and (
        loss is not None or (isinstance(points, pd.DataFrame) and "loss" in points)
    ):
        return _given_losses(link, points, {"loss": loss, **given}, group)
    if link.fit is None:
        if not without_loss:
            raise FitError("this link was made without a fit: give loss=")
        columns, group = read_points(points, given, ("N", "D", "C"), link.groups, group, "link")
        conversions: tuple[str, ...] = ()
        if "C" in columns:
            columns["C"], conversions = read_budgets(columns["C"], cost, name="C")
        counts = complete_counts(columns, FLOP_PER_PARAMETER_TOKEN)
        if "C" not in counts:
            raise FitError("this link was made without a fit: give C=, or N= and D=")
        of_points = {c: ("point", counts[c]) for c in link.plan.form.columns if c in counts}
        of_points["C"] = ("point", counts["C"])
        return _Inputs.of_counts(link, counts, of_points, group, conversions)
    ahead = forecast(
        link.fit,
        points,
        group=_group_of_fit(link, group),
        cost=cost,
        drift=drift,
        random_seed=seed,
        **given,
    )
    if points is not None:
        group = labels_in_points(points, link.groups, group, "link")
    coords = {
        name: ("point", v.to_numpy())
        for name, v in ahead.data.coords.items()
        if v.dims == ("point",) and name != "point"
    }
    if without_loss:
        counts = {c: v for c, (_, v) in coords.items()}
        return _Inputs.of_counts(link, counts, coords, group, ahead.conversions)
    losses = ahead.data["loss"].transpose(*SAMPLE, "point").to_numpy()
    return _Inputs(losses.reshape(-1, losses.shape[-1]), coords, group, ahead.conversions)


def _given_losses(link: Link, points, given: dict, group) -> _Inputs:
    """Measured losses from a table or a keyword."""
    if points is None and (extra := [k for k, v in given.items() if v is not None and k != "loss"]):
        raise FitError(
            f"loss= was given together with {', '.join(extra)}: give either loss=, or columns from "
            "which to forecast it"
        )
    columns, group = read_points(points, given, ("loss",), link.groups, group, "link")
    try:
        losses = np.atleast_1d(np.asarray(columns["loss"], float))
    except (TypeError, ValueError):
        losses = np.array([np.nan])
    if losses.ndim != 1 or not len(losses) or not (np.isfinite(losses) & (losses > 0)).all():
        raise FitError(f"loss is {columns['loss']!r}: give one or more positive numbers")
    return _Inputs(losses, {}, group)


def _group_of_fit(link: Link, group) -> object:
    """The part of `group=` for the fit, whose group columns may differ from those of the link."""
    fit = link.fit
    if isinstance(group, Mapping):
        valid = tuple(dict.fromkeys((*link.groups, *fit.groups)))
        if unknown_columns := [g for g in group if g not in valid]:
            raise FitError([unknown("group column", g, valid) for g in unknown_columns])
        return {g: v for g, v in group.items() if g in fit.groups} or None
    if link.groups != fit.groups and link.groups and fit.groups:
        raise FitError(
            f"the link has the group columns {', '.join(link.groups)}, its fit "
            f"{', '.join(fit.groups)}: give group= as a mapping of column to label"
        )
    return group if fit.groups else None


def _member_labels(link: Link, group, size: int) -> list[str]:
    """The label of the group of each point in the link: the labels of its columns, joined."""
    if not link.groups:
        return [""] * size
    if isinstance(group, Mapping) and link.fit is not None:
        fit_only = set(link.fit.groups) - set(link.groups)
        group = {g: v for g, v in group.items() if g not in fit_only}
    levels = {g: tuple(sorted(set(link.plan.table[g].astype(str)))) for g in link.groups}
    size = number_of_points(size, group)
    settled = settle_labels(group, levels, size, "link")
    columns = [np.broadcast_to(labels, size) for labels in settled.values()]
    return [", ".join(label) for label in zip(*columns, strict=True)]
