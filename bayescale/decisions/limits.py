"""The cost of candidates, and how much may be spent on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayescale.errors import FitError
from bayescale.forecasting import Average, complete_counts
from bayescale.model import Fit
from bayescale.units import as_counts, format_flop

#: Runs that are chosen without a budget and without a number.
RUNS = 5


@dataclass(frozen=True)
class Limits:
    """How much may be spent, and on how many runs.

    Attributes
    ----------
    cost : float
        The largest total cost.
    number : int
        The largest number of runs.
    target : float or None
        The cost of the target run, if it is known in the unit of the costs.
    unit : str
        The unit of costs, with a space before it; empty for the user's own costs.
    given : bool
        Whether the budget was given.
    """

    cost: float
    number: int
    target: float | None = None
    unit: str = ""
    given: bool = False

    @property
    def in_words(self) -> str:
        """A clause on the budget, if it was not given."""
        if self.given or self.target is None or not np.isfinite(self.cost):
            return ""
        return f" (no budget is given: at most the target run's {format_flop(self.target)} FLOP)"

    def share_in_words(self, spent: float) -> str:
        """A clause on the cost of the runs as a share of that of the target run."""
        if self.target is None:
            return ""
        return f", {100 * spent / self.target:.2g} % of the cost of the target run"

    def doubts(self, spent: float) -> tuple[str, ...]:
        """Clauses about runs that cost more than the run they inform about."""
        if self.given or self.target is None or spent <= self.target:
            return ()
        return (
            f"these runs cost {format_flop(spent)} FLOP, more than the {format_flop(self.target)} "
            "FLOP of the target run itself: give a budget, or smaller candidates",
        )


def costs_of(frame: pd.DataFrame, cost: str, belief: Fit | Average) -> np.ndarray:
    """The cost of each candidate: its column, or the FLOP of its training.

    Raises
    ------
    FitError
        If there is neither.
    """
    if cost in frame:
        return as_counts(frame[cost].tolist(), cost)
    flop = _flop(frame, belief)
    if flop is None:
        raise FitError(
            f"candidates have no column {cost!r} and no N and D from which the cost of training "
            "follows: add a column of costs"
        )
    return flop


def limits(
    budget,
    number,
    costs: np.ndarray,
    target: pd.DataFrame | None,
    own_costs: bool,
    belief: Fit | Average,
) -> Limits:
    """The largest total cost and the largest number of runs.

    Parameters
    ----------
    budget : float or str, optional
    number : int, optional
    costs : numpy.ndarray
        Of the candidates; dims (candidate,).
    target : pandas.DataFrame, optional
        The runs whose loss is in question.
    own_costs : bool
        Whether the candidates have a column of costs, which need not be FLOP.
    belief : Fit or Average

    Raises
    ------
    FitError
        If the number is not a whole number, or no candidate can be paid.
    """
    if number is not None and (isinstance(number, bool) or number != int(number) or number < 1):
        raise FitError(f"number is {number!r}: give a whole number of runs, at least 1")
    unit = "" if own_costs else " FLOP"
    flop = None if target is None or own_costs else _flop(target, belief)
    of_target = None if flop is None else float(flop.max())
    most = int(number) if number is not None else RUNS if budget is None else len(costs) * 10
    if budget is not None:
        largest = float(as_counts(budget, "budget")[0])
        if (costs > largest).all():
            raise FitError(
                f"no candidate can be paid: the cheapest costs {format_flop(costs.min())}{unit}, "
                f"the budget is {format_flop(largest)}{unit}"
            )
        return Limits(largest, most, of_target, unit, given=True)
    dear = of_target is None or (costs > of_target).all()
    return Limits(np.inf if dear else of_target, most, of_target, unit)


def _flop(frame: pd.DataFrame, belief: Fit | Average) -> np.ndarray | None:
    """The FLOP of training each run, if its columns determine them."""
    given = {c: frame[c].tolist() for c in "NDC" if c in frame}
    if "C" in given:
        return as_counts(given["C"], "C")
    return complete_counts(given, belief.runs.flop_factor)["C"] if len(given) == 2 else None
