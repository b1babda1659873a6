"""Which N and D a budget is spent on: the decision, free or under a constraint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayescale.errors import LawError
from bayescale.forecasting.law_draws import FEW_DRAWS, LawDraws
from bayescale.forecasting.searches import on_grid, refine
from bayescale.units import format_count, format_flop

#: Bisection steps for the price of a constraint, and the largest price that is distinguished.
BISECTIONS, LARGEST_PRICE = 40, 1e6


@dataclass(frozen=True, eq=False)
class Choice:
    """What is given in advance; at most one attribute is not None.

    Attributes
    ----------
    N, D : numpy.ndarray, optional
        The number of parameters or of tokens; one, or one for each budget.
    smaller : float, optional
        The model is this many times smaller than that of the unconstrained decision.
    models : numpy.ndarray, optional
        The numbers of parameters that can be trained, sorted.
    """

    N: np.ndarray | None = None
    D: np.ndarray | None = None
    smaller: float | None = None
    models: np.ndarray | None = None

    @property
    def is_free(self) -> bool:
        """Whether nothing is given."""
        return all(v is None for v in (self.N, self.D, self.smaller, self.models))

    def decide(self, laws: Sequence[LawDraws], C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The N and the D with the lowest expected loss for each budget; dims (budget,).

        Raises
        ------
        LawError
            If a budget does not suffice for the given N.
        """
        spending = laws[0].spending
        if self.D is not None:
            D = np.broadcast_to(self.D, C.shape)
            return spending.parameters(C, D), D
        if self.N is not None:
            N = np.broadcast_to(self.N, C.shape)
        elif self.models is not None:
            thinned = [law.thinned() for law in laws]
            with np.errstate(all="ignore"):
                losses = [
                    np.where(
                        spending.cost(N, 1.0) <= C,
                        expected(thinned, C, np.full(C.shape, N)),
                        np.inf,
                    )
                    for N in self.models
                ]
            N = self.models[np.argmin(losses, axis=0)]
        else:
            N = best_bet(laws, C) / (1.0 if self.smaller is None else self.smaller)
        if (short := spending.cost(N, 1.0) > C).any():
            raise LawError(
                f"a budget of {format_flop(C[short][0])} FLOP does not suffice to train and serve "
                f"{format_count(N[short][0])} parameters: give a larger budget or a smaller model"
            )
        return N, spending.tokens(C, N)

    def price(self, law: LawDraws, C: np.ndarray, N: np.ndarray, D: np.ndarray, best: np.ndarray):
        """The compute, as a multiple of C, with which the choice reaches the loss `best`.

        Parameters
        ----------
        law : LawDraws
        C, N, D : numpy.ndarray
            Budgets and decisions, dims (budget,).
        best : numpy.ndarray
            The lowest loss of each budget in each draw; dims (sample, budget).

        Returns
        -------
        numpy.ndarray
            At least 1 and at most `LARGEST_PRICE`; dims (sample, budget).
        """
        low, high = np.zeros(best.shape), np.full(best.shape, np.log(LARGEST_PRICE))
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            budget = C * np.exp(middle)
            if self.D is not None:
                reached = law.loss(law.spending.parameters(budget, D), D)
            else:
                reached = law.loss_on_budget(budget, N)
            enough = reached <= best
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        return np.exp(high)


def expected(laws: Sequence[LawDraws], C: np.ndarray, N: np.ndarray) -> np.ndarray:
    """The loss of the laws, averaged over draws and laws; dims (budget,)."""
    return sum(law.weight * law.loss_on_budget(C, N).mean(axis=0) for law in laws)


def best_bet(laws: Sequence[LawDraws], C: np.ndarray) -> np.ndarray:
    """The N that minimises the loss expected over draws and laws; dims (budget,)."""
    few, thinned = [law.thinned(FEW_DRAWS) for law in laws], [law.thinned() for law in laws]
    best = np.log(np.concatenate([law.best_N(C) for law in few]))
    low, high = best.min(axis=0), best.max(axis=0)
    # The minimum lies between the smallest and the largest optimum of the draws. The margin allows
    # for optima of draws that are left out here.
    margin = 0.5 + 0.5 * (high - low)
    low, high = low - margin, high + margin
    with np.errstate(all="ignore"):
        start, _ = on_grid(lambda log_N: expected(few, C, np.exp(log_N)), low, high)
        log_N = refine(lambda log_N: expected(thinned, C, np.exp(log_N)), start, low, high)
    return np.exp(log_N)
