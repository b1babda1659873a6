"""Compute multipliers: how much more compute one recipe needs to reach the loss of another."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.costs import Cost, read_budgets
from bayescale.decisions.paths import (
    BEST,
    BEYOND,
    MOST_TIMES,
    Side,
    at_scale,
    crossing,
    grid,
    losses,
    on_grid,
    path_of,
    scale_of,
    side,
)
from bayescale.decisions.speedup_results import Speedup
from bayescale.errors import ExtrapolationWarning, FitError, unknown
from bayescale.forecasting import DRIFTS, Average, forecast, reached, refuse_tiny
from bayescale.intervals import SAMPLE
from bayescale.model import Fit
from bayescale.seeds import settle_seed
from bayescale.units import as_counts, times_in_words

#: Both ends of the common range are compared if they are at least this factor apart.
APART = 3.0


def speedup(
    fit: Fit | Average,
    group=None,
    *,
    over,
    at=None,
    loss=None,
    along=None,
    cost: Cost | None = None,
    drift: str = "auto",
    random_seed: int | None = None,
    **columns: float,
) -> Speedup:
    """How much more compute one recipe needs to reach the loss of another.

    Parameters
    ----------
    fit : Fit or Average
        A posterior whose groups are recipes, or that of one recipe.
    group : str or mapping, optional
        The group of the first recipe; not given for a fit without groups.
    over : str, mapping, Fit or Average
        The other recipe: a group of `fit`, or another fit of the same response.
    at : float, str or array_like, optional
        Compute of the first recipe in FLOP (``"1e22"``), or in any unit that `bayescale.as_flops`
        reads; tokens or parameters for a law of one of these alone. By default both ends of the
        range that both recipes have runs of.
    loss : float or array_like, optional
        Target losses, in place of `at`.
    along : float or "best", optional
        The path of N and D. A number is the ratio of tokens to parameters, so that N and D are
        equal at equal compute; by default the median ratio of the runs. ``"best"``: for each recipe
        the split of each budget that minimises its expected loss.
    cost : Cost, optional
        The hardware and its prices, for budgets in units other than FLOP; by default the
        accelerator that they name, or an H100.
    drift : {"auto", "off"}
        As in `bayescale.forecast`.
    random_seed : int, optional
        Seed of the drift; by default that of the fit.
    **columns : float
        Constant values of columns of the law other than N, D and C.

    Returns
    -------
    Speedup
        Draws of the multiplier, of the difference in loss and of the crossing of the two curves.

    Raises
    ------
    FitError
        If a group is unknown or missing, if both `at` and `loss` are given, if the two fits have
        losses in different units, or if no draw reaches a target loss.
    LawError
        If a law is no function of N, D or C, or if a budget cannot be read.

    Warns
    -----
    ExtrapolationWarning
        As `bayescale.forecast`, for both recipes.

    Notes
    -----
    Curves are of the expected loss, with the drift beyond the runs and without noise. The two
    groups of one fit are compared draw by draw, so that uncertainty about shared parameters
    cancels. The curve of each draw is evaluated on a grid of compute up to 1e4 times the given one,
    and interpolated linearly in the logs.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm")
    >>> c4 = bs.fit(runs.query("dataset == 'c4'"), draws=200, random_seed=1)
    >>> web = bs.fit(runs.query("dataset == 'refinedweb'"), draws=200, random_seed=1)
    >>> bool(1.5 < bs.speedup(c4, over=web, at=1e20).data["multiplier"].median() < 4)
    True
    """
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    two_fits = isinstance(over, (Fit, Average))
    first = side(fit, group, "the first recipe")
    other = side(over, group if over.groups else None, "the second recipe") if two_fits else None
    other = other or side(fit, _required(over), "")
    if first.labels == other.labels and not two_fits:
        raise FitError(f"{first.name} is compared with itself: name two groups")
    _check_units(first, other)
    scale = scale_of((first, other))
    seed = fit.random_seed if random_seed is None else settle_seed(random_seed)
    both = pd.concat([first.runs(), other.runs()])
    smallest, largest = (float(f(both[scale])) for f in (np.min, np.max))
    if loss is not None and at is not None:
        raise FitError("at= and loss= are both given: give one of them")
    targets = None if loss is None else as_counts(loss, "loss")
    if at is None:
        at = _ends([each.runs()[scale] for each in (first, other)])
    at, conversions = (
        read_budgets(at, cost, flop_factor=fit.runs.flop_factor, name="at")
        if scale == "C"
        else (as_counts(at, "at"), ())
    )
    if scale == "C":
        refuse_tiny({"at": at}, both)
    along, in_words = _path_in_words(along, both, first, scale)
    low = np.log(min(at.min(), smallest) / MOST_TIMES)
    high = np.log(max(at.max(), BEYOND * largest) * MOST_TIMES)
    span = (min(at.min(), smallest) / 100, max(at.max(), largest) * 100)
    log_x = grid(low, high, np.log(at))
    others = [Side(fit, member, ", ".join(member.values())) for member in fit.members() if member]
    rest = [] if targets is not None or two_fits else others
    rest = [s for s in rest if s.labels not in (first.labels, other.labels)]
    sides = [first, other, *rest]
    paths = [path_of(each, scale, along, span, columns) for each in sides]
    if two_fits:
        curves = [
            *losses(sides[:1], paths[:1], [log_x], seed, drift),
            *losses(sides[1:], paths[1:], [log_x], seed + 1, drift),
        ]
        curves = _equal_numbers(curves)
    else:
        wheres = [log_x, log_x, *(np.log(at) for _ in rest)]
        curves = losses(sides, paths, wheres, seed, drift)
    (one, floor), (two, floor_over), *more = curves
    data = _compared(log_x, one, two, at, targets, np.log([smallest, largest * BEYOND]))
    data = data.assign(floor=(SAMPLE, floor[None]), floor_over=(SAMPLE, floor_over[None]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ExtrapolationWarning)
        reasons = _reasons(first, other, paths, data["at"].to_numpy(), columns, drift)
    for warning in {str(w.message): w for w in caught}.values():
        warnings.warn(str(warning.message), warning.category, stacklevel=2)
    best = pd.DataFrame(columns=["at", "group", "loss", "p_best"])
    if targets is None and not two_fits:
        places = np.searchsorted(log_x, np.log(at))
        best = _best(sides, at, [one[:, places], two[:, places], *(m for m, _ in more)])
    fits = (fit, over if two_fits else fit)
    return Speedup(
        data,
        best,
        first.name,
        other.name,
        scale,
        in_words,
        *fits,
        tuple(reasons),
        int(seed),
        conversions,
    )


def _ends(scales: Sequence[pd.Series]) -> list[float]:
    """Both ends of the range that the runs of two recipes have in common, or else its upper end."""
    low = max(float(each.min()) for each in scales)
    high = min(float(each.max()) for each in scales)
    return [low, high] if APART * low <= high else [high]


def _required(over):
    if over is None:
        raise FitError("over= is None: name the group, or give the fit, to compare with")
    return over


def _check_units(first: Side, other: Side) -> None:
    units = [each.fit.runs.loss_unit for each in (first, other)]
    if units[0] and units[1] and units[0] != units[1]:
        raise FitError(
            f"the losses of the two fits are in different units ({units[0]} and {units[1]}): fit "
            "losses of one kind"
        )


def _path_in_words(along, both: pd.DataFrame, first: Side, scale: str):
    """The path as `path_of` takes it, and in words."""
    law = first.fit.law
    if scale != "C" or not {"N", "D"} & set(law.columns):
        return None, ""
    if along == BEST:
        return BEST, "along each recipe's best split"
    if along is None:
        along = float(np.exp(np.median(np.log(both["D"] / both["N"]))))
    try:
        ratio = float(along)
    except (TypeError, ValueError):
        ratio = np.nan
    if not (np.isfinite(ratio) and ratio > 0):
        raise FitError(
            f"along is {along!r}: give the ratio of tokens to parameters, such as 20, or 'best'"
        )
    return ratio, f"and {times_in_words(ratio)} tokens per parameter"


def _equal_numbers(curves):
    """Evenly spaced draws, as many of each fit as the smaller has; fits are independent."""
    size = min(len(curve) for curve, _ in curves)
    picks = [np.linspace(0, len(curve) - 1, size).round().astype(int) for curve, _ in curves]
    return [(c[rows], f[rows]) for (c, f), rows in zip(curves, picks, strict=True)]


def _compared(log_x, one, two, at, targets, ends) -> xr.Dataset:
    """Multiplier, difference and crossing in each draw, of two curves on one grid."""
    if targets is None:
        x = np.broadcast_to(np.log(at), (len(one), len(at)))
        goal = at_scale(log_x, one, x)
    else:
        goal = np.broadcast_to(np.log(targets), (len(one), len(targets)))
        x = reached(log_x, one, goal)
        if (~np.isfinite(x)).all(axis=0).any():
            raise FitError(
                "no draw of the first recipe reaches a target loss at a scale that can be compared "
                f"({', '.join(f'{t:.4g}' for t in targets)}): give losses nearer to the runs"
            )
        at = np.exp(np.nanmedian(np.where(np.isfinite(x), x, np.nan), axis=0))
    needed = reached(log_x, two, goal)
    with np.errstate(invalid="ignore", over="ignore"):
        log_m = np.where(np.isinf(needed) & (needed == x), np.nan, needed - x)
        multiplier = np.clip(np.exp(log_m), 1 / MOST_TIMES, MOST_TIMES)
        place = np.clip(x, log_x[0], log_x[-1])
        difference = np.exp(at_scale(log_x, two, place)) - np.exp(goal)
    difference = np.where(np.isfinite(x), difference, np.nan)
    inside = (log_x >= ends[0]) & (log_x <= ends[1]) & on_grid(log_x)
    found = crossing(log_x[inside], (two - one)[:, inside])
    dims = (*SAMPLE, "point")
    return xr.Dataset(
        {
            "multiplier": (dims, multiplier[None]),
            "difference": (dims, difference[None]),
            "loss": (dims, np.exp(goal)[None]),
            "crossing": (SAMPLE, np.exp(found)[None]),
        },
        coords={
            "at": ("point", at),
            "target": ("point", np.full(len(at), np.nan) if targets is None else targets),
        },
    )


def _reasons(first, other, paths, at, columns: Mapping, drift: str) -> list[str]:
    """Reasons to doubt forecasts of the two recipes at the given scales."""
    reasons = []
    for each, path in zip((first, other), paths, strict=False):
        place = path.columns(np.log(at))
        place = {c: v for c, v in place.items() if c != "C" or len(place) == 1 or "N" not in place}
        ahead = forecast(each.fit, **place, group=dict(each.labels) or None, drift=drift)
        reasons += ahead.cautions()
    return list(dict.fromkeys(reasons))


def _best(sides, at: np.ndarray, log_losses) -> pd.DataFrame:
    """Probability that each group has the lowest expected loss, at each point."""
    stacked = np.stack(log_losses)
    lowest = stacked.argmin(axis=0)
    return pd.DataFrame(
        {
            "at": float(at[j]),
            "group": each.name,
            "loss": float(np.exp(np.median(stacked[i, :, j]))),
            "p_best": float((lowest[:, j] == i).mean()),
        }
        for j in range(len(at))
        for i, each in enumerate(sides)
    )
