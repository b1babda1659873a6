"""Links from loss to task accuracy, and breaks (emergence) in curves of scores."""

from bayescale.capabilities.break_forecasts import BreakForecast
from bayescale.capabilities.break_results import Breaks
from bayescale.capabilities.break_search import breaks
from bayescale.capabilities.emergence import Emergence, emergence
from bayescale.capabilities.links import Link, link
from bayescale.capabilities.metric_comparison import MetricTest, metric_test
from bayescale.capabilities.task_forecasts import TaskForecast, accuracies, forecast_tasks

__all__ = [
    "BreakForecast",
    "Breaks",
    "Emergence",
    "Link",
    "MetricTest",
    "TaskForecast",
    "accuracies",
    "breaks",
    "emergence",
    "forecast_tasks",
    "link",
    "metric_test",
]
