"""What a metric measures, on the scale where an unbroken curve is a straight line in log x.

A loss (nats, error rates, Brier scores) is ``floor + exp(eta)``, seen with Student-t noise on its
logarithm. An accuracy is ``chance + (top - chance) / (1 + exp(-eta))``, seen as a number of right
answers: binomial, and more scattered than that. In either, `eta` is linear in log x for the
unbroken law: a power law above its floor, or one that leaves chance level and ends at a top.

Parameters come in two kinds. `inner` ones the points pin down like a slope; they are standard
normals ``z``, integrated out together with the curve. `outer` ones are left to particles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from bayescale.priors import Fraction, Positive, Prior, Real, from_link

#: Accuracies nearer to 0 or 1 than this are not told apart.
TINY = 1e-12
#: How far from 0 and 1 an accuracy as plotted begins to bend.
ROUND = 0.005


class Score(NamedTuple):
    """The log likelihood of points, and how it changes; a leading axis of particles.

    ``pull`` and ``information`` (Fisher's) are those of a point's location: the log of the expected
    loss, the expected accuracy. ``by_eta`` and ``by_inner`` say how that location moves with `eta`
    and with the inner parameters; ``own_pull`` and ``own_information`` are what inner parameters
    that are no location (the noise) add.
    """

    log: np.ndarray
    pull: np.ndarray
    information: np.ndarray
    by_eta: np.ndarray
    by_inner: np.ndarray
    own_pull: np.ndarray
    own_information: np.ndarray


def _at(prior: Prior, z):
    return from_link(prior.link, prior.centre + prior.width * z)


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
    def inner(self) -> Mapping[str, Prior]:
        """A floor from next to nothing to nearly all of the loss, as 324 public curves have it
        (5 % quantile 0, median 0.8 of the lowest loss); noise of 0.1 to 9 % (90 %)."""
        return dict(floor=Positive(0.3 * self.typical, spread=4.0),
                    sigma=Positive(0.01, spread=4.0))

    outer: ClassVar[Mapping[str, Prior]] = dict(nu=Positive(6.0, spread=2.2))

    @property
    def level(self) -> Real:
        """`eta` at the middle of the curve: what is still to be won there, as in `power`."""
        return Real(float(np.log(0.4 * self.typical)), sd=float(np.log(2.2)))

    def guess(self):
        """`eta` and inner parameters as the points alone suggest them."""
        floor = 0.5 * self.y.min()
        z = (np.log(floor) - self.inner["floor"].centre) / self.inner["floor"].width
        return np.log(self.y - floor), np.array([np.clip(z, -3.0, 3.0), 0.5])

    def constants(self, h):
        """What of the likelihood depends on outer parameters only."""
        from scipy.special import gammaln

        nu = h["nu"]
        return {"norm": gammaln((nu + 1) / 2) - gammaln(nu / 2) - np.log(np.pi * nu) / 2}

    def mean(self, eta, z, h):
        return _at(self.inner["floor"], z[:, [0]]) + np.exp(np.minimum(eta, 300.0))

    def score(self, eta, z, h) -> Score:
        floor = _at(self.inner["floor"], z[:, [0]])
        sigma = _at(self.inner["sigma"], z[:, [1]])
        above = np.exp(np.minimum(eta, 300.0))
        mean = floor + above
        scale = np.hypot(sigma, self.sd / self.y)
        nu = h["nu"]
        r = (np.log(self.y) - np.log(mean)) / scale
        weight = (nu + 1) / (nu + r**2)
        share = above / mean
        noise = self.inner["sigma"].width * (sigma / scale) ** 2
        zero = np.zeros_like(share)
        own = (weight * r**2 - 1) * noise
        own_information = 2 * nu / (nu + 3) * noise**2
        return Score(
            log=h["norm"] - np.log(scale) - (nu + 1) / 2 * np.log1p(r**2 / nu),
            pull=weight * r / scale,
            information=(nu + 1) / (nu + 3) / scale**2,
            by_eta=share,
            by_inner=np.stack([(1 - share) * self.inner["floor"].width, zero], axis=2),
            own_pull=np.stack([0 * own.sum(axis=1), own.sum(axis=1)], axis=1),
            own_information=np.stack([0 * own.sum(axis=1), own_information.sum(axis=1)
                                      if own_information.shape == own.shape
                                      else own_information[:, 0] * own.shape[1]], axis=1),
        )

    def draw(self, eta, z, h, rng):
        """Scores of new models."""
        noise = rng.standard_t(np.broadcast_to(h["nu"], eta.shape))
        return self.mean(eta, z, h) * np.exp(_at(self.inner["sigma"], z[:, [1]]) * noise)


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
    #: The share of the way from chance to 1 that no model will go, as wrong labels do.
    inner: ClassVar[Mapping[str, Prior]] = dict(lost=Fraction(0.03, spread=3.0))
    #: The sd that models of one family scatter by beside the binomial noise, at an accuracy of a
    #: half: seeds scatter by 0.2 to 2 points, recipes by more.
    outer: ClassVar[Mapping[str, Prior]] = dict(spread=Positive(0.015, spread=2.5))

    def guess(self):
        """`eta` and inner parameters as the points alone suggest them."""
        s = np.clip((self.y - self.chance) / (1 - self.chance), 0.5 / self.n, 0.98)
        return np.log(s) - np.log1p(-s), np.zeros(1)

    def constants(self, h):
        """What of the likelihood depends on outer parameters only."""
        from scipy.special import gammaln

        many = np.maximum(0.25 / h["spread"] ** 2 - 1, 1.0)
        return {"many": many, "norm": gammaln(many) - gammaln(self.n + many)}

    def mean(self, eta, z, h):
        return self._location(eta, z)[0]

    def _location(self, eta, z):
        """The expected accuracy, and how it moves with `eta` and with the inner parameters."""
        lost = _at(self.inner["lost"], z[:, [0]])
        width = 1 - self.chance
        s = 1 / (1 + np.exp(-np.clip(eta, -300, 300)))
        by_lost = -width * s * lost * (1 - lost) * self.inner["lost"].width
        return (self.chance + width * (1 - lost) * s, width * (1 - lost) * s * (1 - s),
                by_lost[..., None])

    def score(self, eta, z, h) -> Score:
        from scipy.special import digamma, gammaln

        p, by_eta, by_inner = self._location(eta, z)
        p = np.clip(p, TINY, 1 - TINY)
        k, m = self.y * self.n, h["many"]
        a, b = p * m, (1 - p) * m
        right, wrong = k + a, self.n - k + b
        zero = np.zeros((len(eta), len(self.inner)))
        return Score(
            log=gammaln(right) - gammaln(a) + gammaln(wrong) - gammaln(b) + h["norm"],
            pull=m * (digamma(right) - digamma(a) - digamma(wrong) + digamma(b)),
            information=self.n / (p * (1 - p) * (1 + (self.n - 1) / (m + 1))),
            by_eta=by_eta, by_inner=by_inner, own_pull=zero, own_information=zero)

    def draw(self, eta, z, h, rng):
        """Accuracies of new models, on as many questions as the largest test here has."""
        p = np.clip(self.mean(eta, z, h), TINY, 1 - TINY)
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
    inner: ClassVar[Mapping[str, Prior]] = {}

    def guess(self):
        """`eta` as the points alone suggest it."""
        return self.y, np.zeros(0)

    def _location(self, eta, z):
        """A line with rounded corners at 0 and 1."""
        low, high = (np.clip(v / ROUND, -300, 300) for v in (eta, eta - 1))
        p = eta * 0 + ROUND * (np.logaddexp(0, low) - np.logaddexp(0, high))
        by_eta = 1 / (1 + np.exp(-low)) - 1 / (1 + np.exp(-high))
        return p, by_eta, np.zeros((*eta.shape, 0))
