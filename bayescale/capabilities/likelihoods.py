"""What a metric measures, on the scale where an unbroken curve is a straight line in log x.

A loss (nats, error rates, Brier scores) is ``floor + exp(eta)``, seen with Student-t noise on its
logarithm. An accuracy is ``chance + (top - chance) / (1 + exp(-eta))``, seen as a number of right
answers: binomial, and more scattered than that. In either, `eta` is linear in log x for the
unbroken law: a power law above its floor, or one that leaves chance level and ends at a top.

Floor, top and noise are left to particles. Found by climbing, together with a curve that may drift,
the noise would end at nothing, where the curve goes through every point.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from bayescale.priors import Fraction, Positive, Prior, Real

#: Accuracies nearer to 0 or 1 than this are not told apart.
TINY = 1e-12
#: A likelihood is climbed as if it were flatter or steeper than expected by no more than this.
FLATTER = 3.0
#: How far from 0 and 1 an accuracy as plotted begins to bend.
ROUND = 0.02


class Score(NamedTuple):
    """The log likelihood of points, (particle, point), its slope in `eta`, and a curvature that is
    safe to climb by: where noise has long tails, that of least squares, reweighted."""

    log: np.ndarray
    pull: np.ndarray
    climb: np.ndarray


@dataclass(frozen=True, eq=False)
class Loss:
    """A positive score that falls: cross-entropy, error rate, Brier score.

    Parameters
    ----------
    y : (point,)
    sd : (point,)
        Known standard errors of `y`, or zeros.
    """

    y: np.ndarray
    sd: np.ndarray

    falls = True
    #: The scale of slopes, as the exponent of `bayescale.laws.power`.
    slope = Positive(0.35, spread=2.0)
    #: Families differ by a few per cent up to a half.
    family = Positive(0.1, spread=2.5)

    @cached_property
    def typical(self) -> float:
        return float(np.exp(np.log(self.y).mean()))

    @cached_property
    def priors(self) -> Mapping[str, Prior]:
        """A floor from next to nothing to nearly all of the loss, as 324 public curves have it
        (5 % quantile 0, median 0.8 of the lowest loss); noise of 0.1 to 9 % (90 %), with tails
        from nearly normal to those of `nu` = 3: longer ones have a mode for every point."""
        return dict(
            floor=Positive(0.3 * self.typical, spread=4.0),
            sigma=Positive(0.01, spread=4.0),
            nu=Positive(8.0, spread=1.6),
        )

    @property
    def level(self) -> Real:
        """`eta` at the middle of the curve: what is still to be won there, as in `power`."""
        return Real(float(np.log(0.4 * self.typical)), sd=float(np.log(2.2)))

    def guess(self, h):
        """`eta` as the points alone suggest it, (particle, point)."""
        return np.log(np.maximum(self.y - h["floor"], 0.05 * self.y))

    def constants(self, h):
        """What of the likelihood depends on the scalars only."""
        from scipy.special import gammaln

        nu = h["nu"]
        return {"norm": gammaln((nu + 1) / 2) - gammaln(nu / 2) - np.log(np.pi * nu) / 2}

    def mean(self, eta, h):
        return h["floor"] + np.exp(np.minimum(eta, 300.0))

    def _noise(self, eta, h):
        """Residuals in units of the noise, how they move with `eta`, and their weights."""
        mean = self.mean(eta, h)
        scale = np.hypot(h["sigma"], self.sd / self.y)
        share = 1 - h["floor"] / mean
        r = (np.log(self.y) - np.log(mean)) / scale
        return r, share, scale, (h["nu"] + 1) / (h["nu"] + r**2)

    def score(self, eta, h) -> Score:
        r, share, scale, weight = self._noise(eta, h)
        by_eta, nu = share / scale, h["nu"]
        return Score(
            log=h["norm"] - np.log(scale) - (nu + 1) / 2 * np.log1p(r**2 / nu),
            pull=weight * r * by_eta,
            climb=weight * by_eta**2,
        )

    def curvature(self, eta, h):
        """Of the log likelihood of points, downwards; none where it bends upwards."""
        r, share, scale, weight = self._noise(eta, h)
        nu = h["nu"]
        down = weight * (nu - r**2) / (nu + r**2) * (share / scale) ** 2
        return np.maximum(down - weight * r * share * (1 - share) / scale, 0.0)

    def draw(self, eta, h, rng):
        """Scores of new models."""
        noise = rng.standard_t(np.broadcast_to(h["nu"], eta.shape))
        return self.mean(eta, h) * np.exp(h["sigma"] * noise)


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The share of questions that are answered right.

    Parameters
    ----------
    y : (point,)
    n : (point,)
        Number of questions.
    chance : float
        Accuracy of guessing.
    """

    y: np.ndarray
    n: np.ndarray
    chance: float

    falls = False
    slope = Positive(0.7, spread=2.0)
    level = Real(-1.0, sd=2.0)
    #: On the logit scale: recipes differ by a tenth to a few times the odds.
    family = Positive(0.3, spread=2.5)
    #: `lost`: the share of the way from chance to 1 that no model will go, as wrong labels do.
    #: `spread`: the sd that models of one family scatter by beside the binomial noise, at an
    #: accuracy of a half: seeds scatter by 0.2 to 2 points, recipes by more.
    priors: ClassVar[Mapping[str, Prior]] = dict(
        lost=Fraction(0.03, spread=3.0), spread=Positive(0.015, spread=2.5)
    )

    def guess(self, h):
        """`eta` as the points alone suggest it, (particle, point)."""
        s = (self.y - self.chance) / (1 - self.chance) / (1 - h["lost"])
        s = np.clip(s, 0.5 / self.n, 0.98)
        return np.log(s) - np.log1p(-s)

    def constants(self, h):
        """What of the likelihood depends on the scalars only."""
        from scipy.special import gammaln

        many = np.maximum(0.25 / h["spread"] ** 2 - 1, 1.0)
        return {"many": many, "norm": gammaln(many) - gammaln(self.n + many)}

    def mean(self, eta, h):
        return self._location(eta, h)[0]

    def _location(self, eta, h):
        """The expected accuracy, and its first two derivatives in `eta`."""
        width = (1 - self.chance) * (1 - h["lost"])
        s = 1 / (1 + np.exp(-np.clip(eta, -300, 300)))
        by_eta = width * s * (1 - s)
        return self.chance + width * s, by_eta, by_eta * (1 - 2 * s)

    def _counts(self, eta, h):
        """The expected accuracy as `_location` has it, and the four counts of the likelihood."""
        p, by_eta, twice = self._location(eta, h)
        p = np.clip(p, TINY, 1 - TINY)
        a, b = p * h["many"], (1 - p) * h["many"]
        k = self.y * self.n
        return p, by_eta, twice, (a, b, k + a, self.n - k + b)

    def score(self, eta, h) -> Score:
        from scipy.special import digamma, gammaln

        p, by_eta, twice, (a, b, right, wrong) = self._counts(eta, h)
        m = h["many"]
        pull = m * (digamma(right) - digamma(a) - digamma(wrong) + digamma(b))
        expected = self.n / (p * (1 - p) * (1 + (self.n - 1) / (m + 1)))
        # As steep as it is on the way from `p` to where the point would have it.
        away = np.where(abs(self.y - p) > TINY, self.y - p, np.inf)
        climb = by_eta**2 * np.clip(pull / away, expected / FLATTER, expected * FLATTER)
        return Score(
            log=gammaln(right) - gammaln(a) + gammaln(wrong) - gammaln(b) + h["norm"],
            pull=pull * by_eta,
            climb=climb + np.maximum(-pull * twice, 0.0),
        )

    def curvature(self, eta, h):
        """Of the log likelihood of points, downwards; none where it bends upwards."""
        from scipy.special import digamma, polygamma

        _, by_eta, twice, (a, b, right, wrong) = self._counts(eta, h)
        m = h["many"]
        pull = m * (digamma(right) - digamma(a) - digamma(wrong) + digamma(b))
        down = m**2 * (
            polygamma(1, a) - polygamma(1, right) + polygamma(1, b) - polygamma(1, wrong)
        )
        return np.maximum(down * by_eta**2 - pull * twice, 0.0)

    def draw(self, eta, h, rng):
        """Accuracies of new models, on as many questions as the largest test here has."""
        p = np.clip(self.mean(eta, h), TINY, 1 - TINY)
        n = int(np.max(self.n))
        true = rng.beta(np.maximum(p * h["many"], TINY), np.maximum((1 - p) * h["many"], TINY))
        return rng.binomial(n, true) / n


@dataclass(frozen=True, eq=False)
class Plotted(Accuracy):
    """Accuracy as it is plotted: itself a straight line in log x, but for its ends at 0 and 1.

    On this scale a curve that leaves chance or comes to an end has a break, whatever the model
    does: the claim of emergence as it is usually made.
    """

    #: A tenth of the way per e-fold: from chance to 1 over four decades.
    slope = Positive(0.1, spread=2.5)
    level = Real(0.5, sd=0.5)
    family = Positive(0.05, spread=2.5)
    priors: ClassVar[Mapping[str, Prior]] = {"spread": Accuracy.priors["spread"]}

    def guess(self, h):
        """`eta` as the points alone suggest it."""
        return np.broadcast_to(self.y, (len(h["spread"]), len(self.y)))

    def _location(self, eta, h):
        """A line with rounded corners at 0 and 1."""
        low, high = (np.clip(v / ROUND, -300, 300) for v in (eta, eta - 1))
        p = ROUND * (np.logaddexp(0, low) - np.logaddexp(0, high))
        one, two = 1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))
        return p, one - two, (one * (1 - one) - two * (1 - two)) / ROUND
