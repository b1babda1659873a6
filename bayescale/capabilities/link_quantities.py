"""Interpretable quantities of the link of each task: onset, threshold, slope, scatter, top."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.link_forms import FARTHEST, floor_of, precision_of, reach
from bayescale.capabilities.link_model import LinkPlan, walks
from bayescale.intervals import SAMPLE

#: Number of grid points on which the random walk of a task is inverted.
GRID = 100
#: Share of the rise at which a task begins to rise.
ONSET = 0.1
#: Smallest slope in an interval of this grid, as a share of the slope of the form.
SLOWEST = 0.05


def quantities(plan: LinkPlan, posterior: xr.Dataset) -> dict[str, xr.DataArray]:
    """Draws of the quantities in `Link.summary`; dims (chain, draw, task)."""
    values = {p.name: posterior[f"{p.name}_task"] for p in plan.parameters}
    chance = xr.DataArray(plan.facts["chance"].to_numpy(float), dims="task")
    if "start" in values:
        half_way = onset = -values["start"]
    else:
        half_way, onset = (
            ((np.log(x) if plan.form.name == "gadre" else np.log(x / (1 - x))) - values["level"])
            / values["slope"]
            for x in (0.5, ONSET)
        )
    if plan.form.by_size:
        half_way, onset = (_reached(plan, values, x) for x in (half_way, onset))
    u, times = _invert_walk(plan, posterior, half_way)
    if plan.form.by_size:  # power laws may end below the threshold
        times = _walk_at_best(plan, posterior)

    def scale(u):
        position = plan.best + plan.spread * u
        return np.exp(position) if plan.form.along == "C" else -position

    floor = floor_of(chance, values["offset"])
    half = (1 + floor) / 2
    precision = precision_of(half, floor, precision=values["precision"], jitter=values["jitter"])
    out = {
        "floor": floor,
        "onset": scale(_invert_walk(plan, posterior, onset)[0]),
        "threshold": scale(u),
        "slope": times * values["slope"] / plan.spread,
        "scatter": np.sqrt(half * (1 - half) / (precision + 1)),
        "walk": values["walk"],
    }
    if "top" in values:
        out["top"] = floor + (1 - floor) * values["top"]
    out |= {name: values[name] for name in ("alpha", "beta") if name in values}
    return {k: v.transpose(*SAMPLE, "task") for k, v in out.items()}


def faster(slope: xr.DataArray, tasks: Sequence[str], last: Container[str]) -> pd.DataFrame:
    """Probability that the slope of one task (rows) is above that of another (columns).

    Tasks are ordered from the steepest median slope to the least steep; those in `last` are last.
    """
    drawn = slope.stack(sample=SAMPLE).transpose("task", "sample").to_numpy()
    order = np.lexsort((-np.median(drawn, axis=1), [task in last for task in tasks]))
    drawn, names = drawn[order], pd.Index(tasks)[order]
    p = np.array([(row > drawn).mean(axis=1) for row in drawn])
    np.fill_diagonal(p, np.nan)
    return pd.DataFrame(p, names.rename("task"), names.rename("than"))


def _reached(plan: LinkPlan, values, goal: xr.DataArray) -> xr.DataArray:
    """The u at which the power laws of N and D reach `goal`, infinite where they end below it."""
    sizes = {name: values[name] for name in ("share", "alpha", "beta")}
    at = reach(goal, unit=plan.unit, **sizes)
    return at.where(at < FARTHEST - 1, np.inf)


def _invert_walk(
    plan: LinkPlan, posterior: xr.Dataset, target_u: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """The u at which u plus the walk of each task first equals `target_u`, and the factor of the
    walk on the slope there. Outside the table the walk is extrapolated linearly."""
    low = plan.fitted.min()
    at = np.linspace(1.5 * low, -0.5 * low, GRID)
    steps = walks(posterior).transpose(*SAMPLE, "task", "component").to_numpy()
    with_walk = at + steps @ plan.walk(at).T
    goal = target_u.transpose(*SAMPLE, "task").to_numpy()[..., None]
    over = with_walk[..., 1:] >= goal
    first = np.where(over.any(axis=-1), over.argmax(axis=-1), GRID - 2)[..., None]
    left, right = (np.take_along_axis(with_walk, first + i, axis=-1)[..., 0] for i in (0, 1))
    times = np.maximum((right - left) / (at[1] - at[0]), SLOWEST)
    u = at[first[..., 0]] + (goal[..., 0] - left) / times
    dims = (*SAMPLE, "task")
    coords = {d: posterior[d] for d in dims}
    return tuple(xr.DataArray(v, coords, dims) for v in (u, times))


def _walk_at_best(plan: LinkPlan, posterior: xr.Dataset) -> xr.DataArray:
    """The factor of the walk of each task on the slope at the best run."""
    at = np.array([plan.fitted.min() / GRID, 0.0])
    change = np.diff(plan.walk(at), axis=0)[0] / np.diff(at)
    steps = walks(posterior) * xr.DataArray(change, dims="component")
    return np.maximum(1 + steps.sum("component"), SLOWEST)
