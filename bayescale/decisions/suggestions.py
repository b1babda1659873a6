"""Which runs to train next, from the covariance of losses over posterior draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.decisions.beliefs import as_frame, as_posterior, joint_draws, target_points
from bayescale.errors import FitError, unknown
from bayescale.forecasting import (
    DRIFTS,
    Average,
    answer_html,
    doubts,
    fits_of,
    main_reason,
    weights_of,
)
from bayescale.intervals import SAMPLE, Summary, defaults
from bayescale.laws import Law
from bayescale.model import Fit
from bayescale.seeds import settle_seed
from bayescale.units import as_counts, format_count, format_flop

#: Largest number of candidates: the covariance of their losses is held in memory.
MOST = 5000
#: Runs that are chosen without a budget and without a number.
RUNS = 5
#: A run that removes less than this share of the variance that is left is not worth its effort.
LEAST = 0.002
#: A correlation over draws is taken as zero if its square is below this many times log(candidates)
#: / draws. Otherwise cheap runs would be chosen for correlations that are errors of sampling.
CHANCE = 4.0


@dataclass(frozen=True, eq=False)
class Suggestion:
    """Runs to train next, in order of choice.

    Attributes
    ----------
    runs : pandas.DataFrame
        One row for each chosen run: the columns of the candidate and its index in ``candidate``,
        ``cost``, ``total_cost`` up to this run, and ``sd``, the expected standard deviation of the
        target after this run (the root of the mean of the variances of several targets), and
        ``share``, the share of the variance that is left.
    candidates : pandas.DataFrame
        All candidates with their ``cost``, the ``share`` of the variance of the target that one run
        would remove, and ``times``, how often it was chosen.
    sd : float
        The standard deviation of the target without further runs. That of a loss is of the log
        loss: 0.02 is 2 % of the loss.
    is_loss : bool
        Whether the target is the loss of runs.
    target : pandas.DataFrame or None
        The runs whose loss is in question; None for another quantity.
    fit : Fit or Average
        The posterior, or draws from the prior of a law.
    is_prior : bool
        Whether there are no runs yet.
    random_seed : int
        Seed of the drift.
    with_drift : bool
        Whether the losses contain the drift beyond the runs.
    """

    runs: pd.DataFrame = field(repr=False)
    candidates: pd.DataFrame = field(repr=False)
    sd: float
    is_loss: bool
    target: pd.DataFrame | None = field(repr=False)
    fit: Fit | Average = field(repr=False)
    is_prior: bool
    random_seed: int
    with_drift: bool = False

    def summary(self, ci_prob: float | None = None) -> pd.DataFrame:
        """One row for each chosen run, with the width of the interval of the target after it.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.

        Returns
        -------
        pandas.DataFrame
            The columns of ``runs``, with ``width`` in place of ``sd``: the expected width of the
            interval, of the log loss (0.1 is 10 % of the loss) or of the target quantity.
        """
        frame = self.runs.rename(columns={"sd": "width"})
        return Summary(frame.assign(width=frame["width"] * _width(ci_prob)))

    def to_dataframe(self, of: str = "runs") -> pd.DataFrame:
        """The chosen runs or all candidates as a table; numbers are not rounded.

        Parameters
        ----------
        of : {"runs", "candidates"}
        """
        if of not in ("runs", "candidates"):
            raise FitError(unknown("table", of, ("runs", "candidates")), where="to_dataframe")
        return (self.runs if of == "runs" else self.candidates).copy()

    def bottom_line(self, ci_prob: float | None = None) -> str:
        """Which runs to train, at what cost, and how much the interval would narrow.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval; 0.9 by default.
        """
        prob, _ = defaults(ci_prob)
        if not len(self.runs):
            return (
                "No candidate would reduce the uncertainty at the target by a measurable amount. "
                f"{main_reason(self.cautions(ci_prob))}"
            )
        before, after = (_width(ci_prob) * sd for sd in (self.sd, self.runs["sd"].iloc[-1]))
        chosen = self.runs.groupby("candidate", sort=False).size()
        listed = [
            _in_words(self.runs[self.runs["candidate"] == i].iloc[0], self.fit, times)
            for i, times in chosen.items()
        ]
        more = f"; and {len(listed) - 3} more" if len(listed) > 3 else ""
        if self.is_loss:
            widths = f"from {100 * before:.2g} % to {100 * after:.2g} % of the loss"
            what = "the loss at the target"
        else:
            widths, what = f"from {before:.3g} to {after:.3g}", "the target"
        number = f"{len(self.runs)} run" + ("s" if len(self.runs) > 1 else "")
        return (
            f"Train {number} for {format_flop(self.runs['total_cost'].iloc[-1])} in all: "
            f"{'; '.join(listed[:3])}{more}. The {100 * prob:g} % interval of {what} is expected "
            f"to narrow {widths}{self._learnt}. {main_reason(self.cautions(ci_prob))}"
        )

    @property
    def _learnt(self) -> str:
        """What the expected width assumes, if drift beyond the runs is part of it."""
        if not self.is_loss or not self.with_drift:
            return ""
        return (
            " if they show how the law drifts beyond the known runs; an interval refitted to them "
            "narrows less, as design shows by simulation"
        )

    def cautions(self, ci_prob: float | None = None) -> tuple[str, ...]:
        """Reasons to doubt the choice, the most serious first.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the interval with which differences between the laws are compared; 0.9 by
            default.

        Returns
        -------
        tuple of str
            Without runs, that the choice rests on the prior; otherwise those of a forecast at the
            target.
        """
        if self.is_prior:
            return ("there are no runs yet, so the choice rests on the prior of the law",)
        point, times = {}, 0.0
        if self.target is not None and "C" in self.fit.runs:
            row = self.target[[c for c in "NDC" if c in self.target]].astype(float).max()
            point = dict(row)
            C = row["C"] if "C" in row else self.fit.runs.flop_factor * row["N"] * row["D"]
            times = C / float(self.fit.runs.table["C"].max())
        only_checks = not set(self.fit.law.columns) <= set(point) or bool(self.fit.groups)
        return doubts(
            dict(list(fits_of(self.fit).items())[: 1 if only_checks else None]),
            weights_of(self.fit),
            point,
            None,
            _width(ci_prob) * self.sd,
            (),
            times,
        )

    def _repr_html_(self) -> str:
        return answer_html(self.bottom_line(), self.summary()._repr_html_(), self.cautions()[1:])

    def __repr__(self) -> str:
        head = f"<Suggestion of {len(self.runs)} of {len(self.candidates)} candidates>"
        return "\n".join([self.bottom_line(), head, repr(self.summary())])


def suggest(
    fit: Fit | Average | Law | str,
    candidates: pd.DataFrame | Mapping[str, object],
    *,
    target,
    budget: float | str | None = None,
    number: int | None = None,
    repeat: bool = True,
    cost: str = "cost",
    group=None,
    drift: str = "auto",
    random_seed: int | None = None,
) -> Suggestion:
    """Choose the runs to train next for the most information about a target, per unit of cost.

    Parameters
    ----------
    fit : Fit, Average, Law or str
        What is known. With no runs yet, a law or its name: the choice then rests on its prior.
    candidates : pandas.DataFrame or mapping
        Runs that may be trained, one row for each, with the columns of the laws (any two of N, D
        and C give the third) and the group columns; or a mapping from column to values, of which
        every combination is a candidate.
    target : Forecast, pandas.DataFrame, mapping, Allocation or xarray.DataArray
        The runs whose loss is in question, as a forecast or as candidates are given; an allocation,
        for the optimal N; or draws of any quantity computed from the same fit, with the dims
        (chain, draw) and at most one other. Several targets count equally.
    budget : float or str, optional
        The largest cost of all chosen runs together.
    number : int, optional
        The largest number of runs; 5 without a budget.
    repeat : bool
        Whether a candidate may be trained more than once, with different seeds.
    cost : str
        The column with the cost of each candidate. Without it, the cost is that of training in
        FLOP, counted as for the fitted runs.
    group : str or mapping, optional
        The group of candidates and targets whose table has no column of groups.
    drift : {"auto", "off"}
        As in `bayescale.forecast`.
    random_seed : int, optional
        Seed of the drift, and of draws from a prior; by default that of the fit.

    Returns
    -------
    Suggestion
        The chosen runs in order. The choice ends before the budget is spent if no run would remove
        0.2 % of the variance that is left.

    Raises
    ------
    FitError
        If a column of the laws is missing, if there is no cost, or if no candidate can be paid.

    Notes
    -----
    Parameters, drift beyond the runs, and for an average the law, differ between draws. The
    covariance of the log losses of candidates with the target over draws is that of the posterior.
    A run with noise is then an observation of a jointly normal vector, which reduces the variance
    of the target by a known amount, whatever its outcome: no refit is needed. Runs are chosen one
    by one by the reduction per unit of cost (expected information of a linear model: Lindley 1956;
    Chaloner & Verdinelli 1995, doi:10.1214/ss/1177009939), and once more by the reduction alone;
    the better set is returned. The noise of a run counts with its Fisher information. The posterior
    is treated as normal, so widths are approximations where few runs are known.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4' and N < 1e9")
    >>> fit = bs.fit(runs, draws=250, random_seed=1)
    >>> next_runs = bs.suggest(
    ...     fit,
    ...     {"N": ["400M", "1B", "3B"], "D": ["8B", "20B", "60B"]},
    ...     target={"N": "7B", "D": "140B"},
    ...     budget="1e21",
    ... )
    >>> bool(next_runs.runs["total_cost"].iloc[-1] <= 1e21)
    True
    >>> bool(next_runs.runs["sd"].iloc[-1] < next_runs.sd)
    True
    """
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    frame = as_frame(candidates, "candidates")
    if len(frame) > MOST:
        raise FitError(f"there are {len(frame)} candidates: give at most {MOST}")
    seed = settle_seed(random_seed) if random_seed is not None else getattr(fit, "random_seed", 0)
    belief = as_posterior(fit, frame, seed)
    points, quantity = target_points(target)
    tables = [frame] if points is None else [frame, points]
    drawn, *rest = joint_draws(belief, tables, group, seed, drift)
    costs = _costs(frame, cost, belief)
    largest, most = _limits(budget, number, costs)
    at_target = rest[0]["centre"] if points is not None else _flat(quantity, len(drawn["centre"]))
    chosen = _choose(drawn, at_target, costs, largest, most, repeat)
    variance = chosen.variance[0]
    runs = frame.iloc[chosen.order].reset_index(drop=True).drop(columns=cost, errors="ignore")
    spent = costs[chosen.order]
    runs = runs.assign(
        candidate=chosen.order,
        cost=spent,
        total_cost=np.cumsum(spent),
        sd=np.sqrt(chosen.variance[1:]),
        share=chosen.variance[1:] / variance,
    )
    considered = frame.assign(
        cost=costs, share=chosen.first, times=np.bincount(chosen.order, minlength=len(frame))
    )
    if points is not None and belief.law.allocates:
        place = {c: as_counts(points[c].tolist(), c) for c in ("N", "D", "C") if c in points}
        points = points.assign(**place)
    return Suggestion(
        runs,
        considered,
        float(np.sqrt(variance)),
        points is not None,
        points,
        belief,
        not isinstance(fit, (Fit, Average)),
        seed,
        drift != "off" and any(f.plan.drift != "off" for f in fits_of(belief).values()),
    )


@dataclass(frozen=True)
class _Chosen:
    """Candidates in order of choice, the mean variance of the targets before and after each, and
    the share of the variance that each candidate alone would remove."""

    order: np.ndarray
    variance: np.ndarray
    first: np.ndarray


def _choose(drawn, at_target, costs, budget: float, number: int, repeat: bool) -> _Chosen:
    """The better of two greedy choices: by reduction per cost, and by reduction."""
    by_ratio, by_size = (
        _greedy(drawn, at_target, costs, budget, number, repeat, per_cost)
        for per_cost in (True, False)
    )
    return by_ratio if by_ratio.variance[-1] <= by_size.variance[-1] else by_size


def _greedy(
    drawn, at_target, costs, budget: float, number: int, repeat: bool, per_cost: bool
) -> _Chosen:
    """Runs chosen one by one, each given those before it."""
    centred = drawn["centre"] - drawn["centre"].mean(axis=0)
    targets = at_target - at_target.mean(axis=0)
    samples = len(centred) - 1
    between = centred.T @ centred / samples
    with_target = centred.T @ targets / samples
    variance = (targets**2).sum(axis=0) / samples
    if not (variance > 0).all():
        raise FitError("the target is the same in all draws: no run could change it")
    weight = 1 / (len(variance) * variance)  # several targets count equally
    noise = _noise(drawn)
    least = CHANCE * np.log(max(2, len(costs))) / samples
    order, left, first, spent = [], [variance.mean()], None, 0.0
    start, free = variance.copy(), np.ones(len(costs), bool)
    while len(order) < number:
        total = np.diagonal(between) + noise
        squared = with_target**2 / total[:, None]
        # The square of a correlation, without what is expected of an uncorrelated target.
        share = squared / variance
        share = np.where(share > least, share - (1 - share) / samples, 0.0).clip(0.0, 1.0)
        gain = (share * variance) @ weight
        first = gain.copy() if first is None else first
        payable = free & (costs <= budget - spent) & (gain > LEAST * (variance @ weight))
        value = np.where(payable, gain / costs if per_cost else gain, 0.0)
        best = int(np.argmax(value))
        if value[best] <= 0:
            break
        update = between[:, best].copy()
        along = with_target[best].copy()
        denominator = total[best]
        variance = variance - share[best] * variance
        between = between - np.outer(update, update) / denominator
        with_target = with_target - np.outer(update, along) / denominator
        order.append(best)
        free[best] = repeat
        left.append(float(start.mean() * (variance * weight).sum()))
        spent += costs[best]
    return _Chosen(np.array(order, int), np.array(left), first)


def _noise(drawn) -> np.ndarray:
    """The variance of the noise of one run, from the Fisher information of the Student-t."""
    nu = drawn["nu"]
    with np.errstate(invalid="ignore"):
        factor = np.where(np.isinf(nu), 1.0, (nu + 3) / (nu + 1))
    return (drawn["scale"] ** 2 * factor).mean(axis=0)


def _costs(frame: pd.DataFrame, cost: str, belief: Fit | Average) -> np.ndarray:
    """The cost of each candidate."""
    if cost in frame:
        values = as_counts(frame[cost].tolist(), cost)
    elif "C" in frame:
        values = as_counts(frame["C"].tolist(), "C")
    elif {"N", "D"} <= set(frame):
        N, D = (as_counts(frame[c].tolist(), c) for c in "ND")
        values = belief.runs.flop_factor * N * D
    else:
        raise FitError(
            f"candidates have no column {cost!r} and no N and D from which the cost of training "
            "follows: add a column of costs"
        )
    return values


def _limits(budget, number, costs: np.ndarray) -> tuple[float, int]:
    """The largest total cost and the largest number of runs."""
    if number is not None and (isinstance(number, bool) or number != int(number) or number < 1):
        raise FitError(f"number is {number!r}: give a whole number of runs, at least 1")
    largest = np.inf if budget is None else float(as_counts(budget, "budget")[0])
    if (costs > largest).all():
        raise FitError(
            f"no candidate can be paid: the cheapest costs {format_flop(costs.min())}, the budget "
            f"is {format_flop(largest)}"
        )
    most = RUNS if budget is None else len(costs) * 10
    return largest, most if number is None else int(number)


def _flat(quantity: xr.DataArray, samples: int) -> np.ndarray:
    """Draws of a quantity with the dims (sample, target)."""
    other = [d for d in quantity.dims if d not in SAMPLE]
    values = quantity.transpose(*SAMPLE, *other).to_numpy().astype(float)
    values = values.reshape(values.shape[0] * values.shape[1], -1)
    if len(values) != samples:
        raise FitError(
            f"the target has {len(values)} draws, the fit {samples}: compute the target from the "
            "same fit"
        )
    if not np.isfinite(values).all():
        raise FitError("the target is not finite in all draws")
    return values


def _width(ci_prob: float | None) -> float:
    """Width of the interval of a normal distribution with standard deviation one."""
    from scipy.stats import norm

    prob, _ = defaults(ci_prob)
    return 2 * float(norm.ppf((1 + prob) / 2))


def _in_words(row: pd.Series, fit: Fit | Average, times: int) -> str:
    """A run as text: ``2 x 1B parameters on 20B tokens, c4``."""
    parts = [f"{times} x " if times > 1 else ""]
    units = {"N": "parameters", "D": "tokens"}
    named = [c for c in ("N", "D") if c in row] or [c for c in fit.law.columns if c in row]
    values = {c: float(as_counts(row[c], c)[0]) for c in named}
    listed = [f"{format_count(v)} {units.get(c, c)}" for c, v in values.items()]
    labels = [str(row[g]) for g in fit.groups if g in row]
    return "".join(parts) + ", ".join([" on ".join(listed), *labels])
