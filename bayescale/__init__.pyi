# The public API: its one list. `bayescale/__init__.py` resolves these names at run time, type
# checkers and editors read them here.
from . import laws as laws
from . import testing as testing
from . import theory as theory
from .capabilities import (
    BreakForecast as BreakForecast,
)
from .capabilities import (
    Breaks as Breaks,
)
from .capabilities import (
    Emergence as Emergence,
)
from .capabilities import (
    Link as Link,
)
from .capabilities import (
    MetricTest as MetricTest,
)
from .capabilities import (
    TaskForecast as TaskForecast,
)
from .capabilities import (
    breaks as breaks,
)
from .capabilities import (
    emergence as emergence,
)
from .capabilities import (
    forecast_tasks as forecast_tasks,
)
from .capabilities import (
    link as link,
)
from .capabilities import (
    metric_test as metric_test,
)
from .costs import (
    Bill as Bill,
)
from .costs import (
    Cost as Cost,
)
from .costs import (
    as_flops as as_flops,
)
from .data import (
    Count as Count,
)
from .data import (
    Runs as Runs,
)
from .data import (
    count as count,
)
from .data import (
    datasets as datasets,
)
from .data import (
    literature as literature,
)
from .data import (
    local_exponent as local_exponent,
)
from .decisions import (
    DesignScore as DesignScore,
)
from .decisions import (
    Outcome as Outcome,
)
from .decisions import (
    Preregistration as Preregistration,
)
from .decisions import (
    Speedup as Speedup,
)
from .decisions import (
    Suggestion as Suggestion,
)
from .decisions import (
    Trajectory as Trajectory,
)
from .decisions import (
    Underway as Underway,
)
from .decisions import (
    design as design,
)
from .decisions import (
    outcome as outcome,
)
from .decisions import (
    preregister as preregister,
)
from .decisions import (
    speedup as speedup,
)
from .decisions import (
    suggest as suggest,
)
from .decisions import (
    trajectory as trajectory,
)
from .errors import (
    ConvergenceWarning as ConvergenceWarning,
)
from .errors import (
    ExtrapolationWarning as ExtrapolationWarning,
)
from .errors import (
    FitError as FitError,
)
from .errors import (
    LawError as LawError,
)
from .errors import (
    RunsError as RunsError,
)
from .errors import (
    RunsWarning as RunsWarning,
)
from .evaluation import (
    Comparison as Comparison,
)
from .evaluation import (
    Hypotheses as Hypotheses,
)
from .evaluation import (
    Rollout as Rollout,
)
from .evaluation import (
    average as average,
)
from .evaluation import (
    calibrate as calibrate,
)
from .evaluation import (
    compare as compare,
)
from .evaluation import (
    ensemble as ensemble,
)
from .evaluation import (
    hypotheses as hypotheses,
)
from .evaluation import (
    rollout as rollout,
)
from .forecasting import (
    Allocation as Allocation,
)
from .forecasting import (
    Average as Average,
)
from .forecasting import (
    Domains as Domains,
)
from .forecasting import (
    DomainsForecast as DomainsForecast,
)
from .forecasting import (
    Forecast as Forecast,
)
from .forecasting import (
    allocate as allocate,
)
from .forecasting import (
    fit_domains as fit_domains,
)
from .forecasting import (
    forecast as forecast,
)
from .forecasting import (
    regret as regret,
)
from .laws import Law as Law
from .laws import Published as Published
from .laws import schedule_columns as schedule_columns
from .model import NEW as NEW
from .model import Fit as Fit
from .model import LiteraturePriors as LiteraturePriors
from .model import Sensitivity as Sensitivity
from .model import fit as fit
from .model import priors_from_literature as priors_from_literature
from .model import sensitivity as sensitivity
from .model import simulate as simulate
from .plots import (
    plot_allocation as plot_allocation,
)
from .plots import (
    plot_breaks as plot_breaks,
)
from .plots import (
    plot_contours as plot_contours,
)
from .plots import (
    plot_coverage as plot_coverage,
)
from .plots import (
    plot_emergence as plot_emergence,
)
from .plots import (
    plot_exponents as plot_exponents,
)
from .plots import (
    plot_fit as plot_fit,
)
from .plots import (
    plot_forecast as plot_forecast,
)
from .plots import (
    plot_isoflop as plot_isoflop,
)
from .plots import (
    plot_link as plot_link,
)
from .plots import (
    plot_posterior as plot_posterior,
)
from .plots import (
    plot_residuals as plot_residuals,
)
from .plots import (
    plot_rollout as plot_rollout,
)
from .plots import (
    plot_runs as plot_runs,
)
from .plots import (
    plot_sbc as plot_sbc,
)
from .plots import (
    plot_speedup as plot_speedup,
)
from .plots import (
    plot_staircase as plot_staircase,
)
from .priors import Fixed as Fixed
from .priors import Fraction as Fraction
from .priors import Positive as Positive
from .priors import Real as Real
from .reporting import report as report
from .saved import load as load
from .units import (
    flop as flop,
)
from .units import (
    format_count as format_count,
)
from .units import (
    grid as grid,
)
from .units import (
    parse_count as parse_count,
)

__version__: str
