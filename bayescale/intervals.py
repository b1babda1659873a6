"""Credible intervals over posterior draws, of 90 % unless another probability is given."""

from __future__ import annotations

from numbers import Real

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import BayescaleError

SAMPLE = ("chain", "draw")
KINDS = ("eti", "hdi")
CI_PROB = 0.9  # of every interval in results, tables and plots


def defaults(ci_prob: float | None = None, ci_kind: str | None = None) -> tuple[float, str]:
    """Fill in what is None: `CI_PROB`, and the kind in ArviZ's ``stats.ci_kind``."""
    from arviz_base import rcParams

    prob = CI_PROB if ci_prob is None else ci_prob
    kind = rcParams["stats.ci_kind"] if ci_kind is None else ci_kind
    if not (isinstance(prob, Real) and 0 < prob < 1):
        raise BayescaleError(f"ci_prob is {prob!r}: give a probability between 0 and 1, as 0.9")
    prob = float(prob)
    if kind not in KINDS:
        raise BayescaleError(f"ci_kind is {kind!r}: it may be {' or '.join(map(repr, KINDS))}")
    return prob, kind


def interval(draws: xr.DataArray, ci_prob: float | None = None, ci_kind: str | None = None):
    """Lower and upper bound over chains and draws.

    Parameters
    ----------
    draws : xarray.DataArray
        With dims ``chain`` and ``draw``.

    Returns
    -------
    tuple of xarray.DataArray
        Both with the remaining dims.
    """
    prob, kind = defaults(ci_prob, ci_kind)
    rest = [d for d in draws.dims if d not in SAMPLE]
    values = draws.transpose(*SAMPLE, *rest).to_numpy()
    values = values.reshape(-1, *values.shape[2:])
    if kind == "eti":
        bounds = np.quantile(values, [(1 - prob) / 2, (1 + prob) / 2], axis=0)
    else:
        bounds = _narrowest(values, prob)
    coords = {d: draws.coords[d] for d in rest if d in draws.coords}
    return tuple(xr.DataArray(b, dims=rest, coords=coords) for b in bounds)


def _narrowest(values: np.ndarray, prob: float) -> np.ndarray:
    """The narrowest interval that holds `prob` of the draws, along the first axis."""
    ordered = np.sort(values, axis=0)
    inside = int(np.floor(prob * len(ordered)))
    width = ordered[inside:] - ordered[: len(ordered) - inside]
    start = np.expand_dims(width.argmin(axis=0), 0)
    return np.stack([np.take_along_axis(ordered, start + k, 0)[0] for k in (0, inside)])


def table(draws: xr.DataArray, name: str, ci_prob=None, ci_kind=None) -> pd.DataFrame:
    """Median and interval as columns ``name``, ``name_eti90_lb``, ``name_eti90_ub``."""
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
