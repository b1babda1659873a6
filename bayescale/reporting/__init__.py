"""Results as tables of text, and as an HTML page."""

from bayescale.reporting import decision_tables, tables, task_tables
from bayescale.reporting.answers import allocation_curve, findings, speedup_curve
from bayescale.reporting.held_out import held_out_half, why_not_held_out
from bayescale.reporting.page import report
from bayescale.reporting.sections import save_picture
from bayescale.reporting.tables import Table

__all__ = [
    "Table",
    "allocation_curve",
    "decision_tables",
    "findings",
    "held_out_half",
    "report",
    "save_picture",
    "speedup_curve",
    "tables",
    "task_tables",
    "why_not_held_out",
]
