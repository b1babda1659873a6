"""Functions that numpy arrays, xarray objects and PyTensor graphs evaluate alike."""

from __future__ import annotations

import numpy as np


def softplus(x):
    """log(1 + exp(x)), without overflow.

    Examples
    --------
    >>> softplus(np.array([-1000.0, 0.0, 1000.0])).round(3).tolist()
    [0.0, 0.693, 1000.0]
    """
    return (x + abs(x)) / 2 + np.log1p(np.exp(-abs(x)))


def student_log_density(square, dimension: int, nu: float):
    """Log density of a multivariate Student-t of unit scale.

    Parameters
    ----------
    square : array
        Squared distances from the centre.
    dimension : int
    nu : float
        Degrees of freedom.
    """
    from scipy.special import gammaln

    return (
        gammaln((nu + dimension) / 2)
        - gammaln(nu / 2)
        - dimension / 2 * np.log(nu * np.pi)
        - (nu + dimension) / 2 * np.log1p(square / nu)
    )
