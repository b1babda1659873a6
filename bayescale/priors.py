"""Priors of parameters, given as a median and a spread on the natural scale.

Every prior is a normal distribution on a *link* scale: the logarithm for positive quantities, the
log odds for fractions, the identity for real ones. A prior also gives the typical standard
deviation between groups on the same scale, `between`, for parameters that vary between groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from bayescale.errors import LawError


@dataclass(frozen=True)
class Prior:
    """Base class of the priors, which are normal on a link scale."""

    median: float
    link: ClassVar[str]

    @property
    def centre(self) -> float:
        """Median on the link scale."""
        return float(to_link(self.link, self.median))

    @property
    def width(self) -> float:
        """Standard deviation on the link scale."""
        raise NotImplementedError

    @property
    def between_width(self) -> float:
        """Typical standard deviation between groups on the link scale."""
        raise NotImplementedError

    def interval(self, prob: float = 0.9) -> tuple[float, float]:
        """Central interval of the prior on the natural scale.

        Parameters
        ----------
        prob : float
            Probability of the interval.

        Examples
        --------
        >>> low, high = Positive(0.35, spread=1.5).interval()
        >>> round(low, 2), round(high, 2)
        (0.18, 0.68)
        """
        half = NormalDist().inv_cdf(0.5 + prob / 2) * self.width
        return tuple(float(from_link(self.link, self.centre + s * half)) for s in (-1, 1))

    def _require(self, **requirements: bool) -> None:
        """Raise a `LawError` with the names of the requirements that are false."""
        broken = [name.replace("_", " ") for name, holds in requirements.items() if not holds]
        if broken:
            raise LawError(f"{self!r}: {' and '.join(broken)}")


class _ByFactor:
    """Widths from factors on the quantity, or on its odds."""

    @property
    def width(self) -> float:
        return float(np.log(self.spread))

    @property
    def between_width(self) -> float:
        return float(np.log(self.between))

    @classmethod
    def from_interval(cls, low: float, high: float, prob: float = 0.9):
        """The prior with this central interval.

        Examples
        --------
        >>> [round(bound, 6) for bound in Positive.from_interval(2, 8).interval(0.9)]
        [2.0, 8.0]
        """
        ends = to_link(cls.link, np.array([low, high], float))
        deviations = 2 * NormalDist().inv_cdf((1 + prob) / 2)
        spread = float(np.exp(np.ptp(ends) / deviations))
        return cls(float(from_link(cls.link, ends.mean())), spread=spread)


@dataclass(frozen=True)
class Positive(_ByFactor, Prior):
    """Log-normal prior of a positive quantity.

    Parameters
    ----------
    median : float
        Median; > 0.
    spread : float
        Factor that corresponds to one standard deviation of the logarithm; > 1. With a median of
        0.35 and a spread of 1.5, 68 % of the prior lies between 0.35 / 1.5 and 0.35 x 1.5.
    between : float
        Typical factor that corresponds to one standard deviation between groups; > 1. The standard
        deviation of the logarithm between groups has a log-normal prior with this median,
        log(between), and a spread of 1.65.
    of : {None, "loss"}
        With ``"loss"``, `median` is in units of the geometric mean loss of the runs, so that the
        prior is suitable for losses in any unit.

    Examples
    --------
    >>> Positive(0.35, spread=1.5).interval(0.68)
    (0.233..., 0.523...)
    """

    spread: float = 2.0
    between: float = 1.1
    of: str | None = None
    link: ClassVar[str] = "log"

    def __post_init__(self):
        self._require(
            the_median_must_be_positive=self.median > 0,
            the_spread_must_exceed_1=self.spread > 1,
            between_must_exceed_1=self.between > 1,
            of_must_be_None_or_loss=self.of in (None, "loss"),
        )

    def in_units_of(self, loss: float) -> Positive:
        """The same prior in absolute units, from the geometric mean loss of the runs."""
        return replace(self, median=self.median * loss, of=None) if self.of == "loss" else self


@dataclass(frozen=True)
class Fraction(_ByFactor, Prior):
    """Logit-normal prior of a quantity between 0 and 1.

    Parameters
    ----------
    median : float
        Median; between 0 and 1.
    spread : float
        Factor on the odds that corresponds to one standard deviation of the log odds; > 1.
    between : float
        Typical factor on the odds for one standard deviation between groups; > 1.

    Examples
    --------
    >>> Fraction(0.5, spread=3).interval(0.68)
    (0.251..., 0.748...)
    """

    spread: float = 2.0
    between: float = 1.2
    link: ClassVar[str] = "logit"

    def __post_init__(self):
        self._require(
            the_median_must_lie_between_0_and_1=0 < self.median < 1,
            the_spread_must_exceed_1=self.spread > 1,
            between_must_exceed_1=self.between > 1,
        )


@dataclass(frozen=True)
class Real(Prior):
    """Normal prior of a quantity of either sign.

    Parameters
    ----------
    median : float
        Median, which is also the mean.
    sd : float
        Standard deviation; > 0.
    between : float, optional
        Typical standard deviation between groups; a quarter of `sd` by default.

    Examples
    --------
    >>> Real(0, sd=2).interval(0.95)
    (-3.919..., 3.919...)
    """

    sd: float
    between: float | None = None
    link: ClassVar[str] = "identity"

    def __post_init__(self):
        self._require(
            the_sd_must_be_positive=self.sd > 0,
            between_must_be_positive=self.between is None or self.between > 0,
        )

    @property
    def width(self) -> float:
        return float(self.sd)

    @property
    def between_width(self) -> float:
        return float(self.sd / 4 if self.between is None else self.between)


@dataclass(frozen=True)
class Fixed(Prior):
    """A parameter that is pinned at a value and not inferred.

    `bayescale.fit` takes it for parameters of the law and for ``sigma`` and ``nu`` of the noise.
    The parameter has no group effects. A fit under each of several values shows how much a result
    depends on the parameter.

    Parameters
    ----------
    median : float
        The value, on the natural scale at the reference scales: a floor is in the unit of the loss.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> fit = bs.fit(runs, "chinchilla", priors={"E": bs.Fixed(1.6)}, draws=100, random_seed=1)
    >>> float(fit.parameters()["E"].mean()), "E" in fit.posterior
    (1.6, False)
    """

    link: ClassVar[str] = "identity"

    def __post_init__(self):
        self._require(the_value_must_be_finite=bool(np.isfinite(self.median)))

    @property
    def width(self) -> float:
        return 0.0

    @property
    def between_width(self) -> float:
        return 1.0  # not used, because a pinned parameter has no group effects


def to_link(link: str, value):
    """Transform from the natural scale to the link scale, for numpy, xarray and PyTensor values."""
    if link == "log":
        return np.log(value)
    if link == "logit":
        return np.log(value) - np.log1p(-value)
    return value


def from_link(link: str, value):
    """Transform from the link scale to the natural scale, for numpy, xarray and PyTensor values."""
    if link == "log":
        return np.exp(value)
    if link == "logit":
        return 1 / (1 + np.exp(-value))
    return value
