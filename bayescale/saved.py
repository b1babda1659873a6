"""Results of any class from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bayescale import capabilities, evaluation, forecasting
from bayescale.laws import Law
from bayescale.model import Fit, Storable, load_one_of

__all__ = ["KINDS", "load"]

#: The classes of results that can be saved.
KINDS: tuple[type[Storable], ...] = (
    Fit,
    forecasting.Average,
    forecasting.Forecast,
    capabilities.Link,
    capabilities.TaskForecast,
    capabilities.Breaks,
    capabilities.BreakForecast,
    capabilities.Emergence,
    evaluation.Rollout,
)


def load(path: str | Path, law: Law | Mapping[str, Law] | None = None) -> Storable:
    """Read a result that was saved, of whatever class it is.

    Each class that can be saved also has a method ``load``, which refuses the others.

    Parameters
    ----------
    path : str or Path
        A file that ``save`` of a result wrote, or the command ``fit`` or ``report``.
    law : Law or mapping of str to Law, optional
        The laws of the fits in the file that `bayescale.laws` does not contain: one law, or a
        mapping of names to laws.

    Returns
    -------
    Fit, Average, Forecast, Link, TaskForecast, Breaks, BreakForecast, Emergence or Rollout

    Raises
    ------
    FitError
        If the file cannot be read, is damaged or was written by a newer version, if a law is
        neither in `bayescale.laws` nor given, or if a given law is not used.

    Examples
    --------
    >>> import tempfile
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> best = bs.ensemble(runs, ["kaplan_floor", "power(D)"], random_seed=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     best.save(f"{folder}/best.nc")
    ...     type(bs.load(f"{folder}/best.nc")).__name__
    'Average'
    """
    return load_one_of(KINDS, path, law)
