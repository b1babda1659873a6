"""Mathematical functions that do not depend on the rest of the package."""

from __future__ import annotations

import numpy as np


def softplus(x):
    """log(1 + exp(x)), without overflow.

    Parameters
    ----------
    x : float, array or graph
        A float, numpy array, xarray object or PyTensor graph.

    Examples
    --------
    >>> softplus(np.array([-1000.0, 0.0, 1000.0])).round(3).tolist()
    [0.0, 0.693, 1000.0]
    """
    return (x + abs(x)) / 2 + np.log1p(np.exp(-abs(x)))


def student_log_density(square, dimension: int, nu: float):
    """Log density of a multivariate Student-t distribution with unit scale matrix.

    Parameters
    ----------
    square : array
        Squared Euclidean distances from the centre.
    dimension : int
        Dimension of the distribution.
    nu : float
        Degrees of freedom.

    Returns
    -------
    numpy.ndarray
        Of the shape of `square`.

    Examples
    --------
    >>> round(float(np.exp(student_log_density(0.0, 1, nu=1.0)) * np.pi), 6)  # Cauchy
    1.0
    """
    from scipy.special import gammaln

    return (
        gammaln((nu + dimension) / 2)
        - gammaln(nu / 2)
        - dimension / 2 * np.log(nu * np.pi)
        - (nu + dimension) / 2 * np.log1p(square / nu)
    )
