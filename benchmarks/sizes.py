"""The size of drift beyond a table, from a hierarchical model of many tables.

    python benchmarks/sizes.py

Run as a script, it evaluates other priors with the likelihoods that `rollouts.py` saved.

Log sizes of the tables are normal with unknown mean and standard deviation. The result is the
predictive distribution of the size in a new table. Each table has a likelihood of its size, of one
of two kinds:

* ``"runs"``: log densities of its later runs one by one, as forecasts are scored. Runs of a table
  drift together, so their effective number is smaller than their number. At every size, the slope
  of the mean score is multiplied by the number for which its expected curvature equals its variance
  (McCullagh 1983, Ann. Stat. 11:59, on quasi-likelihood; Varin, Reid & Firth 2011, Stat. Sinica
  21:5, on composite likelihood).
* ``"jointly"``: the joint density of all later runs, with drift, law and noise integrated out. It
  is the exact likelihood if the model is correct. It is evaluated after the later runs are known,
  however: every deviation that they share, and that neither law nor noise explains, counts as
  drift. The longer the random walk that explains it, the less evidence there is
  against still larger sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from common import RESULTS, along, noise_of, write
from scipy.special import logsumexp
from scipy.stats import halfnorm, norm, t

import bayescale as bs

KINDS = ("runs", "jointly")
#: Sizes at which the likelihood of each table is evaluated.
SIZES = np.array([0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0])
ITSELF = 1.000001
#: Tables whose later runs are also in other tables. They are left out, to count each run once.
COPIES = ("chinchilla 1e21", "openlm pooled")

#: Prior of the typical size: local exponents deviate by a tenth after an e-fold, with a spread of a
#: factor of 5. Prior of the standard deviation of log sizes between tables: half-normal, with the
#: log of 2 as its scale.
TYPICAL = bs.Positive(0.1, spread=5.0)
BETWEEN = np.log(2.0)

MEANS = np.linspace(np.log(0.002), np.log(3.0), 90)
SPREADS = np.linspace(0.02, 2.5, 60)
#: Grid of sizes of one table. A size below the first is equivalent to no drift.
FINE = np.geomspace(0.002, 5.0, 50)
#: Number of draws of the noise over which a joint density is averaged.
NOISES = 24


def forecast(
    fit: bs.Fit, points: pd.DataFrame, truth: np.ndarray, size: bs.Positive | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws of the losses to predict, dims (draw, point), and the log density of the measured ones.

    `size` is the size of the drift; None means no drift.
    """
    fit = replace(fit, plan=replace(fit.plan, ahead=size or fit.plan.ahead))
    ahead = bs.forecast(fit, points, drift="off" if size is None else "auto", random_seed=seed)
    drawn = ahead.data["loss"].transpose("chain", "draw", "point").to_numpy()
    return drawn.reshape(-1, len(points)), ahead.log_density(truth)


# -- likelihood of one table -------------------------------------------------------------------


@dataclass(frozen=True)
class Evidence:
    """The likelihood of sizes of drift for one law and one table.

    Attributes
    ----------
    scores : array, dims (size, run)
        Log density of every single later run, for each of `SIZES`.
    worth : array, dims (size - 1,)
        The effective number of independent runs, between each size and the next.
    joint : array, dims (size,)
        Joint log density of all later runs.
    """

    scores: np.ndarray
    worth: np.ndarray
    joint: np.ndarray


@dataclass(frozen=True)
class Later:
    """The held-out runs of a table: normal deviations from the law, and Student-t noise.

    `deviation` is that of log loss from the law; `law` and `drift` are covariances of the law and
    of drift of size 1, dims (run, run); `scale` and `nu` are those of the noise, dims (draw, run).
    """

    deviation: np.ndarray
    law: np.ndarray
    drift: np.ndarray
    scale: np.ndarray
    nu: np.ndarray


def evidence(fit: bs.Fit, problem, groups: Sequence[str], seed: int) -> Evidence:
    points = problem.points(fit.law, groups)
    scores = [
        forecast(fit, points, problem.truth, bs.Positive(s, spread=ITSELF) if s else None, seed)[1]
        for s in SIZES
    ]
    later = _later(fit, problem, groups, seed)
    between = np.sqrt(np.maximum(SIZES[:-1], SIZES[1] / 4) * SIZES[1:])
    return Evidence(
        np.array(scores),
        np.array([worth(later, s) for s in between]),
        np.array([joint(later, s) for s in SIZES]),
    )


def _later(fit: bs.Fit, problem, groups: Sequence[str], seed: int) -> Later:
    law, distance, labels = along(fit, problem, groups, seed)
    log_law = law(0.0)
    improvement = log_law - law(-distance)
    # Covariance of the means of a walk over two distances. The start of the walk is unknown, with
    # the standard deviation of the walk after one e-fold.
    near = np.minimum.outer(distance, distance)
    gap = np.abs(np.subtract.outer(distance, distance))
    area = np.maximum(np.outer(distance, distance), 1e-12)
    walk = (1 + (near**3 / 3 + gap * near**2 / 2) / area) * (labels[:, None] == labels)
    noise = noise_of(
        bs.forecast(fit, problem.points(fit.law, groups), drift="off", random_seed=seed)
    )
    size = len(distance)
    scale, nu = (noise[v].to_numpy().reshape(-1, size) for v in ("scale", "nu"))
    return Later(
        np.log(problem.truth) - log_law.mean(axis=0),
        np.cov(log_law.T).reshape(size, size),
        improvement.T @ improvement / len(improvement) * walk,
        scale,
        nu,
    )


def worth(later: Later, size: float) -> float:
    """The effective number of independent runs, for inference of the size of drift.

    The score of a run depends on its squared standardised deviation. The correlation of two squared
    deviations is the square of the correlation of the deviations.
    """
    scale, nu = np.median(later.scale, axis=0), np.median(later.nu, axis=0)
    covariance = later.law + size**2 * later.drift + np.diag(_information(scale, nu) ** -1)
    variance = np.diag(covariance)
    share = size**2 * np.diag(later.drift) / variance
    correlation = covariance / np.sqrt(np.outer(variance, variance))
    return float(len(share) * (share @ share) / (share @ correlation**2 @ share))


def joint(later: Later, size: float) -> float:
    """Joint log density of all runs, averaged over draws of the noise.

    An average over draws of the law would be exact, but for many runs it would depend on the few
    nearest draws. Law and drift are therefore approximated as normal, with their covariances.
    """
    covariance = later.law + size**2 * later.drift
    some = np.linspace(0, len(later.scale) - 1, NOISES).astype(int)
    return float(
        logsumexp(
            [_marginal(later.deviation, covariance, later.scale[i], later.nu[i]) for i in some]
        )
        - np.log(NOISES)
    )


def _information(scale: np.ndarray, nu: np.ndarray) -> np.ndarray:
    """Fisher information of one Student-t observation about its centre."""
    return (1 - 2 / (nu + 3)) / scale**2


def _marginal(deviation, covariance, scale, nu, steps: int = 200) -> float:
    """Log density of normal deviations plus Student-t noise, by Laplace's method.

    The Fisher information at the mode is used, because the curvature at an outlier is negative.
    """
    mode = np.zeros_like(deviation)
    for _ in range(steps):
        weight = (1 + 1 / nu) / (scale**2 + (deviation - mode) ** 2 / nu)
        pull = np.linalg.solve(covariance + np.diag(1 / weight), deviation)
        before, mode = mode, covariance @ pull
        if np.abs(mode - before).max() < 1e-8:
            break
    root = np.sqrt(_information(scale, nu))
    inside = np.eye(len(deviation)) + root[:, None] * covariance * root
    density = t.logpdf(deviation, nu, mode, scale).sum() - pull @ mode / 2
    return density - np.linalg.slogdet(inside)[1] / 2


# -- many tables -------------------------------------------------------------------------------


def run_by_run(by_law: Mapping[str, Evidence], weights: Mapping[str, float]):
    """Mean log score of the later runs for each of `SIZES`, and the effective number of runs
    between each size and the next. Laws are averaged by their weights."""
    laws, shares = [by_law[law] for law in weights], np.array(list(weights.values()))
    scores = logsumexp([e.scores for e in laws], axis=0, b=shares[:, None, None]).mean(axis=1)
    return scores, shares @ [e.worth for e in laws]


def likelihood(by_law: Mapping[str, Evidence], weights: Mapping[str, float], kind: str):
    """Log likelihood of each of `SIZES` in one table, relative to no drift."""
    if kind == "jointly":
        shares = np.array(list(weights.values()))[:, None]
        out = logsumexp([by_law[law].joint for law in weights], axis=0, b=shares)
        return out - out[0]
    scores, counts = run_by_run(by_law, weights)
    return np.concatenate([[0.0], np.cumsum(np.diff(scores) * counts)])


@dataclass(frozen=True)
class Population:
    """Sizes over tables: mean `mu` and standard deviation `tau` of their logs (posterior means),
    the posterior standard deviation of `mu`, and the predictive size of a new table."""

    tables: int
    mu: float
    mu_sd: float
    tau: float
    size: bs.Positive


def population(
    likelihoods: Sequence[np.ndarray],
    sizes: Sequence[float] = SIZES,
    typical: bs.Positive = TYPICAL,
    between: float = BETWEEN,
) -> Population:
    """The posterior of typical size and spread on a grid, from log likelihoods of some sizes."""
    log_sizes, fine = np.log(np.maximum(sizes, FINE[0] / 2)), np.log(FINE)
    table = np.array(
        [np.interp(np.concatenate([log_sizes[:1], fine]), log_sizes, one) for one in likelihoods]
    )
    # The log likelihood is extrapolated linearly beyond the largest size, and is constant below the
    # smallest.
    rise = np.array([(one[-1] - one[-2]) / (log_sizes[-1] - log_sizes[-2]) for one in likelihoods])
    table[:, 1:] += np.maximum(fine - log_sizes[-1], 0) * rise[:, None]
    mean, spread = (a[:, :, None] for a in np.meshgrid(MEANS, SPREADS, indexing="ij"))
    step = fine[1] - fine[0]
    edges = np.concatenate([[-np.inf], fine - step / 2, [np.inf]])
    share = np.maximum(np.diff(norm.cdf(edges, mean, spread), axis=-1), 1e-300)
    evidence = sum(logsumexp(one + np.log(share), axis=-1) for one in table)
    evidence = (
        evidence
        + norm.logpdf(MEANS, typical.centre, typical.width)[:, None]
        + halfnorm.logpdf(SPREADS, scale=between)
    )
    weight = np.exp(evidence - logsumexp(evidence))
    mu, tau = float(weight.sum(1) @ MEANS), float(weight.sum(0) @ SPREADS)
    mu_variance = float(weight.sum(1) @ (MEANS - mu) ** 2)
    variance = mu_variance + float(weight.sum(0) @ SPREADS**2)
    size = bs.Positive(float(np.exp(mu)), spread=float(np.exp(np.sqrt(variance))))
    return Population(len(table), mu, float(np.sqrt(mu_variance)), tau, size)


def priors(table: pd.DataFrame) -> pd.DataFrame:
    """Populations of the tables of a method under other priors than those above."""
    rows = []
    for method, rows_of in table[~table["table"].isin(COPIES)].groupby("method", sort=False):
        wide = rows_of.pivot(index="table", columns="size", values="log likelihood")
        tables = list(wide.to_numpy())
        for centre, spread, factor in (
            (0.1, 5, 2),
            (0.03, 5, 2),
            (0.3, 5, 2),
            (0.1, 20, 2),
            (0.1, 5, 1.3),
            (0.1, 5, 4),
        ):
            found = population(
                tables, typical=bs.Positive(centre, spread=spread), between=np.log(factor)
            )
            rows.append(
                {
                    "method": method,
                    "typical size": centre,
                    "spread of typical size": spread,
                    "factor between tables": factor,
                    "mu": found.mu,
                    "mu_sd": found.mu_sd,
                    "tau": found.tau,
                    "median": found.size.median,
                    "spread": found.size.spread,
                }
            )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    write(
        priors(pd.read_csv(RESULTS / "drift_size_likelihoods.csv")),
        "drift_size_priors",
        "Sizes of the drift in a new table, under other priors",
    )
