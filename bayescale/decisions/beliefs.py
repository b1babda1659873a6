"""What is believed before further runs: a fit, an average, or the prior of a law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from bayescale import laws
from bayescale.costs import Cost, read_budgets
from bayescale.data import Runs
from bayescale.errors import FitError
from bayescale.forecasting import (
    Allocation,
    Average,
    Forecast,
    allocate,
    complete_counts,
    draw_losses,
    fits_of,
    refuse_disordered,
    refuse_tiny,
    weights_of,
)
from bayescale.intervals import SAMPLE
from bayescale.keywords import on_command_line
from bayescale.laws import Law
from bayescale.model import Fit, draw_prior, labels_in_points, settle_groups
from bayescale.model import design as specify
from bayescale.units import (
    FLOP_PER_PARAMETER_TOKEN,
    as_counts,
    format_count,
    format_flop,
)

#: Draws from the prior of a law, per chain, and chains.
PRIOR_DRAWS, PRIOR_CHAINS = 1000, 4


def as_posterior(belief, points: pd.DataFrame, seed: int) -> Fit | Average:
    """A fit or an average as it is; for a law or its name, draws from its prior.

    Parameters
    ----------
    belief : Fit, Average, Law or str
    points : pandas.DataFrame
        Runs that may be trained. The geometric means of their columns are the reference scales of
        the prior.
    seed : int
        Seed of the draws from the prior.

    Raises
    ------
    FitError
        If `belief` is something else, or if the points lack a column of the law.
    """
    if isinstance(belief, (Fit, Average)):
        return belief
    if not isinstance(belief, (str, Law)):
        raise FitError(
            f"cannot decide from {type(belief).__name__}: give a Fit or an Average, or with no "
            "runs yet the name of a law"
        )
    law = laws.get(belief)
    given = {c: points[c].tolist() for c in dict.fromkeys((*"NDC", *law.columns)) if c in points}
    columns = complete_counts(given, FLOP_PER_PARAMETER_TOKEN) if given else {}
    if missing := [c for c in law.columns if c not in columns]:
        raise FitError(
            f"law {law.name!r} is a function of {', '.join(law.columns)}, but the runs that may be "
            f"trained lack {', '.join(missing)}"
        )
    frame = pd.DataFrame(columns).assign(loss=1.0)
    runs = Runs.from_frame(frame, source="runs that may be trained")
    plan = replace(specify(runs, law), is_observed=False)
    drawn = draw_prior(plan, PRIOR_CHAINS * PRIOR_DRAWS, np.random.default_rng(seed))
    shape = (PRIOR_CHAINS, PRIOR_DRAWS)
    posterior = xr.Dataset(
        {name: (SAMPLE, value.reshape(shape)) for name, value in drawn.items()},
        coords={"chain": range(shape[0]), "draw": range(shape[1])},
    )
    stats = xr.Dataset({"diverging": (SAMPLE, np.zeros(shape, bool))})
    return Fit(plan, posterior, stats, seed)


def as_frame(
    points: pd.DataFrame | Mapping[str, object],
    name: str,
    cost: Cost | None = None,
    flop_factor: float = FLOP_PER_PARAMETER_TOKEN,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Points as a table with one row for each: a table, or every combination of columns.

    Parameters
    ----------
    points : pandas.DataFrame or mapping
        The column ``C`` may be in any unit that `bayescale.as_flops` reads.
    name : str
        What the points are, in messages.
    cost, flop_factor
        As in `bayescale.as_flops`.

    Returns
    -------
    tuple
        The table, and how budgets in other units were converted.

    Raises
    ------
    FitError
        If there is neither a table nor a mapping, or no row.
    """
    conversions: tuple[str, ...] = ()
    if isinstance(points, pd.DataFrame):
        frame = points.reset_index(drop=True)
        if "C" in frame and len(frame):
            C, conversions = read_budgets(
                frame["C"].tolist(), cost, flop_factor=flop_factor, name="C"
            )
            frame = frame.assign(C=C)
    elif isinstance(points, Mapping):
        points = dict(points)
        if "C" in points:
            points["C"], conversions = read_budgets(
                points["C"], cost, flop_factor=flop_factor, name="C"
            )
        axes = {
            c: as_counts(v, c) if c in ("N", "D", "C") else np.atleast_1d(np.asarray(v, object))
            for c, v in points.items()
        }
        index = pd.MultiIndex.from_product(axes.values(), names=list(axes))
        frame = index.to_frame(index=False).infer_objects()
    else:
        raise FitError(
            f"{name} is a {type(points).__name__}: give a DataFrame with one row for each, or a "
            "mapping from column to values"
        )
    if len(frame) == 0:
        raise FitError(f"{name} has no rows: give one row for each")
    return frame, conversions


def factor_of(belief) -> float:
    """FLOP per parameter and token by which the runs are counted; 6 without runs."""
    known = isinstance(belief, (Fit, Average))
    return belief.runs.flop_factor if known else FLOP_PER_PARAMETER_TOKEN


def target_points(
    target, belief: Fit | Average, group=None, cost: Cost | None = None
) -> tuple[pd.DataFrame | None, xr.DataArray | None, tuple[str, ...]]:
    """The runs whose loss is in question, or draws of another quantity.

    Parameters
    ----------
    target : Forecast, Allocation, DataFrame, mapping or DataArray
        A mapping with ``loss`` alone stands for the compute-optimal run that reaches the loss with
        a probability of 50 %.
    belief : Fit or Average
    group
        The group of a target loss.
    cost : Cost, optional
        As in `bayescale.as_flops`.

    Returns
    -------
    tuple
        A table of points, or draws with the dims (chain, draw) and at most one other; and
        sentences: how budgets in other units were converted, or which run reaches a loss.

    Raises
    ------
    FitError
        If the target is of no known kind, or a loss of a law that does not split budgets.
    LawError
        If a target loss is not reached.
    """
    flop_factor = belief.runs.flop_factor
    if isinstance(target, Mapping) and set(target) == {"loss"}:
        return _reaching(target["loss"], belief, group)
    if isinstance(target, Forecast):
        data = target.data
        names = (*target.fit.law.columns, *target.fit.groups)
        return pd.DataFrame({c: data[c].to_numpy() for c in names}), None, target.conversions
    if isinstance(target, Allocation):
        return None, np.log(target.data["N"]), target.conversions
    if isinstance(target, xr.DataArray):
        if not set(SAMPLE) <= set(target.dims) or target.ndim > 3:
            raise FitError(
                f"target has the dims {target.dims}: draws have chain, draw and at most one other"
            )
        return None, target, ()
    frame, conversions = as_frame(target, "target", cost, flop_factor)
    return frame, None, conversions


def _reaching(loss, belief: Fit | Average, group):
    """The compute-optimal runs that reach losses with a probability of 50 %, and sentences."""
    if not belief.law.allocates:
        raise FitError(
            f"the target is a loss, but {belief.law.name} does not split budgets between N and D, "
            f"so that no single run reaches it: give {_example(belief, 'target-')}"
        )
    split = allocate(belief, loss=loss, probability=0.5, group=group).data
    N, D, C, losses = (split[c].to_numpy() for c in ("N_decision", "D_decision", "C", "target"))
    sentences = tuple(
        f"A loss of {value:.4g} is reached with 50 % probability by {format_count(n)} parameters "
        f"on {format_count(d)} tokens ({format_flop(c)} FLOP), which is the target."
        for n, d, c, value in zip(N, D, C, losses, strict=True)
    )
    return pd.DataFrame({"N": N, "D": D}), None, sentences


def _example(belief: Fit | Average, prefix: str) -> str:
    """How to give a run of the law: ``N= and D= of the target``, or the options."""
    names = list(belief.law.columns)
    if on_command_line() and prefix:
        return " and ".join(f"--{prefix}{'flops' if n == 'C' else n}" for n in names)
    return f"{' and '.join(names)} of {'the target' if prefix else 'each run'}"


def columns_of(
    belief: Fit | Average, frame: pd.DataFrame, group, prefix: str = ""
) -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """The columns of the laws and the labels of the groups at points.

    `prefix` is ``"target-"`` for targets and stands before names of options, as in ``--target-N``.

    Raises
    ------
    FitError
        If a column of the laws is missing, if a count is too small to be meant so, or if a group is
        unknown.
    """
    names = dict.fromkeys(("N", "D", "C", *belief.law.columns))
    given = {c: frame[c].tolist() for c in names if c in frame}
    what = "the target" if prefix else "the table of runs"
    needed = f"{belief.law.name} is a function of {', '.join(belief.law.columns)}"
    if not given:
        present = ", ".join(map(str, frame)) or "no columns"
        loss = ", or {'loss': ...} alone" if prefix and belief.law.allocates else ""
        raise FitError(f"{what} has {present}, but {needed}: give {_example(belief, prefix)}{loss}")
    place = complete_counts(given, belief.runs.flop_factor)
    refuse_tiny({c: place[c] for c in given}, belief.runs.table, prefix)
    if missing := [c for c in belief.law.columns if c not in place]:
        third = set(missing) <= {"N", "D"} and "C" not in given
        name = "--target-flops" if on_command_line() else "C"
        or_compute = f", or its compute ({name})" if third and prefix else ""
        raise FitError(
            f"{what} has {', '.join(given)} without {', '.join(missing)}, but {needed}: give "
            f"{_example(belief, prefix)}{or_compute}"
        )
    refuse_disordered(place)
    first = next(iter(fits_of(belief).values()))
    labels = settle_groups(first.plan, labels_in_points(frame, belief.groups, group), len(frame))
    return place, {g: list(np.broadcast_to(v, len(frame))) for g, v in labels.items()}


def joint_draws(
    belief: Fit | Average, frames: Sequence[pd.DataFrame], group, seed: int, drift: str
) -> list[dict[str, np.ndarray]]:
    """Draws at several sets of points, which share parameters and drift in every draw.

    Parameters
    ----------
    belief : Fit or Average
    frames : sequence of pandas.DataFrame
    group
        The group of points whose table has no column of groups.
    seed : int
        Seed of drift and noise.
    drift : {"auto", "off"}

    Returns
    -------
    list of dict
        For each table: ``centre``, the log loss with drift, and the ``scale`` and ``nu`` of its
        noise; dims (sample, point).
    """
    prefixes = ("", *("target-" for _ in frames[1:]))
    read = [columns_of(belief, f, group, p) for f, p in zip(frames, prefixes, strict=True)]
    needed = [c for c in ("N", "D", "C") if all(c in place for place, _ in read)]
    names = dict.fromkeys((*belief.law.columns, *needed))
    place = {c: np.concatenate([place[c] for place, _ in read]) for c in names}
    groups = {g: [x for _, labels in read for x in labels[g]] for g in belief.groups}
    drawn = draw_losses(fits_of(belief), weights_of(belief), place, groups, seed, drift=drift)
    drawn = drawn[["centre", "scale", "nu"]].transpose(*SAMPLE, "point")
    ends = np.cumsum([len(frame) for frame in frames])
    flat = {v: drawn[v].to_numpy().reshape(-1, ends[-1]) for v in ("centre", "scale", "nu")}
    starts = ends - [len(frame) for frame in frames]
    return [
        {v: a[:, start:end] for v, a in flat.items()}
        for start, end in zip(starts, ends, strict=True)
    ]


def new_runs(
    belief: Fit | Average, target, frame: pd.DataFrame, group, seed: int, drift: str
) -> xr.Dataset:
    """The draws of `bayescale.forecast` at the target.

    Parameters
    ----------
    belief : Fit or Average
    target : object
        As `bayescale.suggest` takes it; the draws of a forecast are those that it has.
    frame : pandas.DataFrame
        The points of the target.
    group, seed, drift
        As in `joint_draws`.

    Returns
    -------
    xarray.Dataset
        In the unit of the losses: ``mean``, with drift, and ``loss``, with the noise of a run; dims
        (chain, draw, point).
    """
    if isinstance(target, Forecast):
        return target.data[["mean", "loss"]]
    place, labels = columns_of(belief, frame, group, "target-")
    drawn = draw_losses(fits_of(belief), weights_of(belief), place, labels, seed, drift=drift)
    return drawn[["mean", "loss"]]
