"""The loss of runs that nobody has made yet, with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import ExtrapolationWarning, FitError, unknown
from bayescale.forecasting.allocation import as_counts, best_split, said_group
from bayescale.forecasting.averaging import Average, mix
from bayescale.intervals import SAMPLE, interval, table
from bayescale.model import AHEAD, AHEAD_AVERAGED, Fit, predict, settle_groups
from bayescale.priors import Positive
from bayescale.units import format_count, format_flop

#: Beyond this multiple of the largest training compute a forecast warns.
FAR = 100.0


@dataclass(frozen=True, eq=False)
class Forecast:
    """The posterior predictive of runs not yet made.

    Attributes
    ----------
    data : xarray.Dataset
        ``law``: what the law says, with any drift that was inferred from the runs; ``mean``: the
        same with its drift beyond them; ``loss``: what a new run would measure, noise included.
        Nats per token; dims (chain, draw, point). Coordinates of ``point``: ``N``, ``D``, ``C``,
        the group columns, ``series`` where one is continued, and ``extrapolation``, the compute in
        multiples of the largest fitted run's. Draws of one series hold at each point by itself:
        how its noise goes on from point to point is left out.
    noise : xarray.Dataset
        The noise of ``loss``: ``centre`` and ``scale`` in log loss, and tail ``nu``.
    law : str
        The law that was fitted.
    random_seed : int
        The seed of drift, noise and unseen groups.
    """

    data: xr.Dataset = field(repr=False)
    noise: xr.Dataset = field(repr=False)
    law: str
    group: str
    random_seed: int
    fit: Fit | Average = field(repr=False)

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
        places = {
            c: self.data[c].to_numpy()
            for c in self.data.coords
            if c not in ("point", *SAMPLE) and "point" in self.data[c].dims
        }
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
            raise FitError(
                f"loss is {loss!r}: give one number, or one for each of the {size} points"
            ) from None
        return (self.data["loss"] < target).mean(SAMPLE).to_numpy()

    def log_density(self, loss) -> np.ndarray:
        """Log predictive density of a new run's loss at each point.

        Parameters
        ----------
        loss : float or array_like
            In nats per token; one value, or one per point.

        Returns
        -------
        numpy.ndarray
            One density (per nat, not per log nat) for each point, averaged over the draws of law
            and drift, with the noise's own density around each.
        """
        from scipy.special import logsumexp
        from scipy.stats import t

        log_loss = np.log(np.broadcast_to(np.asarray(loss, float), self.data.sizes["point"]))
        centre, scale, nu = (
            self.noise[v].transpose(*SAMPLE, "point").to_numpy().reshape(-1, len(log_loss))
            for v in ("centre", "scale", "nu")
        )
        density = t.logpdf(log_loss, nu, centre, scale)
        return logsumexp(density, axis=0) - np.log(len(density)) - log_loss

    def decompose(self, ci_prob: float | None = None) -> pd.DataFrame:
        """What the width of each interval is made of.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval of ``loss``; ArviZ's default.

        Returns
        -------
        pandas.DataFrame
            One row per point: ``width`` of the interval of log loss (0.1: 10 % of the loss), and
            the shares of ``parameters`` (what the runs leave open about the law, and laws that
            disagree where several are averaged), ``drift`` beyond the runs and ``noise`` in it.
            Shares are of squared widths, each part by itself, and sum to 1.
        """
        log = {v: np.log(self.data[v]) for v in ("law", "mean", "loss")}
        parts = {
            "parameters": log["law"],
            "drift": log["mean"] - log["law"],
            "noise": log["loss"] - log["mean"],
        }
        widths = {
            k: (lambda low, high: (high - low).to_numpy())(*interval(v, ci_prob, "eti"))
            for k, v in {"width": log["loss"], **parts}.items()
        }
        total = sum(widths[k] ** 2 for k in parts)
        return pd.DataFrame(
            {
                "width": widths["width"],
                **{k: widths[k] ** 2 / np.maximum(total, 1e-300) for k in parts},
            }
        )

    def __repr__(self) -> str:
        lines = [f"<Forecast by {self.law}{self.group}, {self.data.sizes['point']} point(s)>"]
        frame = self.summary()
        names = list(frame.columns)
        at = names.index("loss")
        for _, row in frame.head(6).iterrows():
            place = ", ".join(
                f"{c} {write(row[c])}"
                for c, write in (("N", format_count), ("D", format_count), ("C", format_flop))
                if c in frame
            )
            lines.append(
                f"  {place}: loss {row.iloc[at]:.3f} "
                f"({names[at + 1].split('_')[1]} {row.iloc[at + 1]:.3f} to "
                f"{row.iloc[at + 2]:.3f}), {row.extrapolation:.3g}x the largest run"
            )
        return "\n".join(lines + (["  ..."] if len(frame) > 6 else []))


def forecast(
    fit: Fit | Average,
    points: pd.DataFrame | None = None,
    *,
    N=None,
    D=None,
    C=None,
    group=None,
    series=None,
    drift: bool = True,
    random_seed: int | None = None,
    **columns,
) -> Forecast:
    """Forecast the loss of runs that were not made.

    Parameters
    ----------
    fit : Fit or Average
    points : pandas.DataFrame, optional
        One row per run, columns named as the law's (``N``, ``D``, ``C``), the group columns, and
        ``series``.
    N, D, C : float, str or array_like, optional
        Parameters, tokens, training FLOP (``"70B"``, ``1.4e12``, arrays). Any two give the third.
        `C` alone forecasts along the compute-optimal path: the split of each budget that minimises
        the expected loss.
    group : str, array_like of str, or mapping, optional
        Fitted groups, one for all points or one per point (of one point: several). None stands
        for a new group from the population.
    series : str or array_like of str, optional
        Fitted series to be continued: noise then starts from what their checkpoints show. None
        stands for a new run.
    drift : bool
        Whether the law may drift beyond the runs (see `bayescale.model.drift`). Without, intervals
        say what they would be if the law, with any drift inferred from the runs, went on to hold.
    random_seed : int, optional
        Seed of drift and noise; the fit's own by default.
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
    asked = dict(N=N, D=D, C=C, group=group, series=series, random_seed=random_seed, **columns)
    if isinstance(fit, Average):
        return _averaged(fit, points, asked, drift)
    return _forecast(fit, points, asked, fit.plan.ahead if drift else None)


def _forecast(fit: Fit, points, asked: dict, ahead: Positive | None) -> Forecast:
    N, D, C, group, series, random_seed = (
        asked.pop(k) for k in ("N", "D", "C", "group", "series", "random_seed")
    )
    columns = asked
    if points is not None:
        N, D, C, group, series, columns = _from_frame(
            fit, points, (N, D, C, group, series), columns
        )
    if strange := [c for c in columns if c not in fit.law.columns]:
        known = dict.fromkeys(("N", "D", "C", *fit.law.columns))
        raise FitError([unknown("column", c, known) for c in strange])
    place = _points(fit, {"N": N, "D": D, "C": C, **columns}, group)
    size = len(next(iter(place.values())))
    labels = [*(group.values() if isinstance(group, Mapping) else [group]), series]
    if size == 1:  # one run, asked of several groups
        size = max((len(x) for x in labels if np.ndim(x)), default=1)
        place = {c: np.broadcast_to(v, size) for c, v in place.items()}
    settled = settle_groups(fit.plan, group, size)
    continued = _settled_series(fit, series, size)
    seed = fit.random_seed if random_seed is None else int(random_seed)
    drawn = predict(
        fit.posterior,
        fit.plan,
        place,
        settled,
        np.random.default_rng(seed),
        series=continued,
        ahead=ahead,
    )
    coords = {c: ("point", v) for c, v in place.items()}
    coords |= {g: ("point", np.broadcast_to(v, size)) for g, v in settled.items()}
    if continued is not None:
        coords["series"] = ("point", ["" if x is None else x for x in continued])
    far = _extrapolation(fit, place)
    data = drawn[["law", "mean", "loss"]].assign_coords(**coords, extrapolation=("point", far))
    if far.max() > FAR:
        warnings.warn(
            f"{int((far > FAR).sum())} point(s) lie beyond {FAR:.0f} times the largest fitted run "
            f"(up to {far.max():.3g} times): no table of runs shows how a law bends that far out",
            ExtrapolationWarning,
            stacklevel=3,
        )
    of_one = all(isinstance(label, str) for label in settled.values())
    return Forecast(
        data,
        drawn[["centre", "scale", "nu"]],
        fit.law.name,
        said_group(group) if of_one else "",
        seed,
        fit,
    )


def _averaged(average: Average, points, asked: dict, drift: bool) -> Forecast:
    """Every law's forecast, mixed in proportion to the weights."""
    if (
        points is None
        and average.law.allocates
        and [c for c in "NDC" if asked[c] is not None] == ["C"]
    ):
        budgets, asked["C"] = as_counts(asked["C"], "C"), None
        asked["N"], asked["D"] = best_split(average, budgets, asked["group"])
    parts = {}
    for name, fit in average.used.items():
        ahead = ahead_in_average(fit) if len(average.used) > 1 else fit.plan.ahead
        parts[name] = _forecast(fit, points, dict(asked), ahead if drift else None)
    data, noise = (
        mix({n: getattr(f, v) for n, f in parts.items()}, average.weights)
        for v in ("data", "noise")
    )
    first = next(iter(parts.values()))
    return Forecast(data, noise, average.law.name, first.group, first.random_seed, average)


def ahead_in_average(fit: Fit) -> Positive:
    """The size of a law's drift beyond the runs where others are averaged with it: smaller than
    alone, as long as nobody said another."""
    return AHEAD_AVERAGED if fit.plan.ahead == AHEAD else fit.plan.ahead


def _settled_series(fit: Fit, series, size: int) -> list[str | None] | None:
    """One fitted series, or None for a new run, per point."""
    if series is None:
        return None
    labels = [series] * size if isinstance(series, str) or np.ndim(series) == 0 else list(series)
    labels = [None if pd.isna(x) else str(x) for x in labels]
    known = set(fit.runs.table["series"].astype(str)) if "series" in fit.runs else set()
    problems = [
        unknown("series", x, sorted(known))
        for x in dict.fromkeys(labels)
        if x is not None and x not in known
    ]
    if len(labels) != size:
        problems.append(f"{len(labels)} series for {size} points")
    if problems:
        raise FitError(problems)
    return labels


def _from_frame(fit: Fit, points, given, columns):
    if not isinstance(points, pd.DataFrame):
        raise FitError(
            f"points must be a DataFrame, got {type(points).__name__}; or give N=, D=, C="
        )
    if (
        any(g is not None for g in given[:3])
        or columns
        or (given[4] is not None and "series" in points)
    ):
        raise FitError("give points either as a DataFrame or by keyword, not both")
    if len(points) == 0:
        raise FitError("the DataFrame of points has no rows")
    named = {c: points[c].tolist() for c in points if c in {"N", "D", "C", *fit.law.columns}}
    inside = {g: points[g].tolist() for g in fit.groups if g in points}
    for g in set(fit.groups) - set(inside):
        if near := [c for c in points if str(c).lower().strip() == g.lower()]:
            raise FitError(
                f"the points have a column {near[0]!r}, the fit a group column {g!r}: "
                "name them alike"
            )
    if inside and given[3] is not None:
        raise FitError(
            f"groups are given twice: in the column(s) {', '.join(inside)}, and by group="
        )
    extra = {c: v for c, v in named.items() if c not in "NDC"}
    series = points["series"].tolist() if "series" in points else given[4]
    return named.get("N"), named.get("D"), named.get("C"), inside or given[3], series, extra


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
            raise FitError(
                "C disagrees with N and D by more than a factor of 2 in the accounting "
                f"of the runs (C = {factor:.3g} N D): give two of the three"
            )
    elif known == {"C"} and fit.law.allocates:
        place["N"], place["D"] = best_split(fit, place["C"], group)
    if missing := [c for c in fit.law.columns if c not in place]:
        raise FitError(
            f"law {fit.law.name!r} needs {', '.join(fit.law.columns)}; "
            f"{', '.join(missing)} cannot be told from {', '.join(place) or 'nothing'}"
        )
    return place


def _extrapolation(fit: Fit, place: Mapping[str, np.ndarray]) -> np.ndarray:
    """Compute in multiples of the largest run; the law's first column where C is not known."""
    column = "C" if "C" in place and "C" in fit.runs else fit.law.columns[0]
    return place[column] / float(fit.runs.table[column].max())
