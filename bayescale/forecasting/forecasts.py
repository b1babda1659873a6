"""Forecasts of the loss of new runs, with credible intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import singledispatch

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.costs import Cost, read_budgets
from bayescale.errors import FitError, unknown
from bayescale.forecasting.allocation import best_split
from bayescale.forecasting.averaging import Average, fits_of, weights_of
from bayescale.forecasting.cautions import (
    distances,
    doubts,
    extrapolation,
    if_the_law_holds,
    main_reason,
    of_one_law,
    warn_of_distance,
)
from bayescale.forecasting.continued import columns_of_runs, only_run, settle_series
from bayescale.forecasting.law_draws import DRIFTS
from bayescale.forecasting.members import draw_losses
from bayescale.forecasting.plausibility import refuse_disordered, refuse_tiny, refuse_unused
from bayescale.forecasting.points import check_flop, complete_counts, example_of, read_points
from bayescale.forecasting.predictive_draws import PredictiveDraws
from bayescale.forecasting.wording import answer_of_run, group_in_words
from bayescale.functions import student_log_density
from bayescale.intervals import SAMPLE, interval
from bayescale.keywords import assigned
from bayescale.model import NEW, Fit, number_of_points, settle_groups
from bayescale.seeds import settle_seed
from bayescale.units import counted, times_in_words


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(PredictiveDraws):
    """The posterior predictive of the loss of new runs.

    `summary` gives the medians and credible intervals of ``mean`` and ``loss``. `decompose` gives
    the width of the interval of log loss (0.1 is 10 % of the loss) and the shares of three sources
    of uncertainty: ``parameters`` (of the law, with the differences between the laws of an
    average), ``drift`` beyond the runs with the discrepancy near them, and ``noise``.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (chain, draw, point), in the unit of the losses of the runs. ``law``: the law with any
        drift inferred from the runs. ``mean``: the same with the discrepancy near the runs and the
        drift beyond them. ``loss``: the measured loss of a new run, with noise. Coordinates of
        ``point``: ``N`` (parameters),
        ``D`` (tokens), ``C`` (FLOP), the group columns, ``series`` if one is continued, and
        ``extrapolation``, the ratio of the compute to that of the largest fitted run. The noise of
        different points is drawn independently, also within one series, so only the marginal
        distributions of the points are valid there.
    noise : xarray.Dataset
        The noise of ``loss``: ``centre`` and ``scale`` of log loss and degrees of freedom ``nu``;
        dims (chain, draw, point).
    law : str
        The law that was fitted, or the laws that were averaged.
    group : str
        A phrase that names the group, for headings; empty if points have different groups.
    random_seed : int
        The seed of drift, noise and new groups.
    fit : Fit or Average
        The posterior from which the forecast is computed.
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    """

    shown = ("mean", "loss")

    noise: xr.Dataset = field(repr=False)
    law: str
    group: str
    random_seed: int
    fit: Fit | Average = field(repr=False)
    conversions: tuple[str, ...] = ()

    def beats(self, loss: float) -> np.ndarray:
        """Probability that the measured loss of a new run is below `loss`, at each point.

        Parameters
        ----------
        loss : float or array_like
            In the unit of the losses of the runs; one value, or one for each point.

        Returns
        -------
        numpy.ndarray
            Probabilities, dims (point,).

        Raises
        ------
        FitError
            If there is neither one loss nor one for each point.
        """
        target = xr.DataArray(self._per_point(loss), dims="point")
        return (self.data["loss"] < target).mean(SAMPLE).to_numpy()

    def log_density(self, loss) -> np.ndarray:
        """Log predictive density of a new run's loss at each point.

        Parameters
        ----------
        loss : float or array_like
            In the unit of the losses of the runs; one value, or one for each point.

        Returns
        -------
        numpy.ndarray
            Log densities, dims (point,), of the loss, not of its logarithm. The density of
            the noise given law and drift is averaged over the draws.

        Raises
        ------
        FitError
            If there is neither one loss nor one for each point.
        """
        from scipy.special import logsumexp

        log_loss = np.log(self._per_point(loss))
        centre, scale, nu = (
            self.noise[v].transpose(*SAMPLE, "point").to_numpy().reshape(-1, len(log_loss))
            for v in ("centre", "scale", "nu")
        )
        square = ((log_loss - centre) / scale) ** 2
        density = student_log_density(square, 1, nu) - np.log(scale)
        return logsumexp(density, axis=0) - np.log(len(density)) - log_loss

    def _per_point(self, loss) -> np.ndarray:
        """One loss for each point."""
        size = self.data.sizes["point"]
        try:
            return np.broadcast_to(np.asarray(loss, float), size)
        except (ValueError, TypeError):
            raise FitError(
                f"loss is {loss!r}: give one number, or one for each of the {size} points"
            ) from None

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """The loss of the largest run asked for, with its interval, and the main reason for doubt.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.

        Returns
        -------
        str
            Two sentences.
        """
        index, place, group = self._largest
        size = self.data.sizes["point"]
        subject = "A run of {}" if size == 1 else f"Of these {size} runs, the largest, {{}},"
        if run := self._series(index):
            subject = f"Run {run!r}, continued to {{}},"
            place = {c: v for c, v in place.items() if c != "N"}
        answer = answer_of_run(
            subject,
            place,
            group,
            self.data["loss"].isel(point=index),
            ci_prob,
        )
        times = float(self.data["extrapolation"][index])
        answer = if_the_law_holds(answer, self.fit, times)
        return " ".join((answer, *self.conversions, main_reason(self.cautions(ci_prob))))

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the forecast of the largest run, the most serious first.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval with which differences between the laws are compared; 0.9 by
            default.

        Returns
        -------
        tuple of str
            Failed checks, points far from the runs, laws that disagree, results that the priors
            determine, other cautions of the check, and that one law was fitted, not several.
            Empty if there are none.
        """
        # The laws are compared by draws of each, which are not made twice for one answer.
        known = self.__dict__.setdefault("_known", {})
        if ci_prob not in known:
            known[ci_prob] = self._cautions(ci_prob)
        return known[ci_prob]

    def _cautions(self, ci_prob: float | None) -> tuple[str, ...]:
        index, place, group = self._largest
        low, high = interval(np.log(self.data["mean"].isel(point=index)), ci_prob)
        fitted_group = None if group and NEW in group.values() else group
        columns = {c: self.data[c].to_numpy() for c in place}
        found = doubts(
            fits_of(self.fit),
            weights_of(self.fit),
            place,
            fitted_group,
            float(high - low),
            distances(self.fit, columns, beyond=False),
            float(self.data["extrapolation"][index]),
            self._series(index) or None,
            self._drift,
        )
        return found + self._of_one_law

    @property
    def _of_one_law(self) -> tuple[str, ...]:
        """A sentence on the size of the drift under a single law; empty if there is no drift."""
        if self._drift == "off":
            return ()
        return of_one_law(fits_of(self.fit), float(self.data["extrapolation"].max()))

    @property
    def _drift(self) -> str:
        """As given to `forecast`."""
        return "off" if self.data["mean"].equals(self.data["law"]) else "auto"

    @property
    def _largest(self) -> tuple[int, dict[str, float], dict[str, str]]:
        """The index of the point farthest beyond the runs, its columns and its group."""
        data = self.data
        index = int(np.argmax(data["extrapolation"].to_numpy()))
        columns = [c for c in ("N", "D", "C", *self.fit.law.columns) if c in data.coords]
        place = {c: float(data[c][index]) for c in dict.fromkeys(columns)}
        return index, place, {g: str(data[g][index].item()) for g in self.fit.groups}

    def _series(self, index: int) -> str:
        """The fitted run that a point continues; empty for a new run."""
        return str(self.data["series"][index].item()) if "series" in self.data.coords else ""

    @property
    def _source(self) -> Fit | Average:
        return self.fit

    def _parts(self) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
        rows = np.log(self._rows(("law", "mean", "loss")))
        return rows["loss"], {
            "parameters": rows["law"],
            "drift": rows["mean"] - rows["law"],
            "noise": rows["loss"] - rows["mean"],
        }

    def _heading(self) -> str:
        return f"Forecast by {self.law}{self.group}, {counted(self.data.sizes['point'], 'point')}"

    def __repr__(self) -> str:
        return "\n".join([super().__repr__(), *(f"  note: {n}" for n in self._of_one_law)])

    def _line(self, row: pd.Series, outcome: str) -> str:
        return (
            f"{self._place(row)}: {outcome}, {times_in_words(row.extrapolation)}x the largest run"
        )


@singledispatch
def forecast(
    fit: Fit | Average,
    points: pd.DataFrame | None = None,
    *,
    N=None,
    D=None,
    C=None,
    group=None,
    series=None,
    cost: Cost | None = None,
    drift: str = "auto",
    random_seed: int | None = None,
    **columns,
) -> Forecast:
    """Forecast the loss of new runs.

    Parameters
    ----------
    fit : Fit or Average
        The posterior of a law, or of several laws.
    points : pandas.DataFrame, optional
        One row for each run, with the columns of the law (``N``, ``D``, ``C``), the group columns
        and ``series``. Other columns are ignored.
    N, D, C : float, str or array_like, optional
        Parameters, tokens and training FLOP (``"70B"``, ``1.4e12``, arrays). Any two give the
        third. An N or D that all runs share need not be given. With `C` alone, N and D are then
        that and the rest of the budget; otherwise they are the split of each budget that minimises
        the expected loss. `C` may be in any unit that `bayescale.as_flops` reads (``"50k H100
        hours"``).
    group : str, array_like of str, or mapping, optional
        Fitted groups: one for all points, or one for each point. One run with several groups gives
        one point for each group. None stands for a new group, drawn from the population.
    series : str or array_like of str, optional
        Fitted series that the points belong to: the noise of a point is correlated with that of the
        nearest checkpoint. ``"(new)"`` stands for a new run. By default points continue the run of
        a fit to one series, unless `N` or another column that is constant in it is given, and are
        new runs otherwise.
    cost : Cost, optional
        The hardware and its prices, for budgets in units other than FLOP; by default the
        accelerator that they name, or an H100.
    drift : {"auto", "off"}
        ``"auto"``: drift beyond the runs as specified in the fit (see `bayescale.model.drift`), and
        the discrepancy near them (`bayescale.model.discrepancy`). ``"off"``: neither. Intervals are
        then conditional on the law, with any drift inferred from the runs, being exact.
    random_seed : int, optional
        Seed of drift, noise and new groups; by default that of the fit, so that repeated calls give
        the same draws.
    **columns : array_like
        Columns of the law other than N, D and C.

    Returns
    -------
    Forecast
        For an average, the draws of its laws are mixed in proportion to their weights.

    Raises
    ------
    FitError
        If a column of the law is missing, or if a column, a group or the value of `drift` is
        unknown, or if neither law nor runs have it.
    LawError
        If a count cannot be read, or if a budget has no interior best split.

    Warns
    -----
    ExtrapolationWarning
        If a point is beyond 100 times the compute of the largest fitted run, or more than 100 times
        below that of the smallest, or if its N is below the smallest fitted one.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm"), groups="dataset", random_seed=1)
    >>> ahead = bs.forecast(fit, N="7B", D="140B", group="c4", random_seed=1)
    >>> bool(2 < ahead.data["mean"].median() < 3)
    True
    """
    if not isinstance(fit, (Fit, Average)):
        types = ", ".join(t.__name__ for t in forecast.registry if t is not object)
        raise FitError(
            f"cannot forecast from {type(fit).__name__}: give a Fit or an Average"
            + (f", or one of {types}" if types else "")
        )
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    place, group, series, conversions = _points(
        fit, points, {"N": N, "D": D, "C": C, "series": series, **columns}, group, cost
    )
    size = len(next(iter(place.values())))
    members = fits_of(fit)
    # All members were fitted to the same runs and groups, so labels are those of the first.
    settled = settle_groups(next(iter(members.values())).plan, group, size)
    series_of_points = settle_series(fit, series, size)
    seed = fit.random_seed if random_seed is None else settle_seed(random_seed)
    draws = draw_losses(
        members,
        weights_of(fit),
        place,
        settled,
        seed,
        series=series_of_points,
        drift=drift,
    )
    coords = {c: ("point", v) for c, v in place.items()}
    coords |= {g: ("point", np.broadcast_to(v, size)) for g, v in settled.items()}
    if series_of_points is not None:
        coords["series"] = ("point", ["" if x is None else x for x in series_of_points])
    data = draws[["law", "mean", "loss"]].assign_coords(
        **coords, extrapolation=("point", extrapolation(fit, place))
    )
    # The dispatch by type adds a frame between this function and its caller.
    warn_of_distance(fit, place, stacklevel=3)
    noise = draws[["centre", "scale", "nu"]]
    one_group = all(isinstance(label, str) for label in settled.values())
    in_words = group_in_words(group) if one_group else ""
    return Forecast(data, noise, fit.law.name, in_words, seed, fit, conversions)


def _points(
    fit: Fit | Average, points, keywords: dict, group, cost: Cost | None
) -> tuple[dict[str, np.ndarray], object, object, tuple[str, ...]]:
    """The columns of the law at each point, dims (point,), the groups, the series, and conversions
    of budgets."""
    names = tuple(dict.fromkeys(("N", "D", "C", *fit.law.columns)))
    series = keywords.pop("series")
    columns = names if points is None else (*names, "series")
    given, group = read_points(points, keywords, columns, fit.groups, group)
    if "series" in given:
        if series is not None:
            raise FitError(
                "series are given both in the column 'series' and by series=: give one of them"
            )
        series = given.pop("series")
    if points is None:
        refuse_unused(given, fit.law.columns, fit.runs)
    if series is None:
        series = only_run(fit, given)
    given |= columns_of_runs(fit, series, given)
    factor, conversions = fit.runs.flop_factor, ()
    if "C" in given:
        given["C"], conversions = read_budgets(given["C"], cost, flop_factor=factor, name="C")
    place = complete_counts(given, factor)
    table = fit.runs.table
    refuse_tiny({c: v for c, v in place.items() if c in given}, table)
    refuse_tiny(place, table, derived=set(place) - set(given))
    members = fits_of(fit).values()
    if {"N", "D", "C"} <= set(given) and any(f.law.allocates for f in members):
        check_flop(place, factor)
    if fit.law.allocates and "C" in place and not {"N", "D"} & set(place):
        place["N"], place["D"] = best_split(fit, place["C"], group)
    if missing := [c for c in fit.law.columns if c not in place]:
        examples = " and ".join(assigned(c, example_of(table, c, place)) for c in missing)
        raise FitError(
            f"law {fit.law.name!r} needs {', '.join(fit.law.columns)}, and "
            f"{', '.join(missing)} cannot be derived from {', '.join(place) or 'nothing'}: give "
            f"{'it' if len(missing) == 1 else 'them'}, such as {examples}"
        )
    refuse_disordered(place)
    size = len(next(iter(place.values())))
    n_points = number_of_points(size, group, series)
    place = {c: np.broadcast_to(v, n_points) for c, v in place.items()}
    return place, group, series, conversions
