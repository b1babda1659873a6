"""Credible intervals of posterior draws, with a probability of 90 % by default."""

from __future__ import annotations

from numbers import Real

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import BayescaleError

SAMPLE = ("chain", "draw")
KINDS = ("eti", "hdi")
CI_PROB = 0.9  # default of all results, tables and plots


def defaults(ci_prob: float | None = None, ci_kind: str | None = None) -> tuple[float, str]:
    """Check the probability and the kind of an interval, and replace None by the defaults.

    Parameters
    ----------
    ci_prob : float, optional
        Between 0 and 1; `CI_PROB` by default.
    ci_kind : {"eti", "hdi"}, optional
        Equal-tailed or highest-density; ``arviz.rcParams["stats.ci_kind"]`` by default.

    Raises
    ------
    BayescaleError
        If one of them is not valid.

    Examples
    --------
    >>> defaults(0.9, "eti")
    (0.9, 'eti')
    """
    from arviz_base import rcParams

    prob = CI_PROB if ci_prob is None else ci_prob
    kind = rcParams["stats.ci_kind"] if ci_kind is None else ci_kind
    if not (isinstance(prob, Real) and 0 < prob < 1):
        raise BayescaleError(f"ci_prob is {prob!r}: give a probability between 0 and 1, e.g. 0.9")
    prob = float(prob)
    if kind not in KINDS:
        raise BayescaleError(f"ci_kind is {kind!r}: it may be {' or '.join(map(repr, KINDS))}")
    return prob, kind


def interval(
    draws: xr.DataArray, ci_prob: float | None = None, ci_kind: str | None = None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Lower and upper bound of the credible interval of draws.

    Parameters
    ----------
    draws : xarray.DataArray
        Dims ``chain``, ``draw`` and any others.
    ci_prob, ci_kind
        As in `defaults`.

    Returns
    -------
    tuple of xarray.DataArray
        Lower and upper bound, with the other dims of `draws`.

    Examples
    --------
    >>> draws = xr.DataArray([[1.0, 2.0, 3.0, 4.0, 5.0]], dims=("chain", "draw"))
    >>> [float(bound) for bound in interval(draws, 0.5, "eti")]
    [2.0, 4.0]
    """
    prob, kind = defaults(ci_prob, ci_kind)
    other_dims = [d for d in draws.dims if d not in SAMPLE]
    values = draws.transpose(*SAMPLE, *other_dims).to_numpy()
    values = values.reshape(-1, *values.shape[2:])
    if kind == "eti":
        bounds = np.quantile(values, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    else:
        from arviz_stats.base import array_stats

        bounds = np.moveaxis(array_stats.hdi(values, prob, axis=0), -1, 0)
    coords = {d: draws.coords[d] for d in other_dims if d in draws.coords}
    return tuple(xr.DataArray(b, dims=other_dims, coords=coords) for b in bounds)


def table(
    draws: xr.DataArray, name: str, ci_prob: float | None = None, ci_kind: str | None = None
) -> pd.DataFrame:
    """A table of the median and the credible interval.

    Parameters
    ----------
    draws : xarray.DataArray
        Dims ``chain``, ``draw`` and at most one other.
    name : str
        Name of the quantity.
    ci_prob, ci_kind
        As in `defaults`.

    Returns
    -------
    pandas.DataFrame
        One row per value of the other dim. Columns for the name ``loss``, a probability of 0.9 and
        the kind ``"eti"``: ``loss``, ``loss_eti90_lb`` and ``loss_eti90_ub``.

    Examples
    --------
    >>> draws = xr.DataArray([[1.0, 2.0, 3.0, 4.0, 5.0]], dims=("chain", "draw"))
    >>> table(draws, "loss", 0.5, "eti").to_dict("records")
    [{'loss': 3.0, 'loss_eti50_lb': 2.0, 'loss_eti50_ub': 4.0}]
    """
    prob, kind = defaults(ci_prob, ci_kind)
    lower, upper = interval(draws, prob, kind)
    stem = f"{name}_{kind}{100 * prob:g}"
    return pd.DataFrame(
        {
            name: np.atleast_1d(draws.median(SAMPLE).to_numpy()),
            f"{stem}_lb": np.atleast_1d(lower.to_numpy()),
            f"{stem}_ub": np.atleast_1d(upper.to_numpy()),
        }
    )
