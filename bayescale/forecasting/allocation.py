"""Compute-optimal splits of a budget between N and D, and the regret of other splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.errors import LawError
from bayescale.forecasting.averaging import Average
from bayescale.forecasting.law_draws import LawDraws, law_draws, search
from bayescale.forecasting.mixing import mix
from bayescale.intervals import SAMPLE, table
from bayescale.model import Fit
from bayescale.units import as_counts, format_count, format_flop

#: Bisection steps for wasted compute, and the largest ratio of compute to necessary compute.
BISECTIONS, LARGEST_WASTE = 50, 1e9
#: A choice may cost more than its budget by this share, because of rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Allocation:
    """The posterior of the compute-optimal split of one or more budgets.

    Attributes
    ----------
    data : xarray.Dataset
        With dims (chain, draw, budget), the optimum in each draw: ``N`` (parameters), ``D``
        (tokens), ``tokens_per_param``, ``loss`` (at the optimum, of the law with the drift beyond
        the runs, in the unit of the runs), and the exponents ``a`` and ``b`` of N* ~ C^a and
        D* ~ C^b. Also ``loss_decision``, the loss of the decision in each draw. With dims
        (budget,): ``N_decision`` and ``D_decision``, the split that minimises the posterior
        expected loss. Coordinate of ``budget``: ``C`` (FLOP).
    law : str
        The law that was fitted, or the laws that were averaged.
    group : str
        A phrase that names the group, for headings; empty for a new group.
    fit : Fit or Average
        The posterior from which the splits are computed.
    """

    data: xr.Dataset = field(repr=False)
    law: str
    group: str
    fit: Fit | Average = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row for each budget: the decision, then medians and intervals of the optimum.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals.
        ci_kind : {"eti", "hdi"}, optional
            Kind of the intervals; by default ArviZ's ``stats.ci_kind``.

        Returns
        -------
        pandas.DataFrame
            ``C``, ``N_decision``, ``D_decision``; ``expected_regret``, the expected difference
            between the loss of the decision and the loss of the true optimum, in nats per token;
            then median and interval of each quantity of the optimum.

        Warns
        -----
        ConvergenceWarning
            If the fit failed its check.
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
    """The regret of a choice of N and D relative to the best split of its budget.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (chain, draw, point): ``excess_loss`` (nats per token above the optimum) and
        ``wasted_share`` (the share of the budget that the best split would not need to reach the
        same loss). Coordinates of ``point``: ``N``, ``D`` and the budget ``C``.
    fit : Fit or Average
        The posterior under which the regret is computed.
    """

    data: xr.Dataset = field(repr=False)
    fit: Fit | Average = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row for each choice: expected excess loss, expected wasted compute, and intervals.

        Parameters
        ----------
        ci_prob : float, optional
            Probability of the intervals.
        ci_kind : {"eti", "hdi"}, optional
            Kind of the intervals; by default ArviZ's ``stats.ci_kind``.

        Returns
        -------
        pandas.DataFrame
            ``N``, ``D``, ``C``, ``expected_excess_loss`` (nats per token), ``expected_wasted_flop``
            (FLOP), then median and interval of ``excess_loss`` and ``wasted_share``.

        Warns
        -----
        ConvergenceWarning
            If the fit failed its check.
        """
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


def allocate(fit: Fit | Average, C, *, group=None, drift: str = "auto") -> Allocation:
    """Split a training budget between parameters and tokens.

    Parameters
    ----------
    fit : Fit or Average
        The posterior of a law in N and D, or of several.
    C : float, str or array_like
        Budgets in FLOP (``1e24``), counted as those of the fitted runs.
    group : str or mapping, optional
        One fitted group. None stands for a new group, whose parameters are drawn from the
        population.
    drift : {"auto", "off"}
        As in `bayescale.forecast`: ``"off"`` gives the losses of the law alone.

    Returns
    -------
    Allocation
        For an average, the draws are those of its laws in proportion to their weights, and the
        decision minimises the expected loss over draws and laws.

    Raises
    ------
    LawError
        If a law is not a function of N and D, or has no interior optimum.
    FitError
        If a group is unknown, or if several are given.

    Notes
    -----
    The optimum of each draw is computed in closed form if the law has one (Hoffmann et al. 2022,
    arXiv:2203.15556, section 3.3), and by a numerical search otherwise. The *decision* minimises
    the loss averaged over the posterior. If the posterior is wide, it differs from the optimum at
    the posterior median of the parameters. The drift beyond the runs is that of `forecast`, of
    which ``loss_decision`` is the ``mean``; it is taken to be equal for all splits of a budget.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> best = bs.allocate(bs.fit(runs, random_seed=1), C=1e22)
    >>> bool(1e9 < best.data["N_decision"][0] < 1e11)
    True
    """
    laws = law_draws(fit, group, drift)
    C = xr.DataArray(as_counts(C, "C"), dims="budget")
    best = [law.optimum(C) for law in laws]
    N = _decision(laws, C, [b["N"] for b in best])
    D = C / (fit.runs.flop_factor * N)
    drifted = [law.drift(N, D) for law in laws]
    data = _mixed(
        laws,
        [
            b.assign(loss=b["loss"] * factor, loss_decision=law.loss(N, D) * factor)
            for law, b, factor in zip(laws, best, drifted, strict=True)
        ],
    )
    data = data.assign(N_decision=N, D_decision=D)
    data = data.assign_coords(C=C).transpose("chain", "draw", "budget")
    return Allocation(data, fit.law.name, group_in_words(group), fit)


def regret(fit: Fit | Average, N, D, C=None, *, group=None, drift: str = "auto") -> Regret:
    """Excess loss and wasted compute of a choice of N and D.

    Parameters
    ----------
    fit : Fit or Average
        The posterior of a law in N and D, or of several.
    N, D : float, str or array_like
        The choices: parameters and tokens.
    C : float, str or array_like, optional
        The budget in FLOP; by default the cost of N and D, counted as for the fitted runs.
    group : str or mapping, optional
        As in `allocate`.
    drift : {"auto", "off"}
        As in `allocate`.

    Returns
    -------
    Regret
        For an average, each draw is compared with the best split under the law it belongs to.

    Raises
    ------
    LawError
        As for `allocate`; also if the choices differ in length or cost more than their budget.
    FitError
        If a group is unknown, or if several are given.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm").query("dataset == 'c4'"), random_seed=1)
    >>> waste = bs.regret(fit, N="7B", D="15T").summary()
    >>> bool(waste["expected_excess_loss"][0] > 0)
    True
    """
    laws = law_draws(fit, group, drift)
    given = {"N": as_counts(N, "N"), "D": as_counts(D, "D")}
    given |= {} if C is None else {"C": as_counts(C, "C")}
    if len({len(v) for v in given.values()} - {1}) > 1:
        lengths = ", ".join(f"{c}: {len(v)}" for c, v in given.items())
        raise LawError(f"the choices differ in length ({lengths}): give one value or equally many")
    N, D, *rest = np.broadcast_arrays(*given.values())
    cost = fit.runs.flop_factor * N * D
    budget = rest[0] if rest else cost
    if (cost > budget * (1 + ROUNDING)).any():
        raise LawError(
            f"N and D cost up to {format_flop(cost.max())} FLOP, more than the budget C "
            f"of {format_flop(budget.max())}: lower N or D, or raise C"
        )
    N, D, budget = (xr.DataArray(v, dims="point") for v in (N, D, budget))
    data = _mixed(laws, [_waste(law, N, D, budget) for law in laws])
    data = data.transpose("chain", "draw", "point").assign_coords(N=N, D=D, C=budget)
    return Regret(data, fit)


def best_split(fit: Fit | Average, C: np.ndarray, group=None) -> tuple[np.ndarray, np.ndarray]:
    """The N and D that minimise the expected loss for each budget.

    Parameters
    ----------
    fit : Fit or Average
    C : numpy.ndarray
        Budgets in FLOP, dims (budget,).
    group : str or mapping, optional
        One fitted group. None stands for a new group.

    Returns
    -------
    tuple of numpy.ndarray
        N (parameters) and D (tokens), dims (budget,).
    """
    laws = law_draws(fit, group)
    C = xr.DataArray(C, dims="budget")
    N = _decision(laws, C, [law.best_N(C) for law in laws])
    return N.to_numpy(), (C / (fit.runs.flop_factor * N)).to_numpy()


def group_in_words(group: object) -> str:
    """A phrase that names the group, for headings; empty without a group."""
    if group is None:
        return ""
    return f" for {', '.join(map(str, group.values())) if isinstance(group, dict) else group}"


def _waste(law: LawDraws, N: xr.DataArray, D: xr.DataArray, budget: xr.DataArray) -> xr.Dataset:
    """Excess loss and wasted share relative to the best split; dims (chain, draw, point)."""

    def best(compute: xr.DataArray) -> xr.DataArray:
        return law.loss_on_budget(compute, law.best_N(compute))

    reached = law.loss(N, D)
    excess = reached - best(budget)
    drift = law.drift(N, D)
    low, high = xr.zeros_like(excess) - np.log(LARGEST_WASTE), xr.zeros_like(excess)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = best(budget * np.exp(middle)) <= reached
        low, high = xr.where(enough, low, middle), xr.where(enough, middle, high)
    return xr.Dataset(dict(excess_loss=excess * drift, wasted_share=-np.expm1(high)))


# -- one law or several ------------------------------------------------------------------------


def _mixed(laws: Sequence[LawDraws], datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Draws of all laws, mixed in proportion to their weights."""
    names = [str(i) for i in range(len(laws))]
    weights = dict(zip(names, (law.weight for law in laws), strict=True))
    return mix(dict(zip(names, datasets, strict=True)), weights)


def _decision(
    laws: Sequence[LawDraws], C: xr.DataArray, best: Sequence[xr.DataArray]
) -> xr.DataArray:
    """The N that minimises the loss expected over draws and laws; dims (budget,)."""

    thinned, budgets = [law.thinned() for law in laws], C.to_numpy()

    def expected(log_N):
        N = np.exp(log_N.to_numpy())
        losses = (law.weight * law.loss_on_budget(budgets, N).mean(axis=0) for law in thinned)
        return xr.DataArray(sum(losses), dims=C.dims)

    low = np.log(xr.concat([N.min(SAMPLE) for N in best], "law").min("law"))
    high = np.log(xr.concat([N.max(SAMPLE) for N in best], "law").max("law"))
    # The minimum lies between the smallest and the largest optimum of the draws. The margin keeps
    # it away from the bounds.
    margin = 0.1 + 0.1 * (high - low)
    law_names = " and ".join(f"law {law.fit.law.name!r}" for law in laws)
    return np.exp(search(expected, low - margin, high + margin, law_names))
