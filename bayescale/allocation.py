"""How to spend a budget: the best N and D, how sure that is, and what a wrong split costs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import FitError, LawError
from bayescale.fitting import Fit
from bayescale.intervals import SAMPLE, table
from bayescale.posterior import parameters, settle_groups
from bayescale.units import format_count, format_flop, parse_count

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
        The law that was fitted.
    group : str
        The group it is for.
    """

    data: xr.Dataset = field(repr=False)
    law: str
    group: str
    fit: Fit = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per budget: the decision, then medians and intervals of the optimum.

        ``expected_regret`` is the loss that the decision is expected to waste against knowing the
        true optimum, in nats per token.
        """
        self.fit.warn_if_failed()
        data = self.data
        regret = (data["loss_decision"] - data["loss"]).mean(SAMPLE)
        parts = [pd.DataFrame({
            "C": data["C"].to_numpy(),
            "N_decision": data["N_decision"].to_numpy(),
            "D_decision": data["D_decision"].to_numpy(),
            "expected_regret": regret.to_numpy(),
        })]
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
                f"{format_count(high)}), loss {row.loss:.3f}, a = {row.a:.2f}")
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
    fit: Fit = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per choice: expected excess loss, expected waste in FLOP, and intervals."""
        self.fit.warn_if_failed()
        data = self.data
        expected = pd.DataFrame({
            **{c: data[c].to_numpy() for c in "NDC"},
            "expected_excess_loss": data["excess_loss"].mean(SAMPLE).to_numpy(),
            "expected_wasted_flop": (data["wasted_share"].mean(SAMPLE) * data["C"]).to_numpy(),
        })
        parts = [table(data[v], v, ci_prob, ci_kind) for v in ("excess_loss", "wasted_share")]
        return pd.concat([expected, *parts], axis=1)

    def __repr__(self) -> str:
        rows = [
            f"  {format_count(r.N)} on {format_count(r.D)} tokens: {r.expected_excess_loss:.4f} "
            f"nats above the best, {100 * r.expected_wasted_flop / r.C:.0f} % of the compute wasted"
            for r in self.summary().itertuples()
        ]
        return "\n".join(["<Regret>", *rows])


def allocate(fit: Fit, C, *, group=None) -> Allocation:
    """Split a training budget between parameters and tokens.

    Parameters
    ----------
    fit : Fit
        Of a law in N and D.
    C : float, str or array_like
        Budgets in FLOP (``1e24``), in the accounting of the fitted runs.
    group : str or mapping, optional
        A group that was fitted; None stands for a new one, drawn from the population.

    Returns
    -------
    Allocation

    Raises
    ------
    LawError
        If the law has nothing to allocate, or its best split lies at a corner.
    FitError
        For a group the fit does not know.

    Notes
    -----
    In closed form where the law has one (Hoffmann et al. 2022, arXiv:2203.15556, section 3.3),
    else by a search in each draw. The *decision* is not the plug-in optimum: it minimises the
    loss averaged over the posterior, which matters where the posterior is wide.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> best = bs.allocate(bs.fit(runs, random_seed=1), C=1e22)
    >>> bool(1e9 < best.data["N_decision"][0] < 1e11)
    True
    """
    _require_split(fit)
    budgets = as_counts(C, "C")
    values = _values(fit, group)
    C = xr.DataArray(budgets, dims="budget")
    N = optimal_N(fit, values, C)
    D = C / (fit.runs.flop_factor * N)
    up, down = (optimal_N(fit, values, C * np.exp(s * ELASTICITY_STEP)) for s in (1, -1))
    a = np.log(up / down) / (2 * ELASTICITY_STEP)
    N_decision = _decision(fit, values, C, N)
    D_decision = C / (fit.runs.flop_factor * N_decision)
    data = xr.Dataset(dict(
        N=N, D=D, tokens_per_param=D / N, loss=_loss(fit, values, N, D), a=a, b=1 - a,
        N_decision=N_decision, D_decision=D_decision,
        loss_decision=_loss(fit, values, N_decision, D_decision),
    ))
    data = data.assign_coords(C=C).transpose("chain", "draw", "budget")
    return Allocation(data, fit.law.name, said_group(group), fit)


def regret(fit: Fit, N, D, C=None, *, group=None) -> Regret:
    """What choosing N and D is expected to waste.

    Parameters
    ----------
    fit : Fit
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
        reaching the same loss.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm").query("dataset == 'c4'"), random_seed=1)
    >>> waste = bs.regret(fit, N="7B", D="15T").summary()
    >>> bool(waste["expected_excess_loss"][0] > 0)
    True
    """
    _require_split(fit)
    given = {"N": as_counts(N, "N"), "D": as_counts(D, "D")}
    given |= {} if C is None else {"C": as_counts(C, "C")}
    if len({len(v) for v in given.values()} - {1}) > 1:
        lengths = ", ".join(f"{c}: {len(v)}" for c, v in given.items())
        raise LawError(f"the choices differ in length ({lengths}): give one value or equally many")
    N, D, *rest = np.broadcast_arrays(*given.values())
    cost = fit.runs.flop_factor * N * D
    budget = rest[0] if rest else cost
    if (cost > budget * (1 + 1e-9)).any():
        raise LawError(f"N and D cost up to {format_flop(cost.max())} FLOP, more than the budget C "
                       f"of {format_flop(budget.max())}")
    N, D, budget = (xr.DataArray(v, dims="point") for v in (N, D, budget))
    values = _values(fit, group)

    def best(compute):
        optimum = optimal_N(fit, values, compute)
        return _loss(fit, values, optimum, compute / (fit.runs.flop_factor * optimum))

    reached = _loss(fit, values, N, D)
    excess = reached - best(budget)
    low, high = xr.zeros_like(excess) - np.log(1e9), xr.zeros_like(excess)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = best(budget * np.exp(middle)) <= reached
        low, high = xr.where(enough, low, middle), xr.where(enough, middle, high)
    data = xr.Dataset(dict(excess_loss=excess, wasted_share=-np.expm1(high)))
    data = data.transpose("chain", "draw", "point").assign_coords(N=N, D=D, C=budget)
    return Regret(data, fit)


def best_split(fit: Fit, C: np.ndarray, group=None) -> tuple[np.ndarray, np.ndarray]:
    """The N and D that minimise the expected loss of each budget."""
    _require_split(fit)
    values = _values(fit, group)
    C = xr.DataArray(C, dims="budget")
    N = _decision(fit, values, C, optimal_N(fit, values, C))
    return N.to_numpy(), (C / (fit.runs.flop_factor * N)).to_numpy()


def as_counts(value, what: str) -> np.ndarray:
    """Counts as a person writes them (70B, "1e24", arrays of them), as positive floats."""
    items = [value] if isinstance(value, str) or np.ndim(value) == 0 else list(value)
    try:
        counts = np.array([parse_count(v) for v in items], dtype=float)
    except (ValueError, TypeError) as error:
        raise LawError(f"{what}: {error}") from None
    if not (np.isfinite(counts) & (counts > 0)).all() or counts.size == 0:
        raise LawError(f"{what} must be positive and finite, got {value!r}")
    return counts


def said_group(group) -> str:
    """The group in words, for a heading."""
    if group is None:
        return ""
    return f" for {', '.join(map(str, group.values())) if isinstance(group, dict) else group}"


# -- one draw at a time, all at once -----------------------------------------------------------


def _values(fit: Fit, group) -> dict[str, xr.DataArray]:
    rng = np.random.default_rng(fit.random_seed)
    settled = settle_groups(fit.plan, group)
    if several := [c for c, label in settled.items() if not isinstance(label, str)]:
        raise FitError(f"{', '.join(several)}: budgets are split for one group at a time")
    return parameters(fit.posterior, fit.plan, settled, rng, fit.law.parameters)


def _require_split(fit: Fit) -> None:
    if not fit.law.allocates:
        raise LawError(f"law {fit.law.name!r} has the columns {', '.join(fit.law.columns)}: only a "
                       "law in N and D can split a budget")


def _loss(fit: Fit, values, N, D) -> xr.DataArray:
    return fit.law(dict(N=N, D=D), fit.plan.scales, values)


def optimal_N(fit: Fit, values, C: xr.DataArray) -> xr.DataArray:
    """The N that minimises each draw's loss for each budget."""
    scales, product = fit.plan.scales, C / fit.runs.flop_factor
    if fit.law.optimum is not None:
        scaled = fit.law.optimum(product / (scales["N"] * scales["D"]), **values)
        return scaled * scales["N"]
    return np.exp(_search(lambda log_N: _loss(fit, values, np.exp(log_N), product / np.exp(log_N)),
                          xr.zeros_like(product), np.log(product), fit.law.name))


def _decision(fit: Fit, values, C: xr.DataArray, N: xr.DataArray) -> xr.DataArray:
    """The N that minimises the loss averaged over draws."""
    product = C / fit.runs.flop_factor

    def expected(log_N):
        return _loss(fit, values, np.exp(log_N), product / np.exp(log_N)).mean(SAMPLE)

    log_N = np.log(N)
    return np.exp(_search(expected, log_N.min(SAMPLE) - 0.1, log_N.max(SAMPLE) + 0.1, fit.law.name))


def _search(objective, low: xr.DataArray, high: xr.DataArray, law: str) -> xr.DataArray:
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
        raise LawError(f"under law {law!r} the best split of this budget lies at a corner (all in "
                       "N, or all in D): there is no interior optimum to report")
    low, high = best - step, best + step
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(REFINE):
        width = golden * (high - low)
        left, right = high - width, low + width
        lower = objective(left) < objective(right)
        low, high = xr.where(lower, low, left), xr.where(lower, right, high)
    return (low + high) / 2
