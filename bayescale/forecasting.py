"""The loss of runs that nobody has made yet, with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.allocation import as_counts, best_split, said_group
from bayescale.errors import ExtrapolationWarning, FitError, unknown
from bayescale.fitting import Fit
from bayescale.intervals import SAMPLE, table
from bayescale.posterior import parameters, settle_groups
from bayescale.units import format_count, format_flop

#: Beyond this multiple of the largest training compute a forecast warns.
FAR = 100.0
#: Where a heavy tail's log noise is cut, so that a loss stays a finite number.
WILD = 50.0


@dataclass(frozen=True, eq=False)
class Forecast:
    """The posterior predictive of runs not yet made.

    Attributes
    ----------
    data : xarray.Dataset
        ``mean``: where the law lies; ``loss``: what a new run would measure, noise included. Nats
        per token; dims (chain, draw, point). Coordinates of ``point``: ``N``, ``D``, ``C``, the
        group columns, and ``extrapolation``, the compute in multiples of the largest fitted run's.
    law : str
        The law that was fitted.
    random_seed : int
        The seed of the noise and of unseen groups.
    """

    data: xr.Dataset = field(repr=False)
    law: str
    group: str
    random_seed: int
    fit: Fit = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per point: where it is, then medians and intervals of ``mean`` and ``loss``.

        Parameters
        ----------
        ci_prob, ci_kind : optional
            Probability and kind of the intervals; ArviZ's defaults.

        Warns
        -----
        ConvergenceWarning
            If the fit failed its check.
        """
        self.fit.warn_if_failed()
        places = {c: self.data[c].to_numpy() for c in self.data.coords
                  if c not in ("point", *SAMPLE) and "point" in self.data[c].dims}
        parts = [table(self.data[v], v, ci_prob, ci_kind) for v in ("mean", "loss")]
        return pd.concat([pd.DataFrame(places), *parts], axis=1)

    def beats(self, loss: float) -> np.ndarray:
        """Probability that a new run at each point measures less than `loss`.

        Parameters
        ----------
        loss : float or array_like
            In nats per token; one value, or one per point.

        Returns
        -------
        numpy.ndarray
            One probability per point.
        """
        size = self.data.sizes["point"]
        try:
            target = xr.DataArray(np.broadcast_to(np.asarray(loss, float), size), dims="point")
        except (ValueError, TypeError):
            raise FitError(f"loss is {loss!r}: give one number, or one for each of the {size} "
                           "points") from None
        return (self.data["loss"] < target).mean(SAMPLE).to_numpy()

    def __repr__(self) -> str:
        lines = [f"<Forecast by {self.law}{self.group}, {self.data.sizes['point']} point(s)>"]
        frame = self.summary()
        names = list(frame.columns)
        at = names.index("loss")
        for _, row in frame.head(6).iterrows():
            place = ", ".join(f"{c} {write(row[c])}" for c, write in
                              (("N", format_count), ("D", format_count), ("C", format_flop))
                              if c in frame)
            lines.append(f"  {place}: loss {row.iloc[at]:.3f} "
                         f"({names[at + 1].split('_')[1]} {row.iloc[at + 1]:.3f} to "
                         f"{row.iloc[at + 2]:.3f}), {row.extrapolation:.3g}x the largest run")
        return "\n".join(lines + (["  ..."] if len(frame) > 6 else []))


def forecast(
    fit: Fit,
    points: pd.DataFrame | None = None,
    *,
    N=None,
    D=None,
    C=None,
    group=None,
    random_seed: int | None = None,
    **columns,
) -> Forecast:
    """Forecast the loss of runs that were not made.

    Parameters
    ----------
    fit : Fit
    points : pandas.DataFrame, optional
        One row per run, columns named as the law's (``N``, ``D``, ``C``) and the group columns.
    N, D, C : float, str or array_like, optional
        Parameters, tokens, training FLOP (``"70B"``, ``1.4e12``, arrays). Any two give the third.
        `C` alone forecasts along the compute-optimal path: the split of each budget that minimises
        the expected loss.
    group : str, array_like of str, or mapping, optional
        Fitted groups, one for all points or one per point (of one point: several). None stands
        for a new group from the population.
    random_seed : int, optional
        Seed of the noise; the fit's own by default.
    **columns : array_like
        Other columns of a law of your own.

    Returns
    -------
    Forecast

    Raises
    ------
    FitError
        If the points do not say what the law needs, or name unknown groups.

    Warns
    -----
    ExtrapolationWarning
        Beyond 100 times the largest fitted run.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm"), groups="dataset", random_seed=1)
    >>> ahead = bs.forecast(fit, N="7B", D="140B", group="c4")
    >>> bool(2 < ahead.data["mean"].median() < 3)
    True
    """
    if points is not None:
        N, D, C, group, columns = _from_frame(fit, points, (N, D, C, group), columns)
    if strange := [c for c in columns if c not in fit.law.columns]:
        known = dict.fromkeys(("N", "D", "C", *fit.law.columns))
        raise FitError([unknown("column", c, known) for c in strange])
    place = _points(fit, {"N": N, "D": D, "C": C, **columns}, group)
    size = len(next(iter(place.values())))
    labels = group.values() if isinstance(group, Mapping) else [group]
    if size == 1:  # one run, asked of several groups
        size = max((len(x) for x in labels if np.ndim(x)), default=1)
        place = {c: np.broadcast_to(v, size) for c, v in place.items()}
    settled = settle_groups(fit.plan, group, size)
    seed = fit.random_seed if random_seed is None else int(random_seed)
    rng = np.random.default_rng(seed)
    values = parameters(fit.posterior, fit.plan, settled, rng)
    here = {c: xr.DataArray(v, dims="point") for c, v in place.items()}
    mean = fit.law(here, fit.plan.scales, values)
    mean = mean.broadcast_like(xr.DataArray(np.zeros(size), dims="point"))
    mean = mean.transpose("chain", "draw", "point")
    measured = np.hypot(values["sigma"], float(np.median(fit.plan.log_loss_sd)))
    nu = values["nu"].broadcast_like(mean).transpose(*mean.dims).to_numpy()
    noise = xr.DataArray(rng.standard_t(nu), dims=mean.dims)
    data = xr.Dataset({"mean": mean, "loss": mean * np.exp((measured * noise).clip(-WILD, WILD))})
    coords = {c: ("point", v) for c, v in place.items()}
    coords |= {g: ("point", np.broadcast_to(v, size)) for g, v in settled.items()}
    far = _extrapolation(fit, place)
    data = data.assign_coords(**coords, extrapolation=("point", far))
    if far.max() > FAR:
        warnings.warn(
            f"{int((far > FAR).sum())} point(s) lie beyond {FAR:.0f} times the largest fitted run "
            f"(up to {far.max():.3g} times): no table of runs shows how a law bends that far out",
            ExtrapolationWarning, stacklevel=2)
    of_one = all(isinstance(label, str) for label in settled.values())
    return Forecast(data, fit.law.name, said_group(group) if of_one else "", seed, fit)


def _from_frame(fit: Fit, points, given, columns):
    if not isinstance(points, pd.DataFrame):
        raise FitError(f"points must be a DataFrame, got {type(points).__name__}; "
                       "or give N=, D=, C=")
    if any(g is not None for g in given[:3]) or columns:
        raise FitError("give points either as a DataFrame or by keyword, not both")
    if len(points) == 0:
        raise FitError("the DataFrame of points has no rows")
    named = {c: points[c].tolist() for c in points if c in {"N", "D", "C", *fit.law.columns}}
    inside = {g: points[g].tolist() for g in fit.groups if g in points}
    for g in set(fit.groups) - set(inside):
        if near := [c for c in points if str(c).lower().strip() == g.lower()]:
            raise FitError(f"the points have a column {near[0]!r}, the fit a group column {g!r}: "
                           "name them alike")
    if inside and given[3] is not None:
        raise FitError(f"groups are given twice: in the column(s) {', '.join(inside)}, and by "
                       "group=")
    extra = {c: v for c, v in named.items() if c not in "NDC"}
    return named.get("N"), named.get("D"), named.get("C"), inside or given[3], extra


def _points(fit: Fit, given: Mapping[str, object], group) -> dict[str, np.ndarray]:
    """Columns of the points, completed: any two of N, D, C, or C alone along the best path."""
    place = {c: as_counts(v, c) for c, v in given.items() if v is not None}
    sizes = {len(v) for v in place.values() if len(v) > 1}
    if len(sizes) > 1:
        lengths = ", ".join(f"{c}: {len(v)}" for c, v in place.items())
        raise FitError(f"the columns differ in length ({lengths}): give one value or equally many")
    size = max(sizes, default=1)
    place = {c: np.broadcast_to(v, size).astype(float) for c, v in place.items()}
    factor = fit.runs.flop_factor
    known = {c for c in "NDC" if c in place}
    if known == {"N", "D"}:
        place["C"] = factor * place["N"] * place["D"]
    elif known == {"N", "C"}:
        place["D"] = place["C"] / (factor * place["N"])
    elif known == {"D", "C"}:
        place["N"] = place["C"] / (factor * place["D"])
    elif known == {"N", "D", "C"} and fit.law.allocates:
        ratio = place["C"] / (factor * place["N"] * place["D"])
        if (np.abs(np.log(ratio)) > np.log(2)).any():
            raise FitError("C disagrees with N and D by more than a factor of 2 in the accounting "
                           f"of the runs (C = {factor:.3g} N D): give two of the three")
    elif known == {"C"} and fit.law.allocates:
        place["N"], place["D"] = best_split(fit, place["C"], group)
    if missing := [c for c in fit.law.columns if c not in place]:
        raise FitError(f"law {fit.law.name!r} needs {', '.join(fit.law.columns)}; "
                       f"{', '.join(missing)} cannot be told from {', '.join(place) or 'nothing'}")
    return place


def _extrapolation(fit: Fit, place: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute in multiples of the largest run; the law's first column where C is not known."""
    column = "C" if "C" in place and "C" in fit.runs else fit.law.columns[0]
    return place[column] / float(fit.runs.table[column].max())
