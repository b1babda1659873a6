"""Forecast losses and compute-optimal allocations."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from bayescale.data import Runs
from bayescale.errors import ExtrapolationWarning, FitError, unknown
from bayescale.forecasting import Allocation, Forecast
from bayescale.forecasting import forecast as run_forecast
from bayescale.intervals import SAMPLE, defaults, interval
from bayescale.laws import MODELS, SPLITS
from bayescale.model import NEW
from bayescale.plots import style
from bayescale.plots.style import colour, label_for, log_axis, loss_axis
from bayescale.units import times_in_words

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


#: Relative differences of neighbouring points that are errors of rounding.
ROUNDING = 1e-9


def plot_forecast(
    forecast: Forecast,
    *,
    x: str | None = None,
    observed: Runs | None = None,
    ci_prob: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Forecast losses along N, D or C: the mean, and the measured loss of a new run.

    Parameters
    ----------
    forecast : Forecast
    x : {"N", "D", "C"}, optional
        The x axis; another column of the law is allowed too. By default the column with the widest
        range.
    observed : Runs, optional
        Runs to draw on top, such as held-out ones; by default the fitted ones, under a law of
        several columns from their median scale or the first point on. Those of other groups than
        the forecast are drawn fainter.
    ci_prob : float, optional
        Probability of the intervals; 90 % by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        Bands of ``mean``, the law with its drift, and of ``loss``, the measured loss of a new run.
        With one or two points, or points that are not on one path, such as each N with each D, bars
        in place of bands. To one or two points a thin line leads from the scale of the fitted runs:
        the mean at the tokens per parameter of the point, or on the line through both. The region
        beyond the fitted runs is shaded.

    Raises
    ------
    FitError
        If `x` is not a column of the forecast.

    Warns
    -----
    ConvergenceWarning
        If the fit failed its check.

    Examples
    --------
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm").query("dataset == 'c4'"), random_seed=1)
    >>> bs.plot_forecast(bs.forecast(fit, C=bs.grid("1e19", "1e22", 20))).get_xlabel()
    'training compute C (FLOP)'
    """
    style.require(forecast, Forecast, "plot_forecast")
    data = forecast.data
    candidates = [c for c in ("C", "N", "D", *forecast.fit.law.columns) if c in data.coords]
    if x is not None and x not in candidates:
        raise FitError(unknown("column", x, dict.fromkeys(candidates)), where="plot_forecast")
    forecast.fit.warn_if_failed()
    ax = style.axes(ax)
    prob, kind = defaults(ci_prob)
    x = x or max(candidates, key=lambda c: np.ptp(np.log(data[c].to_numpy())))
    data = data.sortby(x)
    at = data[x].to_numpy()
    shades = (
        ("loss", 0.18, f"loss of a new run, {100 * prob:g} %"),
        ("mean", 0.4, f"mean, {100 * prob:g} %"),
    )
    if len(at) > 2 and _on_one_path(data, x):
        for name, alpha, text in shades:
            lower, upper = interval(data[name], prob, kind)
            ax.fill_between(at, lower, upper, color=colour(0), alpha=alpha, linewidth=0, label=text)
        ax.plot(at, data["mean"].median(SAMPLE), color=colour(0))
    else:
        for name, width, text in (("loss", 3, shades[0][2]), ("mean", 8, shades[1][2])):
            lower, upper = interval(data[name], prob, kind)
            ax.vlines(
                at,
                lower,
                upper,
                color=colour(0),
                linewidth=width,
                label=text,
                alpha=0.5 if name == "mean" else 1,
            )
        ax.plot(at, data["mean"].median(SAMPLE), "o", color=colour(0))
        _path_to(ax, forecast, x)
    fitted = forecast.fit.runs
    if observed is not None:
        style.require(observed, Runs, "plot_forecast: observed=")
    elif x in fitted:
        observed = fitted
    if observed is not None:
        shown, name = observed.table, "observed"
        if observed is fitted:
            name = "fitted runs"
            if len(forecast.fit.law.columns) > 1:
                shown = shown[shown[x] >= min(shown[x].median(), at[0])]
            if len(shown) < len(fitted):
                name = f"fitted runs, the larger {len(shown)} of {len(fitted)}"
        _observed(ax, forecast, shown, x, name)
        style.cut_outliers(ax, shown[x], shown["loss"])
    largest = float(forecast.fit.runs.table[x].max()) if x in forecast.fit.runs else np.inf
    log_axis(ax.xaxis, x)
    loss_axis(ax.yaxis)
    left, right = ax.get_xlim()
    if left < largest < right:
        ax.axvspan(largest, right, color="#f4f1ea", zorder=0, linewidth=0)
        ax.set_xlim(left, right)
    ax.set(
        xlabel=label_for(x),
        ylabel=label_for("loss", forecast.fit.runs.loss_unit),
        title=f"Forecast by {style.name_of_law(forecast.fit)}{forecast.group}"
        + ("\n(shaded: beyond the runs)" if left < largest < right else ""),
    )
    ax.legend()
    return ax


def _on_one_path(data, x: str) -> bool:
    """Whether the points, sorted by `x`, are of one group and series, and no column turns back."""
    numbers = [c for c in data.coords if data[c].dims == ("point",) and data[c].dtype.kind == "f"]
    labels = [c for c in data.coords if data[c].dims == ("point",) and data[c].dtype.kind in "OU"]
    if any(len(set(data[c].to_numpy().tolist())) > 1 for c in labels):
        return False
    if (np.diff(data[x].to_numpy()) <= 0).any():
        return False
    for c in numbers:
        values = data[c].to_numpy()
        steps = np.diff(values) / np.maximum(np.abs(values[1:]), np.abs(values[:-1])).clip(1e-300)
        if (steps > ROUNDING).any() and (steps < -ROUNDING).any():
            return False
    return True


def _path_to(ax: Axes, forecast: Forecast, x: str) -> None:
    """Draw the mean from the scale of the fitted runs to one point or two of one group."""
    data, fit = forecast.data, forecast.fit
    columns = fit.law.columns
    labels = {g: np.unique(data[g].to_numpy().astype(str)) for g in fit.groups}
    several = any(len(found) > 1 for found in labels.values())
    of_sizes = set(columns) == {"N", "D"} and x in "NDC"
    if data.sizes["point"] > 2 or several or not (of_sizes or columns == (x,)):
        return
    logs = {c: np.log(data[c].to_numpy()) for c in columns}
    place = _line_to(logs, np.log(fit.runs.table[list(columns)].prod(axis=1)), of_sizes)
    if place is None:
        return
    series = np.unique(data["series"].to_numpy().astype(str)) if "series" in data.coords else [""]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        there = run_forecast(
            fit,
            **place,
            group={g: None if v[0] == NEW else v[0] for g, v in labels.items()} or None,
            series=series[0] if len(series) == 1 and series[0] else None,
            random_seed=forecast.random_seed,
        ).data
    text = "mean"
    if of_sizes:
        ratio = times_in_words(float(np.exp(logs["D"] - logs["N"])[0]))
        one = data.sizes["point"] == 1
        text = f"mean at {ratio} tokens per parameter" if one else "mean on the line through both"
    if columns == (x,):
        lower, upper = interval(there["loss"])
        band = dict(color=colour(0), alpha=0.18, linewidth=0)
        ax.fill_between(there[x], lower, upper, **band)
    ax.plot(there[x], there["mean"].median(SAMPLE), color=colour(0), linewidth=1.2, label=text)


def _line_to(logs: dict, fitted, of_sizes: bool) -> dict[str, np.ndarray] | None:
    """Columns on a line in logarithms to the last point, from the median or the smallest run.

    None if two points are not on a rising line.
    """
    total = sum(logs.values())
    last = int(np.argmax(total))
    first = int(np.argmin(total))
    slope = {c: 1 / len(logs) for c in logs}
    if first != last:
        step = {c: v[last] - v[first] for c, v in logs.items()}
        if min(step.values()) <= 0:
            return None
        slope = {c: v / sum(step.values()) for c, v in step.items()}
    start = float(np.log(np.exp(fitted).median()) if of_sizes else fitted.min())
    back = np.linspace(min(start - total[last], 0.0), 0, 40)
    return {c: np.exp(v[last] + slope[c] * back) for c, v in logs.items()}


def _observed(ax: Axes, forecast: Forecast, table: pd.DataFrame, x: str, name: str) -> None:
    """Draw runs; those of the group of the forecast, if it has one, stand out."""
    same = np.ones(len(table), bool)
    for g in forecast.fit.groups:
        labels = np.unique(forecast.data[g].to_numpy().astype(str))
        if g in table and len(labels) == 1 and (table[g].astype(str) == labels[0]).any():
            same &= (table[g].astype(str) == labels[0]).to_numpy()
    for chosen, alpha, text in ((same, 1.0, name), (~same, 0.35, f"{name}, other groups")):
        if chosen.any():
            ax.scatter(
                table[x][chosen],
                table["loss"][chosen],
                color=colour(1),
                s=46,
                edgecolor="white",
                linewidth=0.8,
                alpha=alpha,
                zorder=4,
                label=text,
            )


def plot_allocation(
    allocation: Allocation, *, ci_prob: float | None = None, landmarks: bool = True
) -> np.ndarray:
    """The compute-optimal N and D against the budget, with published rules and known models.

    Parameters
    ----------
    allocation : Allocation
        Of two or more budgets, such as ``bs.allocate(fit, bs.grid(1e19, 1e26))``.
    ci_prob : float, optional
        Probability of the bands; 90 % by default.
    landmarks : bool
        Whether to draw the rules of Kaplan et al. 2020 and Hoffmann et al. 2022 (as refitted by
        Besiroglu et al. 2024) as lines, and
        well-known models as points.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        The panels of N and of D. The vertical line marks the largest fitted run. The region beyond
        100 times its compute, where forecasts give a warning, is shaded. Names of models that would
        overlap others are left out.

    Raises
    ------
    FitError
        For a single budget.

    Warns
    -----
    ConvergenceWarning
        If the fit failed its check.
    """
    style.require(allocation, Allocation, "plot_allocation")
    if len(np.unique(allocation.data["C"])) < 2:
        raise FitError(
            "plot_allocation needs two or more budgets, but this allocation has one: give "
            "bs.allocate a range such as C=bs.grid(1e20, 1e25)"
        )
    allocation.fit.warn_if_failed()
    prob, kind = defaults(ci_prob)
    _, panels = style.figure(1, 2, (10, 5.2))
    data = allocation.data.sortby("C")
    C = data["C"].to_numpy()
    models = [m for m in MODELS if C.min() <= m.C <= C.max()] if landmarks else []
    for k, (ax, column) in enumerate(zip(panels, "ND", strict=True)):
        lower, upper = interval(data[column], prob, kind)
        ax.fill_between(
            C,
            lower,
            upper,
            color=colour(0),
            alpha=0.25,
            linewidth=0,
            label=f"optimum, {100 * prob:g} %",
        )
        ax.plot(C, data[f"{column}_decision"], color=colour(0), label="lowest expected loss")
        if landmarks:
            for (name, split), dash in zip(SPLITS.items(), style.DASHES, strict=False):
                ax.plot(C, split(C)[k], color=style.GREY, linestyle=dash, linewidth=1.6,
                        label=f"{name} (other tokenizer)")  # fmt: skip
        for m in models:
            ax.plot(m.C, getattr(m, column), "o", color=colour(1), markersize=6, zorder=4)
        ax.plot([], [], "o", color=colour(1), label="models (other tokenizers)") if models else None
        largest = float(allocation.fit.runs.table["C"].max())
        ax.axvline(
            largest, color=style.GREY, linewidth=1, linestyle=":", label="largest fitted run"
        )
        log_axis(ax.xaxis, "C")
        log_axis(ax.yaxis, column)
        ax.set(
            xlabel=label_for("C"),
            ylabel=label_for(column),
            xlim=(C.min(), C.max()),
            title=f"Optimal {label_for(column)}{allocation.group}",
        )
        style.shade_far(ax, largest)
    # Below the axes, where it covers no line.
    style.legend_below(panels)
    if models:
        panels[0].figure.draw_without_rendering()
    for ax, column in zip(panels, "ND", strict=True):
        labels = [(m.name, m.C, getattr(m, column)) for m in models]
        style.place_labels(ax, labels, colour(1))
    return panels
