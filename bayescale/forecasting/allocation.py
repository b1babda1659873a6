"""How to spend a budget: the best N and D, how sure that is, and what a wrong split costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import FitError, LawError
from bayescale.forecasting.averaging import Average, mix
from bayescale.intervals import SAMPLE, table
from bayescale.model import Fit, parameters, settle_groups
from bayescale.units import as_counts, format_count, format_flop

#: Points of the grids that a split is searched on, and steps of the refinement that follows.
GRID, REFINE = 48, 36
ELASTICITY_STEP = 0.05  # half the distance in log C over which the exponent a is measured
BISECTIONS = 50


@dataclass(frozen=True, eq=False)
class Allocation:
    """The posterior of the compute-optimal split of one or more budgets.

    Attributes
    ----------
    data : xarray.Dataset
        ``N`` (parameters), ``D`` (tokens), ``tokens_per_param``, ``loss`` (nats per token, where
        the law lies at that optimum), and the exponents ``a`` and ``b`` of N* ~ C^a, D* ~ C^b;
        dims (chain, draw, budget). ``N_decision`` and ``D_decision``, dim (budget,), are the one
        split that minimises the expected loss under the posterior, ``loss_decision`` what it then
        reaches in each draw.
    law : str
        The law that was fitted, or the laws that were averaged.
    group : str
        The group it is for.
    """

    data: xr.Dataset = field(repr=False)
    law: str
    group: str
    fit: Fit | Average = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per budget: the decision, then medians and intervals of the optimum.

        ``expected_regret`` is the loss that the decision is expected to waste against knowing the
        true optimum, in nats per token.
        """
        self.fit.warn_if_failed()
        data = self.data
        regret = (data["loss_decision"] - data["loss"]).mean(SAMPLE)
        parts = [
            pd.DataFrame(
                {
                    "C": data["C"].to_numpy(),
                    "N_decision": data["N_decision"].to_numpy(),
                    "D_decision": data["D_decision"].to_numpy(),
                    "expected_regret": regret.to_numpy(),
                }
            )
        ]
        for name in ("N", "D", "tokens_per_param", "loss", "a", "b"):
            parts.append(table(data[name], name, ci_prob, ci_kind))
        return pd.concat(parts, axis=1)

    def __repr__(self) -> str:
        lines = [f"<Allocation by {self.law}{self.group}, {self.data.sizes['budget']} budget(s)>"]
        for row in self.summary().itertuples():
            low, high = row[row._fields.index("N") + 1], row[row._fields.index("N") + 2]
            lines.append(
                f"  {format_flop(row.C)} FLOP: train {format_count(row.N_decision)} on "
                f"{format_count(row.D_decision)} tokens (N* {format_count(low)} to "
                f"{format_count(high)}), loss {row.loss:.3f}, a = {row.a:.2f}"
            )
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Regret:
    """What a choice of N and D is expected to waste against the best split of its compute.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (chain, draw, point): ``excess_loss`` (nats per token above the optimum) and
        ``wasted_share`` (the share of the compute that the optimum would not have needed).
    """

    data: xr.Dataset = field(repr=False)
    fit: Fit | Average = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per choice: expected excess loss, expected waste in FLOP, and intervals."""
        self.fit.warn_if_failed()
        data = self.data
        expected = pd.DataFrame(
            {
                **{c: data[c].to_numpy() for c in "NDC"},
                "expected_excess_loss": data["excess_loss"].mean(SAMPLE).to_numpy(),
                "expected_wasted_flop": (data["wasted_share"].mean(SAMPLE) * data["C"]).to_numpy(),
            }
        )
        parts = [table(data[v], v, ci_prob, ci_kind) for v in ("excess_loss", "wasted_share")]
        return pd.concat([expected, *parts], axis=1)

    def __repr__(self) -> str:
        rows = [
            f"  {format_count(r.N)} on {format_count(r.D)} tokens: {r.expected_excess_loss:.4f} "
            f"nats above the best, {100 * r.expected_wasted_flop / r.C:.0f} % of the compute wasted"
            for r in self.summary().itertuples()
        ]
        return "\n".join(["<Regret>", *rows])


def allocate(fit: Fit | Average, C, *, group=None) -> Allocation:
    """Split a training budget between parameters and tokens.

    Parameters
    ----------
    fit : Fit or Average
        Of laws in N and D.
    C : float, str or array_like
        Budgets in FLOP (``1e24``), in the accounting of the fitted runs.
    group : str or mapping, optional
        A group that was fitted; None stands for a new one, drawn from the population.

    Returns
    -------
    Allocation
        Of an average: the draws of its laws, mixed by weight, and the one decision that minimises
        the loss expected over all of them.

    Raises
    ------
    LawError
        If a law has nothing to allocate, or its best split lies at a corner.
    FitError
        For a group the fit does not know.

    Notes
    -----
    In closed form where the law has one (Hoffmann et al. 2022, arXiv:2203.15556, section 3.3),
    else by a search in each draw. The *decision* is not the plug-in optimum: it minimises the
    loss averaged over the posterior, which matters where the posterior is wide. Losses here are
    those of the law; how far it may drift beyond the runs is in `forecast` of the chosen split.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> best = bs.allocate(bs.fit(runs, random_seed=1), C=1e22)
    >>> bool(1e9 < best.data["N_decision"][0] < 1e11)
    True
    """
    readings = _read(fit, group)
    C = xr.DataArray(as_counts(C, "C"), dims="budget")
    best = [r.optimum(C) for r in readings]
    N = _decision(readings, C, [b["N"] for b in best])
    data = _mixed(
        readings,
        [b.assign(loss_decision=r.along(C, N)) for r, b in zip(readings, best, strict=True)],
    )
    data = data.assign(N_decision=N, D_decision=C / (fit.runs.flop_factor * N))
    data = data.assign_coords(C=C).transpose("chain", "draw", "budget")
    return Allocation(data, fit.law.name, group_in_words(group), fit)


def regret(fit: Fit | Average, N, D, C=None, *, group=None) -> Regret:
    """What choosing N and D is expected to waste.

    Parameters
    ----------
    fit : Fit or Average
    N, D : float, str or array_like
        The choice: parameters and tokens.
    C : float, str or array_like, optional
        The budget it is made from, in FLOP; what N and D cost, if not given.
    group : str or mapping, optional
        As in `allocate`.

    Returns
    -------
    Regret
        In nats per token, and in compute: the FLOP that the best split would have saved while
        reaching the same loss. Of an average: each draw against the best split under its own law.

    Raises
    ------
    LawError
        As `allocate`, and for choices that differ in length or cost more than their budget.
    FitError
        For a group the fit does not know.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm").query("dataset == 'c4'"), random_seed=1)
    >>> waste = bs.regret(fit, N="7B", D="15T").summary()
    >>> bool(waste["expected_excess_loss"][0] > 0)
    True
    """
    readings = _read(fit, group)
    given = {"N": as_counts(N, "N"), "D": as_counts(D, "D")}
    given |= {} if C is None else {"C": as_counts(C, "C")}
    if len({len(v) for v in given.values()} - {1}) > 1:
        lengths = ", ".join(f"{c}: {len(v)}" for c, v in given.items())
        raise LawError(f"the choices differ in length ({lengths}): give one value or equally many")
    N, D, *rest = np.broadcast_arrays(*given.values())
    cost = fit.runs.flop_factor * N * D
    budget = rest[0] if rest else cost
    if (cost > budget * (1 + 1e-9)).any():
        raise LawError(
            f"N and D cost up to {format_flop(cost.max())} FLOP, more than the budget C "
            f"of {format_flop(budget.max())}"
        )
    N, D, budget = (xr.DataArray(v, dims="point") for v in (N, D, budget))
    data = _mixed(readings, [_waste(r, N, D, budget) for r in readings])
    data = data.transpose("chain", "draw", "point").assign_coords(N=N, D=D, C=budget)
    return Regret(data, fit)


def best_split(fit: Fit | Average, C: np.ndarray, group=None) -> tuple[np.ndarray, np.ndarray]:
    """The N and D that minimise the expected loss of each budget."""
    readings = _read(fit, group)
    C = xr.DataArray(C, dims="budget")
    N = _decision(readings, C, [r.best_N(C) for r in readings])
    return N.to_numpy(), (C / (fit.runs.flop_factor * N)).to_numpy()


def group_in_words(group) -> str:
    """The group in words, for a heading."""
    if group is None:
        return ""
    return f" for {', '.join(map(str, group.values())) if isinstance(group, dict) else group}"


# -- one law, all its draws at once ------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Reading:
    """A fit read for one group: what each of its draws says of any N, D and C."""

    fit: Fit
    values: dict[str, xr.DataArray]
    weight: float = 1.0

    @cached_property
    def flop_factor(self) -> float:
        return self.fit.runs.flop_factor

    def loss(self, N, D) -> xr.DataArray:
        return self.fit.law(dict(N=N, D=D), self.fit.plan.scales, self.values)

    def along(self, C, N) -> xr.DataArray:
        """The loss where N takes what it needs and D takes the rest of the budget."""
        return self.loss(N, C / (self.flop_factor * N))

    def best_N(self, C: xr.DataArray) -> xr.DataArray:
        """The N that minimises each draw's loss for each budget."""
        law, scales, product = self.fit.law, self.fit.plan.scales, C / self.flop_factor
        if law.optimum is not None:
            return law.optimum(product / (scales["N"] * scales["D"]), **self.values) * scales["N"]
        return np.exp(
            _search(
                lambda log_N: self.along(C, np.exp(log_N)),
                xr.zeros_like(product),
                np.log(product),
                f"law {law.name!r}",
            )
        )

    def optimum(self, C: xr.DataArray) -> xr.Dataset:
        """Each draw's best split of each budget."""
        N = self.best_N(C)
        D = C / (self.flop_factor * N)
        up, down = (self.best_N(C * np.exp(s * ELASTICITY_STEP)) for s in (1, -1))
        a = np.log(up / down) / (2 * ELASTICITY_STEP)
        return xr.Dataset(
            dict(N=N, D=D, tokens_per_param=D / N, loss=self.loss(N, D), a=a, b=1 - a)
        )


def _waste(reading: _Reading, N, D, budget) -> xr.Dataset:
    """Each draw's loss above its best split of the budget, and the compute it could have spared."""

    def best(compute):
        return reading.along(compute, reading.best_N(compute))

    reached = reading.loss(N, D)
    excess = reached - best(budget)
    low, high = xr.zeros_like(excess) - np.log(1e9), xr.zeros_like(excess)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = best(budget * np.exp(middle)) <= reached
        low, high = xr.where(enough, low, middle), xr.where(enough, middle, high)
    return xr.Dataset(dict(excess_loss=excess, wasted_share=-np.expm1(high)))


# -- one law or several ------------------------------------------------------------------------


def _read(fit: Fit | Average, group) -> list[_Reading]:
    """The fit, or every fit of an average that has any weight."""
    one = isinstance(fit, Fit)
    fits, weights = ([fit], [1.0]) if one else (fit.used.values(), map(fit.weights.get, fit.used))
    if stuck := [
        f"law {f.law.name!r} has the columns {', '.join(f.law.columns)}: only a law in N "
        "and D can split a budget"
        for f in fits
        if not f.law.allocates
    ]:
        raise LawError(stuck)
    return [_Reading(f, _values(f, group), w) for f, w in zip(fits, weights, strict=True)]


def _values(fit: Fit, group) -> dict[str, xr.DataArray]:
    rng = np.random.default_rng(fit.random_seed)
    settled = settle_groups(fit.plan, group)
    if several := [c for c, label in settled.items() if not isinstance(label, str)]:
        raise FitError(f"{', '.join(several)}: budgets are split for one group at a time")
    return parameters(fit.posterior, fit.plan, settled, rng, fit.law.parameters)


def _mixed(readings: Sequence[_Reading], datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    names = [str(i) for i in range(len(readings))]
    weights = dict(zip(names, (r.weight for r in readings), strict=True))
    return mix(dict(zip(names, datasets, strict=True)), weights)


def _decision(readings: Sequence[_Reading], C, best: Sequence[xr.DataArray]) -> xr.DataArray:
    """The N that minimises the expected loss: over the draws of a law, over laws by weight."""

    def expected(log_N):
        return sum(r.weight * r.along(C, np.exp(log_N)).mean(SAMPLE) for r in readings)

    low = np.log(xr.concat([N.min(SAMPLE) for N in best], "law").min("law"))
    high = np.log(xr.concat([N.max(SAMPLE) for N in best], "law").max("law"))
    # Beyond the outermost optima every draw loses: the margin keeps the grid's ends out there.
    margin = 0.1 + 0.1 * (high - low)
    whose = " and ".join(f"law {r.fit.law.name!r}" for r in readings)
    return np.exp(_search(expected, low - margin, high + margin, whose))


def _search(objective, low: xr.DataArray, high: xr.DataArray, whose: str) -> xr.DataArray:
    """Minimise between bounds, for all draws and budgets at once: a grid, then golden sections."""
    best = value = None
    step = (high - low) / (GRID - 1)
    for i in range(GRID):
        here = low + i * step
        now = objective(here)
        here, now = xr.broadcast(here, now)
        better = True if value is None else now < value
        best = here if value is None else xr.where(better, here, best)
        value = now if value is None else xr.where(better, now, value)
    corner = (best <= low + step / 2) | (best >= high - step / 2)
    if bool(corner.any()):
        raise LawError(
            f"under {whose} the best split of this budget lies at a corner (all in "
            "N, or all in D): there is no interior optimum to report"
        )
    low, high = best - step, best + step
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(REFINE):
        width = golden * (high - low)
        left, right = high - width, low + width
        lower = objective(left) < objective(right)
        low, high = xr.where(lower, low, left), xr.where(lower, right, high)
    return (low + high) / 2
