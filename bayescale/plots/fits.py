"""Plots of a fit: the law and its runs, the posterior, and the residuals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bayescale.data import as_names
from bayescale.errors import ExtrapolationWarning, LawError, unknown
from bayescale.forecasting import Average, Forecast, forecast
from bayescale.intervals import SAMPLE, defaults, interval
from bayescale.model import PRIOR_DRAWS, Fit, at_runs, draw_prior
from bayescale.plots import style
from bayescale.plots.runs import group_labels
from bayescale.plots.style import colour, label_for, log_axis, loss_axis, marker
from bayescale.priors import to_link

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

CURVE_POINTS = 40
REACH = 30.0  # plot_fit extends to this multiple of the largest run


def plot_fit(
    fit: Fit | Average,
    *,
    references: str | Sequence[str] = (),
    forecasts: Forecast | Sequence[Forecast] = (),
    ci_prob: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Loss against compute: the runs, and the law at the compute-optimal N and D.

    Parameters
    ----------
    fit : Fit or Average
    references : str or sequence of str
        Published constants of the law to draw as lines, such as ``"hoffmann2022"``; ``"all"`` for
        all of them. An average has none.
    forecasts : Forecast or sequence of Forecast, optional
        Forecasts to draw as bars: the intervals of the loss of a new run. The curves end at the
        largest forecast; without forecasts, at thirty times the largest run.
    ci_prob : float, optional
        Probability of the bands; 90 % by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        A colour for each group. The x axis is C; for a law of one column, that column. The bands
        are credible intervals of the expected loss, ``mean`` in a forecast: the law with its drift,
        without the noise of a run. The region beyond the runs is shaded.

    Raises
    ------
    LawError
        For constants that are not published for this law.

    Warns
    -----
    ConvergenceWarning
        If the fit failed its check.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.Runs.example("openlm").query("dataset == 'c4'")
    >>> bs.plot_fit(bs.fit(runs, random_seed=1)).get_xlabel()
    'training compute C (FLOP)'
    """
    style.require(fit, (Fit, Average), "plot_fit")
    forecasts = [forecasts] if isinstance(forecasts, Forecast) else list(forecasts)
    for result in forecasts:
        style.require(result, Forecast, "plot_fit: forecasts=")
    constants = fit.law.published if isinstance(fit, Fit) else {}
    chosen = tuple(constants) if references == "all" else as_names(references)
    if invalid := [p for p in chosen if p not in constants]:
        raise LawError(
            [unknown("published point", p, constants) for p in invalid],
            where=f"law {fit.law.name!r}",
        )
    fit.warn_if_failed()
    ax = style.axes(ax)
    prob, kind = defaults(ci_prob)
    column = "C" if fit.law.allocates else fit.law.columns[0]
    values = fit.runs.table[column]
    ends = [float(f.data[column].max()) for f in forecasts if column in f.data.coords]
    end = max(1.2 * max(ends), 1.5 * values.max()) if ends else values.max() * REACH
    grid = np.geomspace(values.min(), end, CURVE_POINTS)
    labels = group_labels(fit.runs, fit.groups)
    for i, member in enumerate(fit.members()):
        name = ", ".join(member.values())
        mean = _along(fit, column, grid, member or None)
        lower, upper = interval(mean, prob, kind)
        ax.fill_between(grid, lower, upper, color=colour(i), alpha=0.22, linewidth=0)
        ax.plot(grid, mean.median(SAMPLE), color=colour(i))
        in_group = labels == name if fit.groups else np.ones(len(fit.runs), bool)
        ax.scatter(
            values[in_group],
            fit.runs.table["loss"][in_group],
            color=colour(i),
            marker=marker(i),
            s=30,
            edgecolor="white",
            linewidth=0.6,
            label=name or "runs",
            zorder=3,
        )
    _bars(ax, fit, forecasts, column, prob, kind)
    for point, dash in zip(chosen, style.DASHES, strict=False):
        published = fit.law.published[point]
        ax.plot(
            grid,
            _published_path(fit, point, grid),
            color=style.GREY,
            linestyle=dash,
            linewidth=1.6,
            label=f"{published.label}, other tokenizer",
        )
    style.cut_outliers(ax, values, fit.runs.table["loss"])
    log_axis(ax.xaxis, column)
    loss_axis(ax.yaxis)
    ax.axvspan(values.max(), grid[-1], color="#f4f1ea", zorder=0, linewidth=0)
    ax.set(
        xlabel=label_for(column),
        ylabel=label_for("loss", fit.runs.loss_unit),
        xlim=(grid[0] / 1.3, grid[-1]),
        title=f"{style.name_of_law(fit)}{' at the optimal N and D' if fit.law.allocates else ''}\n"
        f"{100 * prob:g} % bands (shaded: beyond the runs)",
    )
    ax.legend()
    return ax


def _bars(ax: Axes, fit, forecasts: Sequence[Forecast], column: str, prob, kind) -> None:
    """Draw intervals of the loss of new runs, in the colour of their group."""
    names = [", ".join(member.values()) for member in fit.members()]
    named = False
    for result in forecasts:
        labels = [", ".join(str(result.data[g].values[i]) for g in fit.groups)
                  for i in range(result.data.sizes["point"])]  # fmt: skip
        lower, upper = interval(result.data["loss"], prob, kind)
        for i, label in enumerate(labels):
            if label in names:  # a new group has no curve
                ink = colour(names.index(label))
                # Bars of several groups at one budget overlap: the first is the widest.
                width = 3.5 / (1 + names.index(label))
                ax.vlines(
                    float(result.data[column][i]),
                    lower[i],
                    upper[i],
                    color=ink,
                    linewidth=width,
                    label=None if named else f"forecast of a new run, {100 * prob:g} %",
                )
                named = True


def _along(fit: Fit | Average, column: str, grid: np.ndarray, group) -> xr.DataArray:
    """Draws of the expected loss along one column, at the optimal N and D if the law has both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        return forecast(fit, **{column: grid}, group=group).data["mean"]


def _published_path(fit: Fit, point: str, grid: np.ndarray) -> np.ndarray:
    """The law with published constants along `grid`, at the optimal N and D of these constants."""
    values = fit.law.published[point].values
    if not fit.law.allocates:
        return fit.law.at(point, **{fit.law.columns[0]: grid})
    product = grid / fit.runs.flop_factor
    N = fit.law.optimum(product, **values)
    return fit.law.at(point, N=N, D=product / N)


def plot_posterior(fit: Fit, *, ncols: int = 3) -> np.ndarray:
    """Posterior densities of the law's parameters, with the priors of the population in grey.

    Parameters
    ----------
    fit : Fit
    ncols : int
        Panels per row.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        (row, column), a panel for each parameter of the law, at the reference scales, with a line
        for the population and for each group. Every density is scaled to a height of one.

    Warns
    -----
    ConvergenceWarning
        If the fit failed its check.
    """
    style.require(fit, Fit, "plot_posterior")
    fit.warn_if_failed()
    names = fit.law.parameters
    rows = -(-len(names) // ncols)
    _, grid = style.figure(rows, ncols, (3.6 * ncols, 2.7 * rows + 0.4), squeeze=False)
    prior = draw_prior(fit.plan, PRIOR_DRAWS * 5, np.random.default_rng(0))
    for ax, name in zip(grid.flat, names, strict=False):
        p = fit.plan.parameter(name)
        if p.is_fixed:
            ax.axvline(p.prior.median, color=style.COLOURS[6], label="fixed")
            ax.set(yticks=[], ylim=(0, 1.08), title=_meaning(name, fit.runs.loss_unit))
            ax.spines["left"].set_visible(False)
            continue
        log = p.prior.link == "log"
        lines = (
            [(fit.posterior[name].to_numpy().ravel(), style.COLOURS[6], "population", 2.4)]
            if p.has_population
            else []
        )
        for effect in p.effects:
            for i, level in enumerate(fit.plan.levels[effect.column]):
                draws = fit.posterior[p.member(effect)].sel({effect.column: level})
                lines.append((draws.to_numpy().ravel(), colour(i), level, 1.7))
        if p.has_population:
            x, y = _density(prior[name], log)
            ax.fill_between(x, y / y.max(), color="#d9d9d9", linewidth=0, label="prior")
        for draws, ink, text, width in lines:
            x, y = _density(draws, log)
            ax.plot(
                x,
                y / y.max(),
                color=ink,
                linewidth=width,
                label="posterior" if len(lines) == 1 else text,
            )
        widest = np.concatenate([d for d, *_ in lines])
        reach = np.quantile(widest, [0.001, 0.999])
        if p.has_population:
            reach = _toward(reach, np.quantile(prior[name], [0.1, 0.9]))
        ax.set(yticks=[], ylim=(0, 1.08), xlim=reach, title=_meaning(name, fit.runs.loss_unit))
        ax.spines["left"].set_visible(False)
    for ax in grid.flat[len(names) :]:
        ax.set_visible(False)
    handles, texts = grid.flat[0].get_legend_handles_labels()
    empty = grid.flat[len(names) :]
    if len(empty):
        empty[0].set_visible(True)
        empty[0].axis("off")
        empty[0].legend(handles, texts, loc="center left", fontsize=11.5)
    else:
        grid.flat[0].legend(fontsize=9)
    return grid


def _meaning(name: str, loss_unit: str) -> str:
    """The title of a panel: the name of the parameter; if it is a loss, its meaning and unit."""
    meaning = {"E": "irreducible loss", "A": "at the centre", "B": "at the centre"}.get(name)
    words = [meaning, *([loss_unit] if loss_unit else [])]
    return f"{name} ({', '.join(words)})" if meaning else name


def _toward(inner, outer):
    """Extend `inner` towards `outer`, at each end by at most the width of `inner`."""
    width = inner[1] - inner[0]
    return max(outer[0], inner[0] - width), min(max(outer[1], inner[1]), inner[1] + width)


def _density(draws: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values and a kernel density, which is estimated on the log scale if `log` is true."""
    from scipy.stats import gaussian_kde

    draws = np.asarray(draws).ravel()[:: max(1, draws.size // 4000)]
    values = to_link("log", draws) if log else draws
    at = np.linspace(*np.quantile(values, [0.0005, 0.9995]), 200)
    density = gaussian_kde(values)(at)
    return (np.exp(at), density / np.exp(at)) if log else (at, density)


def plot_residuals(fit: Fit, *, label: int = 4) -> np.ndarray:
    """Residuals in percent of the loss against N, D and C, with the largest ones labelled.

    Parameters
    ----------
    fit : Fit
    label : int
        Number of the most surprising runs to label with their row in the table.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        (column,), a panel for each of N, D and C that the runs have. Points are posterior medians.
        The band is one noise scale on either side of zero.

    Warns
    -----
    ConvergenceWarning
        If the fit failed its check.
    """
    style.require(fit, Fit, "plot_residuals")
    fit.warn_if_failed()
    columns = [c for c in "NDC" if c in fit.runs]
    _, panels = style.figure(1, len(columns), (10, 4.2), squeeze=False, sharey=True)
    thinned = fit.posterior.isel(draw=slice(None, None, 4))
    residual = 100 * np.expm1(np.median(at_runs(thinned, fit.plan)["residual"], axis=0))
    sigma = 100 * float(
        fit.posterior["sigma" if "sigma" in fit.posterior else f"sigma_{fit.groups[0]}"].median()
    )
    labels = group_labels(fit.runs, fit.groups)
    rows = list(fit.runs.table.index)
    for ax, column in zip(panels.flat, columns, strict=True):
        values = fit.runs.table[column].to_numpy()
        ax.axhspan(-sigma, sigma, color="#e8eef4", zorder=0, linewidth=0)
        ax.axhline(0, color=style.GREY, linewidth=1)
        for i, name in enumerate(sorted(set(labels))):
            in_group = labels == name
            ax.scatter(
                values[in_group],
                residual[in_group],
                color=colour(i),
                marker=marker(i),
                s=30,
                edgecolor="white",
                linewidth=0.6,
                label=name or None,
                zorder=3,
            )
        log_axis(ax.xaxis, column)
        ax.margins(x=0.08)
        ax.set(xlabel=label_for(column))
    panels.flat[0].set(ylabel="residual: observed loss / law - 1 (%)")
    panels.flat[0].set_title(f"band: noise scale, ±{sigma:.1f} %", fontsize=11)
    if any(labels):
        panels.flat[-1].legend()
    panels.flat[0].figure.draw_without_rendering()
    for ax, column in zip(panels.flat, columns, strict=True):
        values = fit.runs.table[column].to_numpy()
        worst = [(row, rows.index(row)) for row in list(fit.check().surprising.index)[:label]]
        named = [(str(row), values[k], residual[k]) for row, k in worst]
        style.place_labels(ax, named, style.GREY)
    return panels.ravel()
