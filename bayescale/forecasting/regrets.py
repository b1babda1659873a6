"""The regret of a choice of N and D, in loss and in compute.

The excess loss compares losses at one budget: that of the choice and that of the best split. The
wasted compute compares budgets at one loss: that of the choice and that with which the best split
reaches the same loss. Near the floor of the law a small excess loss is a large waste.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr

from bayescale.costs import Cost, read_budgets
from bayescale.errors import LawError
from bayescale.forecasting.averaging import Average
from bayescale.forecasting.law_draws import LawDraws, law_draws, mixed
from bayescale.forecasting.mixing import ROUNDING
from bayescale.forecasting.plausibility import refuse_tiny
from bayescale.intervals import SAMPLE, Summary, table
from bayescale.model import Fit
from bayescale.units import as_counts, format_count, format_flop

#: Bisection steps for wasted compute, and the largest ratio of compute to necessary compute.
BISECTIONS, LARGEST_WASTE = 50, 1e9


@dataclass(frozen=True, eq=False)
class Regret:
    """The regret of a choice of N and D relative to the best split of its budget.

    Attributes
    ----------
    data : xarray.Dataset
        Dims (chain, draw, point): ``excess_loss``, by how much the loss exceeds that of the best
        split of the same budget, in the unit of the loss; and ``wasted_share``, the share of the
        budget that the best split would save at the loss of the choice. Coordinates of ``point``:
        ``N``, ``D`` and the budget ``C``.
    fit : Fit or Average
        The posterior under which the regret is computed.
    conversions : tuple of str
        How budgets in other units were converted to FLOP; one sentence for each.
    """

    data: xr.Dataset = field(repr=False)
    fit: Fit | Average = field(repr=False)
    conversions: tuple[str, ...] = ()

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
            ``N``, ``D``, ``C``, ``expected_excess_loss`` (unit of the loss; the same quantity as
            ``expected_regret`` of an allocation), ``expected_wasted_flop`` (FLOP), then median and
            interval of ``excess_loss`` and ``wasted_share``.

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
        return Summary(pd.concat([expected, *parts], axis=1))

    def __repr__(self) -> str:
        rows = [
            f"  {format_count(r.N)} on {format_count(r.D)} tokens: {r.expected_excess_loss:.4f} "
            f"above the best split, which reaches this loss with "
            f"{100 * r.expected_wasted_flop / r.C:.0f} % less compute"
            for r in self.summary().itertuples()
        ]
        return "\n".join(["<Regret>", *rows, *self.conversions])


def regret(
    fit: Fit | Average,
    N,
    D,
    C=None,
    *,
    group=None,
    cost: Cost | None = None,
    drift: str = "auto",
) -> Regret:
    """By how much a choice of N and D is worse than the best split, in loss and in compute.

    Parameters
    ----------
    fit : Fit or Average
        The posterior of a law in N and D, or of several.
    N, D : float, str or array_like
        The choices: parameters and tokens.
    C : float, str or array_like, optional
        The budget in FLOP, or in any unit that `bayescale.as_flops` reads; by default the cost of N
        and D, counted as for the fitted runs.
    group : str or mapping, optional
        As in `allocate`.
    cost : Cost, optional
        The hardware and its prices, for budgets in units other than FLOP; by default the
        accelerator that they name, or an H100.
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
    factor, conversions = fit.runs.flop_factor, ()
    if C is not None:
        given["C"], conversions = read_budgets(C, cost, flop_factor=factor, name="C")
    refuse_tiny(given, fit.runs.table)
    if len({len(v) for v in given.values()} - {1}) > 1:
        lengths = ", ".join(f"{c}: {len(v)}" for c, v in given.items())
        raise LawError(f"the choices differ in length ({lengths}): give one value or equally many")
    N, D, *rest = np.broadcast_arrays(*given.values())
    needed = factor * N * D
    budget = rest[0] if rest else needed
    if (needed > budget * (1 + ROUNDING)).any():
        raise LawError(
            f"N and D cost up to {format_flop(needed.max())} FLOP, more than the budget C "
            f"of {format_flop(budget.max())}: lower N or D, or raise C"
        )
    parts = [_waste(law, N, D, budget).rename(budget="point") for law in laws]
    data = mixed(laws, parts).transpose("chain", "draw", "point")
    data = data.assign_coords(N=("point", N), D=("point", D), C=("point", budget))
    return Regret(data, fit, conversions)


def _waste(law: LawDraws, N: np.ndarray, D: np.ndarray, budget: np.ndarray) -> xr.Dataset:
    """Excess loss and wasted share relative to the best split; dims (chain, draw, budget)."""

    def best(compute: np.ndarray) -> np.ndarray:
        return law.loss_on_budget(compute, law.best_N(compute))

    reached = law.loss(N, D)
    excess = reached - best(budget)
    mean = law.drawn(N, D)["mean"].transpose(*SAMPLE, "budget").to_numpy().reshape(excess.shape)
    low, high = np.full(excess.shape, -np.log(LARGEST_WASTE)), np.zeros(excess.shape)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = best(budget * np.exp(middle)) <= reached
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return law.as_arrays(excess_loss=excess * (mean / reached), wasted_share=-np.expm1(high))
