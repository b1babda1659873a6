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


def student_log_density(square, dimension: int, nu):
    """Log density of a multivariate Student-t distribution with unit scale matrix.

    Parameters
    ----------
    square : array
        Squared Euclidean distances from the centre.
    dimension : int
        Dimension of the distribution.
    nu : float or array
        Degrees of freedom; infinite for a normal distribution.

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

    normal = np.isinf(nu)
    if normal.all():
        return -0.5 * (square + dimension * np.log(2 * np.pi))
    finite = np.where(normal, 1.0, nu)
    student = (
        gammaln((finite + dimension) / 2)
        - gammaln(finite / 2)
        - dimension / 2 * np.log(finite * np.pi)
        - (finite + dimension) / 2 * np.log1p(square / finite)
    )
    if not normal.any():
        return student
    return np.where(normal, student_log_density(square, dimension, np.inf), student)


def student_tail(distance, nu):
    """Probability that a standard Student-t variable exceeds a distance.

    Parameters
    ----------
    distance : float or array
    nu : float or array
        Degrees of freedom; infinite for a normal distribution.

    Returns
    -------
    numpy.ndarray

    Examples
    --------
    >>> [round(float(student_tail(1.0, nu)), 4) for nu in (1.0, np.inf)]
    [0.25, 0.1587]
    """
    from scipy.special import stdtr

    return stdtr(nu, -np.asarray(distance))
