"""One curve with a given number of breaks: its columns, its priors, its evidence.

On the metric's scale (`bayescale.metric`) a curve is

    eta(s) = level + slope * s + sum of changes of slope + drift + family

in s = log x, centred. A change is the smooth bend of Caballero et al. 2022 (arXiv:2210.14891), a
softplus at some place with some width; drift is a random walk of the slope, as in
`bayescale.drift`. All of it is linear in standard normals, once the places, the widths and the
scales are known: given those, the normals are integrated out by Laplace's method; those are
integrated by particles (`bayescale.particles`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bayescale.metric import Accuracy, Loss
from bayescale.particles import walk
from bayescale.priors import Positive, Prior, from_link

PARTICLES = 192
#: Steps of the random walk, and the components that are kept of its integral, which is smooth: the
#: first few carry nearly all of it (`tests/test_bends.py` compares the covariance).
STEPS, COMPONENTS = 200, 12

#: The slope's random walk, per root of an e-fold, in units of the curve's own slope: what whole
#: learning curves say, looked back on (`benchmarks/curves.py`: 0.2, give or take a factor of 2.4).
DRIFT = Positive(0.2, spread=2.4)
#: Width of a bend in e-folds of x: least squares on 324 public curves finds 0.004 to 1.4, 0.2 at
#: the median; below the distance of neighbouring points all are alike.
WIDTH = Positive(0.3, spread=2.5)
#: What a break changes the slope by, one standard deviation, in units of the curve's own slope:
#: from no slope at all to twice the slope, as `bayescale.drift` has it beyond a curve.
CHANGE = 1.0
#: A slope of one curve is drawn around the typical one with this share of it as standard deviation.
SLOPE_SD = 1.0

#: The share of places taken at random that must do, for so many breaks to be tried.
SPARE = 0.01

#: Different x that must lie on each side of a break, and between two of them.
ASIDE, BETWEEN = 3, 2

#: Scalars farther out than this many standard deviations of their priors are left out.
FARTHEST = 6.0
#: Inner parameters that are tried for each draw, and how much wider than the normal approximation.
TRIED, TAILS = 8, 1.3
#: Steps of the scoring at most; it ends after a full one that gains less than this in log density.
NEWTON, CLOSE = 60, 1e-2
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
        priors = dict(metric.outer, slope=metric.slope)
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
        out = rng.random((n, self.breaks))
        while (bad := ~self._apart(out)).any():
            out[bad] = rng.random((int(bad.sum()), self.breaks))
        return out

    def _apart(self, places: np.ndarray) -> np.ndarray:
        """Whether places lie in the window with enough points between each two."""
        inside = ((places > 0) & (places < 1)).all(axis=1)
        if self.breaks < 2:
            return inside
        low, high = self.curve.window
        s = np.unique(self.curve.s)
        before = np.searchsorted(s, low + (high - low) * np.sort(places, axis=1))
        return inside & (np.diff(before, axis=1) >= BETWEEN).all(axis=1)

    @cached_property
    def fits(self) -> bool:
        """Whether so many breaks find places at all: points may lie in clusters."""
        trial = np.random.default_rng(0).random((4000, self.breaks))
        return bool(self._apart(trial).mean() > SPARE)

    def log_prior(self, at: np.ndarray) -> np.ndarray:
        normal = np.delete(at, np.arange(at.shape[1])[self._places], axis=1)
        fair = self._apart(at[:, self._places]) & (abs(normal) < FARTHEST).all(axis=1)
        return np.where(fair, -0.5 * (normal**2).sum(axis=1), -np.inf)

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
        return at

    def scalars(self, at: np.ndarray) -> dict[str, np.ndarray]:
        """Hyperparameters on their natural scales, (particle, 1), with constants of the metric."""
        h = {name: from_link(p.link, p.centre + p.width * at[:, [i]])
             for i, (name, p) in enumerate(self.priors.items())}
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
        parts = [np.broadcast_to(metric.level.sd, (n, len(s), 1)),
                 (SLOPE_SD * slope * s)[..., None]]
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
        h = self.scalars(at)
        offset, columns = self.columns(at, h, self.curve.s, self.curve.family)
        if start is None:
            start = self._start(offset, columns)
        best, value, curvature = _best(self.curve.metric, offset, columns, h, start)
        return value - 0.5 * np.linalg.slogdet(curvature)[1], best

    def _start(self, offset, columns):
        """Weighted least squares on what the points alone suggest."""
        eta, inner = self.curve.metric.guess()
        spread = 0.3
        across = columns.transpose(0, 2, 1)
        curvature = np.eye(columns.shape[2]) + across @ columns / spread**2
        u = np.linalg.solve(curvature, across @ (eta - offset)[..., None] / spread**2)[..., 0]
        return np.concatenate([np.broadcast_to(inner, (len(u), len(inner))), u], axis=1)

    def evidence(self, rng, particles: int = PARTICLES):
        """Particles of the posterior, and the log evidence of so many breaks."""
        return walk(lambda n: self.draw(n, rng), self.log_prior, self.log_likelihood,
                    lambda at: self.again(at, rng), particles=particles, rng=rng)

    def normals(self, at: np.ndarray, best: np.ndarray, rng) -> np.ndarray:
        """One draw of the normals for each particle: inner parameters of the metric, level, slope,
        changes of slope, drift, families.

        Floor and curve trade against each other along a bent ridge, which no normal distribution
        follows. So inner parameters are tried first, each with the curve at its best beside them;
        one of them is taken by weight, and the curve drawn around it.
        """
        h = self.scalars(at)
        offset, columns = self.columns(at, h, self.curve.s, self.curve.family)
        best, _, curvature = _best(self.curve.metric, offset, columns, h, best)
        q, n = len(self.curve.metric.inner), len(at)
        if q:
            root = TAILS * np.linalg.cholesky(np.linalg.inv(curvature)[:, :q, :q])
            steps = rng.standard_normal((TRIED, n, q))
            tried = np.tile(best, (TRIED, 1))
            moved = best[:, :q] + (root @ steps[..., None])[..., 0]
            tried[:, :q] = np.clip(moved, -FARTHEST, FARTHEST).reshape(-1, q)
            many = {k: np.tile(v, (TRIED, 1)) for k, v in h.items()}
            tried, value, bent = _best(self.curve.metric, np.tile(offset, (TRIED, 1)),
                                       np.tile(columns, (TRIED, 1, 1)), many, tried, held=True)
            weight = (value - 0.5 * np.linalg.slogdet(bent)[1]).reshape(TRIED, n)
            weight = weight + 0.5 * (steps**2).sum(axis=2)
            taken = (weight + rng.gumbel(size=weight.shape)).argmax(axis=0) * n + np.arange(n)
            best, curvature = tried[taken], bent[taken]
        root = np.linalg.cholesky(curvature).transpose(0, 2, 1)
        noise = np.linalg.solve(root, rng.standard_normal(best.shape)[..., None])[..., 0]
        noise[:, :q] = 0.0
        return best + noise

    def eta(self, at: np.ndarray, normals: np.ndarray, s: np.ndarray, family: np.ndarray):
        """The curve on the metric's scale, (particle, point)."""
        offset, columns = self.columns(at, self.scalars(at), s, family)
        inner = len(self.curve.metric.inner)
        return offset + (columns @ normals[:, inner:, None])[..., 0]

    def slopes(self, at: np.ndarray, normals: np.ndarray):
        """The slope before the first break, (particle,), and what each break adds to it, (particle,
        break); drift aside."""
        slope = self.scalars(at)["slope"]
        first = len(self.curve.metric.inner) + 1
        sign = -1.0 if self.curve.metric.falls else 1.0
        before = slope[:, 0] * (sign + SLOPE_SD * normals[:, first])
        return before, CHANGE * slope * normals[:, first + 1:first + 1 + self.breaks]


def bend(s, place, width):
    """A slope that goes from 0 to 1 around `place`, integrated; 0 at the middle of the curve."""
    return width * (_softplus((s - place) / width) - _softplus(-place / width))


def _softplus(z):
    return np.maximum(z, 0.0) + np.log1p(np.exp(-abs(z)))


def _best(metric, offset, columns, h, start, held=False):
    """Normals (inner parameters of the metric first) that maximise likelihood and prior, by Fisher
    scoring, damped where it overshoots (Levenberg and Marquardt). With `held`, inner parameters
    stay as they are.

    Returns the normals, the log of likelihood times prior (without the prior's constant, which
    Laplace's method cancels), and the curvature there.
    """
    n, _, p = columns.shape
    q = start.shape[1] - p
    identity = np.eye(q + p)
    v, value = start.copy(), np.full(n, -np.inf)
    curvature = np.broadcast_to(identity, (n, q + p, q + p)).copy()
    pull, step = np.zeros_like(v), np.zeros_like(v)
    damping = np.zeros(n)
    still = np.arange(n)
    for _ in range(NEWTON):
        to = v[still] + step[still]
        here = {k: x[still] for k, x in h.items()}
        eta = offset[still] + (columns[still] @ to[:, q:, None])[..., 0]
        said = metric.score(eta, to[:, :q], here)
        to_value = said.log.sum(axis=1) - 0.5 * (to**2).sum(axis=1)
        sane = np.isfinite(to_value) & (abs(to[:, :q]) < FARTHEST).all(axis=1)
        yes = sane & (to_value >= value[still] - 1e-9)
        at = still[yes]
        gain = to_value[yes] - value[at]
        v[at], value[at] = to[yes], to_value[yes]
        by = np.concatenate([said.by_inner[yes], said.by_eta[yes][..., None] * columns[at]], axis=2)
        by[:, :, :q] *= not held
        across = by.transpose(0, 2, 1)
        down = (across @ said.pull[yes][..., None])[..., 0] - to[yes]
        new = identity + across @ (by * said.information[yes][..., None])
        if held:
            down[:, :q] = 0.0
        else:
            down[:, :q] += said.own_pull[yes]
            new[:, range(q), range(q)] += said.own_information[yes]
        # Columns that are all but alike, seen very precisely, leave no figure of the prior's 1.
        new += ROUNDING * new.max(axis=(1, 2), initial=0.0)[:, None, None] * identity
        curvature[at], pull[at] = new, down
        damping[still] = np.where(yes, damping[still] / 10, 4 * damping[still] + 0.01)
        damping[damping < 1e-4] = 0.0
        done = np.zeros(len(still), bool)
        done[yes] = gain < CLOSE
        done &= damping[still] == 0
        still = still[~done & (damping[still] < 1e6)]
        if not len(still):
            break
        damped = curvature[still].copy()
        diagonal = np.einsum("ijj->ij", damped)
        diagonal *= 1 + damping[still, None]
        step[still] = np.linalg.solve(damped, pull[still, :, None])[..., 0]
    return v, value, curvature
