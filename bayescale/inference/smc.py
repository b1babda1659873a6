"""Sequential Monte Carlo and adaptive importance sampling: posterior draws and the evidence.

Gradient-based chains rarely move between distant modes, such as two locations of a break. Particles
are drawn from the prior and can therefore represent all modes. The sampler has two stages:

1. Sequential Monte Carlo with likelihood tempering (Del Moral, Doucet and Jasra 2006,
   doi:10.1111/j.1467-9868.2006.00553.x). The likelihood is raised to a power that grows from 0 to 1
   in steps; each step is as large as the effective sample size allows. After each step the
   particles are resampled and moved by Metropolis steps.
2. Adaptive importance sampling (population Monte Carlo: Cappé, Guillin, Marin and Robert 2004,
   doi:10.1198/106186004X12803). The proposal of each round is a mixture of the prior, with a fixed
   weight, and Student-t kernels around the weighted draws of the previous rounds. The prior
   component bounds the importance weights. This stage gives the evidence and its standard error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bayescale.functions import student_log_density

#: Tempering: each step is the largest that keeps the effective sample size above this share of the
#: particles.
TEMPERING_ESS = 0.5
#: Metropolis moves after each tempering step are repeated until this share of the particles has
#: moved, at least `MIN_MOVES` and at most `MAX_MOVES` times.
MOVED_SHARE, MIN_MOVES, MAX_MOVES = 0.9, 3, 12
#: Every third move is proposed by `Target.refresh`; the others are random-walk proposals.
REFRESH_EVERY = 3
#: Target acceptance rate of the random-walk proposals, and the range of the factor on their step
#: size that is tuned to reach it.
ACCEPTANCE, STEP_RANGE = 0.25, (0.1, 3.0)
#: Optimal step size of random-walk proposals for normal targets: the standard deviation of the
#: target times this value over the root of the dimension (Roberts, Gelman and Gilks 1997,
#: doi:10.1214/aoap/1034625254).
OPTIMAL_STEP = 2.4

#: Draws in one round of importance sampling, as a multiple of the number of particles.
ROUND_SIZE = 2
#: Rounds are added, within these limits, until the standard error of the log evidence is below
#: `TARGET_ERROR`.
MIN_ROUNDS, MAX_ROUNDS, TARGET_ERROR = 4, 24, 0.05
#: If the standard error is still above `POOR_ERROR`, both stages are repeated with more particles;
#: `RETRIES` are the multiples of the number of particles that are tried in turn.
POOR_ERROR, RETRIES = 0.3, (1, 4)
#: Weight of the prior in the proposal, and degrees of freedom of the Student-t kernels.
PRIOR_WEIGHT, KERNEL_NU = 0.1, 5.0
#: Importance weights are tempered before the next round so that the effective number of kernel
#: centres is at least this many per dimension.
CENTRES_PER_DIMENSION = 10
#: The covariance of each kernel is that of the nearest centres, whose number is that of all centres
#: over this value.
NEIGHBOUR_FRACTION = 4
#: Added to the diagonal of covariances, which would otherwise be singular in some cases.
JITTER = 1e-8

DRAWS = 600  # equally weighted draws in the result


class Target(NamedTuple):
    """The prior and the likelihood of a posterior to be sampled.

    Attributes
    ----------
    draw_prior : callable
        ``draw_prior(n)``: n independent draws from the prior, (n, dimension).
    log_prior : callable
        ``log_prior(positions)``: normalised log density of the prior, (n,) for positions (n,
        dimension); minus infinity outside its support.
    log_likelihood : callable
        ``log_likelihood(positions, auxiliary)``: a tuple of the log likelihoods, (n,), and an
        auxiliary array, (n, ...), that is stored with the positions. The argument `auxiliary` is
        the array stored with the positions from which these were proposed, or None. It serves as
        the starting point of an inner optimisation.
    refresh : callable
        ``refresh(positions)``: a Metropolis proposal, (n, dimension), that draws some coordinates
        from the prior. It must be reversible with respect to the prior. It permits moves between
        distant modes.
    """

    draw_prior: Callable[[int], np.ndarray]
    log_prior: Callable[[np.ndarray], np.ndarray]
    log_likelihood: Callable
    refresh: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PosteriorSample:
    """Equally weighted draws from a posterior, and its log evidence.

    Attributes
    ----------
    positions : (draw, dimension)
    auxiliary : (draw, ...)
        The auxiliary array of each draw (see `Target`); for curves with breaks, the standard
        normal coefficients.
    log_evidence : float
        Log of the marginal likelihood; minus infinity where no particle had a finite likelihood.
    error : float
        Monte Carlo standard error of `log_evidence`.
    ess : float
        Effective sample size of the importance weights.
    """

    positions: np.ndarray
    auxiliary: np.ndarray
    log_evidence: float
    error: float
    ess: float

    @property
    def reliable(self) -> bool:
        """Whether `error` is below `POOR_ERROR`."""
        return self.error < POOR_ERROR


def integrate(target: Target, *, particles: int, rng: np.random.Generator) -> PosteriorSample:
    """Draw from the posterior and estimate the evidence.

    Parameters
    ----------
    target : Target
    particles : int
        Number of particles of sequential Monte Carlo.
    rng : numpy.random.Generator

    Returns
    -------
    PosteriorSample

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> normal = lambda z: -0.5 * (z**2 + np.log(2 * np.pi))[:, 0]
    >>> target = Target(
    ...     draw_prior=lambda n: rng.standard_normal((n, 1)),
    ...     log_prior=normal,
    ...     log_likelihood=lambda z, _: (normal(z - 1), z),
    ...     refresh=lambda z: rng.standard_normal(z.shape),
    ... )
    >>> sample = integrate(target, particles=64, rng=rng)
    >>> bool(abs(sample.log_evidence - (-0.25 - 0.5 * np.log(4 * np.pi))) < 0.2)
    True
    """
    for factor in RETRIES:
        positions, auxiliary = _sequential_monte_carlo(target, factor * particles, rng)
        if auxiliary is None:
            return PosteriorSample(positions, positions, -np.inf, 0.0, 0.0)
        sample = _importance_sampling(target, positions, auxiliary, ROUND_SIZE * particles, rng)
        if sample.reliable:
            break
    return sample


def _sequential_monte_carlo(target: Target, n: int, rng):
    """Approximate posterior draws and their auxiliary array (None if no likelihood is finite)."""
    positions = target.draw_prior(n)
    log_likelihood, auxiliary = target.log_likelihood(positions, None)
    log_prior = target.log_prior(positions)
    if not np.isfinite(log_likelihood).any():
        return positions, None
    power, step_size = 0.0, 1.0
    dimension = positions.shape[1]
    while power < 1.0:
        step = _tempering_step(log_likelihood, 1.0 - power)
        weight = np.exp(step * (log_likelihood - log_likelihood.max()))
        power = min(power + step, 1.0)
        chosen = systematic_resample(weight / weight.sum(), n, rng)
        positions, log_likelihood = positions[chosen], log_likelihood[chosen]
        log_prior, auxiliary = log_prior[chosen], auxiliary[chosen]
        root = _covariance_root(positions, np.full(n, 1 / n))
        moved = np.zeros(n, bool)
        for move in range(MAX_MOVES):
            refresh = move % REFRESH_EVERY == REFRESH_EVERY - 1
            if refresh:
                proposal = target.refresh(positions)
            else:
                # Step sizes are log-normal, because modes may be much narrower than the posterior.
                size = (
                    step_size
                    * OPTIMAL_STEP
                    / np.sqrt(dimension)
                    * np.exp(rng.standard_normal(n))[:, None]
                )
                proposal = positions + size * rng.standard_normal(positions.shape) @ root.T
            new_prior = target.log_prior(proposal)
            inside = np.isfinite(new_prior)
            log_ratio = np.full(n, -np.inf)
            if inside.any():
                new_likelihood, new_auxiliary = target.log_likelihood(
                    proposal[inside], auxiliary[inside]
                )
                log_ratio[inside] = power * (new_likelihood - log_likelihood[inside])
                if not refresh:  # a refresh is reversible with respect to the prior
                    log_ratio[inside] += new_prior[inside] - log_prior[inside]
            accepted = np.log(rng.random(n)) < log_ratio
            among_inside = accepted[inside]
            positions[accepted], log_prior[accepted] = proposal[accepted], new_prior[accepted]
            if among_inside.any():
                log_likelihood[accepted] = new_likelihood[among_inside]
                auxiliary[accepted] = new_auxiliary[among_inside]
            moved |= accepted
            if not refresh:
                step_size *= np.exp(accepted.mean() - ACCEPTANCE)
                step_size = float(np.clip(step_size, *STEP_RANGE))
            if moved.mean() > MOVED_SHARE and move >= MIN_MOVES - 1:
                break
    return positions, auxiliary


def _importance_sampling(target: Target, centres, auxiliary, size: int, rng) -> PosteriorSample:
    """Rounds of importance sampling, each with kernels around the draws of previous rounds."""
    kernels = centres, auxiliary, np.full(len(centres), 1 / len(centres))
    rounds = []
    for number in range(1, MAX_ROUNDS + 1):
        rounds.append((number, *_one_round(target, *kernels, size, rng)))
        # Proposals improve, so the weight of a round is proportional to its number. Weights from
        # estimated variances would favour rounds that missed a mode.
        share = np.array([r[0] for r in rounds]) / (number * (number + 1) / 2)
        log_weight = np.concatenate(
            [r[3] + np.log(a / size) for r, a in zip(rounds, share, strict=True)]
        )
        log_evidence = np.logaddexp.reduce(log_weight)
        weight = np.exp(log_weight - log_evidence)
        by_round = weight.reshape(number, size).sum(axis=1)
        error = np.sqrt(max((weight**2).sum() - (by_round**2).sum() / size, 0.0))
        positions = np.concatenate([r[1] for r in rounds])
        auxiliary = np.concatenate([r[2] for r in rounds])
        if number >= MIN_ROUNDS and error < TARGET_ERROR:
            break
        # A few dominant weights would give kernels with nearly singular covariances.
        power = _tempering_step(
            log_weight[log_weight > -np.inf],
            1.0,
            CENTRES_PER_DIMENSION * positions.shape[1] / size / number,
        )
        tempered = np.exp(power * (log_weight - log_weight.max()))
        centre, count = np.unique(
            systematic_resample(tempered / tempered.sum(), size, rng), return_counts=True
        )
        kernels = positions[centre], auxiliary[centre], count / size
    pick = systematic_resample(weight / weight.sum(), DRAWS, rng)
    return PosteriorSample(
        positions[pick],
        auxiliary[pick],
        float(log_evidence),
        float(error),
        float(1 / (weight**2).sum()),
    )


def _one_round(target: Target, centres, auxiliary, weight, size: int, rng):
    """Draws from the proposal: positions, their auxiliary array, and log importance weights."""
    dimension = centres.shape[1]
    means, roots = _kernels(centres, weight)
    from_kernels = size - round(PRIOR_WEIGHT * size)
    pick = rng.choice(len(weight), from_kernels, p=weight)
    stretch = np.sqrt(KERNEL_NU / rng.chisquare(KERNEL_NU, from_kernels))[:, None]
    steps = roots[pick] @ rng.standard_normal((from_kernels, dimension, 1))
    near = means[pick] + stretch * steps[..., 0]
    positions = np.concatenate([near, target.draw_prior(size - from_kernels)])
    log_prior = target.log_prior(positions)
    log_likelihood = np.full(size, -np.inf)
    new_auxiliary = np.zeros((size, *auxiliary.shape[1:]))
    inside, of_prior = np.isfinite(log_prior), np.arange(size) >= from_kernels
    of_kernel = inside & ~of_prior
    log_likelihood[of_kernel], new_auxiliary[of_kernel] = target.log_likelihood(
        positions[of_kernel], auxiliary[pick][of_kernel[:from_kernels]]
    )
    log_likelihood[of_prior], new_auxiliary[of_prior] = target.log_likelihood(
        positions[of_prior], None
    )
    kernel = np.logaddexp.reduce(
        _kernel_log_density(positions, means, roots) + np.log(weight), axis=1
    )
    with np.errstate(invalid="ignore"):
        proposal = np.logaddexp(np.log(PRIOR_WEIGHT) + log_prior, np.log1p(-PRIOR_WEIGHT) + kernel)
        log_weight = log_prior + log_likelihood - proposal
    log_weight = np.where(inside & np.isfinite(log_likelihood), log_weight, -np.inf)
    return positions, new_auxiliary, log_weight


def _kernels(centres, weight):
    """Means, (kernel, dimension), and Cholesky roots, (kernel, dimension, dimension), of kernels.

    The covariance of a kernel is that of its nearest centres, times the square of Silverman's
    bandwidth. It is local because the posterior may be a narrow curved ridge. The means are shrunk
    towards the local mean (Liu and West 2001, doi:10.1007/978-1-4757-3437-9_10), so that the
    mixture does not have a larger variance than the centres.
    """
    n, dimension = centres.shape
    white = np.linalg.solve(_covariance_root(centres, weight), centres.T).T
    distance = ((white[:, None] - white) ** 2).sum(axis=2)
    n_nearest = max(n // NEIGHBOUR_FRACTION, min(n, CENTRES_PER_DIMENSION * dimension))
    nearest = np.argsort(distance, axis=1)[:, :n_nearest]
    local = weight[nearest] / weight[nearest].sum(axis=1, keepdims=True)
    local_mean = (local[:, None] @ centres[nearest])[:, 0]
    bandwidth = (4 / (dimension + 2) * (local**2).sum(axis=1)) ** (1 / (dimension + 4))
    bandwidth = np.minimum(bandwidth, 0.95)[:, None]
    deviation = centres[nearest] - local_mean[:, None]
    covariance = deviation.transpose(0, 2, 1) @ (deviation * local[..., None])
    return (
        local_mean + np.sqrt(1 - bandwidth**2) * (centres - local_mean),
        bandwidth[..., None] * np.linalg.cholesky(covariance + JITTER * np.eye(dimension)),
    )


def _kernel_log_density(positions, means, roots):
    """Log density of each kernel at each position, (position, kernel)."""
    inverse = np.linalg.inv(roots)
    scaled = positions @ inverse.transpose(0, 2, 1) - (inverse @ means[..., None])[:, None, :, 0]
    log_det = np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
    density = student_log_density((scaled**2).sum(axis=2), positions.shape[1], KERNEL_NU)
    return (density - log_det[:, None]).T


def _covariance_root(positions: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Cholesky root of the covariance of weighted positions, (dimension, dimension)."""
    deviation = positions - weight @ positions
    covariance = deviation.T @ (deviation * weight[:, None])
    return np.linalg.cholesky(covariance + JITTER * np.eye(positions.shape[1]))


def _tempering_step(
    log_weight: np.ndarray, largest: float, ess_share: float = TEMPERING_ESS
) -> float:
    """The largest power of the weights, up to `largest`, for which the effective sample size is
    above the share `ess_share` of their number."""

    def effective_share(power: float) -> float:
        weight = np.exp(power * (log_weight - log_weight.max()))
        return weight.sum() ** 2 / (weight**2).sum() / len(weight)

    if effective_share(largest) > ess_share:
        return largest
    low, high = 0.0, largest
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if effective_share(middle) > ess_share else (low, middle)
    return max(low, 1e-6)


def tempered_resample(
    log_weight: np.ndarray, least: float, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """Resample with weights that are made more even until enough draws are effective.

    Parameters
    ----------
    log_weight : array
        Finite log weights, (draw,).
    least : float
        The effective number of draws that is needed; at most half of the draws are.
    n : int
        Number of indices.
    rng : numpy.random.Generator

    Returns
    -------
    tuple
        Indices of draws (n,), and the effective number of draws of the weights.

    Examples
    --------
    >>> log_weight = np.array([0.0, -50.0, -60.0, -70.0])
    >>> chosen, effective = tempered_resample(log_weight, 2, 100, np.random.default_rng(1))
    >>> len(chosen), effective >= 2
    (100, True)
    """
    power, least = 1.0, min(least, len(log_weight) / 2)
    while True:
        tempered = power * log_weight
        tempered -= np.logaddexp.reduce(tempered)
        effective = float(np.exp(-np.logaddexp.reduce(2 * tempered)))
        if effective >= least:
            return systematic_resample(np.exp(tempered), n, rng), effective
        power *= 0.8


def systematic_resample(weight: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Indices of `n` draws by systematic resampling.

    Parameters
    ----------
    weight : (particle,)
        Normalised weights.
    n : int
        Number of draws.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        (n,), in increasing order.

    Examples
    --------
    >>> systematic_resample(np.array([0.0, 0.5, 0.5]), 4, np.random.default_rng(1)).tolist()
    [1, 1, 2, 2]
    """
    quantile = (rng.random() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weight), quantile), len(weight) - 1)
