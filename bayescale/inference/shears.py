"""Mixtures along curved ridges: straight in coordinates from which a polynomial trend is removed.

Along a ridge, the narrow coordinates of a posterior are nearly a polynomial of the few in
which it is wide, on the scale of the parameters: where a floor is nearly zero, the others no longer
depend on its logarithm. A mixture that is fitted to the differences from this function needs few
components. The function is fitted to weighted draws, so that it takes no evaluation of the density.
The map has a Jacobian determinant of one.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np

from bayescale.inference.mixtures import PRIOR_SHARE, Mixture, fitted
from bayescale.inference.modes import log_prior

#: Degrees of the trend; a degree is used with so many effective draws for each of its terms.
DEGREES, DRAWS_NEEDED = (1, 2, 3), 8
#: Bound on logarithms of coordinates, whose powers would overflow in the tails of a proposal.
LARGEST = 12.0


class Sheared(NamedTuple):
    """A mixture in coordinates without a polynomial trend, and the standard normal prior.

    Attributes
    ----------
    mixture : Mixture
        Of the coordinates `wide`, and of the others minus their trend.
    wide, rest : (coordinate,)
        Indices.
    rates : (coordinate,)
        Of the coordinates `wide`; see `sheared`.
    coefficients : (term, coordinate)
        Of the trends of `rest`.
    """

    mixture: Mixture
    wide: np.ndarray
    rest: np.ndarray
    rates: np.ndarray
    degree: int
    coefficients: np.ndarray

    def trend(self, z: np.ndarray) -> np.ndarray:
        """The trend of the coordinates `rest` at positions, (n, coordinate)."""
        return _terms(_natural(z[:, self.wide], self.rates), self.degree) @ self.coefficients

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, (n, dimension)."""
        of_prior = rng.random(n) < PRIOR_SHARE
        alone = self.mixture._replace(weight=self.mixture.weight / self.mixture.weight.sum())
        z = alone.draw(n, rng)
        z[:, self.rest] += self.trend(z)
        z[of_prior] = rng.standard_normal((of_prior.sum(), z.shape[1]))
        return z

    def log_density(self, z: np.ndarray, of_prior: np.ndarray | None = None) -> np.ndarray:
        """Log density, (n,); `of_prior` is `log_prior` of the positions, if it is known."""
        of_prior = log_prior(z) if of_prior is None else of_prior
        straight = z.copy()
        straight[:, self.rest] -= self.trend(z)
        return self.mixture.log_density(straight, of_prior)


def sheared(z: np.ndarray, effective: float, wide, rng: np.random.Generator, rates=()) -> Sheared:
    """A mixture fitted to equally weighted draws, with the trend of the coordinates not in `wide`.

    Parameters
    ----------
    z : (draw, dimension)
    effective : float
        Effective number of draws, which limits the number of components and the degree.
    wide : sequence of int
    rng : numpy.random.Generator
    rates : sequence of float
        One for each of `wide`: the trend is a polynomial of exp(rate * z), or of z if the rate is
        zero. By default all are zero.
    """
    wide = np.array(wide)
    rest = np.setdiff1d(np.arange(z.shape[1]), wide)
    affordable = [n for n in DEGREES if comb(len(wide) + n, n) * DRAWS_NEEDED <= effective]
    degree = max(affordable, default=1)
    rates = np.array(rates if len(rates) else np.zeros(len(wide)))
    terms = _terms(_natural(z[:, wide], rates), degree)
    coefficients = np.linalg.lstsq(terms, z[:, rest], rcond=None)[0]
    straight = z.copy()
    straight[:, rest] -= terms @ coefficients
    return Sheared(fitted(straight, effective, rng), wide, rest, rates, degree, coefficients)


def _natural(x: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Coordinates on the scale on which the trend is a polynomial."""
    return np.where(rates > 0, np.expm1(np.minimum(rates * x, LARGEST)), x)


def _terms(x: np.ndarray, degree: int) -> np.ndarray:
    """Products of up to `degree` coordinates, (n, term); the first is one."""
    products, last = [np.ones(len(x))], [(np.ones(len(x)), 0)]
    columns = np.ascontiguousarray(x.T)
    for _ in range(degree):
        last = [(term * columns[i], i) for term, start in last for i in range(start, len(columns))]
        products += [term for term, _ in last]
    return np.stack(products, axis=1)
