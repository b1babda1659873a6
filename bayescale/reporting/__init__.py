"""Results as tables of text, and as an HTML page."""

from bayescale.reporting import tables
from bayescale.reporting.page import findings, report, save_picture
from bayescale.reporting.tables import Table

__all__ = ["Table", "findings", "report", "save_picture", "tables"]
