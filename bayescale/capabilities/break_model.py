"""The model of one curve with a given number of breaks.

On the scale of the metric (`bayescale.capabilities.likelihoods`) a curve is

    eta(s) = level + slope * s + sum of changes of slope + drift + family intercept

in s = log x, centred. A change of slope is the smooth break of Caballero et al. 2022
(arXiv:2210.14891): a softplus with a location and a width. Drift is a random walk of the slope
(`bayescale.model.drift`).

Given locations, widths and hyperparameters (scales, floor or top, noise), `eta` is linear in
standard normal coefficients. The coefficients are integrated out by Laplace's method, and the other
parameters by sequential Monte Carlo and importance sampling (`bayescale.inference.smc`). Finally,
importance sampling of the coefficients corrects the error of Laplace's method.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import lgamma

import numpy as np

from bayescale.capabilities.laplace import initial_coefficients, mode
from bayescale.capabilities.likelihoods import Hyperparameters, Metric
from bayescale.functions import softplus, student_log_density
from bayescale.inference import PosteriorSample, Target, integrate, systematic_resample
from bayescale.model import drift
from bayescale.priors import Positive, Prior, from_link

#: Default number of particles.
PARTICLES = 128
#: Number of steps of the random walk of the slope inside the data, and of principal components of
#: its integral. With half as many, a break may fit fine structure that the walk cannot represent,
#: which gives false alarms for curves of a hundred precise points with drift
#: (`benchmarks/breaks.py alarms`).
STEPS, COMPONENTS = 200, 24
#: Components whose singular values are below this share of the largest are omitted, because they
#: are rounding errors.
SINGULAR = 1e-9

#: Standard deviation of the random walk of the slope per root of an e-fold of x, in units of the
#: typical slope of the curve. The values are estimates from whole learning curves
#: (`benchmarks/curves.py`: 0.2, within a factor of 2.4).
DRIFT = Positive(0.2, spread=2.4)
#: Width of a break in e-folds of x. Least-squares fits of 324 public curves have widths of 0.004 to
#: 1.4 with a median of 0.2. Widths below the distance of neighbouring points cannot be
#: distinguished.
WIDTH = Positive(0.3, spread=2.5)
#: Standard deviation of the change of slope at a break, in units of the typical slope of the curve;
#: the same as for breaks beyond the data.
CHANGE = drift.BREAK_SIZE
#: Standard deviation of the slope of a curve around its typical slope, in units of the latter.
SLOPE_SD = 1.0

#: Smallest number of different x on each side of all breaks, and between two breaks.
POINTS_OUTSIDE, POINTS_BETWEEN = 3, 2
#: A number of breaks is identifiable if more than the share `MIN_ADMISSIBLE` of uniformly drawn
#: locations satisfies these conditions, estimated from `TRIALS` draws.
MIN_ADMISSIBLE, TRIALS = 0.01, 20_000
#: The priors of hyperparameters and widths are truncated at this many standard deviations.
TRUNCATION = 6.0

#: Number of proposals per draw in the correction of Laplace's method, and the degrees of freedom of
#: their Student-t distribution.
CORRECTION_DRAWS, CORRECTION_NU = 8, 7.0


@dataclass(frozen=True, eq=False)
class Curve:
    """The points of one curve.

    Attributes
    ----------
    s : (point,)
        Log of x minus `middle`.
    metric : Metric
        The scores and their likelihood.
    family : (point,)
        Index of the model family of each point, -1 for none.
    middle : float
        The midpoint of the range of log x, which is subtracted.
    n_families : int
        Number of families; with 0 there are no family intercepts.
    """

    s: np.ndarray
    metric: Metric
    family: np.ndarray
    middle: float = 0.0
    n_families: int = 0

    @cached_property
    def window(self) -> tuple[float, float]:
        """The range of s in which a break has enough points on both sides."""
        s = np.unique(self.s)
        if len(s) < 2 * POINTS_OUTSIDE:
            return np.inf, -np.inf
        return float(s[POINTS_OUTSIDE - 1]), float(s[-POINTS_OUTSIDE])

    @property
    def max_breaks(self) -> int:
        """Largest number of breaks that the points can identify; 0 if fewer than 6 different x."""
        low, high = self.window
        if not low < high:
            return 0
        inner = len(np.unique(self.s)) - 2 * POINTS_OUTSIDE
        return 1 + max(inner, 0) // POINTS_BETWEEN

    @property
    def start(self) -> float:
        """s of the first point."""
        return float(self.s.min())

    @property
    def end(self) -> float:
        """s of the last point."""
        return float(self.s.max())

    @cached_property
    def drift_components(self) -> tuple[np.ndarray, float]:
        """Principal components of a unit random walk of the slope.

        Returns
        -------
        tuple
            The standard normal steps of the random walk for each component, (component, step), from
            a singular value decomposition of the integrated walk at the points; and the variance of
            the slope at the last point that the components do not include.
        """
        _, size, right = np.linalg.svd(self._integrated_steps(self.s), full_matrices=False)
        number = min(COMPONENTS, int((size > SINGULAR * size[0]).sum()))
        _, length = drift.knots(self.s, STEPS)
        slope = np.sqrt(length) * right[:number].sum(axis=1)
        return right[:number], max(self.end - self.start - float(slope @ slope), 0.0)

    def _integrated_steps(self, s: np.ndarray) -> np.ndarray:
        """`eta` per standard normal step of the slope at each knot, 0 at the middle of the curve;
        (point, step)."""
        knots, length = drift.knots(self.s, STEPS)
        s = np.append(s, 0.0)
        integral = drift.deviations(s[:, None], knots, drift.increments(s, knots, length))
        return integral[:-1] - integral[-1]

    def drift_basis(self, s: np.ndarray) -> np.ndarray:
        """The contribution of each drift component to `eta` at `s`, (point, component); linear
        beyond the last point."""
        return self._integrated_steps(s) @ self.drift_components[0].T


@dataclass(frozen=True, eq=False)
class BreakModel:
    """A curve with a given number of breaks, with or without drift.

    A position (of a particle) has three parts: the hyperparameters as standard normals, the
    locations of the breaks as fractions of the window in increasing order, and the widths of the
    breaks as standard normals. Coefficients are ordered as the columns of `design`.

    Attributes
    ----------
    curve : Curve
    n_breaks : int
        Number of breaks.
    drift : bool
        Whether the slope follows a random walk.
    priors : mapping of str to Prior
        Priors of the hyperparameters, in the order of the coordinates.
    """

    curve: Curve
    n_breaks: int
    drift: bool = True
    priors: dict[str, Prior] = field(init=False)

    def __post_init__(self):
        metric = self.curve.metric
        priors = dict(metric.priors, slope=metric.slope)
        if self.drift:
            priors["drift"] = DRIFT
        if self.curve.n_families:
            priors["family"] = metric.family
        object.__setattr__(self, "priors", priors)

    @property
    def dimension(self) -> int:
        """Length of a position."""
        return len(self.priors) + 2 * self.n_breaks

    @property
    def _locations(self) -> slice:
        return slice(len(self.priors), len(self.priors) + self.n_breaks)

    # -- the prior --------------------------------------------------------------------------------

    def draw_prior(self, n: int, rng) -> np.ndarray:
        """Positions from the prior, (n, dimension)."""
        out = rng.standard_normal((n, self.dimension))
        out[:, self._locations] = self._draw_locations(n, rng)
        return out

    def _draw_locations(self, n: int, rng) -> np.ndarray:
        out = np.sort(rng.random((n, self.n_breaks)), axis=1)
        while (bad := ~self._admissible(out)).any():
            out[bad] = np.sort(rng.random((int(bad.sum()), self.n_breaks)), axis=1)
        return out

    def _admissible(self, locations: np.ndarray) -> np.ndarray:
        """Whether locations lie in the window, in order, with enough points between each two."""
        inside = ((locations > 0) & (locations < 1)).all(axis=1)
        inside &= (np.diff(locations) > 0).all(axis=1)
        if self.n_breaks < 2:
            return inside
        low, high = self.curve.window
        s = np.unique(self.curve.s)
        points_before = np.searchsorted(s, low + (high - low) * locations)
        return inside & (np.diff(points_before, axis=1) >= POINTS_BETWEEN).all(axis=1)

    @cached_property
    def admissible_share(self) -> float:
        """The share of uniform, ordered locations that are admissible."""
        if self.n_breaks < 2:
            return 1.0
        trial = np.sort(np.random.default_rng(0).random((TRIALS, self.n_breaks)), axis=1)
        return float(self._admissible(trial).mean())

    @property
    def identifiable(self) -> bool:
        """Whether enough locations are admissible. With clustered points there may be none."""
        return self.admissible_share > MIN_ADMISSIBLE

    def log_prior(self, positions: np.ndarray) -> np.ndarray:
        """Log prior density of positions, (particle,)."""
        locations = positions[:, self._locations]
        normal = np.delete(positions, np.arange(positions.shape[1])[self._locations], axis=1)
        inside = self._admissible(locations) & (abs(normal) < TRUNCATION).all(axis=1)
        log = -0.5 * (normal**2 + np.log(2 * np.pi)).sum(axis=1)
        return np.where(
            inside, log + lgamma(self.n_breaks + 1) - np.log(self.admissible_share), -np.inf
        )

    def refresh(self, positions: np.ndarray, rng) -> np.ndarray:
        """Positions in which one break (location and width) is replaced by a draw from the prior;
        without breaks, one hyperparameter."""
        out = positions.copy()
        rows = np.arange(len(out))
        if not self.n_breaks:
            new = rng.standard_normal(len(out))
            out[rows, rng.integers(len(self.priors), size=len(out))] = new
            return out
        which = rng.integers(self.n_breaks, size=len(out))
        first = len(self.priors)
        out[rows, first + which] = rng.random(len(out))
        out[rows, first + self.n_breaks + which] = rng.standard_normal(len(out))
        order = np.argsort(out[:, self._locations], axis=1)
        for start in (first, first + self.n_breaks):
            part = slice(start, start + self.n_breaks)
            out[:, part] = np.take_along_axis(out[:, part], order, axis=1)
        return out

    # -- the curve --------------------------------------------------------------------------------

    def hyperparameters(self, positions: np.ndarray) -> Hyperparameters:
        """Hyperparameters on their natural scales, (particle, 1), with the constants of the
        metric."""
        h = {
            name: from_link(p.link, p.centre + p.width * positions[:, [i]])
            for i, (name, p) in enumerate(self.priors.items())
        }
        return h | self.curve.metric.constants(h)

    def locations(self, positions: np.ndarray) -> np.ndarray:
        """Locations of the breaks in s, (particle, break)."""
        low, high = self.curve.window
        return low + (high - low) * positions[:, self._locations]

    def widths(self, positions: np.ndarray) -> np.ndarray:
        """Widths of the breaks in e-folds of x, (particle, break)."""
        first = len(self.priors) + self.n_breaks
        return from_link("log", WIDTH.centre + WIDTH.width * positions[:, first:])

    def design(self, positions: np.ndarray, h: Hyperparameters, s: np.ndarray, family: np.ndarray):
        """Offset and design matrix of the linear predictor.

        Parameters
        ----------
        positions : (particle, dimension)
        h : mapping of str to (particle, 1)
            `hyperparameters` of the positions.
        s : (point,)
        family : (point,)
            Index of the family, -1 for none.

        Returns
        -------
        tuple of numpy.ndarray
            The offset, (particle, point), and the columns of the coefficients, (particle, point,
            coefficient): level, slope, changes of slope, drift components, families.
        """
        metric = self.curve.metric
        slope = h["slope"]
        offset = metric.level.median + metric.sign * slope * s
        n = len(positions)
        parts = [
            np.broadcast_to(metric.level.sd, (n, len(s), 1)),
            (SLOPE_SD * slope * s)[..., None],
        ]
        if self.n_breaks:
            change = smooth_break(
                s[:, None], self.locations(positions)[:, None], self.widths(positions)[:, None]
            )
            parts.append(CHANGE * slope[..., None] * change)
        if self.drift:
            parts.append((h["drift"] * slope)[..., None] * self.curve.drift_basis(s))
        if self.curve.n_families:
            member = (family[:, None] == np.arange(self.curve.n_families)).astype(float)
            parts.append(h["family"][..., None] * member)
        return offset, np.concatenate(parts, axis=2)

    def eta(self, positions: np.ndarray, coefficients: np.ndarray, s, family) -> np.ndarray:
        """The linear predictor at `s`, (particle, point)."""
        offset, columns = self.design(positions, self.hyperparameters(positions), s, family)
        return offset + (columns @ coefficients[..., None])[..., 0]

    def slopes(self, positions: np.ndarray, coefficients: np.ndarray):
        """The slope before the first break, (particle,), and the change of slope at each break,
        (particle, break), both without drift."""
        slope = self.hyperparameters(positions)["slope"]
        before = slope[:, 0] * (self.curve.metric.sign + SLOPE_SD * coefficients[:, 1])
        return before, CHANGE * slope * coefficients[:, 2 : 2 + self.n_breaks]

    # -- the posterior ----------------------------------------------------------------------------

    def log_likelihood(self, positions: np.ndarray, start=None):
        """Log likelihood with the coefficients integrated out, (particle,), and the mode of the
        coefficients, (particle, coefficient). `start` is the initial value of the search for the
        mode."""
        h = self.hyperparameters(positions)
        offset, columns = self.design(positions, h, self.curve.s, self.curve.family)
        if start is None:
            start = initial_coefficients(self.curve.metric.initial_eta(h) - offset, columns)
        best, value, precision = mode(self.curve.metric, offset, columns, h, start)
        return value - 0.5 * np.linalg.slogdet(precision)[1], best

    def sample(self, rng, particles: int = PARTICLES) -> PosteriorSample:
        """Posterior draws, with their coefficients as auxiliary array, and the log evidence."""
        target = Target(
            draw_prior=lambda n: self.draw_prior(n, rng),
            log_prior=self.log_prior,
            log_likelihood=self.log_likelihood,
            refresh=lambda positions: self.refresh(positions, rng),
        )
        sample = integrate(target, particles=particles, rng=rng)
        return self._corrected(sample, rng) if np.isfinite(sample.log_evidence) else sample

    def _corrected(self, sample: PosteriorSample, rng) -> PosteriorSample:
        """Correct the sample for the error of Laplace's method.

        Coefficients are drawn from Student-t distributions around their modes and weighted by the
        exact density.
        """
        metric = self.curve.metric
        h = self.hyperparameters(sample.positions)
        offset, columns = self.design(sample.positions, h, self.curve.s, self.curve.family)
        best, value, precision = mode(metric, offset, columns, h, sample.auxiliary)
        n, p = best.shape
        steps = rng.standard_normal((CORRECTION_DRAWS, n, p))
        steps *= np.sqrt(CORRECTION_NU / rng.chisquare(CORRECTION_NU, (CORRECTION_DRAWS, n, 1)))
        root = np.linalg.cholesky(precision).transpose(0, 2, 1)
        coefficients = best + np.linalg.solve(root, steps[..., None])[..., 0]
        eta = offset + np.einsum("npj,tnj->tnp", columns, coefficients)
        density = metric.terms(eta, h).log_density.sum(axis=2) - 0.5 * (coefficients**2).sum(axis=2)
        proposal = student_log_density((steps**2).sum(axis=2), p, CORRECTION_NU)
        log_weight = density - value - proposal - p / 2 * np.log(2 * np.pi)
        weight = np.exp(log_weight - log_weight.max())
        correction, by_draw = np.log(weight.mean()) + log_weight.max(), weight.mean(axis=0)
        relative_sd = by_draw.std() / by_draw.mean()
        pick = systematic_resample(weight.ravel() / weight.sum(), n, rng)
        return PosteriorSample(
            sample.positions[pick % n],
            coefficients.reshape(-1, p)[pick],
            float(sample.log_evidence + correction),
            float(np.hypot(sample.error, relative_sd / np.sqrt(sample.ess))),
            float(sample.ess / (1 + relative_sd**2)),
        )


def smooth_break(s, location, width):
    """Integral of a slope that rises from 0 to 1 around `location`; 0 at the middle of the curve.

    All arguments are in e-folds of x and are broadcast against each other.
    """
    return width * (softplus((s - location) / width) - softplus(-location / width))
