"""Draws of the losses of new runs, under one fitted law or a mixture of several."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayescale.forecasting.mixing import mix
from bayescale.model import AHEAD_AVERAGED, Fit, predict
from bayescale.priors import Positive

#: Multiple of the compute of the largest run at which the laws of an average are compared.
TEN_TIMES = 10.0


def ahead_of(fit: Fit, is_average: bool) -> Positive:
    """Prior on the size of a law's drift beyond the runs.

    The default is smaller where several laws are averaged than for one law, because the differences
    between the laws represent part of the misspecification. A prior that the user gave is not
    replaced.
    """
    return AHEAD_AVERAGED if is_average and fit.plan.ahead is None else fit.plan.drift_ahead


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
    drawn = {
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
    if len(drawn) == 1:
        (draws,) = drawn.values()
        return draws
    return mix(drawn, weights)


def beyond_largest(fit: Fit) -> tuple[dict[str, float], dict[str, str]]:
    """A run of ten times the compute of the largest run, and the group of that run.

    Each column of the law that is a size is multiplied by the same factor.
    """
    largest = int(fit.plan.log_scale.argmax())
    columns, sizes = fit.plan.columns, fit.law.sizes
    step = TEN_TIMES ** (1 / len(sizes))
    table = fit.runs.table
    group = {g: str(table[g].iloc[largest]) for g in fit.groups}
    place = {c: float(v[largest] * (step if c in sizes else 1)) for c, v in columns.items()}
    return place, group


def losses_by_law(
    fits: Mapping[str, Fit], place: Mapping[str, float], group: Mapping[str, str] | None
) -> dict[str, float]:
    """The median loss that each law alone gives at one point."""
    return {
        name: float(fit.law(place, fit.plan.scales, fit.parameters(group or None)).median())
        for name, fit in fits.items()
    }
