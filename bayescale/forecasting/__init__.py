"""Forecasts of new runs, averages of laws, and allocation of budgets between N and D."""

from bayescale.forecasting.allocation import allocate, best_split
from bayescale.forecasting.allocation_results import Allocation
from bayescale.forecasting.averaging import (
    Average,
    check_posterior,
    fits_of,
    named,
    other_runs,
    percent,
    warn_if_any_failed,
    weights_of,
)
from bayescale.forecasting.cautions import (
    FAR,
    FAR_IN_WORDS,
    FURTHER,
    REMOTE,
    beyond_in_words,
    distances,
    doubts,
    main_reason,
    scale_column,
)
from bayescale.forecasting.continued import follows_from_budget, splits_budgets
from bayescale.forecasting.domains import Domains, DomainsForecast, fit_domains
from bayescale.forecasting.forecasts import Forecast, forecast
from bayescale.forecasting.law_draws import DRIFTS
from bayescale.forecasting.members import (
    ahead_of,
    beyond_largest,
    draw_losses,
    losses_by_law,
)
from bayescale.forecasting.mixing import mix, shares, stacking
from bayescale.forecasting.plausibility import (
    refuse_disordered,
    refuse_missing,
    refuse_tiny,
    refuse_unused,
)
from bayescale.forecasting.points import complete_counts, example_of, read_points
from bayescale.forecasting.predictive_draws import PredictiveDraws
from bayescale.forecasting.regrets import regret
from bayescale.forecasting.searches import reached
from bayescale.forecasting.stored import load_posterior
from bayescale.forecasting.wording import answer_html, group_labels_in_words

__all__ = [
    "DRIFTS",
    "FAR",
    "FAR_IN_WORDS",
    "FURTHER",
    "REMOTE",
    "Allocation",
    "Average",
    "Domains",
    "DomainsForecast",
    "Forecast",
    "PredictiveDraws",
    "ahead_of",
    "allocate",
    "answer_html",
    "best_split",
    "beyond_in_words",
    "beyond_largest",
    "check_posterior",
    "complete_counts",
    "distances",
    "doubts",
    "draw_losses",
    "example_of",
    "fit_domains",
    "fits_of",
    "follows_from_budget",
    "forecast",
    "group_labels_in_words",
    "load_posterior",
    "losses_by_law",
    "main_reason",
    "mix",
    "named",
    "other_runs",
    "percent",
    "reached",
    "read_points",
    "refuse_disordered",
    "refuse_missing",
    "refuse_tiny",
    "refuse_unused",
    "regret",
    "scale_column",
    "shares",
    "splits_budgets",
    "stacking",
    "warn_if_any_failed",
    "weights_of",
]
