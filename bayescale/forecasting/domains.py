"""Losses on several domains in one table, each with parameters of its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import pandas as pd

from bayescale.data import Runs, frame
from bayescale.errors import FitError, RunsError, RunsWarning, unknown
from bayescale.forecasting.forecasts import Forecast, forecast
from bayescale.inference import run_all
from bayescale.laws import Law, get, mixing_law, share_columns
from bayescale.model import Fit, fit
from bayescale.priors import Prior
from bayescale.seeds import settle_seed
from bayescale.units import counted

#: Rows of a forecast that its text shows.
SHOWN = 12
FORMS = ("exponential", "transfer")


@dataclass(frozen=True, eq=False)
class Domains:
    """A fit for each of several losses of the same runs.

    Attributes
    ----------
    fits : mapping of str to Fit
        By the name of the column of the loss.
    shares : tuple of str
        Columns with the shares of a mixture; empty if there are none.
    """

    fits: Mapping[str, Fit]
    shares: tuple[str, ...] = ()

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """The table of `bayescale.Fit.summary` for every loss; index ``domain``, ``parameter``."""
        tables = {name: fit.summary(ci_prob, ci_kind) for name, fit in self.fits.items()}
        return pd.concat(tables, names=["domain"])

    def warn_if_failed(self) -> None:
        """Warn of every fit that failed its check."""
        for one in self.fits.values():
            one.warn_if_failed()

    def __repr__(self) -> str:
        first = next(iter(self.fits.values()))
        failed = [name for name, one in self.fits.items() if not one.check().passed]
        over = f" over the shares of {', '.join(self.shares)}" if self.shares else ""
        lines = [
            f"<{len(self.fits)} losses of {len(first.runs)} runs, each a fit of "
            f"{first.law.name}{over}; "
            + (f"FAILED checks: {', '.join(failed)}>" if failed else "all checks passed>")
        ]
        for name, one in self.fits.items():
            shown = ", ".join(
                f"{p} {float(one.parameters()[p].median()):.3g}" for p in one.law.parameters
            )
            lines.append(f"  {name}: {shown}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class DomainsForecast:
    """Forecasts of several losses at the same points.

    Attributes
    ----------
    forecasts : mapping of str to Forecast
        By the name of the loss.
    points : pandas.DataFrame
        The points as they were given.
    """

    forecasts: Mapping[str, Forecast]
    points: pd.DataFrame = field(repr=False)

    def summary(self, ci_prob: float | None = None, ci_kind: str | None = None) -> pd.DataFrame:
        """One row per loss and point: ``domain``, the columns of the point, and those of
        `bayescale.Forecast.summary`."""
        parts = []
        for name, one in self.forecasts.items():
            table = one.summary(ci_prob, ci_kind).reset_index(drop=True)
            new = [c for c in table if c not in one.data.coords and c not in self.points]
            parts.append(pd.concat([self.points, table[new]], axis=1).assign(domain=name))
        joined = pd.concat(parts, ignore_index=True)
        return joined[["domain", *(c for c in joined if c != "domain")]]

    def __repr__(self) -> str:
        table = self.summary()
        lines = [
            f"<Forecasts of {len(self.forecasts)} losses at {counted(len(self.points), 'point')}>"
        ]
        lines += table.head(SHOWN).to_string(index=False, float_format="{:.4g}".format).split("\n")
        return "\n".join(lines + (["..."] if len(table) > SHOWN else []))


def fit_domains(
    table: pd.DataFrame,
    law: str | Law | None = None,
    *,
    losses: Sequence[str],
    shares: Sequence[str] = (),
    form: str = "exponential",
    priors: Mapping[str, Prior] | None = None,
    draws: int = 1000,
    chains: int = 4,
    executor=None,
    random_seed: int | None = None,
    progressbar: bool | None = None,
) -> Domains:
    """Fit a law to each of several losses of the same runs.

    Every loss has parameters of its own. With `shares` the law is that of a mixture of training
    data (Ye et al. 2024, arXiv:2403.16952).

    Parameters
    ----------
    table : pandas.DataFrame
        One row per run, with the columns of the law and one column per loss.
    law : str or Law, optional
        The law. By default `bayescale.laws.mixing_law` of `shares`, which needs N also.
    losses : sequence of str
        Columns with the losses, such as those of several validation sets.
    shares : sequence of str
        Columns with the shares of the domains in the training data: numbers between 0 and 1 that
        sum to 1 in every row, up to a rounding error of 0.01.
    form : {"exponential", "transfer"}
        The form of the law of `shares`; see `bayescale.laws.mixing_law`.
    priors : mapping of str to Prior, optional
        As in `bayescale.fit`, for all losses.
    draws, chains : int
        As in `bayescale.fit`.
    executor : concurrent.futures.Executor, optional
        Or any object with the same ``submit``; it fits several losses at once.
    random_seed : int, optional
        Seed of the samplers. By default a random one.
    progressbar : bool, optional
        As in `bayescale.fit`.

    Returns
    -------
    Domains
        `bayescale.forecast` takes it, with points that have the same columns of shares.

    Raises
    ------
    RunsError
        If a column is missing, a loss cannot be read, or shares do not sum to 1.
    FitError
        If there is neither a law nor shares, if both are given, or if there is no such form.
    LawError
        If there is no law of that name.

    Warns
    -----
    ConvergenceWarning
        If a fit failed its check.

    Examples
    --------
    >>> import bayescale as bs
    >>> import numpy as np
    >>> import pandas as pd
    >>> web = np.linspace(0, 1, 8)
    >>> table = pd.DataFrame({"web": web, "code": 1 - web, "N": [1e8, 4e8] * 4})
    >>> size = 0.5 * (table["N"] / 1e8) ** -0.3
    >>> noise = np.exp(0.005 * np.random.default_rng(1).standard_normal((2, 8)))
    >>> table["loss_web"] = (2.0 + size + 0.6 * np.exp(-2 * web)) * noise[0]
    >>> table["loss_code"] = (1.0 + size + 0.9 * np.exp(-2 * (1 - web))) * noise[1]
    >>> found = bs.fit_domains(table, losses=["loss_web", "loss_code"], shares=["web", "code"],
    ...                        draws=100, random_seed=1)
    >>> points = pd.DataFrame({"web": [0.3], "code": [0.7], "N": [4e8]})
    >>> bs.forecast(found, points).summary()["domain"].tolist()
    ['loss_web', 'loss_code']
    """
    if not isinstance(table, pd.DataFrame):
        table = frame(table)
    losses, shares = _names(losses), _names(shares)
    if bool(shares) == (law is not None):
        raise FitError(
            "give either a law, for losses by its columns, or shares=, for a mixture of data",
            where="fit_domains",
        )
    if not losses:
        raise FitError("losses= names no column: name at least one", where="fit_domains")
    if form not in FORMS:
        raise FitError(unknown("form", form, FORMS), where="fit_domains")
    missing = [c for c in (*losses, *shares) if c not in table]
    if missing:
        raise RunsError([unknown("column", c, table.columns) for c in missing])
    chosen = mixing_law(shares, form=form) if shares else get(law)
    prepared = _with_shares(table, shares)
    seed = settle_seed(random_seed)
    jobs = []
    for number, name in enumerate(losses):
        others = [c for c in losses if c != name]
        one = prepared.drop(columns=[*others, *shares]).rename(columns={name: "loss"})
        options = dict(
            priors=priors,
            draws=draws,
            chains=chains,
            random_seed=(seed + number) % 2**32,
            progressbar=False,
        )
        with warnings.catch_warnings():
            if shares:  # runs of one size that differ in their mixture are expected
                warnings.filterwarnings("ignore", ".*rows whose losses differ", RunsWarning)
            runs = Runs.from_frame(one)
        jobs.append((runs, chosen, options))
    fits = run_all(_fitted, jobs, losses, [chosen], executor=executor, progressbar=progressbar)
    return Domains(MappingProxyType(dict(zip(losses, fits, strict=True))), tuple(shares))


def _fitted(job) -> Fit:
    runs, law, options = job
    return fit(runs, law, **options)


def _names(columns: str | Sequence[str]) -> list[str]:
    return [columns] if isinstance(columns, str) else list(columns)


def _with_shares(table: pd.DataFrame, shares: Sequence[str]) -> pd.DataFrame:
    """The table with the columns that the law of a mixture needs."""
    if not shares:
        return table
    try:
        columns = share_columns({c: table[c] for c in shares})
    except ValueError as error:
        raise RunsError(str(error)) from error
    return table.assign(**columns)


@forecast.register(Domains)
def _forecast_domains(
    fit: Domains, points: pd.DataFrame, *, drift: str = "auto", random_seed: int | None = None
) -> DomainsForecast:
    """Forecast every loss at the same points.

    Parameters
    ----------
    fit : Domains
    points : pandas.DataFrame
        One row per point: the columns of the law, or N and the shares of the mixture.
    drift, random_seed
        As in `bayescale.forecast`.

    Returns
    -------
    DomainsForecast
    """
    if not isinstance(points, pd.DataFrame):
        raise FitError(f"points must be a DataFrame, got {type(points).__name__}")
    if missing := [c for c in fit.shares if c not in points]:
        raise FitError([unknown("column", c, points.columns) for c in missing], where="forecast")
    prepared = _with_shares(points.reset_index(drop=True), fit.shares)
    found = {
        name: forecast(one, prepared, drift=drift, random_seed=random_seed)
        for name, one in fit.fits.items()
    }
    kept = [c for c in points if c in (*fit.shares, *next(iter(fit.fits.values())).law.columns)]
    return DomainsForecast(MappingProxyType(found), points[kept].reset_index(drop=True))
