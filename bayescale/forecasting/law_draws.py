"""A law in all draws of its posterior, for the search of optimal splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import xarray as xr

from bayescale.errors import FitError, LawError, unknown
from bayescale.forecasting.averaging import Average
from bayescale.forecasting.members import ahead_of
from bayescale.forecasting.mixing import mix
from bayescale.intervals import SAMPLE
from bayescale.model import Fit, parameters, predict, settle_groups
from bayescale.priors import Positive

#: Grid points of the search for the best split, and golden-section steps that refine it.
GRID, REFINE = 48, 36
#: Draws over which the expected loss of a decision is averaged.
DECISION_DRAWS = 1000
#: Step in log C of the central difference for the exponent a.
ELASTICITY_STEP = 0.05
#: Values of ``drift=`` in forecasts and allocations.
DRIFTS = ("auto", "off")


@dataclass(frozen=True, eq=False)
class LawDraws:
    """The law of a fit for one group in all draws. Arguments and results are in raw units."""

    fit: Fit
    values: dict[str, xr.DataArray]
    group: object
    ahead: Positive | None
    weight: float = 1.0

    def thinned(self) -> LawDraws:
        """The same law in at most `DECISION_DRAWS` evenly spaced draws, as numpy arrays.

        Their dims are (sample, 1), to broadcast with arrays of budgets. Numpy is several times
        faster than xarray here, where the loss is evaluated hundreds of times.
        """
        chains, draws = (self.fit.posterior.sizes[d] for d in SAMPLE)
        spaced = dict(draw=slice(None, None, max(1, chains * draws // DECISION_DRAWS)))
        arrays = {n: v.transpose(*SAMPLE).isel(spaced).to_numpy() for n, v in self.values.items()}
        return replace(self, values={n: v.reshape(-1, 1) for n, v in arrays.items()})

    @cached_property
    def flop_factor(self) -> float:
        return self.fit.runs.flop_factor

    def loss(self, N: xr.DataArray, D: xr.DataArray) -> xr.DataArray:
        """The loss of the law; dims (chain, draw) and those of N and D."""
        return self.fit.law(dict(N=N, D=D), self.fit.plan.scales, self.values)

    def drawn(self, N: xr.DataArray, D: xr.DataArray) -> xr.Dataset:
        """``mean`` and ``loss`` of new runs at N and D, as a forecast has them."""
        (dim,) = N.dims
        drawn = predict(
            self.fit.posterior,
            self.fit.plan,
            dict(N=N.to_numpy(), D=D.to_numpy()),
            settle_groups(self.fit.plan, self.group, N.size),
            np.random.default_rng(self.fit.random_seed),
            ahead=self.ahead,
        )
        return drawn[["mean", "loss"]].rename(point=dim)

    def drift(self, N: xr.DataArray, D: xr.DataArray) -> xr.DataArray:
        """The ratio of the expected loss, with drift, to the loss of the law at N and D."""
        return self.drawn(N, D)["mean"] / self.loss(N, D)

    def loss_on_budget(self, C: xr.DataArray, N: xr.DataArray) -> xr.DataArray:
        """The loss of the law at N and at the D for which the cost is the budget."""
        return self.loss(N, C / (self.flop_factor * N))

    def best_N(self, C: xr.DataArray) -> xr.DataArray:
        """The N that minimises the loss for each budget in each draw."""
        law, scales, product = self.fit.law, self.fit.plan.scales, C / self.flop_factor
        if law.optimum is not None:
            return law.optimum(product / (scales["N"] * scales["D"]), **self.values) * scales["N"]
        dims = [*(d for d in C.dims if d not in SAMPLE), *SAMPLE]

        def array(v: xr.DataArray) -> np.ndarray:
            return v.expand_dims([d for d in dims if d not in v.dims]).transpose(*dims).to_numpy()

        # Arrays of numpy, as in `thinned`. Dims that a variable does not have get length one.
        of_draws = replace(self, values={n: array(v) for n, v in self.values.items()})
        budget, upper = array(C), np.log(array(product))
        with np.errstate(all="ignore"):
            log_N = search(
                lambda log_N: of_draws.loss_on_budget(budget, np.exp(log_N)),
                np.zeros_like(upper),
                upper,
                f"law {law.name!r}",
            )
        every = (C * next(iter(self.values.values()))).transpose(*dims)
        return every.copy(data=np.exp(log_N))

    def optimum(self, C: xr.DataArray) -> xr.Dataset:
        """The best split of each budget in each draw; dims (chain, draw, budget)."""
        N = self.best_N(C)
        D = C / (self.flop_factor * N)
        up, down = (self.best_N(C * np.exp(s * ELASTICITY_STEP)) for s in (1, -1))
        a = np.log(up / down) / (2 * ELASTICITY_STEP)
        return xr.Dataset(
            dict(N=N, D=D, tokens_per_param=D / N, loss=self.loss(N, D), a=a, b=1 - a)
        )


def law_draws(fit: Fit | Average, group, drift: str = "auto") -> list[LawDraws]:
    """The law of the fit, or of each fit of an average with positive weight."""
    fits, weights = [fit], [1.0]
    if not isinstance(fit, Fit):
        fits, weights = list(fit.used.values()), [fit.weights[name] for name in fit.used]
    if problems := [
        f"law {f.law.name!r} has the columns {', '.join(f.law.columns)}: only a law in N "
        "and D can split a budget"
        for f in fits
        if not f.law.allocates
    ]:
        raise LawError(problems)
    if drift not in DRIFTS:
        raise FitError(unknown("drift", drift, DRIFTS))
    is_average = len(fits) > 1
    return [
        LawDraws(
            f, _values(f, group), group, None if drift == "off" else ahead_of(f, is_average), w
        )
        for f, w in zip(fits, weights, strict=True)
    ]


def _values(fit: Fit, group: object) -> dict[str, xr.DataArray]:
    """Parameters of the law for one group; dims (chain, draw).

    Draws of a new group use the seed of the fit.
    """
    rng = np.random.default_rng(fit.random_seed)
    settled = settle_groups(fit.plan, group)
    if several := [c for c, label in settled.items() if not isinstance(label, str)]:
        raise FitError(
            f"{', '.join(several)}: budgets are split for one group at a time: give one label"
        )
    return parameters(fit.posterior, fit.plan, settled, rng, fit.law.parameters)


def search(objective, low: np.ndarray, high: np.ndarray, law_names: str) -> np.ndarray:
    """Minimise elementwise between bounds, on a grid and then by golden-section search.

    A minimum at either bound raises a `LawError` that names the laws `law_names`.
    """
    best = value = None
    step = (high - low) / (GRID - 1)
    for i in range(GRID):
        point = low + i * step
        point, found = np.broadcast_arrays(point, objective(point))
        if value is None:
            best, value = point, found
        else:
            better = found < value
            best, value = np.where(better, point, best), np.where(better, found, value)
    corner = (best <= low + step / 2) | (best >= high - step / 2)
    if corner.any():
        raise LawError(
            f"under {law_names} the best split of this budget lies at a corner (all in "
            "N, or all in D): there is no interior optimum"
        )
    low, high = best - step, best + step
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(REFINE):
        width = golden * (high - low)
        left, right = high - width, low + width
        lower = objective(left) < objective(right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    return (low + high) / 2


def mixed(laws: Sequence[LawDraws], datasets: Sequence[xr.Dataset]) -> xr.Dataset:
    """Draws of all laws, mixed in proportion to their weights."""
    names = [str(i) for i in range(len(laws))]
    weights = dict(zip(names, (law.weight for law in laws), strict=True))
    return mix(dict(zip(names, datasets, strict=True)), weights)
