"""Which runs to train next, from the covariance of losses over posterior draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.costs import Cost, read_budgets
from bayescale.decisions.beliefs import (
    as_frame,
    as_posterior,
    columns_of,
    factor_of,
    joint_draws,
    new_runs,
    target_points,
)
from bayescale.decisions.limits import costs_of, limits
from bayescale.decisions.refits import after_refits
from bayescale.decisions.suggestion_results import Suggestion
from bayescale.errors import FitError, unknown
from bayescale.forecasting import DRIFTS, Allocation, Average
from bayescale.intervals import SAMPLE
from bayescale.keywords import hinted
from bayescale.laws import Law
from bayescale.model import Fit
from bayescale.seeds import settle_seed
from bayescale.units import as_counts

#: Largest number of candidates: the covariance of their losses is held in memory.
MOST = 5000
#: A run that removes less than this share of the variance that is left is not worth its effort.
LEAST = 0.002
#: The same in a refit, which narrows less than the choice counts on. On public pools a third of the
#: cost is saved, and forecasts are as good (`benchmarks/stops.py`).
LITTLE = 0.01
#: Largest number of smaller budgets whose choices are compared, for each rule of choice.
MOST_PLANS = 400
#: A correlation over draws is taken as zero if its square is below this many times the log of the
#: number of candidates, divided by the number of draws. Otherwise cheap runs would be chosen for
#: correlations that are errors of sampling.
CHANCE = 4.0


@hinted
def suggest(
    fit: Fit | Average | Law | str,
    candidates: pd.DataFrame | Mapping[str, object],
    *,
    target,
    budget: float | str | None = None,
    number: int | None = None,
    repeat: bool = True,
    cost: str | Cost = "cost",
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
        The runs whose loss is in question, as a forecast or as candidates are given;
        ``{"loss": 2.1}``, for the compute-optimal run that reaches a loss with 50 % probability; an
        allocation, for the optimal N; or draws of any quantity computed from the same fit, with the
        dims (chain, draw) and at most one other. Several targets count equally.
    budget : float or str, optional
        The largest cost of all chosen runs together: a number in the unit of the costs, or of
        training FLOP in any unit that `bayescale.as_flops` reads (``"50k H100 hours"``). Without
        it, the cost of the target run where costs are in FLOP, unless every candidate costs more,
        which is then a caution.
    number : int, optional
        The largest number of runs; 5 without a budget.
    repeat : bool
        Whether a candidate may be trained more than once, with different seeds.
    cost : str or Cost
        The column with the cost of each candidate. Without it, the cost is that of training in
        FLOP, counted as for the fitted runs. A Cost is the hardware and its prices, for budgets in
        units other than FLOP; by default the accelerator that they name, or an H100.
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
        0.2 % of the variance that is left, or 1 % in a refit, which a loss with drift is judged by.

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
    Chaloner & Verdinelli 1995, doi:10.1214/ss/1177009939), and once more by the reduction alone,
    for the budget and for smaller ones; the best set is returned, so that more money does not give
    a worse one. The noise of a run counts with its Fisher information.

    The expected widths of a loss are those of the interval of a new run, as `forecast` gives it for
    the target. The noise of the run remains, whichever runs are trained. They are those of a refit
    to the known and the chosen runs, which infers the law and lets the drift begin at a high
    quantile of the scales of all runs. They narrow less than the choice counts on, because a refit
    does not infer the drift before its start. The posterior is treated as normal, so widths are
    approximations where few runs are known.

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
    factor = factor_of(fit)
    paid, column = (cost, "cost") if isinstance(cost, Cost) else (None, cost)
    frame, _ = as_frame(candidates, "candidates", paid, factor)
    if len(frame) > MOST:
        raise FitError(f"there are {len(frame)} candidates: give at most {MOST}")
    seed = settle_seed(random_seed) if random_seed is not None else getattr(fit, "random_seed", 0)
    belief = as_posterior(fit, frame, seed)
    points, quantity, conversions = target_points(target, belief, group, paid)
    tables = [frame] if points is None else [frame, points]
    drawn, *rest = joint_draws(belief, tables, group, seed, drift)
    costs = costs_of(frame, column, belief)
    if budget is not None:
        budget, converted = _budget(budget, column if column in frame else None, paid, factor)
        conversions = (*converted, *conversions)
    goal = points
    if isinstance(target, Allocation):
        goal = pd.DataFrame({"C": target.data["C"].to_numpy()})
    allowed = limits(budget, number, costs, goal, column in frame, belief)
    at_target = rest[0]["centre"] if points is not None else _flat(quantity, len(drawn["centre"]))
    chosen = _choose(drawn, at_target, costs, allowed.cost, allowed.number, repeat)
    fits = belief.used.values() if isinstance(belief, Average) else [belief]
    known = isinstance(fit, (Fit, Average))
    with_drift = drift != "off" and all(f.plan.drift == "ahead" for f in fits)
    variances, ended = chosen.variance, False
    if points is not None and with_drift and len(chosen.order):
        before = at_target.var(axis=0, ddof=1)

        def refitted(order: np.ndarray) -> np.ndarray:
            left = after_refits(belief, frame, points, order, before, _noise, group, seed, known)
            return chosen.variance[0] * (left / before).mean(axis=1)

        order, variances, ended = _worthwhile(chosen.order, refitted)
        chosen = _Chosen(order, variances, chosen.first)
    runs = frame.iloc[chosen.order].reset_index(drop=True).drop(columns=column, errors="ignore")
    spent = costs[chosen.order]
    runs = runs.assign(
        candidate=chosen.order,
        cost=spent,
        total_cost=np.cumsum(spent),
        sd=np.sqrt(variances[1:]),
        share=variances[1:] / variances[0],
    )
    considered = frame.assign(
        cost=costs, share=chosen.first, times=np.bincount(chosen.order, minlength=len(frame))
    )
    ahead = None
    if points is not None:
        ahead = new_runs(belief, target, points, group, seed, drift)
    if points is not None and belief.law.allocates:
        place = {c: as_counts(points[c].tolist(), c) for c in ("N", "D", "C") if c in points}
        points = points.assign(**place)
    return Suggestion(
        runs,
        considered,
        float(np.sqrt(variances[0])),
        points is not None,
        points,
        belief,
        not known,
        seed,
        with_drift,
        conversions,
        allowed,
        ahead,
        _group_of(target, points, belief, group),
        ended,
    )


def _group_of(target, points, belief: Fit | Average, group) -> dict[str, str]:
    """The group that the target is of; empty without groups, or with several of them."""
    if isinstance(target, Allocation):
        return dict(target.labels or {})
    if points is None:
        return {}
    _, labels = columns_of(belief, points, group)
    return (
        {g: str(v[0]) for g, v in labels.items()}
        if all(len(set(v)) == 1 for v in labels.values())
        else {}
    )


@dataclass(frozen=True)
class _Chosen:
    """Candidates in order of choice, the mean variance of the targets before and after each, and
    the share of the variance that each candidate alone would remove."""

    order: np.ndarray
    variance: np.ndarray
    first: np.ndarray


def _worthwhile(order: np.ndarray, refitted) -> tuple[np.ndarray, np.ndarray, bool]:
    """The runs of a choice that each narrow the interval of a refit.

    Parameters
    ----------
    order : numpy.ndarray
        The choice, which counts on more than a refit gives.
    refitted : callable
        From an order to the variances without runs and after each run.

    Returns
    -------
    tuple
        The order without runs that remove less than 1 % of the variance that is left, its
        variances, and whether further runs were left out at its end.
    """
    variances = refitted(order)
    number = int(np.argmax(variances[1:] <= (1 + LITTLE) * variances.min())) + 1
    if variances[1:].min() > (1 - LITTLE) * variances[0]:
        number = 0
    ended = number < len(order)
    order, variances = order[:number], variances[: number + 1]
    while (poor := variances[1:] > (1 - LITTLE) * variances[:-1]).any():
        first = int(np.argmax(poor))
        ended |= first == len(order) - 1
        order = np.delete(order, first)
        variances = refitted(order) if len(order) else variances[:1]
    return order, variances, ended


def _choose(drawn, at_target, costs, budget: float, number: int, repeat: bool) -> _Chosen:
    """The best of the greedy choices for this budget and for every smaller one.

    A greedy choice for more money can be worse than one for less, because it starts with a dear
    run. The better of two rules, by reduction per cost and by reduction, is near the optimum
    (Leskovec et al. 2007, doi:10.1145/1281192.1281239). With the choices for smaller budgets, the
    variance does not increase with the budget. A choice stays the same down to the budget that it
    spends, so that the next smaller budget lies just below. At most `MOST_PLANS` are compared.
    """
    moments = _Moments.of(drawn, at_target, len(costs))
    best = None
    for per_cost in (True, False):
        limit = budget
        for _ in range(MOST_PLANS):
            plan = _greedy(moments, costs, limit, number, repeat, per_cost)
            if best is None or plan.variance[-1] < best.variance[-1] * (1 - 1e-12):
                best = plan
            if not len(plan.order):
                break
            limit = costs[plan.order].sum() * (1 - 1e-9)
    return best


@dataclass(frozen=True)
class _Moments:
    """Covariances over draws: of the losses of candidates with each other, as columns that are
    computed when they are asked for, and with the targets; and the variance of a run's noise."""

    centred: np.ndarray
    with_target: np.ndarray
    diagonal: np.ndarray
    variance: np.ndarray
    noise: np.ndarray
    least: float
    columns: dict[int, np.ndarray]

    @classmethod
    def of(cls, drawn, at_target, candidates: int) -> _Moments:
        centred = drawn["centre"] - drawn["centre"].mean(axis=0)
        targets = at_target - at_target.mean(axis=0)
        samples = len(centred) - 1
        variance = (targets**2).sum(axis=0) / samples
        if not (variance > 0).all():
            raise FitError("the target is the same in all draws: no run could change it")
        return cls(
            centred,
            centred.T @ targets / samples,
            (centred**2).sum(axis=0) / samples,
            variance,
            _noise(drawn),
            CHANCE * np.log(max(2, candidates)) / samples,
            {},
        )

    @property
    def samples(self) -> int:
        return len(self.centred) - 1

    def with_candidate(self, i: int) -> np.ndarray:
        """The covariances of all candidates with one."""
        if i not in self.columns:
            self.columns[i] = self.centred.T @ self.centred[:, i] / self.samples
        return self.columns[i]


def _greedy(
    moments: _Moments, costs, budget: float, number: int, repeat: bool, per_cost: bool
) -> _Chosen:
    """Runs chosen one by one, each given those before it."""
    with_target, variance = moments.with_target, moments.variance
    diagonal, samples = moments.diagonal, moments.samples
    weight = 1 / (len(variance) * variance)  # several targets count equally
    order, left, first, spent = [], [variance.mean()], None, 0.0
    start, free = variance, np.ones(len(costs), bool)
    removed: list[np.ndarray] = []  # what each chosen run takes from the covariances, as a root
    while len(order) < number:
        total = diagonal + moments.noise
        squared = with_target**2 / total[:, None]
        # The square of a correlation, without what is expected of an uncorrelated target.
        share = squared / variance
        share = np.where(share > moments.least, share - (1 - share) / samples, 0.0).clip(0.0, 1.0)
        gain = (share * variance) @ weight
        first = gain if first is None else first
        payable = free & (costs <= (budget - spent) * (1 + 1e-12))
        payable &= gain > LEAST * (variance @ weight)
        value = np.where(payable, gain / costs if per_cost else gain, 0.0)
        best = int(np.argmax(value))
        if value[best] <= 0:
            break
        root = moments.with_candidate(best).copy()
        for other in removed:
            root -= other * other[best]
        root /= np.sqrt(total[best])
        with_target = with_target - np.outer(root, with_target[best]) / np.sqrt(total[best])
        diagonal = diagonal - root**2
        variance = variance - share[best] * variance
        removed.append(root)
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


def _budget(budget, column: str | None, cost: Cost | None, factor: float):
    """The budget in the unit of the costs, and how it was converted.

    Raises
    ------
    FitError
        If it is in another unit than a column of costs.
    """
    value, conversions = read_budgets(budget, cost, flop_factor=factor, name="budget")
    if len(value) > 1:
        raise FitError(f"budget has {len(value)} values: give one, for all runs together")
    if conversions and column:
        raise FitError(
            f"the budget of {budget} is converted to FLOP, but the costs are those of the column "
            f"{column!r}: give the budget as a number in the unit of that column, or leave the "
            "column out"
        )
    return float(value[0]), conversions


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
