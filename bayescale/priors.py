"""A prior as numbers that a person can say: "about 0.35, give or take a factor of 1.5".

Every prior is a normal distribution on a *link* scale: the logarithm for positive quantities, the
log odds for fractions, the quantity itself for real ones. Groups differ on that scale too, by a
typical amount `between`, so one statement covers a parameter, its population and its groups.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from bayescale.errors import LawError


@dataclass(frozen=True)
class Prior:
    """Base of the priors: `centre` and `width` on the link scale, made from what was said."""

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
    """Widths said as factors: of the quantity, or of its odds."""

    @property
    def width(self) -> float:
        return float(np.log(self.spread))

    @property
    def between_width(self) -> float:
        return float(np.log(self.between))


@dataclass(frozen=True)
class Positive(_ByFactor, Prior):
    """A positive quantity: log-normal.

    Parameters
    ----------
    median : float
        As likely to be above as below.
    spread : float
        Factor that one standard deviation multiplies or divides by; > 1.
    between : float
        The same factor between groups, as typically found; > 1. Its own uncertainty is a factor
        of about 1.65 (see ``bayescale.model.design.SCALE_SPREAD``).
    of : {None, "loss"}
        ``"loss"``: `median` is a share of the training runs' typical loss, for laws whose loss may
        be in any unit.

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
        """The same statement in absolute units, given the typical loss."""
        return replace(self, median=self.median * loss, of=None) if self.of == "loss" else self


@dataclass(frozen=True)
class Fraction(_ByFactor, Prior):
    """A quantity between 0 and 1: logit-normal.

    Parameters
    ----------
    median : float
        As likely to be above as below; between 0 and 1.
    spread : float
        Factor on the odds of one standard deviation; > 1.
    between : float
        The same factor between groups; > 1.

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
    """A quantity of either sign: normal.

    Parameters
    ----------
    median : float
        The centre.
    sd : float
        Standard deviation; > 0.
    between : float, optional
        Standard deviation between groups, typically; a quarter of `sd` by default.

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
    def width(self):
        return float(self.sd)

    @property
    def between_width(self):
        return float(self.sd / 4 if self.between is None else self.between)


def to_link(link: str, value):
    """Natural scale to link scale; numpy, xarray and PyTensor alike."""
    if link == "log":
        return np.log(value)
    if link == "logit":
        return np.log(value) - np.log1p(-value)
    return value


def from_link(link: str, value):
    """Link scale to natural scale; numpy, xarray and PyTensor alike."""
    if link == "log":
        return np.exp(value)
    if link == "logit":
        return 1 / (1 + np.exp(-value))
    return value
