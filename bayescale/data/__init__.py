"""Tables of runs and of task results: reading, checks, and conventions for counting."""

from bayescale.data import datasets
from bayescale.data.accepting import RunsLike, as_runs
from bayescale.data.counting import Count, count, local_exponent
from bayescale.data.extras import ORDERED
from bayescale.data.formats import frame
from bayescale.data.literature import literature
from bayescale.data.names import MEANING
from bayescale.data.runs import Runs
from bayescale.data.task_columns import TaskColumns, task_columns
from bayescale.data.task_table import (
    always_solved,
    below_chance,
    is_accuracy,
    never_above_chance,
    rank_correlations,
    task_table,
)
from bayescale.data.unit_questions import doubts as unit_doubts
from bayescale.data.validation import EXTRAS, FEWEST_RUNS, as_names

__all__ = [
    "EXTRAS",
    "FEWEST_RUNS",
    "MEANING",
    "ORDERED",
    "Count",
    "Runs",
    "RunsLike",
    "TaskColumns",
    "always_solved",
    "as_names",
    "as_runs",
    "below_chance",
    "count",
    "datasets",
    "frame",
    "is_accuracy",
    "literature",
    "local_exponent",
    "never_above_chance",
    "rank_correlations",
    "task_columns",
    "task_table",
    "unit_doubts",
]
