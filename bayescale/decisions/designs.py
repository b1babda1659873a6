"""Score a plan of runs by simulation: would its answer be right, and how precise?"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.costs import Cost
from bayescale.data import Runs
from bayescale.decisions.beliefs import (
    as_frame,
    as_posterior,
    columns_of,
    factor_of,
    joint_draws,
    new_runs,
    target_points,
)
from bayescale.errors import FitError, RunsWarning, unknown
from bayescale.evaluation import ensemble
from bayescale.forecasting import DRIFTS, Average, fits_of
from bayescale.inference import run_all
from bayescale.intervals import SAMPLE, Summary, defaults, interval
from bayescale.keywords import hinted
from bayescale.laws import Law
from bayescale.model import Fit, fit_design
from bayescale.model import design as specify
from bayescale.seeds import settle_seed
from bayescale.units import counted, format_count

#: Simulated plans, if no number is given.
SIMULATIONS = 20
#: Draws of each refit, per chain, and chains.
DRAWS, CHAINS = 250, 2


@dataclass(frozen=True, eq=False)
class DesignScore:
    """How well a plan of runs answers a question, by simulation.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (simulation, point), of the log loss at the target: ``truth``, the value that was
        assumed, without the noise of a run, and ``measured``, with this noise; ``median`` of the
        first, and ``lower`` and ``upper``, the interval of the second, as `bayescale.forecast`
        gives them after the simulated runs.
    before : xarray.Dataset
        ``lower`` and ``upper`` without the runs of the plan; dims (point,).
    target : pandas.DataFrame
        The runs whose loss is in question.
    plan : pandas.DataFrame
        The runs of the plan.
    ci_prob : float
        Probability of the intervals.
    random_seed : int
        Seed of the simulations.
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    """

    data: xr.Dataset = field(repr=False)
    before: xr.Dataset = field(repr=False)
    target: pd.DataFrame = field(repr=False)
    plan: pd.DataFrame = field(repr=False)
    ci_prob: float
    random_seed: int
    conversions: tuple[str, ...] = ()

    def summary(self) -> pd.DataFrame:
        """One row for each target.

        Returns
        -------
        pandas.DataFrame
            The columns of the target; ``bias`` and ``rmse`` of the posterior median of log loss
            (0.01 is 1 % of the loss); ``coverage`` of the intervals of the log loss of a new run;
            their mean ``width``, and in ``width_before`` the width without the plan, which is that
            of `bayescale.forecast`. `bayescale.suggest` expects the same widths.
        """
        data = self.data
        error = data["median"] - data["truth"]
        inside = (data["measured"] >= data["lower"]) & (data["measured"] <= data["upper"])
        columns = {
            "bias": error.mean("simulation"),
            "rmse": np.sqrt((error**2).mean("simulation")),
            "coverage": inside.mean("simulation"),
            "width": (data["upper"] - data["lower"]).mean("simulation"),
            "width_before": self.before["upper"] - self.before["lower"],
        }
        scores = pd.DataFrame({name: v.to_numpy() for name, v in columns.items()})
        return Summary(pd.concat([self.target.reset_index(drop=True), scores], axis=1))

    def bottom_line(self) -> str:
        """How precise and how often right the answer of the plan would be."""
        row = pd.DataFrame(self.summary()).iloc[-1]
        point = ", ".join(
            f"{c} {format_count(row[c]) if c in 'ND' else row[c]}" for c in self.target
        )
        number = self.data.sizes["simulation"]
        return (
            f"After these {len(self.plan)} runs, the {100 * self.ci_prob:g} % interval of the loss "
            f"of a new run at {point} would be {100 * row['width']:.2g} % wide (now "
            f"{100 * row['width_before']:.2g} %). It held in {100 * row['coverage']:.0f} % of "
            f"{number} simulations, with a bias of {100 * row['bias']:+.2g} %."
            + "".join(f" {sentence}" for sentence in self.conversions)
        )

    def cautions(self) -> tuple[str, ...]:
        """Reasons to doubt the score, the most serious first."""
        number = self.data.sizes["simulation"]
        error = 100 * np.sqrt(self.ci_prob * (1 - self.ci_prob) / number)
        return (
            "the simulations assume that one of the fitted laws is true, with the drift of the fit",
            f"{number} simulations give the coverage within about {error:.0f} percentage points",
        )

    def __repr__(self) -> str:
        head = f"<DesignScore of {len(self.plan)} runs, {counted(len(self.target), 'target')}>"
        return "\n".join([self.bottom_line(), head, repr(self.summary())])


@hinted
def design(
    fit: Fit | Average | Law | str,
    plan: pd.DataFrame | Mapping[str, object],
    *,
    target,
    simulations: int = SIMULATIONS,
    group=None,
    cost: Cost | None = None,
    drift: str = "auto",
    ci_prob: float | None = None,
    draws: int = DRAWS,
    chains: int = CHAINS,
    executor=None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> DesignScore:
    """Score a whole plan of runs by simulation, with the posterior as truth.

    Parameters
    ----------
    fit : Fit, Average, Law or str
        What is known. With no runs yet, a law or its name: truths are then drawn from its prior.
    plan : pandas.DataFrame or mapping
        The runs of the plan, one row for each, with the columns of the laws and the group columns;
        or a mapping from column to values, of which every combination is trained.
    target : Forecast, pandas.DataFrame or mapping
        The runs whose loss is in question, given as the plan is.
    simulations : int
        Number of simulated plans. Each is fitted anew.
    group : str or mapping, optional
        The group of runs and targets whose table has no column of groups.
    cost : Cost, optional
        The hardware and its prices, for budgets in units other than FLOP; by default the
        accelerator that they name, or an H100.
    drift : {"auto", "off"}
        As in `bayescale.forecast`, for the truths and for the answers.
    ci_prob : float, optional
        Probability of the intervals; 0.9 by default.
    draws, chains : int
        Draws per chain and chains of each refit.
    executor : concurrent.futures.Executor, optional
        Runs the refits, as in `bayescale.rollout`. Results do not depend on it.
    random_seed : int, optional
        Seed of truths, simulated losses and refits; by default that of the fit.
    progressbar : bool, optional
        By default on a terminal and in notebooks only.

    Returns
    -------
    DesignScore
        Bias of the median, and coverage and width of the interval of the log loss of a new run at
        the target.

    Raises
    ------
    FitError
        If a column of the laws is missing, or if a fit infers its drift (``drift="through"``).

    Notes
    -----
    A truth is one draw of the posterior: the parameters, and a path of the drift beyond the runs,
    which the runs of the plan and the target share. The losses of the plan are simulated from it
    with their noise, added to the known runs, and the laws of the fit are fitted to all of them. An
    average is refitted with the weights that the evidence then gives.

    Examples
    --------
    >>> import bayescale as bs
    >>> score = bs.design(
    ...     "power(D)",
    ...     {"D": ["1B", "3B", "10B", "30B"]},
    ...     target={"D": "100B"},
    ...     simulations=2,
    ...     draws=100,
    ...     random_seed=1,
    ... )
    >>> bool(score.summary()["width"][0] < score.summary()["width_before"][0])
    True
    """
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    if isinstance(simulations, bool) or simulations != int(simulations) or simulations < 1:
        raise FitError(f"simulations is {simulations!r}: give a whole number, at least 1")
    prob, _ = defaults(ci_prob)
    planned, converted = as_frame(plan, "plan", cost, factor_of(fit))
    seed = settle_seed(random_seed) if random_seed is not None else getattr(fit, "random_seed", 0)
    known = isinstance(fit, (Fit, Average))
    belief = as_posterior(fit, planned, seed)
    wanted, quantity, conversions = target_points(target, belief, group, cost)
    if quantity is not None:
        raise FitError(
            f"the target is a {type(target).__name__}: a plan is scored by the loss at runs, so "
            "give a table, a mapping from column to value, or {'loss': ...}"
        )
    members = list(fits_of(belief).values())
    if any(member.plan.drift == "through" for member in members):
        raise FitError(
            "plans of learning curves are not simulated: give a fit of finished runs, with drift "
            "'ahead' or 'off'"
        )
    runs, at_target = joint_draws(belief, [planned, wanted], group, seed, drift)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(runs["centre"]), simulations, replace=simulations > len(runs["centre"]))
    seeds = rng.integers(2**31, size=simulations)
    place, labels = columns_of(belief, planned, group)
    base = pd.DataFrame({**{c: place[c] for c in place}, **labels})
    jobs = []
    for i, draw in enumerate(chosen):
        noise = runs["scale"][draw] * _noise(runs["nu"][draw], rng)
        losses = np.exp(runs["centre"][draw] + noise)
        table = base.assign(loss=losses)
        jobs.append(
            _Job(belief, table, known, wanted, group, drift, draws, chains, int(seeds[i]), prob)
        )
    laws = [member.law for member in members]
    names = [f"simulation {i + 1}" for i in range(len(jobs))]
    results = run_all(_refit, jobs, names, laws, executor=executor, progressbar=progressbar)
    low, middle, high = np.moveaxis(np.array(results), 1, 0)
    dims, truth, nu = ("simulation", "point"), at_target["centre"][chosen], at_target["nu"][chosen]
    data = xr.Dataset(
        {
            "truth": (dims, truth),
            "measured": (dims, truth + at_target["scale"][chosen] * _noise(nu, rng)),
            "median": (dims, middle),
            "lower": (dims, low),
            "upper": (dims, high),
        }
    )
    low, _, high = _at_target(new_runs(belief, target, wanted, group, seed, drift), prob)
    before = xr.Dataset({"lower": ("point", low), "upper": ("point", high)})
    both = tuple(dict.fromkeys((*converted, *conversions)))
    return DesignScore(data, before, wanted, planned, prob, seed, both)


class _Job(NamedTuple):
    """One simulated plan, with all inputs that another process needs."""

    belief: Fit | Average
    simulated: pd.DataFrame
    has_runs: bool
    target: pd.DataFrame
    group: object
    drift: str
    draws: int
    chains: int
    seed: int
    ci_prob: float


def _refit(job: _Job) -> np.ndarray:
    """Bounds and median of the log loss at the target after the simulated runs; (3, point)."""
    refitted = _fitted(job, job.belief)
    drawn = new_runs(refitted, job.target, job.target, job.group, job.seed, job.drift)
    return _at_target(drawn, job.ci_prob)


def _fitted(job: _Job, belief: Fit | Average) -> Fit | Average:
    """The laws of the belief, fitted to its runs and to the simulated ones."""
    first = next(iter(fits_of(belief).values()))
    table = job.simulated
    if job.has_runs:
        names = [c for c in first.runs.table if c in (*table.columns, "loss_sd")]
        known = first.runs.table[names]
        if "loss_sd" in known:
            error = float(np.median(known["loss_sd"] / known["loss"]))
            table = table.assign(loss_sd=error * table["loss"])
        table = pd.concat([known, table[[c for c in names if c in table]]], ignore_index=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RunsWarning)  # about replicates, which a plan may have
        runs = Runs.from_frame(table, groups=belief.groups or None, source="a simulated plan")
    settings = dict(draws=job.draws, chains=job.chains, random_seed=job.seed, progressbar=False)
    if isinstance(belief, Average):
        laws = [fit.law for fit in belief.used.values()]
        return ensemble(runs, laws, groups=belief.groups or None, **settings)
    plan = first.plan
    plan = replace(specify(runs, plan.law, plan.groups or None, drift=plan.drift), ahead=plan.ahead)
    settings.pop("chains")
    return fit_design(plan, tune=500, chains=job.chains, **settings)


def _at_target(drawn: xr.Dataset, prob: float) -> np.ndarray:
    """Lower bound of a new run's log loss, median without noise, and upper bound; (3, point)."""
    low, high = interval(np.log(drawn["loss"]), prob, "eti")
    return np.array([low, np.log(drawn["mean"]).median(SAMPLE), high])


def _noise(nu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Student-t noise of scale one, of the shape of its degrees of freedom."""
    normal = np.isinf(nu)
    return np.where(
        normal, rng.standard_normal(nu.shape), rng.standard_t(np.where(normal, 1.0, nu))
    )
