"""Mixtures of Student-t distributions, as proposals of importance sampling."""

from __future__ import annotations

from math import lgamma
from typing import NamedTuple

import numpy as np

from bayescale.inference.modes import Density, Modes, derivatives, log_prior

#: Degrees of freedom of the components.
NU = 6.0
#: Weight of the prior in every mixture. It bounds the importance weights.
PRIOR_SHARE = 0.03
#: Factor on all covariances, so that the tails of the posterior are not missed.
WIDER = 1.15
#: Smallest weight of a mode in the first mixture.
LEAST_WEIGHT = 0.05

#: Expectation maximisation: largest number of components, draws per component and dimension that
#: are needed to fit one, and number of steps.
COMPONENTS, DRAWS_NEEDED, EM_STEPS = 16, 25, 6

#: Local approximations: number of points; steps uphill, the smallest gain that is worth one, and
#: their largest length in units of the prior. The extent of a component is at most the distance to
#: its `NEIGHBOUR`-th nearest neighbour. Steps in which the weights are fitted, and their smallest
#: value in units of the mean.
POINTS, UPHILL_STEPS, WORTH, LONGEST = 96, 3, 0.2, 0.5
NEIGHBOUR, WEIGHT_STEPS, LEAST_SHARE = 3, 4, 0.3

#: Number of points that are also moved outward, to parts that no draw has reached; how far, in
#: units of the extent of their component; how far below the highest log posterior they may lie.
OUTWARD, REACH, DEEPEST = 32, 2.0, 15.0

#: Largest number of multiplications in one matrix product. Larger products are spread over threads
#: by the linear algebra library, which takes many times longer if a processor is busy.
PRODUCT = 200_000


class Mixture(NamedTuple):
    """A mixture of Student-t distributions and of the standard normal prior.

    Attributes
    ----------
    weight : (component,)
        The sum is one minus `PRIOR_SHARE`, the weight of the prior.
    mean : (component, dimension)
    root : (component, dimension, dimension)
        Cholesky roots of the scale matrices.
    """

    weight: np.ndarray
    mean: np.ndarray
    root: np.ndarray

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, (n, dimension)."""
        d = self.mean.shape[1]
        prior = max(1 - self.weight.sum(), 0.0)
        component = rng.choice(len(self.weight) + 1, n, p=[*self.weight, prior])
        normal = rng.standard_normal((n, d))
        inside = component < len(self.weight)
        chosen = component[inside]
        stretch = np.sqrt(NU / rng.chisquare(NU, len(chosen)))[:, None]
        steps = np.einsum("nij,nj->ni", self.root[chosen], normal[inside])
        normal[inside] = self.mean[chosen] + stretch * steps
        return normal

    def log_density(self, z: np.ndarray, of_prior: np.ndarray | None = None) -> np.ndarray:
        """Log density, (n,); `of_prior` is `log_prior` of the positions, if it is known."""
        of_prior = log_prior(z) if of_prior is None else of_prior
        each = self.log_each(z)
        top = each.max(axis=1)
        each -= top[:, None]
        of_components = top + np.log(np.exp(each, out=each).sum(axis=1, dtype=float))
        return np.logaddexp(of_components, of_prior + np.log1p(-self.weight.sum()))

    def log_each(self, z: np.ndarray) -> np.ndarray:
        """Log of weight times density of every component, (n, component)."""
        k, d = self.mean.shape
        inverse = np.linalg.inv(self.root)
        precision = inverse.transpose(0, 2, 1) @ inverse
        # The squared distances to all means are one matrix product of the products of coordinates.
        centre = self.mean.mean(axis=0)
        mean, x = self.mean - centre, z - centre
        linear = -2 * np.einsum("kij,kj->ki", precision, mean)
        constant = -0.5 * np.einsum("ki,ki->k", linear, mean) + NU
        i, j = np.triu_indices(d)
        quadratic = precision[:, i, j] * np.where(i == j, 1.0, 2.0)
        coefficients = np.concatenate([quadratic, linear, constant[:, None]], axis=1).T / NU
        terms = np.concatenate([x[:, i] * x[:, j], x, np.ones((len(x), 1))], axis=1)
        # Single precision is exact enough for a proposal, and several times faster.
        square = np.empty((len(z), k), np.float32)
        rows = max(1, PRODUCT // coefficients.size)
        for start in range(0, len(z), rows):
            square[start : start + rows] = terms[start : start + rows] @ coefficients
        np.maximum(square, 1, out=square)
        np.log(square, out=square)
        log_det = np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(axis=1)
        constant = lgamma((NU + d) / 2) - lgamma(NU / 2) - d / 2 * np.log(NU * np.pi)
        square *= -(NU + d) / 2
        square += (constant + np.log(self.weight) - log_det).astype(np.float32)
        return square

    def shares(self, z: np.ndarray) -> np.ndarray:
        """Probability that a draw is from each component, (n, component)."""
        log_each = self.log_each(z)
        log_each -= log_each.max(axis=1, keepdims=True)
        share = np.exp(log_each).astype(float)
        return share / share.sum(axis=1, keepdims=True)


def at_modes(modes: Modes) -> Mixture:
    """Laplace's approximation: a component at every mode."""
    root = np.linalg.cholesky(np.linalg.inv(modes.precision))
    log_mass = modes.value + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    weight = np.exp(log_mass - log_mass.max())
    weight = np.maximum(weight / weight.sum(), LEAST_WEIGHT)
    return _with_prior(weight / weight.sum(), modes.position, root)


def fitted(z: np.ndarray, effective: float, rng: np.random.Generator) -> Mixture:
    """A mixture fitted to equally weighted draws by expectation maximisation.

    Parameters
    ----------
    z : (draw, dimension)
    effective : float
        Effective number of draws, which limits the number of components.
    rng : numpy.random.Generator
    """
    d = z.shape[1]
    components = int(np.clip(effective / (DRAWS_NEEDED * d), 1, COMPONENTS))
    mean = z[_apart(z, components, rng)]
    components = len(mean)
    # A small part of the overall covariance keeps those of the components regular.
    overall = components ** (-2 / d) * _covariance(z)
    root = np.broadcast_to(np.linalg.cholesky(overall), (components, d, d))
    mixture = Mixture(np.full(components, 1 / components), mean, root)
    for _ in range(EM_STEPS if components > 1 else 2):
        share = mixture.shares(z)
        total = share.sum(axis=0)
        alive = np.flatnonzero(total > 2 * d)
        if not len(alive):
            break
        means, roots = [], []
        for k in alive:
            white = (z - mixture.mean[k]) @ np.linalg.inv(mixture.root[k]).T
            precision = share[:, k] * (NU + d) / (NU + (white**2).sum(axis=1))
            means.append(precision @ z / precision.sum())
            deviation = z - means[-1]
            scatter = (deviation * precision[:, None]).T @ deviation
            roots.append(np.linalg.cholesky((scatter + d * overall) / (total[k] + d)))
        mixture = Mixture(total[alive] / total[alive].sum(), np.array(means), np.array(roots))
    return _with_prior(*mixture)


def along(density: Density, z: np.ndarray, rng: np.random.Generator) -> Mixture:
    """Local normal approximations at points along a curved posterior.

    A posterior may be a ridge that is thousands of times longer than wide. Expectation maximisation
    would need very many draws for it. The derivatives of the density give the shape of the ridge
    at any point.

    Parameters
    ----------
    density : Density
    z : (draw, dimension)
        Equally weighted draws. Some of them, far apart, become the points; these are first moved
        uphill in the directions in which the posterior is narrow.
    rng : numpy.random.Generator
    """
    point = z[_apart(z, POINTS, rng)]
    point, value, curvature = _uphill(density, point)
    # The first points are the farthest apart. The draws may not have reached the end of the ridge.
    beyond, its_value, its_curvature = _uphill(density, _beyond(point, curvature, z.mean(axis=0)))
    kept = its_value > value.max() - DEEPEST
    point, value = np.concatenate([point, beyond[kept]]), np.concatenate([value, its_value[kept]])
    size, axes = np.linalg.eigh(np.concatenate([curvature, its_curvature[kept]]))
    precision = np.maximum(size, 0.0) + 1 / _extent(point)[:, None] ** 2
    covariance = (axes / precision[:, None]) @ axes.transpose(0, 2, 1)
    root = np.linalg.cholesky(covariance)
    log_mass = value + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
    weight = np.exp(log_mass - log_mass.max()) + 0.01
    mixture = Mixture(weight / weight.sum(), point, root)
    for _ in range(WEIGHT_STEPS):
        weight = mixture.shares(z).mean(axis=0) + LEAST_SHARE / len(point)
        mixture = mixture._replace(weight=weight / weight.sum())
    return _with_prior(*mixture)


def _uphill(density: Density, point: np.ndarray):
    """Points moved uphill in the directions in which the posterior is narrow; the log posterior
    and minus its Hessian there."""
    point, value = point.copy(), density.log_posterior(point)
    gradient, curvature = derivatives(density, point, value)
    at = np.arange(len(point))  # points that may move further
    for _ in range(UPHILL_STEPS):
        size, axes = np.linalg.eigh(curvature[at])
        narrow = size > 1 / _extent(point)[at, None] ** 2
        slope = np.einsum("nij,ni->nj", axes, gradient[at])
        step = slope * narrow / np.where(narrow, size, 1.0)
        gain = 0.5 * (slope * step).sum(axis=1)
        step = np.einsum("nij,nj->ni", axes, step)
        step *= np.minimum(1, LONGEST / np.maximum(np.linalg.norm(step, axis=1), 1e-300))[:, None]
        at, step = at[gain > WORTH], step[gain > WORTH]
        if not len(at):
            break
        new = density.log_posterior(point[at] + step)
        better = new > value[at]
        at = at[better]
        point[at] += step[better]
        value[at] = new[better]
        if len(at):
            gradient[at], curvature[at] = derivatives(density, point[at], value[at])
    return point, value, curvature


def _beyond(point, curvature, centre) -> np.ndarray:
    """The first `OUTWARD` points, moved away from the centre along the widest direction."""
    start = point[:OUTWARD]
    wide = np.linalg.eigh(curvature[:OUTWARD])[1][:, :, 0]
    outward = np.sign(((start - centre) * wide).sum(axis=1, keepdims=True))
    return start + REACH * _extent(point)[:OUTWARD, None] * outward * wide


def _extent(point: np.ndarray) -> np.ndarray:
    """Distance of each point to its neighbour of order `NEIGHBOUR`, at most 1 (the prior)."""
    square = ((point[:, None] - point) ** 2).sum(axis=2)
    nearest = np.sort(square, axis=1)[:, min(NEIGHBOUR, len(point) - 1)]
    return np.clip(np.sqrt(nearest), 1e-3, 1.0)


def _with_prior(weight, mean, root) -> Mixture:
    return Mixture((1 - PRIOR_SHARE) * weight, mean, np.sqrt(WIDER) * root)


def _covariance(z: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(z.T)) + 1e-12 * np.eye(z.shape[1])


def _apart(z: np.ndarray, number: int, rng: np.random.Generator) -> list[int]:
    """Indices of draws that lie far apart: each next one is drawn in proportion to its squared
    distance from those before (Arthur and Vassilvitskii 2007)."""
    white = np.linalg.solve(np.linalg.cholesky(_covariance(z)), z.T).T
    chosen = [int(rng.integers(len(z)))]
    distance = np.full(len(z), np.inf)
    while len(chosen) < number:
        distance = np.minimum(distance, ((white - white[chosen[-1]]) ** 2).sum(axis=1))
        if not distance.sum() > 0:
            break
        chosen.append(int(rng.choice(len(z), p=distance / distance.sum())))
    return chosen
