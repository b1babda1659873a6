"""Published figures of accelerators and of the carbon intensity of electricity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from bayescale.data import datasets
from bayescale.errors import BayescaleError, unknown

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Accelerator:
    """Published figures of one accelerator.

    Attributes
    ----------
    name : str
    peak : float
        Dense bf16 FLOP per second (fp16 where there is no bf16).
    tdp : float or None
        Thermal design power in watts; None if it is not published.
    price : float or None
        US dollars per hour; None without a published figure.
    price_spread : float or None
        Factor on the price for one standard deviation.
    source : str
        Source and date of peak and power.
    price_source : str
        Source, kind and date of the price; empty without one.
    """

    name: str
    peak: float
    tdp: float | None
    price: float | None
    price_spread: float | None
    source: str
    price_source: str


@cache
def _hardware() -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(datasets.bundled("hardware.csv"))


@cache
def _grids() -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(datasets.bundled("grid_carbon.csv"))


def _key(text: object) -> str:
    """A name without case, spaces and punctuation."""
    return re.sub(r"[^a-z0-9]", "", str(text).lower())


def _row(table: pd.DataFrame, column: str, name: str, what: str) -> pd.Series:
    """The row that a name in any case stands for, or an error that lists all names."""
    rows = table[table[column].map(_key) == _key(name)]
    if rows.empty:
        raise BayescaleError(unknown(what, name, table[column], many=40))
    return rows.iloc[0]


def accelerator(name: str) -> Accelerator:
    """The figures of an accelerator, by a name in any case (``"h100"``, ``"TPU v5p"``).

    Raises
    ------
    BayescaleError
        If the name is unknown; the message lists all names.
    """
    row = _row(_hardware(), "name", name, "accelerator")
    priced = row["price_usd_per_hour"] > 0
    return Accelerator(
        str(row["name"]),
        1e12 * float(row["peak_tflops"]),
        float(row["tdp_w"]) if row["tdp_w"] > 0 else None,
        float(row["price_usd_per_hour"]) if priced else None,
        float(row["price_spread"]) if priced else None,
        f"{row['source']}, {row['source_date']}",
        f"{row['price_kind']} price: {row['price_source']}, {row['price_date']}" if priced else "",
    )


def is_accelerator(name: str) -> bool:
    """Whether a name is that of an accelerator."""
    return _key(name) in set(_hardware()["name"].map(_key))


def carbon_intensity(region: str) -> tuple[float, str]:
    """Carbon intensity of the electricity of a region in kg CO2e per kWh, and its source.

    Raises
    ------
    BayescaleError
        If the region is unknown; the message lists all regions.
    """
    row = _row(_grids(), "region", region, "region")
    return float(row["kg_per_kwh"]), f"{row['region']} {row['year']}: {row['source']}"
