"""Probabilities of claims: the exponent of the optimal size, a floor, the q of `skaling`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import xarray as xr

from bayescale.errors import LawError
from bayescale.evaluation.comparison import Comparison
from bayescale.forecasting import allocate, mix
from bayescale.model import Fit
from bayescale.priors import Prior

#: An exponent above this is nearer to Kaplan's 0.73 than to Hoffmann's 0.50.
LARGE = 0.6
#: For q within this factor of 1, `skaling` predicts nearly the same losses as an additive law.
NEAR_ONE = 1.25
#: Number of Bayesian bootstraps of the runs.
BOOTSTRAPS = 4000


def exponents(
    compared: Comparison, C: float | None, group
) -> tuple[dict[str, xr.DataArray], list[str]]:
    """The exponent a in N* ~ C^a under each law that has an optimum, and under their average.

    Parameters
    ----------
    compared : Comparison
    C : float or None
        The budget in FLOP at which exponents are evaluated; None gives no exponents.
    group : str, mapping or None

    Returns
    -------
    exponents : dict of str to xarray.DataArray
        Draws, dims (chain, draw), by law. ``"average"`` is the weighted average of these laws, if
        together they have at least half of the weight.
    notes : list of str
        The laws without an exponent, with the reason, and the total weight of the other laws.
    """
    out, notes = {}, []
    for name in compared.table.index if C is not None else ():
        try:
            out[name] = (
                allocate(compared.fits[name], C, group=group).data["a"].isel(budget=0, drop=True)
            )
        except LawError as error:
            notes.append(f"no exponent under {name}: {error}")
    weights = {name: compared.weights[name] for name in out}
    total = sum(weights.values())
    if total < 0.999 and out:
        notes.append(
            f"the laws that have an optimum have {total:.0%} of the weight"
            + ("; the average exponent is over these laws only" if total >= 0.5 else "")
        )
    if total >= 0.5:
        mixed = mix(
            {k: v.to_dataset(name="a") for k, v in out.items() if weights[k] > 0},
            {k: w / total for k, w in weights.items() if w > 0},
        )
        out["average"] = mixed["a"]
    return out, notes


def probabilities(compared: Comparison, exponents: Mapping[str, xr.DataArray]) -> dict[str, float]:
    """The probability of each claim; see `bayescale.Hypotheses`."""
    out = {}
    if "average" in exponents:
        out[f"a > {LARGE}"] = float((exponents["average"] > LARGE).mean())
    names = [n for n in compared.fits if n in ("kaplan", "kaplan_floor")]
    names = names if len(names) == 2 else list(compared.fits)
    with_floor = [name for name in names if "E" in compared.fits[name].law.parameters]
    if with_floor and len(with_floor) < len(names):
        out["E > 0 predicts better"] = _floor_wins(compared, with_floor, names)
    if has_q(compared.fits):
        log_q = np.log(compared.fits["skaling"].parameters()["q"])
        prior = compared.fits["skaling"].plan.parameter("q").prior
        out["q near 1"] = float((abs(log_q) < np.log(NEAR_ONE)).mean())
        out["q near 1, before"] = _prior_near_one(prior)
    return out


def _prior_near_one(prior: Prior) -> float:
    log_q = NormalDist(prior.centre, prior.width)
    return log_q.cdf(np.log(NEAR_ONE)) - log_q.cdf(-np.log(NEAR_ONE))


def has_q(fits: Mapping[str, Fit]) -> bool:
    """Whether `skaling` is among the laws and its prior of q is on the log scale."""
    return "skaling" in fits and fits["skaling"].plan.parameter("q").prior.link == "log"


def _floor_wins(compared: Comparison, with_floor: Sequence[str], names: Sequence[str]) -> float:
    """Share of Bayesian bootstraps of the runs in which the best law has a floor."""
    elpd_i = {name: np.asarray(compared.loo[name].elpd_i) for name in names}
    n = len(next(iter(elpd_i.values())))
    weights = np.random.default_rng(0).dirichlet(np.ones(n), BOOTSTRAPS)
    scores = {name: weights @ values for name, values in elpd_i.items()}
    best = {
        floor: np.max([s for name, s in scores.items() if (name in with_floor) == floor], axis=0)
        for floor in (True, False)
    }
    return float((best[True] > best[False]).mean())


def density_ratio(fitted: Fit) -> float:
    """Posterior density of log q at 0 divided by its prior density, the Savage-Dickey ratio."""
    from scipy.stats import gaussian_kde, norm

    prior = fitted.plan.parameter("q").prior
    log_q = np.log(fitted.parameters()["q"].to_numpy().ravel())
    return float(gaussian_kde(log_q)(0.0)[0] / norm.pdf(0.0, prior.centre, prior.width))
