"""Forecasts of curves that may break, with drift and breaks beyond the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.capabilities.break_model import Curve
from bayescale.capabilities.break_results import Breaks
from bayescale.errors import RunsError, unknown
from bayescale.forecasting import PredictiveDraws, forecast
from bayescale.intervals import SAMPLE
from bayescale.model import drift
from bayescale.units import counted

#: Index of a family that is not in the data.
NEW_FAMILY = -1


@dataclass(frozen=True, eq=False, repr=False)
class BreakForecast(PredictiveDraws):
    """The posterior predictive of a curve, inside and beyond its points.

    `summary` gives the medians and credible intervals of ``mean`` and ``y``. `decompose` gives the
    width of the interval of ``y`` (of its logarithm for losses and Brier scores) and the shares of
    three sources of uncertainty: ``curve`` (parameters and breaks inside the data), ``ahead``
    (drift and breaks beyond the data) and ``noise``.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (chain, draw, point), in the unit of the table. ``mean``: the expected score; ``y``:
        the score of a new model, with noise; ``curve``: ``mean`` without drift and breaks beyond
        the last point. Coordinates of ``point``: ``x``, ``group`` and, where the table has
        families, ``family`` (empty for a new one).
    breaks : Breaks
        The posterior from which the forecast is computed.
    group : str
        Label of the curve.
    random_seed : int
        The seed of drift, breaks beyond the data, noise and new families.
    """

    shown = ("mean", "y")

    breaks: Breaks = field(repr=False)
    group: str
    random_seed: int

    @property
    def _source(self) -> Breaks:
        return self.breaks

    def _parts(self) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
        rows = self._rows(("curve", "mean", "y"))
        if self.breaks.metric != "accuracy":
            rows = np.log(rows)
        return rows["y"], {
            "curve": rows["curve"],
            "ahead": rows["mean"] - rows["curve"],
            "noise": rows["y"] - rows["mean"],
        }

    def _heading(self) -> str:
        points = self.data.sizes["point"]
        return f"BreakForecast of {self.breaks.y}, {self.group}, {counted(points, 'point')}"

    def _line(self, row: pd.Series, outcome: str) -> str:
        return f"{self.breaks.x} {row['x']:.3g}: {outcome}"


@forecast.register(Breaks)
def forecast_curve(
    breaks: Breaks,
    x,
    *,
    group: str | None = None,
    family: str | Sequence[str] | None = None,
    random_seed: int | None = None,
) -> BreakForecast:
    """Forecast a curve; `bayescale.forecast` calls this for `Breaks`.

    Parameters
    ----------
    breaks : Breaks
        The posterior of breaks.
    x : float or array_like
        Positions of the forecast, inside or beyond the data; positive, in the unit of the table.
    group : str, optional
        Label of the curve; may be left out where there is only one.
    family : str or sequence of str, optional
        Model family, one for all `x` or one for each. None stands for a new family.
    random_seed : int, optional
        Seed of drift, breaks, noise and new families; by default that of `breaks`.

    Returns
    -------
    BreakForecast

    Raises
    ------
    RunsError
        If `x` is not positive, or a group or family is unknown.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> import bayescale as bs
    >>> x = np.geomspace(1e18, 1e21, 12)
    >>> straight = pd.DataFrame({"C": x, "loss": 2 + (x / 1e18) ** -0.2})
    >>> ahead = bs.forecast(bs.breaks(straight, particles=64, random_seed=1), x=[1e22])
    >>> bool(2 < ahead.data["mean"].median() < 2.25)
    True
    """
    label = breaks.label(group)
    x = _positive(x)
    member = _family_indices(breaks, family, len(x))
    seed = breaks.random_seed if random_seed is None else int(random_seed)
    rng = np.random.default_rng([seed, 2])
    curve = breaks.curves[label]
    s = np.log(x) - curve.middle
    parts = []
    for model, positions, coefficients in breaks.draws[label]:
        h = model.hyperparameters(positions)
        fitted = model.eta(positions, coefficients, s, member)
        ahead = _beyond_data(curve, h, s, breaks.rate, rng)
        if curve.n_families:
            intercept = h["family"][:, 0] * rng.standard_normal(len(positions))
            fitted[:, member == NEW_FAMILY] += intercept[:, None]
        eta = fitted + ahead
        parts.append(
            {
                "curve": curve.metric.mean(fitted, h),
                "mean": curve.metric.mean(eta, h),
                "y": curve.metric.draw(eta, h, rng),
            }
        )
    data = {
        name: ((*SAMPLE, "point"), np.concatenate([part[name] for part in parts])[None])
        for name in ("curve", "mean", "y")
    }
    coords = {"x": ("point", x), "group": ("point", [label] * len(x))}
    if curve.n_families:
        names = ["" if i == NEW_FAMILY else breaks.families[i] for i in member]
        coords["family"] = ("point", names)
    return BreakForecast(xr.Dataset(data, coords=coords), breaks, label, seed)


def _beyond_data(curve: Curve, h, s: np.ndarray, rate: tuple[float, float], rng) -> np.ndarray:
    """Drift and a break beyond the last point, on the scale of `eta`; (draw, point).

    `rate` is the posterior of the rate of breaks per e-fold: shape and rate of a Gamma
    distribution.
    """
    distance = np.maximum(s - curve.end, 0.0)
    n = len(h["slope"])
    # The part of the slope at the last point that the principal components do not include.
    start = np.sqrt(curve.drift_components[1]) * rng.standard_normal(n)
    walk = drift.integrated_walk(np.broadcast_to(distance, (n, len(s))), rng, start=start)
    shape, inverse_scale = rate
    breaks_per_efold = rng.gamma(shape, 1 / inverse_scale, n)
    future_break = drift.future_break(distance, breaks_per_efold, n, rng)
    return h["slope"] * (h["drift"] * walk + future_break)


def _positive(x) -> np.ndarray:
    """`x` as an array of positive, finite numbers, (point,)."""
    try:
        values = np.atleast_1d(np.asarray(x, float))
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if values.ndim != 1 or not len(values) or not (np.isfinite(values) & (values > 0)).all():
        raise RunsError(f"x is {x!r}: give one or several positive numbers")
    return values


def _family_indices(breaks: Breaks, family, size: int) -> np.ndarray:
    """Index of the family of each point, (point,)."""
    if family is None:
        return np.full(size, NEW_FAMILY)
    names = [family] * size if isinstance(family, str) else list(family)
    problems = [
        unknown("family", name, breaks.families)
        for name in dict.fromkeys(names)
        if name is not None and name not in breaks.families
    ]
    if len(names) != size:
        problems.append(f"{len(names)} families for {size} x: give one for all or one for each")
    if problems:
        raise RunsError(problems)
    return np.array([NEW_FAMILY if n is None else breaks.families.index(n) for n in names])
