"""The compute that reaches a target loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayescale.forecasting.choices import Choice
from bayescale.forecasting.law_draws import FEW_DRAWS, LawDraws, mixed
from bayescale.forecasting.searches import reached
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


def compute_needed(laws: Sequence[LawDraws], choice: Choice, targets: np.ndarray) -> xr.DataArray:
    """The compute at which a new run reaches each target, if budgets are spent as decided.

    Parameters
    ----------
    laws : sequence of LawDraws
    choice : Choice
    targets : numpy.ndarray
        Losses, dims (target,).

    Returns
    -------
    xarray.DataArray
        FLOP, with drift and noise; infinite in draws that do not reach the target with `HIGHEST`
        times the compute of the largest run. Dims (chain, draw, budget), where the dim ``budget``
        has one entry for each target.
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
    parts = []
    for law in laws:
        drawn = law.drawn(N, D).transpose(*SAMPLE, "budget")
        flat = {v: drawn[v].to_numpy().reshape(-1, len(grid)) for v in ("centre", "scale", "loss")}
        # The noise of a run, in units of its scale, is the same for all budgets of a draw.
        noise = ((np.log(flat["loss"]) - flat["centre"]) / flat["scale"])[:, -1:]
        loss = np.exp(flat["centre"] + flat["scale"] * noise)
        parts.append(law.as_arrays(needed=_crossings(grid, loss, targets)))
    return mixed(laws, parts)["needed"]


def budgets(needed: xr.DataArray, probabilities: np.ndarray) -> np.ndarray:
    """The compute that reaches each target with each probability; infinite if none does.

    Parameters
    ----------
    needed : xarray.DataArray
        As `compute_needed` returns it; dims (chain, draw, budget).
    probabilities : numpy.ndarray
        Dims (probability,).

    Returns
    -------
    numpy.ndarray
        FLOP, dims (target, probability).
    """
    draws = np.sort(needed.transpose(*SAMPLE, "budget").to_numpy().reshape(-1, needed.shape[-1]), 0)
    # Without interpolation, which is not defined between a finite and an infinite value.
    rank = np.ceil(np.asarray(probabilities) * len(draws)).astype(int) - 1
    return draws[rank].T


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
