"""Likelihoods of scores, on the scale where a curve without breaks is linear in log x.

The likelihood of a metric has a linear predictor `eta`:

* A loss (nats, error rate, Brier score) has the mean ``floor + exp(eta)`` and Student-t noise on
  its logarithm. A linear `eta` is a power law above a floor.
* An accuracy has the mean ``chance + (top - chance) / (1 + exp(-eta))`` and a beta-binomial number
  of correct answers. A linear `eta` is a sigmoid in log x from chance level to a top.

The other parameters (floor, top, noise) are called hyperparameters. They are sampled, not
maximised, because the joint maximum with a drifting curve has zero noise and interpolates the
points.

Arrays: `eta` is (particle, point); hyperparameters `h` are a dict of arrays (particle, 1), with the
entries of `Metric.constants` added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from bayescale.priors import Fraction, Positive, Prior, Real

Hyperparameters = Mapping[str, np.ndarray]

#: Expected accuracies are at least this far from 0 and 1.
TINY = 1e-12
#: Largest ratio, in either direction, of the secant information of an accuracy to the expected
#: information.
INFORMATION_FACTOR = 3.0
#: Width in `eta` of the rounded corners of a plotted accuracy at 0 and 1.
CORNER = 0.02


class Terms(NamedTuple):
    """The log likelihood of each point and its derivatives in `eta`, all (particle, point).

    Attributes
    ----------
    log_density
        The log likelihood.
    gradient
        First derivative.
    information
        A positive approximation to minus the second derivative, for Fisher scoring.
    """

    log_density: np.ndarray
    gradient: np.ndarray
    information: np.ndarray


class Metric(Protocol):
    """What a metric must provide for `bayescale.capabilities.break_model`.

    Attributes
    ----------
    y : (point,)
        Observed scores.
    sign : float
        Sign of the slope of `eta` in log x as models improve: -1 for losses, 1 for accuracies.
    slope : Positive
        Prior of the absolute slope per e-fold of x.
    level : Real
        Prior of `eta` at the middle of the curve.
    family : Positive
        Prior of the standard deviation of family intercepts, in units of `eta`.
    priors : mapping of str to Prior
        Priors of the hyperparameters of the likelihood.
    """

    y: np.ndarray
    sign: float
    slope: Positive
    level: Real
    family: Positive
    priors: Mapping[str, Prior]

    def constants(self, h: Hyperparameters) -> Hyperparameters:
        """Terms of the likelihood that do not depend on `eta`, to be added to `h`."""

    def initial_eta(self, h: Hyperparameters) -> np.ndarray:
        """Estimates of `eta` from single points, used as initial values; (particle, point)."""

    def mean(self, eta: np.ndarray, h: Hyperparameters) -> np.ndarray:
        """Expected score, of the shape of `eta`."""

    def terms(self, eta: np.ndarray, h: Hyperparameters) -> Terms:
        """Log likelihood and derivatives at the observed scores."""

    def observed_information(self, eta: np.ndarray, h: Hyperparameters) -> np.ndarray:
        """Minus the second derivative of the log likelihood, 0 where it is negative; (particle,
        point)."""

    def draw(self, eta: np.ndarray, h: Hyperparameters, rng: np.random.Generator) -> np.ndarray:
        """Draws of scores of new models from the likelihood, of the shape of `eta`."""


@dataclass(frozen=True, eq=False)
class Loss:
    """A positive score that decreases as models improve: cross-entropy, error rate, Brier score.

    Parameters
    ----------
    y : (point,)
        Scores, positive.
    sd : (point,)
        Known standard errors of `y`, or zeros.
    """

    y: np.ndarray
    sd: np.ndarray

    sign: ClassVar[float] = -1.0
    #: The prior of the exponent of `bayescale.laws.power`.
    slope: ClassVar[Positive] = Positive(0.35, spread=2.0)
    #: Families differ by a few per cent to 50 % of the reducible loss.
    family: ClassVar[Positive] = Positive(0.1, spread=2.5)

    @cached_property
    def typical(self) -> float:
        """Geometric mean of the scores, which is the unit of the priors."""
        return float(np.exp(np.log(self.y).mean()))

    @cached_property
    def priors(self) -> Mapping[str, Prior]:
        """Priors of floor, noise and tail.

        The prior of the floor covers the floors of 324 public curves (5 % quantile 0, median 0.8 of
        the lowest loss). The 90 % interval of the noise is 0.1 to 9 % of the loss. The prior
        probability that `nu` is above 3 is 98 %, because with heavier tails the posterior has a
        mode for every point.
        """
        return dict(
            floor=Positive(0.3 * self.typical, spread=4.0),
            sigma=Positive(0.01, spread=4.0),
            nu=Positive(8.0, spread=1.6),
        )

    @property
    def level(self) -> Real:
        """Prior of the log reducible loss at the middle of the curve, as in the law `power`."""
        return Real(float(np.log(0.4 * self.typical)), sd=float(np.log(2.2)))

    def initial_eta(self, h):
        return np.log(np.maximum(self.y - h["floor"], 0.05 * self.y))

    def constants(self, h):
        from scipy.special import gammaln

        nu = h["nu"]
        return {"norm": gammaln((nu + 1) / 2) - gammaln(nu / 2) - np.log(np.pi * nu) / 2}

    def mean(self, eta, h):
        return h["floor"] + np.exp(np.minimum(eta, 300.0))

    def _residuals(self, eta, h):
        """Standardised residuals, the derivative of the log mean in `eta`, the noise scale, and the
        Student-t weights of the residuals."""
        mean = self.mean(eta, h)
        scale = np.hypot(h["sigma"], self.sd / self.y)
        derivative = 1 - h["floor"] / mean
        r = (np.log(self.y) - np.log(mean)) / scale
        return r, derivative, scale, (h["nu"] + 1) / (h["nu"] + r**2)

    def terms(self, eta, h) -> Terms:
        r, derivative, scale, weight = self._residuals(eta, h)
        by_eta, nu = derivative / scale, h["nu"]
        return Terms(
            log_density=h["norm"] - np.log(scale) - (nu + 1) / 2 * np.log1p(r**2 / nu),
            gradient=weight * r * by_eta,
            information=weight * by_eta**2,  # as in iteratively reweighted least squares
        )

    def observed_information(self, eta, h):
        r, derivative, scale, weight = self._residuals(eta, h)
        nu = h["nu"]
        gauss_newton = weight * (nu - r**2) / (nu + r**2) * (derivative / scale) ** 2
        return np.maximum(gauss_newton - weight * r * derivative * (1 - derivative) / scale, 0.0)

    def draw(self, eta, h, rng):
        noise = rng.standard_t(np.broadcast_to(h["nu"], eta.shape))
        return self.mean(eta, h) * np.exp(h["sigma"] * noise)


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The share of correct answers.

    Parameters
    ----------
    y : (point,)
        Accuracies in [0, 1].
    n : (point,)
        Numbers of questions.
    chance : float
        Accuracy of random guesses.
    """

    y: np.ndarray
    n: np.ndarray
    chance: float

    sign: ClassVar[float] = 1.0
    slope: ClassVar[Positive] = Positive(0.7, spread=2.0)
    level: ClassVar[Real] = Real(-1.0, sd=2.0)
    #: On the logit scale: training recipes change the odds by factors from 1.1 to several.
    family: ClassVar[Positive] = Positive(0.3, spread=2.5)
    #: `lost`: the share of the range from chance to 1 that no model reaches, for example because of
    #: wrong labels. `spread`: the standard deviation between models of one family in addition to
    #: the binomial noise, at an accuracy of 0.5. Seeds differ by 0.2 to 2 percentage points,
    #: recipes by more.
    priors: ClassVar[Mapping[str, Prior]] = dict(
        lost=Fraction(0.03, spread=3.0), spread=Positive(0.015, spread=2.5)
    )

    def initial_eta(self, h):
        s = (self.y - self.chance) / (1 - self.chance) / (1 - h["lost"])
        s = np.clip(s, 0.5 / self.n, 0.98)
        return np.log(s) - np.log1p(-s)

    def constants(self, h):
        """`concentration` of the beta distribution, and the terms of the density that do not depend
        on `eta`."""
        from scipy.special import gammaln

        m = np.maximum(0.25 / h["spread"] ** 2 - 1, 1.0)
        return {"concentration": m, "norm": gammaln(m) - gammaln(self.n + m)}

    def mean(self, eta, h):
        return self._mean(eta, h)[0]

    def _mean(self, eta, h):
        """The expected accuracy, and its first and second derivatives in `eta`."""
        width = (1 - self.chance) * (1 - h["lost"])
        s = 1 / (1 + np.exp(-np.clip(eta, -300, 300)))
        by_eta = width * s * (1 - s)
        return self.chance + width * s, by_eta, by_eta * (1 - 2 * s)

    def _beta_counts(self, eta, h):
        """The results of `_mean`, and the parameters of the beta distribution before and after
        the observed counts."""
        p, by_eta, second = self._mean(eta, h)
        p = np.clip(p, TINY, 1 - TINY)
        a, b = p * h["concentration"], (1 - p) * h["concentration"]
        k = self.y * self.n
        return p, by_eta, second, (a, b, k + a, self.n - k + b)

    def terms(self, eta, h) -> Terms:
        from scipy.special import digamma, gammaln

        p, by_eta, second, (a, b, right, wrong) = self._beta_counts(eta, h)
        m = h["concentration"]
        by_p = m * (digamma(right) - digamma(a) - digamma(wrong) + digamma(b))
        expected = self.n / (p * (1 - p) * (1 + (self.n - 1) / (m + 1)))
        # The secant from `p` to the observed accuracy, where the gradient is about zero.
        step = np.where(abs(self.y - p) > TINY, self.y - p, np.inf)
        secant = np.clip(by_p / step, expected / INFORMATION_FACTOR, expected * INFORMATION_FACTOR)
        return Terms(
            log_density=gammaln(right) - gammaln(a) + gammaln(wrong) - gammaln(b) + h["norm"],
            gradient=by_p * by_eta,
            information=by_eta**2 * secant + np.maximum(-by_p * second, 0.0),
        )

    def observed_information(self, eta, h):
        from scipy.special import digamma, polygamma

        _, by_eta, second, (a, b, right, wrong) = self._beta_counts(eta, h)
        m = h["concentration"]
        by_p = m * (digamma(right) - digamma(a) - digamma(wrong) + digamma(b))
        by_p_twice = m**2 * (
            polygamma(1, a) - polygamma(1, right) + polygamma(1, b) - polygamma(1, wrong)
        )
        return np.maximum(by_p_twice * by_eta**2 - by_p * second, 0.0)

    def draw(self, eta, h, rng):
        """Accuracies of new models, with the largest number of questions in the curve."""
        p, m = np.clip(self.mean(eta, h), TINY, 1 - TINY), h["concentration"]
        n = int(np.max(self.n))
        true = rng.beta(np.maximum(p * m, TINY), np.maximum((1 - p) * m, TINY))
        return rng.binomial(n, true) / n


@dataclass(frozen=True, eq=False)
class PlottedAccuracy(Accuracy):
    """Accuracy whose expectation is linear in log x between 0 and 1.

    On this scale a curve that rises from chance level or saturates has a break, also if its log
    odds are linear. This is the usual meaning of an emergent ability.
    """

    #: A slope of 0.1 per e-fold is a rise from chance to 1 over about four decades.
    slope: ClassVar[Positive] = Positive(0.1, spread=2.5)
    level: ClassVar[Real] = Real(0.5, sd=0.5)
    family: ClassVar[Positive] = Positive(0.05, spread=2.5)
    priors: ClassVar[Mapping[str, Prior]] = {"spread": Accuracy.priors["spread"]}

    def initial_eta(self, h):
        return np.broadcast_to(self.y, (len(h["spread"]), len(self.y)))

    def _mean(self, eta, h):
        """A line with rounded corners at 0 and 1, and its derivatives."""
        low, high = (np.clip(v / CORNER, -300, 300) for v in (eta, eta - 1))
        p = CORNER * (np.logaddexp(0, low) - np.logaddexp(0, high))
        one, two = 1 / (1 + np.exp(-low)), 1 / (1 + np.exp(-high))
        return p, one - two, (one * (1 - one) - two * (1 - two)) / CORNER
