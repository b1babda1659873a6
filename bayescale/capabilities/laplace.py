"""Laplace's method for linear predictors with standard normal coefficients.

For each particle the linear predictor is ``eta = offset + design @ coefficients``, with independent
standard normal priors of the coefficients. `mode` maximises likelihood times prior over the
coefficients of all particles at once.
"""

from __future__ import annotations

import numpy as np

from bayescale.capabilities.likelihoods import Hyperparameters, Metric

#: Largest number of iterations, and the expected gain in log density below which they end.
MAX_ITERATIONS, TOLERANCE = 60, 1e-2
#: Initial damping, and the damping above which the iterations of a particle end.
INITIAL_DAMPING, MAX_DAMPING = 1e-3, 1e9
#: Assumed standard deviation of `eta` around its estimate from single points, for initial values.
INITIAL_SD = 0.3
ROUNDING = 1e-12


def initial_coefficients(eta: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Penalised least-squares coefficients for given predictors.

    Parameters
    ----------
    eta : (particle, point)
        Linear predictors minus their offsets.
    design : (particle, point, coefficient)

    Returns
    -------
    numpy.ndarray
        (particle, coefficient)
    """
    scaled = design.transpose(0, 2, 1) / INITIAL_SD**2
    precision = np.eye(design.shape[2]) + scaled @ design
    return np.linalg.solve(precision, scaled @ eta[..., None])[..., 0]


def mode(metric: Metric, offset, design, h: Hyperparameters, start):
    """Posterior mode of the coefficients, by damped Fisher scoring.

    The damping is adapted to the ratio of actual to expected gain (Levenberg and Marquardt; Nielsen
    1999).

    Parameters
    ----------
    metric : Metric
    offset : (particle, point)
    design : (particle, point, coefficient)
    h : mapping of str to (particle, 1)
        Hyperparameters of the metric.
    start : (particle, coefficient)

    Returns
    -------
    tuple of numpy.ndarray
        The coefficients, (particle, coefficient); log likelihood plus log prior, without the
        constant of the prior, which cancels in Laplace's method, (particle,); and the precision,
        minus the second derivative at the mode, (particle, coefficient, coefficient).
    """
    n, _, p = design.shape
    identity, transposed = np.eye(p), design.transpose(0, 2, 1)
    best, value = start.copy(), np.full(n, -np.inf)
    gradient, precision = np.zeros((n, p)), np.broadcast_to(identity, (n, p, p)).copy()
    step, expected_gain = np.zeros_like(best), np.ones(n)
    damping, factor = np.full(n, INITIAL_DAMPING), np.full(n, 2.0)

    def with_prior(at, information):
        new = transposed[at] @ (design[at] * information[..., None])
        # With nearly collinear columns and very precise points, the prior precision of 1 is below
        # the rounding error.
        tiny = ROUNDING * new.max(axis=(1, 2), initial=0.0)
        return new + (1 + tiny)[:, None, None] * identity

    active = np.arange(n)
    for _ in range(MAX_ITERATIONS):
        proposal = best[active] + step[active]
        eta = offset[active] + (design[active] @ proposal[..., None])[..., 0]
        terms = metric.terms(eta, {k: v[active] for k, v in h.items()})
        new_value = terms.log_density.sum(axis=1) - 0.5 * (proposal**2).sum(axis=1)
        better = np.isfinite(new_value) & (new_value >= value[active])
        at, worse = active[better], active[~better]
        ratio = np.minimum((new_value[better] - value[at]) / expected_gain[at], 1.0)
        damping[at] *= np.maximum(1 / 3, 1 - (2 * ratio - 1) ** 3)
        factor[at] = 2.0
        damping[worse] *= factor[worse]
        factor[worse] *= 2
        best[at], value[at] = proposal[better], new_value[better]
        gradient[at] = (transposed[at] @ terms.gradient[better][..., None])[..., 0]
        gradient[at] -= proposal[better]
        precision[at] = with_prior(at, terms.information[better])
        damped = damping[active, None] * np.einsum("ijj->ij", precision[active])
        both = np.stack([precision[active], precision[active] + damped[..., None] * identity])
        newton, step[active] = np.linalg.solve(both, gradient[active, :, None])[..., 0]
        expected_gain[active] = 0.5 * (
            step[active] * (gradient[active] + damped * step[active])
        ).sum(axis=1)
        remaining_gain = 0.5 * (newton * gradient[active]).sum(axis=1)
        active = active[(remaining_gain > TOLERANCE) & (damping[active] < MAX_DAMPING)]
        if not len(active):
            break
    eta = offset + (design @ best[..., None])[..., 0]
    return best, value, with_prior(slice(None), metric.observed_information(eta, h))
