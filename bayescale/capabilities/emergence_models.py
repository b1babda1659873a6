"""Curves of a task: their likelihood, posterior draws and evidence.

A curve is `eta(s)` with s = log x, centred. The kinds are

* ``unbroken``: ``level + slope * s``;
* ``flattening``: ``level + slope * (1 - exp(-alpha * s)) / alpha``, which is linear in a loss that
  falls as ``x**-alpha``, and straight for alpha near 0;
* ``break``: the slope changes by a factor at one place;
* ``drift``: the slope follows a random walk, of which `COMPONENTS` principal components are kept;
* ``line``: the accuracy is a straight line in s, as plotted;
* ``late``: the accuracy is at chance up to one place; after it the unsolved share falls as a power
  of x.

For accuracies `eta` is the log odds of the share of the range from chance to a top, for losses the
log of the part above a floor. All kinds describe the same scores, so that their evidences compare.

The noise of an accuracy p has the variance ``p (1 - p) / n + jitter**2 + (scatter * dp/deta)**2``:
binomial noise of n questions, and scatter of models. Scores are compared on the scale on which this
variance is 1, where the noise is taken as normal. For small and large scores this is the two-
component error model of Rocke and Durbin 2001 (doi:10.1089/106652701753307485) with their
generalised logarithm. Families share an intercept in `eta`, which is integrated out by Laplace's
method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from bayescale.capabilities import emergence_priors as priors
from bayescale.functions import softplus
from bayescale.inference import Density, importance
from bayescale.priors import Prior, from_link

ACCURACY_KINDS = tuple(priors.KINDS)
LOSS_KINDS = tuple(priors.LOSS_KINDS)
#: Principal components of the drift, and points of the grid on which they are computed.
COMPONENTS, GRID = 5, 200
#: A change of slope has at least this many different x on each side.
POINTS_OUTSIDE = 3
#: Numbers in one array.
CHUNK = 20_000
#: Nodes of the integral of the variance-stabilising scale (in steps to the intercepts of families
#: fewer), and how far beyond the smallest and largest measurable log odds it reaches.
NODES, NODES_IN_STEPS, BEYOND = 6, 2, 2.0
_RULES = {n: np.polynomial.legendre.leggauss(n) for n in (NODES, NODES_IN_STEPS)}
#: Newton steps to the intercepts of families, and the largest step.
SHIFT_STEPS, LARGEST_STEP = 2, 3.0
#: Largest floor of a start, in units of the lowest loss, and smallest slope.
BELOW_LOSSES, LEAST_SLOPE = 0.98, 1e-9
#: Median of the absolute value of a standard normal number.
HALF_INSIDE = 0.674


@dataclass(frozen=True, eq=False)
class TaskCurve:
    """The scores of one task.

    Attributes
    ----------
    s : (model,)
        Log of x minus `middle`.
    y : (model,)
        Accuracies, or a positive metric that falls as models improve.
    middle : float
        Middle of the range of log x.
    n : (model,) or None
        Numbers of questions, infinite where they are not known; None for losses.
    chance : float
        Accuracy of guessing.
    family : (model,)
        Index of the family; -1 in a curve without families.
    """

    s: np.ndarray
    y: np.ndarray
    middle: float = 0.0
    n: np.ndarray | None = None
    chance: float = 0.0
    family: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    @property
    def is_accuracy(self) -> bool:
        return self.n is not None

    @property
    def has_families(self) -> bool:
        return bool(len(self.family)) and int(self.family.max()) > 0

    @cached_property
    def ends(self) -> tuple[float, float]:
        """Range of s."""
        return float(self.s.min()), float(self.s.max())

    @cached_property
    def window(self) -> tuple[float, float] | None:
        """Range of s in which the slope may change; None with too few different x."""
        s = np.unique(self.s)
        if len(s) < 2 * POINTS_OUTSIDE:
            return None
        return float(s[POINTS_OUTSIDE - 1]), float(s[-POINTS_OUTSIDE])

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of curves that the points can distinguish."""
        kinds = ACCURACY_KINDS if self.is_accuracy else LOSS_KINDS
        if self.window is None:
            kinds = tuple(k for k in kinds if k in priors.SMOOTH_KINDS)
        return kinds

    @cached_property
    def unit(self) -> float:
        """Geometric mean of losses, the unit of their priors."""
        return 1.0 if self.is_accuracy else float(np.exp(np.log(self.y).mean()))

    @cached_property
    def drift_basis(self) -> tuple[np.ndarray, np.ndarray]:
        """Grid of s, and the principal components of an integrated random walk without its linear
        part, (grid, component)."""
        low, high = self.ends
        grid = np.linspace(low, high, GRID)
        step = grid[1] - grid[0]
        walk = np.tril(np.ones((GRID, GRID)), -1) * np.sqrt(step)
        integral = np.cumsum(walk, axis=0) * step
        straight = np.stack([np.ones(GRID), grid], axis=1)
        integral -= straight @ np.linalg.lstsq(straight, integral, rcond=None)[0]
        left, size, _ = np.linalg.svd(integral, full_matrices=False)
        return grid, left[:, :COMPONENTS] * size[:COMPONENTS]


@dataclass(frozen=True, eq=False)
class Model:
    """One kind of curve of one task."""

    curve: TaskCurve
    kind: str

    @cached_property
    def priors(self) -> dict[str, Prior]:
        """Priors of the parameters with a link, in the order of the coordinates."""
        curve = self.curve
        if not curve.is_accuracy:
            out = dict(priors.LOSS)
            if curve.has_families:
                out["family"] = priors.FAMILY_LOSS
        else:
            shape = {"line": priors.LINE, "late": priors.LATE}.get(self.kind, priors.ODDS)
            out = shape | priors.SCATTER
            if not np.isfinite(curve.n).all():
                out["jitter"] = priors.JITTER_WITHOUT_QUESTIONS
            if curve.has_families:
                out["family"] = priors.FAMILY_ODDS
        if self.kind == "flattening":
            out |= priors.FLATTENING
        if self.kind == "break":
            out |= priors.BREAK
        if self.kind == "drift":
            out["drift"] = priors.DRIFT
        return out

    @property
    def dimension(self) -> int:
        """Number of coordinates."""
        extra = {"break": 1, "late": 1, "drift": COMPONENTS}
        return len(self.priors) + extra.get(self.kind, 0)

    def parameters(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters on their natural scales, (draw, 1)."""
        out = {
            name: from_link(p.link, p.centre + p.width * z[:, [i]])
            for i, (name, p) in enumerate(self.priors.items())
        }
        if self.curve.is_accuracy and "family" in out:
            out["family"] = np.minimum(out["family"], priors.LARGEST_FAMILY_ODDS)
        return out

    def place(self, z: np.ndarray) -> np.ndarray:
        """s of the break or of the start, (draw, 1)."""
        from scipy.special import ndtr

        low, high = self.curve.window
        return low + (high - low) * ndtr(z[:, [len(self.priors)]])

    # -- the curve ---------------------------------------------------------------------------------

    def eta(self, z: np.ndarray, s: np.ndarray, h: Mapping[str, np.ndarray]) -> np.ndarray:
        """The curve at `s`, (draw, point)."""
        if self.kind == "line":
            low, high = self.curve.ends
            share = h["first"] + (h["last"] - h["first"]) * (s - low) / (high - low)
            return _logit(np.clip(share, 1e-9, 1 - 1e-9))
        if self.kind == "late":
            width = priors.START_WIDTH
            passed = h["rate"] * width * softplus((s - self.place(z)) / width)
            # The log odds of 1 - exp(-passed).
            return passed + np.log(-np.expm1(-np.maximum(passed, 1e-12)))
        path = self._path(z, s, h)
        if self.curve.is_accuracy:
            return h["level"] + h["slope"] * path
        return np.log(h["amount"]) - h["slope"] * path

    def _path(self, z, s, h) -> np.ndarray:
        """The curve without its level, in units of the slope, (draw or 1, point)."""
        if self.kind == "flattening":
            return -np.expm1(-h["alpha"] * s) / h["alpha"]
        if self.kind == "break":
            place, root = self.place(z), np.sqrt(h["ratio"])
            rounded = h["width"] * softplus((s - place) / h["width"])
            return place + (s - place) / root + (root - 1 / root) * rounded
        if self.kind == "drift":
            grid, basis = self.curve.drift_basis
            at = np.stack([_interpolated(s, grid, b) for b in basis.T])
            return s + h["drift"] * (z[:, len(self.priors) :] @ at)
        return s[None]

    def mean(self, z: np.ndarray, s: np.ndarray) -> np.ndarray:
        """The score on the curve at `s`, (draw, point)."""
        h = self.parameters(z)
        eta = self.eta(z, s, h)
        if self.curve.is_accuracy:
            return self.curve.chance + self.width(h) * _sigmoid(eta)
        return self.curve.unit * (h["floor"] + np.exp(np.minimum(eta, 300.0)))

    def width(self, h: Mapping[str, np.ndarray]) -> np.ndarray:
        """Distance of the top from chance, (draw, 1)."""
        return (1 - self.curve.chance) * (1 - h["lost"])

    # -- the likelihood ----------------------------------------------------------------------------

    def log_likelihood(self, z: np.ndarray) -> np.ndarray:
        """Log likelihood, (draw,)."""
        rows = max(1, CHUNK // len(self.curve.s))
        with np.errstate(all="ignore"):
            parts = [self._part(z[i : i + rows]) for i in range(0, len(z), rows)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _part(self, z):
        curve, h = self.curve, self.parameters(z)
        eta = self.eta(z, curve.s, h)
        standardised, log_sd = self._standardiser(h)
        if not curve.has_families:
            return _student(standardised(eta)[0]) - log_sd.sum(axis=1)
        member, variance = self._members, h["family"] ** 2
        shift = np.zeros((len(z), member.shape[1]))
        for _ in range(SHIFT_STEPS):
            residual, by_eta = standardised(eta + shift @ member.T, NODES_IN_STEPS)
            information = 1 + variance * (by_eta**2 @ member)
            move = (variance * ((by_eta * residual) @ member) - shift) / information
            shift += np.clip(move, -LARGEST_STEP, LARGEST_STEP)
        residual, by_eta = standardised(eta + shift @ member.T)
        information = 1 + variance * (by_eta**2 @ member)
        square = (residual**2).sum(axis=1) + (shift**2 / variance).sum(axis=1)
        log_det = np.log(information).sum(axis=1)
        m = len(curve.s)
        return -0.5 * (square + log_det + m * np.log(2 * np.pi)) - log_sd.sum(axis=1)

    @cached_property
    def _members(self) -> np.ndarray:
        family = self.curve.family
        return (family[:, None] == np.arange(family.max() + 1)).astype(float)

    def _standardiser(self, h):
        """A function of `eta`, and the log of the noise at the scores, (draw, model).

        The function gives residuals with unit variance, and how much they fall by a shift of the
        curve.
        """
        curve = self.curve
        if curve.is_accuracy:
            return self._of_accuracy(h)
        log_y, floor, noise = np.log(curve.y / curve.unit), h["floor"], h["noise"]

        def standardised(eta, nodes=NODES):
            mean = floor + np.exp(np.minimum(eta, 300.0))
            return (log_y - np.log(mean)) / noise, (1 - floor / mean) / noise

        return standardised, np.broadcast_to(np.log(noise), (len(noise), len(log_y)))

    def _of_accuracy(self, h):
        curve, width = self.curve, self.width(h)
        y, n, chance = curve.y, curve.n, curve.chance
        tiny = np.where(np.isfinite(n), 0.5 / n, 1e-6)
        jitter, scatter = h["jitter"] ** 2, (h["scatter"] * width) ** 2
        per_question = 1 / n

        def variance(p, share):
            q = np.clip(p, tiny, 1 - tiny)
            return q * (1 - q) * per_question + jitter + scatter * (share * (1 - share)) ** 2

        def sd_at(edge):
            q = np.clip(edge, tiny, 1 - tiny)
            return np.sqrt(q * (1 - q) * per_question + jitter)

        # The smallest and the largest shares that differ measurably from chance and from the top.
        low = 0.5 * sd_at(np.full_like(y, chance)) / width
        high = 1 - 0.5 * sd_at(chance + width) / width
        low, high = np.minimum(low, 0.25), np.maximum(high, 0.75)
        share_y = (y - chance) / width
        inside = np.clip(share_y, low, high)
        at, low, high = _logit(inside), _logit(low) - BEYOND, _logit(high) + BEYOND
        edge = np.sqrt(variance(chance + width * inside, inside))
        outside = (y - chance - width * inside) / edge

        def by_eta(eta):
            share = _sigmoid(eta)
            slope = width * share * (1 - share)
            return slope / np.sqrt(variance(chance + width * share, share))

        def standardised(eta, nodes=NODES):
            start = np.clip(eta, low, high)
            half, middle = 0.5 * (at - start), 0.5 * (at + start)
            mean = sum(w * by_eta(middle + half * x) for x, w in zip(*_RULES[nodes], strict=True))
            return half * mean + outside, by_eta(middle)

        return standardised, 0.5 * np.log(variance(y, share_y))

    # -- the posterior -----------------------------------------------------------------------------

    def density(self) -> Density:
        """The posterior, for `bayescale.inference.importance`."""
        with_line = not self.curve.is_accuracy and self.kind != "drift"
        improved = self._with_line if with_line else self._with_noise
        return Density(self.dimension, self.log_likelihood, None, improved)

    def _with_line(self, z: np.ndarray) -> np.ndarray:
        """Positions of losses with an amount, a slope and a noise scale that agree with the losses.

        Given the floor and a break, the log of the part above the floor is a line. Without this all
        starts may lie near one of several places that a break may have.
        """
        prior, y, out = self.priors, self.curve.y / self.curve.unit, z.copy()
        highest = np.log(BELOW_LOSSES * y.min()) - prior["floor"].centre
        out[:, 0] = np.minimum(out[:, 0], highest / prior["floor"].width)
        h = self.parameters(out)
        above, path = np.log(y - h["floor"]), self._path(out, self.curve.s, h)
        weight = (1 - h["floor"] / y) ** 2
        weight /= weight.sum(axis=1, keepdims=True)
        middle = (weight * path).sum(axis=1, keepdims=True)
        fall = -(weight * (path - middle) * above).sum(axis=1)
        slope = fall / (weight * (path - middle) ** 2).sum(axis=1)
        log_slope = np.log(np.maximum(slope, LEAST_SLOPE))
        log_amount = (weight * above).sum(axis=1) + np.exp(log_slope) * middle[:, 0]
        for name, value in (("amount", log_amount), ("slope", log_slope)):
            at = list(prior).index(name)
            out[:, at] = np.clip((value - prior[name].centre) / prior[name].width, -3, 3)
        return self._with_noise(out)

    def _with_noise(self, z: np.ndarray) -> np.ndarray:
        """Positions with a noise scale that agrees with the residuals."""
        name = "scatter" if self.curve.is_accuracy else "noise"
        out, at = z.copy(), list(self.priors).index(name)
        with np.errstate(all="ignore"):
            for _ in range(2):
                h = self.parameters(out)
                residual, _ = self._standardiser(h)[0](self.eta(out, self.curve.s, h))
                factor = np.median(abs(residual), axis=1) / HALF_INSIDE
                move = np.clip(np.log(factor) / self.priors[name].width, -2, 2)
                out[:, at] = np.clip(out[:, at] + np.where(np.isfinite(move), move, 0), -3, 3)
        return out

    def sample(self, draws: int, rng: np.random.Generator):
        """Posterior draws and evidence; see `importance.sample_roughly`."""
        return importance.sample_roughly(self.density(), draws, rng)

    def moved(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Posterior draws, moved along the posterior; see `importance.moved`."""
        return importance.moved(self.density(), z, rng)


def _interpolated(s, grid, values):
    """Linear interpolation, continued with the slopes at the ends."""
    step = grid[1] - grid[0]
    first, last = (values[1] - values[0]) / step, (values[-1] - values[-2]) / step
    below, above = np.minimum(s - grid[0], 0), np.maximum(s - grid[-1], 0)
    return np.interp(s, grid, values) + first * below + last * above


def _logit(p):
    return np.log(p) - np.log1p(-p)


def _sigmoid(eta):
    return 1 / (1 + np.exp(-eta))


def _student(r) -> np.ndarray:
    """Sum of Student-t log densities with unit variance."""
    from math import lgamma

    nu = priors.NU
    constant = lgamma((nu + 1) / 2) - lgamma(nu / 2) - 0.5 * np.log((nu - 2) * np.pi)
    return r.shape[1] * constant - (nu + 1) / 2 * np.log1p(r**2 / (nu - 2)).sum(axis=1)


def part(curve: TaskCurve, keep: np.ndarray) -> TaskCurve:
    """The curve of some of the models, centred at the middle of their range."""
    s = curve.s[keep]
    shift = float((s.min() + s.max()) / 2)
    return replace(
        curve,
        s=s - shift,
        y=curve.y[keep],
        middle=curve.middle + shift,
        n=None if curve.n is None else curve.n[keep],
        family=np.unique(curve.family[keep], return_inverse=True)[1]
        if len(curve.family)
        else curve.family,
    )
