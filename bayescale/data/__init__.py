"""Tables of runs and of task results: reading, checks, and conventions for counting."""

from bayescale.data import datasets
from bayescale.data.counting import Count, count, local_exponent
from bayescale.data.reading import frame
from bayescale.data.runs import FEWEST_RUNS, Runs, as_names
from bayescale.data.task_table import task_table

__all__ = [
    "FEWEST_RUNS",
    "Count",
    "Runs",
    "as_names",
    "count",
    "datasets",
    "frame",
    "local_exponent",
    "task_table",
]
