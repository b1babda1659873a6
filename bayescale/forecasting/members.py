"""Draws of the losses of new runs, under one fitted law or a mixture of several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayescale.data import ORDERED
from bayescale.forecasting.mixing import mix
from bayescale.intervals import SAMPLE
from bayescale.model import Fit, predict, settle_groups
from bayescale.priors import Positive

#: Multiple of the compute of the largest run at which the laws of an average are compared.
TEN_TIMES = 10.0
#: Difference of log scale up to which runs are of one budget.
TIE = 0.01


def ahead_of(fit: Fit, is_average: bool) -> Positive:
    """Prior on the size of a law's drift beyond the runs.

    The default is smaller where several laws are averaged than for one law, because the differences
    between the laws represent part of the misspecification. A prior that the user gave is not
    replaced.
    """
    return fit.plan.drift_ahead(is_average)


def draw_losses(
    fits: Mapping[str, Fit],
    weights: Mapping[str, float],
    place: Mapping[str, np.ndarray],
    groups: Mapping[str, object],
    seed: int,
    *,
    series=None,
    drift: str = "auto",
) -> xr.Dataset:
    """Draws of the losses of new runs; with several fits, of their mixture.

    Parameters
    ----------
    fits : mapping of str to Fit
    weights : mapping of str to float
        One for each fit.
    place : mapping of str to numpy.ndarray
        Columns of the laws in absolute units, dims (point,).
    groups : mapping
        Labels by group column, from `bayescale.model.settle_groups`.
    seed : int
        Seed of drift, noise and new groups.
    series : sequence of str or None, optional
        The fitted series that each point continues.
    drift : {"auto", "off"}
        As in `bayescale.forecast`.

    Returns
    -------
    xarray.Dataset
        The variables of `bayescale.model.predict`; dims (chain, draw, point).
    """
    drawn = _draws_by_law(fits, place, groups, seed, series, drift)
    if len(drawn) == 1:
        (draws,) = drawn.values()
        return draws
    return mix(drawn, weights)


def _draws_by_law(fits, place, groups, seed, series, drift) -> dict[str, xr.Dataset]:
    """The draws of each law before they are mixed; arguments as in `draw_losses`."""
    return {
        name: predict(
            fit.posterior,
            fit.plan,
            place,
            groups,
            np.random.default_rng(seed),
            series=series,
            ahead=None if drift == "off" else ahead_of(fit, len(fits) > 1),
        )
        for name, fit in fits.items()
    }


def beyond_largest(fit: Fit) -> tuple[dict[str, float], dict[str, str]]:
    """A run of ten times the compute of the largest run, and the group of that run.

    Each column of the law that is a size is multiplied by the same factor, and so is a column that
    may not be smaller than one of them, such as the parameters of all experts.
    """
    # Of the runs of the largest budget, that with the lowest loss is of the most sensible shape.
    scale = fit.plan.log_scale
    largest = int(np.where(scale > scale.max() - TIE, fit.plan.log_loss, np.inf).argmin())
    columns, sizes = fit.plan.columns, fit.law.sizes
    step = TEN_TIMES ** (1 / len(sizes))
    grown = {*sizes, *(large for small, large in ORDERED if small in sizes)}
    table = fit.runs.table
    group = {g: str(table[g].iloc[largest]) for g in fit.groups}
    place = {c: float(v[largest] * (step if c in grown else 1)) for c, v in columns.items()}
    return place, group


def losses_by_law(
    fits: Mapping[str, Fit],
    place: Mapping[str, float | np.ndarray],
    group: Mapping[str, str] | None,
    *,
    series=None,
    drift: str = "auto",
) -> dict[str, np.ndarray]:
    """The median loss of a new run under each law, as the forecast of their average has it.

    The draws are those that `draw_losses` mixes. They include the drift that was inferred through
    the runs and the discrepancy near them, so the median of the mixture lies between these medians.

    Parameters
    ----------
    fits : mapping of str to Fit
    place : mapping of str to float or numpy.ndarray
        Columns of the laws in absolute units, one value or dims (point,).
    group : mapping of str to str, optional
        A fitted group; None stands for a new one.
    series, drift
        As in `draw_losses`.

    Returns
    -------
    dict of str to numpy.ndarray
        Dims (point,).
    """
    first = next(iter(fits.values()))
    columns = {c: np.atleast_1d(np.asarray(v, float)) for c, v in place.items()}
    size = len(next(iter(columns.values())))
    groups = settle_groups(first.plan, group or None, size)
    drawn = _draws_by_law(fits, columns, groups, first.random_seed, series, drift)
    return {name: draws["loss"].median(SAMPLE).to_numpy() for name, draws in drawn.items()}
