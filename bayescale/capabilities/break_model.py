"""One curve with a given number of breaks: its columns, its priors, its evidence.

On the metric's scale (`bayescale.capabilities.likelihoods`) a curve is

    eta(s) = level + slope * s + sum of changes of slope + drift + family

in s = log x, centred. A change is the smooth bend of Caballero et al. 2022 (arXiv:2210.14891), a
softplus at some place with some width; drift is a random walk of the slope, as in
`bayescale.model.drift`. All of it is linear in standard normals, once places, widths, scales, floor
(or top) and noise are known: those are integrated by particles (`bayescale.inference.smc`), with
the normals integrated out by Laplace's method; what that is off by is made up for in the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import lgamma

import numpy as np

from bayescale.capabilities.likelihoods import Accuracy, Loss
from bayescale.functions import softplus, student_log_density
from bayescale.inference import Cloud, Problem, integrate, systematic
from bayescale.priors import Positive, Prior, from_link

PARTICLES = 128
#: Steps of the random walk, and the components that are kept of its integral, which is smooth. With
#: half as many, curves of a hundred exact points that drift are said to break: the walk's corners
#: are then nobody's but a break's (`benchmarks/breaks.py alarms`).
STEPS, COMPONENTS = 200, 24

#: The slope's random walk, per root of an e-fold, in units of the curve's own slope: what whole
#: learning curves say, looked back on (`benchmarks/curves.py`: 0.2, give or take a factor of 2.4).
DRIFT = Positive(0.2, spread=2.4)
#: Width of a bend in e-folds of x: least squares on 324 public curves finds 0.004 to 1.4, 0.2 at
#: the median; below the distance of neighbouring points all are alike.
WIDTH = Positive(0.3, spread=2.5)
#: What a break changes the slope by, one standard deviation, in units of the curve's own slope:
#: from no slope at all to twice the slope, as `bayescale.model.drift` has it beyond a curve.
CHANGE = 1.0
#: A slope of one curve is drawn around the typical one with this share of it as standard deviation.
SLOPE_SD = 1.0

#: The share of places taken at random that must do, for so many breaks to be tried, and how many
#: are taken to find it.
SPARE, TRIALS = 0.01, 20_000

#: Different x that must lie on each side of a break, and between two of them.
ASIDE, BETWEEN = 3, 2

#: Scalars farther out than this many standard deviations of their priors are left out.
FARTHEST = 6.0
#: Steps of the scoring at most; it ends where no more than `CLOSE` of log density is to be won.
NEWTON, CLOSE = 60, 1e-2
#: Damping at the start, and where a particle is given up.
GENTLY, HARDEST = 1e-3, 1e9
#: Normals that are tried for each draw in the end, and the degrees of freedom of their proposal.
TRIED, TAILS = 8, 7.0
#: How near to the points themselves the scoring starts, in `eta`.
NEAR = 0.3
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve, and how it is seen.

    Attributes
    ----------
    s : (point,)
        Log of x, less its middle.
    metric : Loss or Accuracy
    family : (point,)
        Which family each point belongs to, -1 where it is none's.
    middle : float
        What was taken off log x.
    families : int
        How many there are; without any, no effects.
    """

    s: np.ndarray
    metric: Loss | Accuracy
    family: np.ndarray
    middle: float = 0.0
    families: int = 0

    @cached_property
    def window(self) -> tuple[float, float]:
        """Where a break may lie, so that points on both sides can tell."""
        s = np.unique(self.s)
        if len(s) < 2 * ASIDE:
            return np.inf, -np.inf
        return float(s[ASIDE - 1]), float(s[-ASIDE])

    @property
    def most(self) -> int:
        """How many breaks so many points can tell apart."""
        low, high = self.window
        if not low < high:
            return 0
        inner = len(np.unique(self.s)) - 2 * ASIDE
        return 1 + max(inner, 0) // BETWEEN

    @property
    def end(self) -> float:
        return float(self.s.max())

    @cached_property
    def walk(self) -> tuple[np.ndarray, float]:
        """A random walk of slope from the first point on, of size 1 per root of an e-fold: its
        steps, (component, step), by principal components of its integral at the points, and the
        variance they leave out of the slope at the last point."""
        low, length = float(self.s.min()), (self.end - float(self.s.min())) / STEPS
        _, size, right = np.linalg.svd(np.sqrt(length) * self._hinges(self.s), full_matrices=False)
        kept = min(COMPONENTS, int((size > 1e-9 * size[0]).sum()))
        steps = np.sqrt(length) * right[:kept]
        slope = steps.sum(axis=1)
        return steps, max(self.end - low - float(slope @ slope), 0.0)

    def _hinges(self, s: np.ndarray) -> np.ndarray:
        low, length = float(self.s.min()), (self.end - float(self.s.min())) / STEPS
        at = low + length * (np.arange(STEPS) + 0.5)
        return np.maximum(s[:, None] - at, 0) - np.maximum(-at, 0)

    def wander(self, s: np.ndarray) -> np.ndarray:
        """What each component of the walk adds at `s`, (point, component); straight on beyond the
        last point."""
        return self._hinges(s) @ self.walk[0].T


@dataclass(frozen=True, eq=False)
class Bends:
    """A curve with so many breaks, with drift or without."""

    curve: Curve
    breaks: int
    drift: bool = True
    names: tuple[str, ...] = field(init=False)
    priors: dict[str, Prior] = field(init=False)

    def __post_init__(self):
        metric = self.curve.metric
        priors = dict(metric.priors, slope=metric.slope)
        if self.drift:
            priors["drift"] = DRIFT
        if self.curve.families:
            priors["family"] = metric.family
        object.__setattr__(self, "priors", priors)
        object.__setattr__(self, "names", tuple(priors))

    # Coordinates of a particle: scalars as standard normals, then places in the window (0 to 1),
    # then widths as standard normals.

    @property
    def dimension(self) -> int:
        return len(self.names) + 2 * self.breaks

    def draw(self, n: int, rng) -> np.ndarray:
        out = rng.standard_normal((n, self.dimension))
        out[:, self._places] = self._drawn_places(n, rng)
        return out

    @property
    def _places(self) -> slice:
        return slice(len(self.names), len(self.names) + self.breaks)

    def _drawn_places(self, n: int, rng) -> np.ndarray:
        out = np.sort(rng.random((n, self.breaks)), axis=1)
        while (bad := ~self._apart(out)).any():
            out[bad] = np.sort(rng.random((int(bad.sum()), self.breaks)), axis=1)
        return out

    def _apart(self, places: np.ndarray) -> np.ndarray:
        """Whether places lie in the window, in order, with enough points between each two."""
        inside = ((places > 0) & (places < 1)).all(axis=1) & (np.diff(places) > 0).all(axis=1)
        if self.breaks < 2:
            return inside
        low, high = self.curve.window
        s = np.unique(self.curve.s)
        before = np.searchsorted(s, low + (high - low) * places)
        return inside & (np.diff(before, axis=1) >= BETWEEN).all(axis=1)

    @cached_property
    def room(self) -> float:
        """The share of places taken at random, in order, that are far enough apart."""
        if self.breaks < 2:
            return 1.0
        trial = np.sort(np.random.default_rng(0).random((TRIALS, self.breaks)), axis=1)
        return float(self._apart(trial).mean())

    @property
    def fits(self) -> bool:
        """Whether so many breaks find places at all: points may lie in clusters."""
        return self.room > SPARE

    def log_prior(self, at: np.ndarray) -> np.ndarray:
        normal = np.delete(at, np.arange(at.shape[1])[self._places], axis=1)
        fair = self._apart(at[:, self._places]) & (abs(normal) < FARTHEST).all(axis=1)
        log = -0.5 * (normal**2 + np.log(2 * np.pi)).sum(axis=1)
        return np.where(fair, log + lgamma(self.breaks + 1) - np.log(self.room), -np.inf)

    def again(self, at: np.ndarray, rng) -> np.ndarray:
        """One break placed anew, with a new width; without breaks, one scalar drawn anew."""
        at = at.copy()
        rows = np.arange(len(at))
        if not self.breaks:
            at[rows, rng.integers(len(self.names), size=len(at))] = rng.standard_normal(len(at))
            return at
        which = rng.integers(self.breaks, size=len(at))
        first = len(self.names)
        at[rows, first + which] = rng.random(len(at))
        at[rows, first + self.breaks + which] = rng.standard_normal(len(at))
        order = np.argsort(at[:, self._places], axis=1)
        for start in (first, first + self.breaks):
            part = slice(start, start + self.breaks)
            at[:, part] = np.take_along_axis(at[:, part], order, axis=1)
        return at

    def scalars(self, at: np.ndarray) -> dict[str, np.ndarray]:
        """Hyperparameters on their natural scales, (particle, 1), with constants of the metric."""
        h = {
            name: from_link(p.link, p.centre + p.width * at[:, [i]])
            for i, (name, p) in enumerate(self.priors.items())
        }
        return h | self.curve.metric.constants(h)

    def places(self, at: np.ndarray) -> np.ndarray:
        """Where breaks lie in s, (particle, break)."""
        low, high = self.curve.window
        return low + (high - low) * at[:, self._places]

    def widths(self, at: np.ndarray) -> np.ndarray:
        first = len(self.names) + self.breaks
        return from_link("log", WIDTH.centre + WIDTH.width * at[:, first:])

    def columns(self, at: np.ndarray, h, s: np.ndarray, family: np.ndarray):
        """What `eta` is without the normals, (particle, point), and what each normal adds,
        (particle, point, normal): level, slope, changes, drift, families."""
        metric = self.curve.metric
        sign = -1.0 if metric.falls else 1.0
        slope = h["slope"]
        offset = metric.level.median + sign * slope * s
        n = len(at)
        parts = [
            np.broadcast_to(metric.level.sd, (n, len(s), 1)),
            (SLOPE_SD * slope * s)[..., None],
        ]
        if self.breaks:
            change = bend(s[:, None], self.places(at)[:, None], self.widths(at)[:, None])
            parts.append(CHANGE * slope[..., None] * change)
        if self.drift:
            parts.append((h["drift"] * slope)[..., None] * self.curve.wander(s))
        if self.curve.families:
            member = (family[:, None] == np.arange(self.curve.families)).astype(float)
            parts.append(h["family"][..., None] * member)
        return offset, np.concatenate(parts, axis=2)

    def log_likelihood(self, at: np.ndarray, start=None):
        """Of each particle with the normals integrated out, and the normals at their best."""
        best, value, curvature = self._best(at, start)
        return value - 0.5 * np.linalg.slogdet(curvature)[1], best

    def _best(self, at: np.ndarray, start):
        h = self.scalars(at)
        offset, columns = self.columns(at, h, self.curve.s, self.curve.family)
        if start is None:
            start = _least_squares(self.curve.metric.guess(h) - offset, columns)
        return _best(self.curve.metric, offset, columns, h, start)

    def evidence(self, rng, particles: int = PARTICLES) -> Cloud:
        """Draws of the posterior, with their normals, and the log evidence of so many breaks."""
        problem = Problem(
            lambda n: self.draw(n, rng),
            self.log_prior,
            self.log_likelihood,
            lambda at: self.again(at, rng),
        )
        cloud = integrate(problem, particles=particles, rng=rng)
        return self._exactly(cloud, rng) if np.isfinite(cloud.log_evidence) else cloud

    def _exactly(self, cloud: Cloud, rng) -> Cloud:
        """What Laplace's method is off by, made up for: normals drawn around their best, weighed by
        the likelihood itself, and drawn again with their places."""
        h = self.scalars(cloud.places)
        offset, columns = self.columns(cloud.places, h, self.curve.s, self.curve.family)
        best, value, curvature = _best(self.curve.metric, offset, columns, h, cloud.kept)
        n, p = best.shape
        steps = rng.standard_normal((TRIED, n, p))
        steps *= np.sqrt(TAILS / rng.chisquare(TAILS, (TRIED, n, 1)))
        root = np.linalg.cholesky(curvature).transpose(0, 2, 1)
        normals = best + np.linalg.solve(root, steps[..., None])[..., 0]
        eta = offset + np.einsum("npj,tnj->tnp", columns, normals)
        found = self.curve.metric.score(eta, h).log.sum(axis=2) - 0.5 * (normals**2).sum(axis=2)
        drawn = student_log_density((steps**2).sum(axis=2), p, TAILS)
        log = found - value - drawn - p / 2 * np.log(2 * np.pi)
        weight = np.exp(log - log.max())
        off, each = np.log(weight.mean()) + log.max(), weight.mean(axis=0)
        spread = each.std() / each.mean() / np.sqrt(cloud.effective)
        pick = systematic(weight.ravel() / weight.sum(), n, rng)
        return Cloud(
            cloud.places[pick % n],
            normals.reshape(-1, p)[pick],
            float(cloud.log_evidence + off),
            float(np.hypot(cloud.error, spread)),
            float(cloud.effective / (1 + (each.std() / each.mean()) ** 2)),
        )

    def eta(self, at: np.ndarray, normals: np.ndarray, s: np.ndarray, family: np.ndarray):
        """The curve on the metric's scale, (particle, point)."""
        offset, columns = self.columns(at, self.scalars(at), s, family)
        return offset + (columns @ normals[..., None])[..., 0]

    def slopes(self, at: np.ndarray, normals: np.ndarray):
        """The slope before the first break, (particle,), and what each break adds to it, (particle,
        break); drift aside."""
        slope = self.scalars(at)["slope"]
        sign = -1.0 if self.curve.metric.falls else 1.0
        before = slope[:, 0] * (sign + SLOPE_SD * normals[:, 1])
        return before, CHANGE * slope * normals[:, 2 : 2 + self.breaks]


def bend(s, place, width):
    """A slope that goes from 0 to 1 around `place`, integrated; 0 at the middle of the curve."""
    return width * (softplus((s - place) / width) - softplus(-place / width))


def _least_squares(eta, columns):
    """Normals that bring the columns near to `eta`."""
    across = columns.transpose(0, 2, 1) / NEAR**2
    curvature = np.eye(columns.shape[2]) + across @ columns
    return np.linalg.solve(curvature, across @ eta[..., None])[..., 0]


def _best(metric, offset, columns, h, start):
    """Normals that maximise likelihood and prior, by scoring that is damped by how much of the
    expected gain comes true (Levenberg and Marquardt; Nielsen 1999).

    Returns the normals, the log of likelihood times prior (without the prior's constant, which
    Laplace's method cancels), and the curvature there.
    """
    n, _, p = columns.shape
    identity, across = np.eye(p), columns.transpose(0, 2, 1)
    v, value = start.copy(), np.full(n, -np.inf)
    pull, climb = np.zeros((n, p)), np.broadcast_to(identity, (n, p, p)).copy()
    step, hoped = np.zeros_like(v), np.ones(n)
    damping, harder = np.full(n, GENTLY), np.full(n, 2.0)

    def with_prior(at, points):
        new = across[at] @ (columns[at] * points[..., None])
        # Columns that are all but alike, seen very precisely, leave no figure of the prior's 1.
        tiny = ROUNDING * new.max(axis=(1, 2), initial=0.0)
        return new + (1 + tiny)[:, None, None] * identity

    still = np.arange(n)
    for _ in range(NEWTON):
        to = v[still] + step[still]
        eta = offset[still] + (columns[still] @ to[..., None])[..., 0]
        said = metric.score(eta, {k: x[still] for k, x in h.items()})
        to_value = said.log.sum(axis=1) - 0.5 * (to**2).sum(axis=1)
        yes = np.isfinite(to_value) & (to_value >= value[still])
        at, no = still[yes], still[~yes]
        came = np.minimum((to_value[yes] - value[at]) / hoped[at], 1.0)
        damping[at] *= np.maximum(1 / 3, 1 - (2 * came - 1) ** 3)
        harder[at] = 2.0
        damping[no] *= harder[no]
        harder[no] *= 2
        v[at], value[at] = to[yes], to_value[yes]
        pull[at] = (across[at] @ said.pull[yes][..., None])[..., 0] - to[yes]
        climb[at] = with_prior(at, said.climb[yes])
        own = damping[still, None] * np.einsum("ijj->ij", climb[still])
        both = np.stack([climb[still], climb[still] + own[..., None] * identity])
        straight, step[still] = np.linalg.solve(both, pull[still, :, None])[..., 0]
        hoped[still] = 0.5 * (step[still] * (pull[still] + own * step[still])).sum(axis=1)
        left = 0.5 * (straight * pull[still]).sum(axis=1)
        still = still[(left > CLOSE) & (damping[still] < HARDEST)]
        if not len(still):
            break
    eta = offset + (columns @ v[..., None])[..., 0]
    return v, value, with_prior(slice(None), metric.curvature(eta, h))
