"""Forecasts that are written to a file before their runs are measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from bayescale.errors import FitError
from bayescale.forecasting import Average, Forecast, fits_of, weights_of
from bayescale.keywords import hinted
from bayescale.model import Fit, atomically
from bayescale.units import counted, format_count, format_flop

#: Version of the file format.
FORMAT = 1
KEY = "bayescale preregistration"
#: Number of quantiles that represent the predictive distribution of a run.
QUANTILES = 999
COUNTS = ("N", "D", "C")


@dataclass(frozen=True)
class Preregistration:
    """A forecast that was written to a file before its runs were measured.

    Attributes
    ----------
    path : str
        The file.
    sha256 : str
        Hash of the content. Published elsewhere, it proves that the content was not changed.
    time : str
        When the file was written, in UTC (ISO 8601).
    content : dict
        What the file holds: law, priors, seed, version, fingerprint of the runs and points.
    """

    path: str
    sha256: str
    time: str
    content: dict = field(repr=False)

    @property
    def points(self) -> pd.DataFrame:
        """The registered runs: columns, groups, and median and 90 % interval of the loss."""
        rows = []
        for point in self.content["points"]:
            low, middle, high = quantiles_of(point["quantiles"])
            rows.append({**point["at"], "median": middle, "lower": low, "upper": high})
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        runs = self.content["runs"]
        lines = [
            f"A forecast of {counted(len(self.content['points']), 'run')} by "
            f"{self.content['law']} was registered at {self.time}.",
            f"  file {self.path}, SHA-256 of its content {self.sha256}",
            f"  {runs['number']} runs from {runs['source']} (fingerprint {runs['fingerprint']}), "
            f"seed {self.content['random_seed']}, bayescale {self.content['version']}",
        ]
        for point in self.content["points"]:
            low, middle, high = quantiles_of(point["quantiles"])
            lines.append(f"  {in_words(point['at'])}: {middle:.4g} ({low:.4g} to {high:.4g})")
        return "\n".join(lines)


def quantiles_of(registered: Sequence[float], p: Sequence[float] = (0.05, 0.5, 0.95)) -> np.ndarray:
    """Quantiles of a distribution that is registered by its quantiles at even probabilities."""
    return np.quantile(registered, p, method="hazen")


@hinted
def preregister(forecast: Forecast, path: str | Path) -> Preregistration:
    """Write a forecast to a file, to be scored when its runs have been measured.

    Parameters
    ----------
    forecast : Forecast
        Of one or more runs.
    path : str or Path
        A JSON file. It is written completely or not at all, and must not exist.

    Returns
    -------
    Preregistration
        With the hash of the content, to be published or sent to somebody.

    Raises
    ------
    FitError
        If `forecast` is no forecast of losses, or if the file exists or cannot be written.

    Notes
    -----
    The file holds 999 quantiles of the predictive distribution of the measured loss of each run,
    the law with its priors, the seed, the version, the time and a fingerprint of the fitted runs.
    The hash detects changes of the file. It does not prove when the file was written: for this,
    give the hash to others.

    Examples
    --------
    >>> import tempfile
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4' and N < 1e9")
    >>> ahead = bs.forecast(bs.fit(runs, draws=200, random_seed=1), N="6.9B", D="138B")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     written = bs.preregister(ahead, f"{folder}/big_run.json")
    ...     result = bs.outcome(written.path, 2.39)
    >>> bool(result.table["tail_probability"][0] > 0.1)
    True
    """
    if not isinstance(forecast, Forecast):
        raise FitError(
            f"cannot register {type(forecast).__name__}: give a forecast of losses, as "
            "bs.forecast(fit, ...) makes it from a fit or an average"
        )
    path = Path(path)
    if path.exists():
        raise FitError(
            "the file exists, and a registered forecast is not replaced: name another",
            where=str(path),
        )
    content = _content(forecast)
    body = {KEY: FORMAT, "time": datetime.now(UTC).isoformat(timespec="seconds"), **content}
    body["sha256"] = _hash(body)
    text = json.dumps(body, indent=1)
    atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return Preregistration(str(path), body["sha256"], body["time"], content)


def _content(forecast: Forecast) -> dict:
    """What is registered, as JSON values."""
    fit, data = forecast.fit, forecast.data
    runs = fit.runs
    probabilities = (np.arange(QUANTILES) + 0.5) / QUANTILES
    loss = data["loss"].transpose("chain", "draw", "point").to_numpy()
    quantiles = np.quantile(loss.reshape(-1, loss.shape[-1]), probabilities, axis=0)
    skipped = ("chain", "draw", "point", "extrapolation")
    names = [str(c) for c in data.coords if c not in skipped and data[c].dims == ("point",)]
    points = [
        dict(
            at={c: _plain(data[c].to_numpy()[i]) for c in names},
            quantiles=[float(f"{v:.8g}") for v in quantiles[:, i]],
        )
        for i in range(data.sizes["point"])
    ]
    return dict(
        version=version("bayescale"),
        law=forecast.law,
        laws=laws_of(fit),
        weights=weights_of(fit),
        random_seed=int(forecast.random_seed),
        runs=dict(
            fingerprint=runs.fingerprint,
            sha256=hashlib.sha256(runs.to_json().encode()).hexdigest(),
            number=len(runs),
            source=str(runs.source),
            loss_unit=runs.loss_unit,
            groups=list(fit.groups),
        ),
        points=points,
    )


def laws_of(fit: Fit | Average) -> dict:
    """Priors and drift of each law."""
    members = fits_of(fit)
    return {
        name: dict(
            law=one.law.name,
            drift=one.plan.drift,
            priors={p.name: repr(p.prior) for p in one.plan.parameters},
        )
        for name, one in members.items()
    }


def _plain(value):
    return str(value) if isinstance(value, (str, np.str_)) else float(value)


def _hash(body: Mapping) -> str:
    """Hash of everything but the hash itself."""
    plain = {k: v for k, v in body.items() if k != "sha256"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_preregistration(path: str | Path) -> Preregistration:
    """Read a file that `preregister` wrote, and verify that it was not changed.

    Raises
    ------
    FitError
        If there is no such file, if it is no preregistration, if it was written by a newer version,
        or if it was changed.
    """
    path = Path(path)
    if not path.is_file():
        raise FitError("there is no such file", where=str(path))
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise FitError(
            "this is not a JSON file: name a file that preregister() wrote", where=str(path)
        ) from None
    if not isinstance(body, dict) or KEY not in body:
        raise FitError("this file was not written by preregister()", where=str(path))
    if body[KEY] != FORMAT:
        raise FitError(
            f"this file has format {body[KEY]}, and this version reads {FORMAT}: update bayescale",
            where=str(path),
        )
    if _hash(body) != body.get("sha256"):
        raise FitError(
            "this file was changed after it was written: its hash is "
            f"{_hash(body)[:16]}..., and that of the registered content "
            f"{str(body.get('sha256'))[:16]}...",
            where=str(path),
        )
    content = {k: v for k, v in body.items() if k not in (KEY, "time", "sha256")}
    return Preregistration(str(path), body["sha256"], body["time"], content)


def in_words(at: Mapping) -> str:
    """A run in words, from its columns and groups."""
    parts = []
    if "N" in at:
        parts.append(f"{format_count(at['N'])} parameters")
    if "D" in at:
        parts.append(f"{format_count(at['D'])} tokens")
    if "C" in at and not {"N", "D"} <= set(at):
        parts.append(f"{format_flop(at['C'])} FLOP")
    for name, value in at.items():
        if name not in COUNTS and value != "":
            parts.append(value if isinstance(value, str) else f"{name} {value:.4g}")
    return ", ".join(parts)
