"""The compute that reaches a target loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayescale.forecasting.choices import Choice
from bayescale.forecasting.law_draws import FEW_DRAWS, LawDraws, mixed
from bayescale.forecasting.searches import reached
from bayescale.functions import student_tail
from bayescale.intervals import SAMPLE

#: The probabilities with which a target is reached, if none are given.
PROBABILITIES = (0.5, 0.8, 0.95)
#: Range of budgets, as multiples of the compute of the smallest and of the largest run.
LOWEST, HIGHEST = 1e-3, 1e10
#: The smallest model that a budget of the range can serve, as a share of the smallest fitted one.
SMALLEST = 0.01
#: Budgets of the two grids on which the loss is computed.
COARSE, FINE = 16, 32
#: Factors by which the second grid extends beyond the budgets that the law alone needs.
BELOW, ABOVE = 10.0, 30.0
#: Quantiles of the compute that the law alone needs.
TAILS = (0.02, 0.98)
#: Bisection steps between two budgets of the grid.
BISECTIONS = 30


@dataclass(frozen=True, eq=False)
class Reach:
    """Losses of new runs on a grid of budgets that are spent as decided, as `forecast` has them.

    Attributes
    ----------
    laws : sequence of LawDraws
    C : numpy.ndarray
        FLOP in increasing order, dims (budget,).
    centre, scale, nu : list of numpy.ndarray
        One for each law: log loss without noise, with the drift beyond the runs, and scale and
        degrees of freedom of the noise of a run. Dims (sample, budget).
    noise : list of numpy.ndarray
        One for each law: noise of a run in units of its scale, the same for all budgets of a draw;
        dims (sample, 1).
    """

    laws: Sequence[LawDraws]
    C: np.ndarray
    centre: list[np.ndarray]
    scale: list[np.ndarray]
    nu: list[np.ndarray]
    noise: list[np.ndarray]

    def compute_needed(self, targets: np.ndarray) -> xr.DataArray:
        """The compute at which a new run reaches each target.

        Parameters
        ----------
        targets : numpy.ndarray
            Losses, dims (target,).

        Returns
        -------
        xarray.DataArray
            FLOP, with drift and noise; infinite in draws that do not reach the target with
            `HIGHEST` times the compute of the largest run. Dims (chain, draw, budget), where the
            dim ``budget`` has one entry for each target.
        """
        parts = []
        for law, centre, scale, noise in zip(
            self.laws, self.centre, self.scale, self.noise, strict=True
        ):
            loss = np.exp(centre + scale * noise)
            parts.append(law.as_arrays(needed=_crossings(self.C, loss, targets)))
        return mixed(self.laws, parts)["needed"]

    def probability(self, targets: np.ndarray) -> np.ndarray:
        """The probability that the measured loss of a run is at most the target.

        Parameters
        ----------
        targets : numpy.ndarray
            Losses, dims (target,).

        Returns
        -------
        numpy.ndarray
            Dims (target, budget).
        """
        budget = np.arange(len(self.C))
        return np.array([self._between(t, budget, np.ones(len(budget))) for t in np.log(targets)])

    def budgets(self, targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The smallest budget with which a run reaches each target with each probability.

        Parameters
        ----------
        targets : numpy.ndarray
            Losses, dims (target,).
        probabilities : numpy.ndarray
            Dims (probability,).

        Returns
        -------
        numpy.ndarray
            FLOP, dims (target, probability); infinite if no budget of the grid suffices.
        """
        on_grid = self.probability(targets)[:, None, :]
        p = np.broadcast_to(probabilities, (len(targets), len(probabilities)))
        place = (np.maximum.accumulate(on_grid, axis=2) < p[..., None]).sum(axis=2)
        inner = np.clip(place, 1, len(self.C) - 1)
        goal = np.broadcast_to(np.log(targets)[:, None], p.shape)
        low, high = np.zeros(p.shape), np.ones(p.shape)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            enough = self._between(goal, inner, middle) >= p
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        x = np.log(self.C)
        between = np.exp(x[inner - 1] + high * (x[inner] - x[inner - 1]))
        return np.select([place == 0, place == len(x)], [self.C[0], np.inf], between)

    def _between(self, log_target, budget: np.ndarray, share: np.ndarray) -> np.ndarray:
        """The probability of reaching targets between budgets of the grid.

        Parameters
        ----------
        log_target : float or numpy.ndarray
        budget : numpy.ndarray of int
            Index of the budget above.
        share : numpy.ndarray
            Position between the budget below, 0, and the budget above, 1, on log scale.

        Returns
        -------
        numpy.ndarray
            Averaged over the distribution of the noise, not over draws of it, which would add
            Monte Carlo error. Of the shape of the arguments.
        """
        total, weights = 0.0, sum(law.weight for law in self.laws)
        below = np.maximum(budget - 1, 0)
        for law, centre, scale, nu in zip(self.laws, self.centre, self.scale, self.nu, strict=True):
            at, spread = ((1 - share) * v[:, below] + share * v[:, budget] for v in (centre, scale))
            chance = student_tail((at - log_target) / spread, nu[:, budget])
            total = total + law.weight / weights * chance.mean(axis=0)
        return total


def probability_of_reaching(drawn: xr.Dataset, log_target: np.ndarray) -> np.ndarray:
    """The probability that each run measures at most its target, in draws of one law.

    Parameters
    ----------
    drawn : xarray.Dataset
        ``centre``, ``scale`` and ``nu`` of log loss; dims (chain, draw, budget).
    log_target : numpy.ndarray
        Dims (budget,).

    Returns
    -------
    numpy.ndarray
        Averaged over the distribution of the noise, as the budgets are found; dims (budget,).
    """
    centre, scale, nu = (
        drawn[v].transpose(*SAMPLE, "budget").to_numpy().reshape(-1, len(log_target))
        for v in ("centre", "scale", "nu")
    )
    return student_tail((centre - log_target) / scale, nu).mean(axis=0)


def reach(laws: Sequence[LawDraws], choice: Choice, targets: np.ndarray) -> Reach:
    """Losses on a grid of budgets that contains those with which the targets are reached.

    Parameters
    ----------
    laws : sequence of LawDraws
    choice : Choice
    targets : numpy.ndarray
        Losses, dims (target,).
    """
    coarse = _coarse_grid(laws, choice)
    N, D = choice.decide(laws, coarse)
    thinned = [law.thinned(FEW_DRAWS) for law in laws]
    by_law = [_crossings(coarse, law.loss(N, D), targets) for law in thinned]
    needed = np.log(np.concatenate(by_law))
    finite = needed[np.isfinite(needed)]
    low, high = np.quantile(finite, TAILS) if finite.size else np.log(coarse[[-1, -1]])
    low, high = max(low - np.log(BELOW), np.log(coarse[0])), high + np.log(ABOVE)
    grid = np.exp(np.linspace(low, min(high, np.log(coarse[-1])), FINE))
    if np.isinf(needed).any():
        # With drift, draws without a crossing may have one at any larger budget.
        grid = np.concatenate([grid, coarse[coarse > 1.01 * grid[-1]]])
    N, D = choice.decide(laws, grid)
    parts = {name: [] for name in ("centre", "scale", "nu", "noise")}
    for law in laws:
        drawn = law.drawn(N, D).transpose(*SAMPLE, "budget")
        flat = {v: drawn[v].to_numpy().reshape(-1, len(grid)) for v in drawn.data_vars}
        flat["noise"] = ((np.log(flat["loss"]) - flat["centre"]) / flat["scale"])[:, -1:]
        for name, values in parts.items():
            values.append(flat[name])
    return Reach(laws, grid, **parts)


def _coarse_grid(laws: Sequence[LawDraws], choice: Choice) -> np.ndarray:
    """Budgets over the whole range, dims (budget,), at which every given model can be trained."""
    table, spending = laws[0].fit.runs.table, laws[0].spending
    # With a serving demand, smaller budgets would be spent on models too small to matter.
    low = max(
        LOWEST * float(table["C"].min()), spending.cost(SMALLEST * float(table["N"].min()), 1.0)
    )
    given = choice.N if choice.models is None else choice.models
    if given is not None:
        low = max(low, 2 * spending.cost(float(given.min()), 1.0))
    return np.geomspace(low, max(HIGHEST * float(table["C"].max()), 10 * low), COARSE)


def _crossings(C: np.ndarray, loss: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The budget at which the loss of each draw first falls to each target.

    Parameters
    ----------
    C : numpy.ndarray
        Budgets in increasing order, dims (budget,).
    loss : numpy.ndarray
        Dims (sample, budget).
    targets : numpy.ndarray
        Dims (target,).

    Returns
    -------
    numpy.ndarray
        By linear interpolation on log scales; the first budget where it suffices, infinite where
        none does. Dims (sample, target).
    """
    goal = np.broadcast_to(np.log(targets), (len(loss), len(targets)))
    x = np.log(C)
    return np.exp(np.maximum(reached(x, np.log(loss), goal), x[0]))
