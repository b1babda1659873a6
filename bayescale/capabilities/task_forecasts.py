"""Accuracies of runs that nobody has made yet: forecasts of the loss, taken through a link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.link_model import cell, walks
from bayescale.capabilities.links import Link
from bayescale.errors import FitError, unknown
from bayescale.forecasting import PredictiveDraws, forecast
from bayescale.intervals import SAMPLE
from bayescale.model import NEW
from bayescale.model import drift as drifts
from bayescale.units import as_counts


@dataclass(frozen=True, eq=False, repr=False)
class TaskForecast(PredictiveDraws):
    """The posterior predictive of the accuracies of runs not yet made.

    `summary` has the medians and credible intervals of ``mean`` and ``accuracy``. `decompose` has
    the width of the interval of ``accuracy`` and the shares of the ``loss`` that is not known, of
    the ``link`` (its parameters, its drift, and the group if that is new), and of ``measurement``
    (scatter between runs and binomial noise).

    Attributes
    ----------
    data : xarray.Dataset
        ``mean``: the accuracy the link says, at a forecast or known loss; ``accuracy``: what a new
        run would score, with the scatter between runs and the binomial noise; ``at_loss``: ``mean``
        if the loss were its median. Dims (chain, draw, point, task). ``loss``: the draws that went
        in; dims (chain, draw, point). Coordinates of ``point``: what was asked for.
    link : Link
        The link that was used.
    random_seed : int
        The seed of noise, drift and unseen groups.
    """

    dims = ("point", "task")
    shown = ("mean", "accuracy")
    rows_in_text = 8

    link: Link
    random_seed: int

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
        points, tasks = (self.data.sizes[d] for d in self.dims)
        return f"TaskForecast by {self.link.kind} link, {points} point(s), {tasks} task(s)"

    def _line(self, row: pd.Series, outcome: str) -> str:
        return f"{row.task}: {outcome}"


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
    drift: bool = True,
    random_seed: int | None = None,
    **columns,
) -> TaskForecast:
    """Forecast the accuracies of runs that were not made.

    Draws of the loss from the fit go through draws of the link: what is not known of either is in
    the intervals.

    Parameters
    ----------
    link : Link
    points : pandas.DataFrame, optional
        One row per run: columns as `bayescale.forecast` takes them, or ``loss``.
    N, D, C : float, str or array_like, optional
        As in `bayescale.forecast`: any two of them, or `C` alone for the best split.
    loss : float or array_like, optional
        Measured losses, in the place of a forecast: only the link is then uncertain.
    group : str, array_like of str, or mapping, optional
        Fitted groups, one for all points or one per point (of one point: several). None stands
        for a new group from the population.
    tasks : str or sequence of str, optional
        All by default.
    drift : bool
        Whether law and link may drift beyond the runs they were fitted to.
    random_seed : int, optional
        The link's own by default.
    **columns : array_like
        Other columns of a law of your own.

    Returns
    -------
    TaskForecast

    Raises
    ------
    FitError
        If the points do not say what is needed, or name unknown groups or tasks.

    Examples
    --------
    >>> import bayescale as bs
    >>> table = bs.datasets.openlm_tasks().query("task in ['hellaswag', 'piqa'] and N < 5e8")
    >>> link = bs.link(None, table, groups="dataset", random_seed=1)
    >>> ahead = bs.forecast_tasks(link, loss=2.5, group="c4", tasks="hellaswag")
    >>> bool(0.5 < ahead.data["mean"].median() < 0.75)
    True
    """
    seed = link.random_seed if random_seed is None else int(random_seed)
    rng = np.random.default_rng(seed)
    wanted = _tasks(link, tasks)
    asked = dict(points=points, N=N, D=D, C=C, **columns)
    if points is not None and not isinstance(points, pd.DataFrame):
        raise FitError(f"points must be a DataFrame, got {type(points).__name__}")
    if points is not None and "loss" in points and link.plan.form.along == "loss":
        if loss is not None:
            raise FitError("the loss is given twice: in the points and by loss=")
        loss, asked["points"] = points["loss"].to_numpy(), None
        group = _from_points(link, points, group)
    size_of = link.posterior.sizes
    shape = (size_of["chain"], size_of["draw"])
    if link.plan.form.along == "loss" and loss is not None:
        if extra := [k for k, v in asked.items() if v is not None]:
            raise FitError(
                f"loss= needs no {', '.join(extra)}: give a loss, or what to forecast it from"
            )
        given = _losses(loss)
        place, coords = given, {}
    else:
        if loss is not None:
            raise FitError("a direct link knows no loss: give N=, D= or C=")
        place, coords, group = _forecast(link, asked, group, drift, seed)
    size = place.shape[-1]
    labels = _members(link, group, size)
    if size == 1 and len(labels) > 1:
        place, size = np.repeat(place, len(labels), axis=-1), len(labels)
    total = shape[0] * shape[1]
    if place.ndim == 1:
        drawn = np.broadcast_to(place, (total, size))
    else:  # two posteriors that know nothing of each other: any pairing of draws will do
        order = rng.permutation(len(place))
        drawn = place[np.resize(order, total)]
    values = _values(link, wanted)
    move = _moves(link, labels, wanted, rng)
    # Once more at the median loss, along the same walks.
    median = np.broadcast_to(np.median(drawn, axis=0), drawn.shape)
    u = link.plan.u(np.concatenate([drawn, median], axis=1))
    at = u[..., None] + np.concatenate([move, move], axis=1) + _inside(link, wanted, u)
    if drift:
        at += values["walk"] * _beyond(u, len(wanted), rng)
    chance = link.plan.facts.loc[list(wanted), "chance"].to_numpy(float)
    both, precision = link.plan.form(at, values, chance)
    mean, at_loss, precision = both[:, :size], both[:, size:], precision[:, :size]
    accuracy = _measured(link, wanted, mean, precision, rng)
    dims = (*SAMPLE, "point", "task")
    coords = {
        "chain": link.posterior["chain"],
        "draw": link.posterior["draw"],
        "task": list(wanted),
        **coords,
    }
    if link.groups:
        coords["group"] = ("point", labels)
    name = link.plan.form.along
    if name == "loss" and place.ndim == 1:
        coords["known_loss"] = ("point", place)
    data = {
        k: (dims, v.reshape(*shape, *v.shape[1:]))
        for k, v in (("mean", mean), ("accuracy", accuracy), ("at_loss", at_loss))
    }
    if name == "loss":
        data["loss"] = (dims[:3], drawn.reshape(*shape, size))
    return TaskForecast(xr.Dataset(data, coords=coords), link, seed)


def _tasks(link: Link, tasks) -> tuple[str, ...]:
    if tasks is None:
        return link.tasks
    wanted = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    if strange := [t for t in wanted if t not in link.tasks]:
        raise FitError([unknown("task", t, link.tasks) for t in strange])
    return wanted


def _losses(loss) -> np.ndarray:
    try:
        given = np.atleast_1d(np.asarray(loss, float))
    except (TypeError, ValueError):
        given = np.array([np.nan])
    if given.ndim != 1 or not len(given) or not (np.isfinite(given) & (given > 0)).all():
        raise FitError(f"loss is {loss!r}: give a positive number, or several")
    return given


def _from_points(link: Link, points: pd.DataFrame, group):
    inside = {g: points[g].tolist() for g in link.groups if g in points}
    if inside and group is not None:
        raise FitError(
            f"groups are given twice: in the column(s) {', '.join(inside)}, and by group="
        )
    return inside or group


def _forecast(link: Link, asked: dict, group, drift: bool, seed: int):
    """What a link starts from: draws of the loss (draw, point), or compute (point,)."""
    fit, direct = link.fit, link.plan.form.along == "C"
    points = asked["points"]
    if fit is None:
        N, D, C = (asked[k] if points is None else points.get(k) for k in "NDC")
        if not direct or (C is None and (N is None or D is None)):
            need = "C=, or N= and D=" if direct else "loss="
            raise FitError(f"this link was made without a fit: give {need}")
        C = as_counts(C, "C") if C is not None else 6 * as_counts(N, "N") * as_counts(D, "D")
        group = group if points is None else _from_points(link, points, group)
        return C, {"C": ("point", C)}, group
    ours, theirs = group, group
    if isinstance(group, Mapping):
        if strange := [g for g in group if g not in (*link.groups, *fit.groups)]:
            raise FitError(
                [unknown("group column", g, (*link.groups, *fit.groups)) for g in strange]
            )
        theirs = {g: v for g, v in group.items() if g in fit.groups} or None
    elif link.groups != fit.groups and link.groups and fit.groups:
        raise FitError(
            f"the link has the group columns {', '.join(link.groups)}, its fit "
            f"{', '.join(fit.groups)}: give group= as a mapping of column to label"
        )
    elif not fit.groups:
        theirs = None
    ahead = forecast(fit, group=theirs, drift=drift, random_seed=seed, **asked)
    if points is not None:
        ours = _from_points(link, points, group)
    coords = {
        c: ("point", v.to_numpy())
        for c, v in ahead.data.coords.items()
        if v.dims == ("point",) and c != "point"
    }
    if direct:
        return ahead.data["C"].to_numpy(), coords, ours
    loss = ahead.data["loss"].transpose(*SAMPLE, "point").to_numpy()
    return loss.reshape(-1, loss.shape[-1]), coords, ours


def _members(link: Link, group, size: int) -> list[str]:
    """The label of each point's group in the link."""
    if not link.groups:
        return [""] * size
    if not isinstance(group, Mapping):
        if len(link.groups) > 1 and group is not None:
            raise FitError(
                f"this link has the group columns {', '.join(link.groups)}: give group= "
                "as a mapping"
            )
        group = dict.fromkeys(link.groups, group)
    problems = [
        unknown("group column", g, link.groups)
        for g in group
        if g not in (*link.groups, *(link.fit.groups if link.fit is not None else ()))
    ]
    columns = []
    for column in link.groups:
        said = group.get(column)
        said = [said] if np.ndim(said) == 0 else list(said)
        labels = [NEW if pd.isna(x) else str(x) for x in said]
        known = (*sorted(set(link.plan.table[column].astype(str))), NEW)
        problems += [unknown(column, x, known) for x in dict.fromkeys(labels) if x not in known]
        columns.append(labels)
    length = max(size, *(len(c) for c in columns))
    if any(len(c) not in (1, length) for c in columns) or size not in (1, length):
        problems.append(f"{length} labels of {', '.join(link.groups)} for {size} points")
    if problems:
        raise FitError(problems)
    columns = [c * length if len(c) == 1 else c for c in columns]
    return [", ".join(label) for label in zip(*columns, strict=True)]


def _values(link: Link, tasks: Sequence[str]) -> dict[str, np.ndarray]:
    """Parameters of the tasks, with a length-one axis for points; (draw, 1, task)."""
    out = {}
    for p in link.plan.parameters:
        values = link.posterior[f"{p.name}_task"].sel(task=list(tasks))
        out[p.name] = values.transpose(*SAMPLE, "task").to_numpy().reshape(-1, 1, len(tasks))
    return out


def _moves(link: Link, labels: Sequence[str], tasks: Sequence[str], rng) -> np.ndarray:
    """How far each point's group moves it along u; (draw, point, task)."""
    draws = link.posterior.sizes["chain"] * link.posterior.sizes["draw"]
    if not link.plan.members:
        return np.zeros((draws, len(labels), len(tasks)))
    found = {
        label: _member_moves(link, "member", [label], draws, rng)
        + _member_moves(link, "cell", [cell(t, label) for t in tasks], draws, rng)
        for label in dict.fromkeys(labels)
    }
    return np.stack([found[x] for x in labels], axis=1)


def _member_moves(link: Link, dim: str, labels: Sequence[str], draws: int, rng) -> np.ndarray:
    """Moves by label, those that were not fitted from the population; (draw, label)."""
    moves, scale = (
        link.posterior[n].transpose(*SAMPLE, ...).to_numpy().reshape(draws, -1)
        for n in (f"move_{dim}", f"move_{dim}_scale")
    )
    place = {x: i for i, x in enumerate(link.plan.levels[dim])}
    unseen = scale * rng.standard_normal((draws, len(labels)))
    return np.stack(
        [moves[:, place[x]] if x in place else unseen[:, i] for i, x in enumerate(labels)], axis=1
    )


def _inside(link: Link, tasks: Sequence[str], u: np.ndarray) -> np.ndarray:
    """What the walks inside the table add at u, which is (draw, point); (draw, point, task)."""
    steps = walks(link.posterior).sel(task=list(tasks)).transpose(*SAMPLE, "component", "task")
    return link.plan.walk(u) @ steps.to_numpy().reshape(len(u), -1, len(tasks))


def _beyond(u: np.ndarray, tasks: int, rng) -> np.ndarray:
    """What walks of unit size, a task each, add beyond the best run; (draw, point, task)."""
    return drifts.integrated_walk(u, rng, copies=tasks)


def _measured(link: Link, tasks, mean, precision, rng) -> np.ndarray:
    """Accuracies of new runs: beta scatter, then as many questions as the task has."""
    questions = link.plan.facts.loc[list(tasks), "n_questions"].to_numpy(int)
    share = rng.beta(mean * precision, (1 - mean) * precision)
    return rng.binomial(np.broadcast_to(questions, mean.shape), share) / questions
