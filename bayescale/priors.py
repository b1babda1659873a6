"""Priors of parameters, given as a median and a spread on the natural scale.

Every prior is a normal distribution on a *link* scale: the logarithm for positive quantities, the
log odds for fractions, the identity for real ones. Groups differ on the same scale, by a typical
amount `between`, so one prior covers a parameter's population value and its values per group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from bayescale.errors import LawError


@dataclass(frozen=True)
class Prior:
    """Base class of the priors, with `centre` and `width` on the link scale."""

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
        """Central interval on the natural scale.

        Parameters
        ----------
        prob : float
            Its probability.

        Examples
        --------
        >>> low, high = Positive(0.35, spread=1.5).interval()
        >>> round(low, 2), round(high, 2)
        (0.18, 0.68)
        """
        reach = NormalDist().inv_cdf(0.5 + prob / 2) * self.width
        return tuple(float(from_link(self.link, self.centre + s * reach)) for s in (-1, 1))

    def _require(self, **facts: bool) -> None:
        broken = [what.replace("_", " ") for what, holds in facts.items() if not holds]
        if broken:
            raise LawError(f"{self!r}: {' and '.join(broken)}")


class _ByFactor:
    """Widths given as factors of the quantity, or of its odds."""

    @property
    def width(self) -> float:
        return float(np.log(self.spread))

    @property
    def between_width(self) -> float:
        return float(np.log(self.between))


@dataclass(frozen=True)
class Positive(_ByFactor, Prior):
    """Log-normal prior of a positive quantity.

    Parameters
    ----------
    median : float
        The median; > 0.
    spread : float
        Factor of one standard deviation; > 1. With a median of 0.35 and a spread of 1.5, 68 % of
        the prior lies between 0.35 / 1.5 and 0.35 x 1.5.
    between : float
        Typical factor of one standard deviation between groups; > 1. It is itself uncertain by a
        factor of about 1.65.
    of : {None, "loss"}
        ``"loss"``: `median` is a multiple of the runs' geometric mean loss, for laws of losses in
        any unit.

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
        """The same prior in absolute units, given the geometric mean loss."""
        return replace(self, median=self.median * loss, of=None) if self.of == "loss" else self


@dataclass(frozen=True)
class Fraction(_ByFactor, Prior):
    """Logit-normal prior of a quantity between 0 and 1.

    Parameters
    ----------
    median : float
        The median; between 0 and 1.
    spread : float
        Factor of the odds of one standard deviation; > 1.
    between : float
        Typical factor of the odds between groups; > 1.

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
        The median, which is the mean.
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


def to_link(link: str, value):
    """From the natural scale to the link scale, for numpy, xarray and PyTensor values."""
    if link == "log":
        return np.log(value)
    if link == "logit":
        return np.log(value) - np.log1p(-value)
    return value


def from_link(link: str, value):
    """From the link scale to the natural scale, for numpy, xarray and PyTensor values."""
    if link == "log":
        return np.exp(value)
    if link == "logit":
        return 1 / (1 + np.exp(-value))
    return value
