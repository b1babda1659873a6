"""A fit or an average of fits from a file."""

from __future__ import annotations

from pathlib import Path

from bayescale.forecasting.averaging import Average
from bayescale.model import Fit, load_one_of


def load_posterior(path: str | Path) -> Fit | Average:
    """Read a file that contains a fit or an average of fits.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    FitError
        If the file contains another result, or if it cannot be read.
    """
    return load_one_of(
        (Fit, Average),
        path,
        remedy="give a file that `bayescale fit` or `bayescale report` wrote",
    )
