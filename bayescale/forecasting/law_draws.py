"""A law in all draws of its posterior, for the search of optimal splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import xarray as xr

from bayescale.errors import FitError, LawError, unknown
from bayescale.forecasting.averaging import Average
from bayescale.forecasting.members import ahead_of
from bayescale.forecasting.mixing import mix
from bayescale.forecasting.searches import refine, search
from bayescale.intervals import SAMPLE
from bayescale.model import Fit, parameters, predict, settle_groups
from bayescale.priors import Positive
from bayescale.units import format_count

#: Draws over which the expected loss of a decision is averaged, and over which a first
#: approximation of it is found.
DECISION_DRAWS, FEW_DRAWS = 1000, 100
#: Step in log C of the central difference for the exponent a.
ELASTICITY_STEP = 0.05
#: Values of ``drift=`` in forecasts and allocations.
DRIFTS = ("auto", "off")


@dataclass(frozen=True)
class Spending:
    """What a model of N parameters costs: training on D tokens, and serving.

    Attributes
    ----------
    flop_factor : float
        FLOP per parameter and token of training, C / (N D).
    served : float
        The number of training tokens that cost as much as serving does.
    """

    flop_factor: float
    served: float = 0.0

    def cost(self, N, D):
        """FLOP of training and serving; those of serving are counted at their price."""
        return self.flop_factor * N * (D + self.served)

    def tokens(self, C, N):
        """The D for which the cost is C; at least one token."""
        return np.maximum(C / (self.flop_factor * N) - self.served, 1.0)

    def parameters(self, C, D):
        """The N for which the cost is C."""
        return C / (self.flop_factor * (D + self.served))


@dataclass(frozen=True, eq=False)
class LawDraws:
    """The law of a fit for one group in all draws.

    Arguments and results are numpy arrays in raw units. Arguments have the dims (budget,) or
    (sample, budget), results (sample, budget); the samples are the draws of all chains, one chain
    after the other. Numpy is several times faster than xarray here, where the loss is evaluated
    hundreds of times.

    Attributes
    ----------
    fit : Fit
    values : dict of str to numpy.ndarray
        Parameters of the law, dims (sample, 1).
    group : object
        As in `bayescale.allocate`.
    ahead : Positive or None
        Prior of the size of the drift beyond the runs.
    spending : Spending
    columns : dict of str to float
        Columns of the law other than N and D, which are the same for all splits.
    weight : float
        Weight of the law in an average.
    """

    fit: Fit
    values: dict[str, np.ndarray]
    group: object
    ahead: Positive | None
    spending: Spending
    columns: Mapping[str, float] = field(default_factory=dict)
    weight: float = 1.0

    def thinned(self, number: int = DECISION_DRAWS) -> LawDraws:
        """The same law in about `number` evenly spaced draws, or in all if there are fewer."""
        step = max(1, len(next(iter(self.values.values()))) // number)
        return replace(self, values={n: v[::step] for n, v in self.values.items()})

    def loss(self, N: np.ndarray, D: np.ndarray) -> np.ndarray:
        """The loss of the law."""
        return self.fit.law({**self.columns, "N": N, "D": D}, self.fit.plan.scales, self.values)

    def drawn(self, N: np.ndarray, D: np.ndarray) -> xr.Dataset:
        """Draws of new runs at N and D, as a forecast has them; dims (chain, draw, budget).

        Parameters
        ----------
        N, D : numpy.ndarray
            Dims (budget,).
        """
        columns = {c: np.full(len(N), v) for c, v in self.columns.items()}
        drawn = predict(
            self.fit.posterior,
            self.fit.plan,
            {**columns, "N": N, "D": D},
            settle_groups(self.fit.plan, self.group, N.size),
            np.random.default_rng(self.fit.random_seed),
            ahead=self.ahead,
        )
        return drawn.rename(point="budget")

    def loss_on_budget(self, C: np.ndarray, N: np.ndarray) -> np.ndarray:
        """The loss of the law at N and at the D for which the cost is the budget."""
        return self.loss(N, self.spending.tokens(C, N))

    def best_N(self, C: np.ndarray) -> np.ndarray:
        """The N that minimises the loss for each budget in each draw."""
        law, scales = self.fit.law, self.fit.plan.scales
        shape = (len(next(iter(self.values.values()))), np.shape(C)[-1])
        if law.optimum is not None and not self.spending.served:
            product = C / (self.spending.flop_factor * scales["N"] * scales["D"])
            return np.broadcast_to(law.optimum(product, **self.values) * scales["N"], shape)
        # The largest N leaves one token to train on.
        high = np.broadcast_to(np.log(self.spending.parameters(C, 1.0)), shape)
        with np.errstate(all="ignore"):
            log_N = search(
                lambda log_N: self.loss_on_budget(C, np.exp(log_N)),
                np.zeros(shape),
                high,
                f"law {law.name!r}",
            )
        return np.exp(log_N)

    def elasticity(self, C: np.ndarray, N: np.ndarray) -> np.ndarray:
        """The local exponent of the optimal N in C, given the optimum `N`."""
        ends = []
        for sign in (1, -1):
            budget = C * np.exp(sign * ELASTICITY_STEP)
            if self.fit.law.optimum is not None and not self.spending.served:
                ends.append(np.log(self.best_N(budget)))
                continue
            start = np.log(N)
            with np.errstate(all="ignore"):
                ends.append(
                    refine(
                        lambda log_N, C=budget: self.loss_on_budget(C, np.exp(log_N)),
                        start,
                        start - 1.0,
                        start + 1.0,
                    )
                )
        return (ends[0] - ends[1]) / (2 * ELASTICITY_STEP)

    def as_arrays(self, **variables: np.ndarray) -> xr.Dataset:
        """Variables with the dims (sample, budget) as a dataset with (chain, draw, budget)."""
        posterior = self.fit.posterior
        shape = tuple(posterior.sizes[d] for d in SAMPLE)
        coords = {c: posterior.coords[c] for c in SAMPLE if c in posterior.coords}
        arrays = {
            name: ((*SAMPLE, "budget"), v.reshape(*shape, v.shape[-1]))
            for name, v in variables.items()
        }
        return xr.Dataset(arrays, coords=coords)


def law_draws(
    fit: Fit | Average,
    group,
    drift: str = "auto",
    served: float = 0.0,
    columns: Mapping[str, float] | None = None,
) -> list[LawDraws]:
    """The law of the fit, or of each fit of an average with positive weight.

    Parameters
    ----------
    fit : Fit or Average
    group, drift
        As in `bayescale.allocate`.
    served : float
        As in `Spending`.
    columns : mapping of str to float, optional
        Columns of the laws other than N and D.
    """
    columns = columns or {}
    fits, weights = [fit], [1.0]
    if not isinstance(fit, Fit):
        fits, weights = list(fit.used.values()), [fit.weights[name] for name in fit.used]
    needed = " and ".join(("N", "D", *columns))
    counts = {c: fit.runs.table[c].unique() for c in "ND" if c in fit.runs}
    shared = [f"{c} = {format_count(v[0])}" for c, v in counts.items() if len(v) == 1]
    why = f"; all runs have {' and '.join(shared)}, and say nothing about others" if shared else ""
    if problems := [
        f"law {f.law.name!r} has the columns {', '.join(f.law.columns)}: only a law in {needed} "
        f"can split a budget{why}"
        + ("; give the unique tokens, U, with unique=" if {*f.law.columns} == {*"NDU"} else "")
        for f in fits
        if set(f.law.columns) != {"N", "D", *columns}
    ]:
        raise LawError(problems)
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    is_average = len(fits) > 1
    return [
        LawDraws(
            f,
            _values(f, group),
            group,
            None if drift == "off" else ahead_of(f, is_average),
            Spending(f.runs.flop_factor, served),
            columns,
            weight,
        )
        for f, weight in zip(fits, weights, strict=True)
    ]


def _values(fit: Fit, group: object) -> dict[str, np.ndarray]:
    """Parameters of the law for one group; dims (sample, 1).

    Draws of a new group use the seed of the fit.
    """
    rng = np.random.default_rng(fit.random_seed)
    settled = settle_groups(fit.plan, group)
    if several := [c for c, label in settled.items() if not isinstance(label, str)]:
        raise FitError(
            f"several labels of {', '.join(several)} are given, but budgets are split for "
            "one group at a time: give one label"
        )
    values = parameters(fit.posterior, fit.plan, settled, rng, fit.law.parameters)
    sizes = tuple(fit.posterior.sizes[d] for d in SAMPLE)
    arrays = {}
    for name, value in values.items():
        dims = [d for d in SAMPLE if d in value.dims]
        array = value.transpose(*dims).to_numpy() if dims else value.to_numpy()
        arrays[name] = np.broadcast_to(array, sizes).reshape(-1, 1)
    return arrays


def mixed(laws: Sequence[LawDraws], datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Draws of all laws, mixed in proportion to their weights."""
    if len(laws) == 1:
        return datasets[0]
    names = [str(i) for i in range(len(laws))]
    weights = dict(zip(names, (law.weight for law in laws), strict=True))
    return mix(dict(zip(names, datasets, strict=True)), weights)
