"""Results as text: tables, a page, lines on a terminal."""

from bayescale.reporting import tables
from bayescale.reporting.page import findings, report, save_picture
from bayescale.reporting.tables import Table, allocations, coverage, forecasts, posterior

__all__ = [
    "Table",
    "allocations",
    "coverage",
    "findings",
    "forecasts",
    "posterior",
    "report",
    "save_picture",
    "tables",
]
