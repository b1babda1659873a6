"""Pictures of runs, fits, forecasts and allocations: each takes a result and returns its Axes."""

from __future__ import annotations

import numpy as np

from bayescale.data import Runs, as_names
from bayescale.errors import FitError, LawError, unknown
from bayescale.evaluation import Calibration, envelope
from bayescale.forecasting import Allocation, Forecast, best_split
from bayescale.intervals import SAMPLE, defaults, interval
from bayescale.laws import MODELS, SPLITS
from bayescale.model import PRIOR_DRAWS, Fit, at_runs, draw_prior, parameters, settle_groups
from bayescale.plots import style
from bayescale.plots.style import colour, label_for, log_axis, loss_axis, marker
from bayescale.priors import to_link

CURVE_POINTS = 60
REACH = 30.0  # how far plot_fit looks beyond the largest run, in multiples of its compute


def plot_runs(runs: Runs, *, ax=None):
    """The design of a table: where its runs lie in N and D, and the loss they reached.

    Parameters
    ----------
    runs : Runs
        With N and D.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    if not {"N", "D"} <= set(runs.table):
        raise FitError("plot_runs needs runs with N and D")
    ax = style.axes(ax)
    table = runs.table
    labels = _group_labels(runs)
    norm = _log_norm(table["loss"])
    names = sorted(set(labels))
    for i, name in enumerate(names):
        here = labels == name
        aside = 1.13 ** (i - (len(names) - 1) / 2)  # groups often share a design: side by side
        points = ax.scatter(
            table["D"][here] * aside,
            table["N"][here],
            c=table["loss"][here],
            norm=norm,
            cmap="cividis_r",
            marker=marker(i),
            s=52,
            edgecolor="white",
            linewidth=0.7,
            label=name or None,
            zorder=3,
        )
    log_axis(ax.xaxis, "D")
    log_axis(ax.yaxis, "N")
    _isoflops(ax, runs)
    bar = ax.figure.colorbar(points, ax=ax, label=label_for("loss"), pad=0.02)
    loss_axis(bar.ax.yaxis)
    ax.set(xlabel=label_for("D"), ylabel=label_for("N"))
    ax.set_title(f"{len(runs)} runs", pad=18)
    if any(labels):
        legend = ax.legend(loc="upper left")
        for handle in legend.legend_handles:
            handle.set_facecolor(style.GREY)
    return ax


def _isoflops(ax, runs: Runs) -> None:
    """Faint lines of equal compute, named along the upper edge."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    lowest, highest = (round(np.log10(edge(runs.table["C"]))) for edge in (min, max))
    for exponent in range(lowest, highest + 2, 2):
        D = np.array([left, right])
        N = 10.0**exponent / (runs.flop_factor * D)
        ax.plot(D, N, color="#cccccc", linewidth=0.9, zorder=1)
        at = 10.0**exponent / (runs.flop_factor * top)
        if left < at < right:
            ax.text(
                at,
                top,
                f"1e{exponent} FLOP",
                color=style.GREY,
                fontsize=8.5,
                ha="center",
                va="bottom",
                zorder=2,
            )
    ax.set(xlim=(left, right), ylim=(bottom, top))


def plot_fit(fit: Fit, *, references=(), ci_prob: float | None = None, ax=None):
    """Loss against compute: runs, and the law along the compute-optimal path of each group.

    Parameters
    ----------
    fit : Fit
    references : sequence of str
        Published points of the law to draw as lines, such as ``"hoffmann2022"``; ``"all"`` for all.
    ci_prob : float, optional
        Probability of the bands; ArviZ's default.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        For a law of one column, that column is the x axis.
    """
    chosen = tuple(fit.law.published) if references == "all" else as_names(references)
    if strange := [p for p in chosen if p not in fit.law.published]:
        raise LawError(
            [unknown("published point", p, fit.law.published) for p in strange],
            where=f"law {fit.law.name!r}",
        )
    fit.warn_if_failed()
    ax = style.axes(ax)
    prob, kind = defaults(ci_prob)
    column = "C" if fit.law.allocates else fit.law.columns[0]
    seen = fit.runs.table[column]
    grid = np.geomspace(seen.min(), seen.max() * REACH, CURVE_POINTS)
    labels = _group_labels(fit.runs, fit.groups)
    for i, member in enumerate(fit.members()):
        name = ", ".join(member.values())
        mean = _along(fit, column, grid, member or None)
        lower, upper = interval(mean, prob, kind)
        ax.fill_between(grid, lower, upper, color=colour(i), alpha=0.22, linewidth=0)
        ax.plot(grid, mean.median(SAMPLE), color=colour(i))
        here = labels == name if fit.groups else np.ones(len(fit.runs), bool)
        ax.scatter(
            seen[here],
            fit.runs.table["loss"][here],
            color=colour(i),
            marker=marker(i),
            s=30,
            edgecolor="white",
            linewidth=0.6,
            label=name or "runs",
            zorder=3,
        )
    for point, dash in zip(chosen, style.DASHES, strict=False):
        published = fit.law.published[point]
        ax.plot(
            grid,
            _published_path(fit, point, grid),
            color=style.GREY,
            linestyle=dash,
            linewidth=1.6,
            label=published.label,
        )
    log_axis(ax.xaxis, column)
    loss_axis(ax.yaxis)
    ax.axvspan(seen.max(), grid[-1], color="#f4f1ea", zorder=0, linewidth=0)
    ax.set(
        xlabel=label_for(column),
        ylabel=label_for("loss"),
        xlim=(grid[0] / 1.3, grid[-1]),
        title=f"{fit.law.name}: the law{' at its best split' if fit.law.allocates else ''}, "
        f"{100 * prob:.0f} % bands (shaded: beyond the runs)",
    )
    ax.legend()
    return ax


def _along(fit: Fit, column: str, grid: np.ndarray, group):
    """The law's mean along one column, at the best split where there is one to make."""
    import xarray as xr

    place = {column: grid}
    if fit.law.allocates:
        place["N"], place["D"] = best_split(fit, grid, group)
    rng = np.random.default_rng(fit.random_seed)
    values = parameters(
        fit.posterior, fit.plan, settle_groups(fit.plan, group), rng, fit.law.parameters
    )
    columns = {c: xr.DataArray(v, dims="point") for c, v in place.items()}
    return fit.law(columns, fit.plan.scales, values)


def _published_path(fit: Fit, point: str, grid: np.ndarray) -> np.ndarray:
    values = fit.law.published[point].values
    if not fit.law.allocates:
        return fit.law.at(point, **{fit.law.columns[0]: grid})
    product = grid / fit.runs.flop_factor
    N = fit.law.optimum(product, **values)
    return fit.law.at(point, N=N, D=product / N)


def plot_posterior(fit: Fit, *, ncols: int = 3):
    """Posterior densities of the law's parameters, population and groups, over their priors.

    Parameters
    ----------
    fit : Fit
    ncols : int
        Panels per row.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        One panel per parameter, at the reference scales.
    """
    fit.warn_if_failed()
    names = fit.law.parameters
    rows = -(-len(names) // ncols)
    _, grid = style.figure(rows, ncols, (3.6 * ncols, 2.7 * rows + 0.4), squeeze=False)
    prior = draw_prior(fit.plan, PRIOR_DRAWS * 5, np.random.default_rng(0))
    for ax, name in zip(grid.flat, names, strict=False):
        p = fit.plan.parameter(name)
        log = p.prior.link == "log"
        shown = (
            [(fit.posterior[name].to_numpy().ravel(), style.COLOURS[6], "population", 2.4)]
            if p.has_population
            else []
        )
        for effect in p.effects:
            for i, level in enumerate(fit.plan.levels[effect.column]):
                draws = fit.posterior[p.member(effect)].sel({effect.column: level})
                shown.append((draws.to_numpy().ravel(), colour(i), level, 1.7))
        if p.has_population:
            x, y = _density(prior[name], log)
            ax.fill_between(x, y / y.max(), color="#d9d9d9", linewidth=0, label="prior")
        for draws, ink, text, width in shown:
            x, y = _density(draws, log)
            ax.plot(
                x,
                y / y.max(),
                color=ink,
                linewidth=width,
                label="posterior" if len(shown) == 1 else text,
            )
        widest = np.concatenate([d for d, *_ in shown])
        reach = np.quantile(widest, [0.001, 0.999])
        if p.has_population:
            reach = _toward(reach, np.quantile(prior[name], [0.1, 0.9]))
        ax.set(yticks=[], ylim=(0, 1.08), xlim=reach, title=_meaning(name))
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


def _meaning(name: str) -> str:
    return {
        "E": "E (irreducible loss, nats)",
        "A": "A (nats, at the centre)",
        "B": "B (nats, at the centre)",
    }.get(name, name)


def _toward(inner, outer):
    """Widen an interval toward another, but at most to three times its own width."""
    width = inner[1] - inner[0]
    return max(outer[0], inner[0] - width), min(max(outer[1], inner[1]), inner[1] + width)


def _density(draws: np.ndarray, log: bool) -> tuple[np.ndarray, np.ndarray]:
    from scipy.stats import gaussian_kde

    draws = np.asarray(draws).ravel()[:: max(1, draws.size // 4000)]
    values = to_link("log", draws) if log else draws
    at = np.linspace(*np.quantile(values, [0.0005, 0.9995]), 200)
    density = gaussian_kde(values)(at)
    return (np.exp(at), density / np.exp(at)) if log else (at, density)


def plot_forecast(
    forecast: Forecast,
    *,
    x: str | None = None,
    observed: Runs | None = None,
    ci_prob: float | None = None,
    ax=None,
):
    """Forecast losses along N, D or C: where the law lies, and what a new run would measure.

    Parameters
    ----------
    forecast : Forecast
    x : {"N", "D", "C"}, optional
        The x axis; by default whichever of them varies most.
    observed : Runs, optional
        Runs to draw on top, such as ones that were held back.
    ci_prob : float, optional
        Probability of the bands; ArviZ's default.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
    """
    data = forecast.data
    candidates = [c for c in ("C", "N", "D", *forecast.fit.law.columns) if c in data.coords]
    if x is not None and x not in candidates:
        raise FitError(unknown("column", x, dict.fromkeys(candidates)))
    forecast.fit.warn_if_failed()
    ax = style.axes(ax)
    prob, kind = defaults(ci_prob)
    x = x or max(candidates, key=lambda c: np.ptp(np.log(data[c].to_numpy())))
    data = data.sortby(x)
    at = data[x].to_numpy()
    shades = (
        ("loss", 0.18, f"a new run, {100 * prob:.0f} %"),
        ("mean", 0.4, f"the law, {100 * prob:.0f} %"),
    )
    if len(at) > 2:
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
    if observed is not None:
        ax.scatter(
            observed.table[x],
            observed.table["loss"],
            color=colour(1),
            s=46,
            edgecolor="white",
            linewidth=0.8,
            zorder=4,
            label="observed",
        )
    largest = float(forecast.fit.runs.table[x].max()) if x in forecast.fit.runs else np.inf
    log_axis(ax.xaxis, x)
    loss_axis(ax.yaxis)
    left, right = ax.get_xlim()
    if left < largest < right:
        ax.axvspan(largest, right, color="#f4f1ea", zorder=0, linewidth=0)
        ax.set_xlim(left, right)
    ax.set(
        xlabel=label_for(x),
        ylabel=label_for("loss"),
        title=f"Forecast by {forecast.law}"
        + forecast.group
        + (" (shaded: beyond the runs)" if left < largest < right else ""),
    )
    ax.legend()
    return ax


def plot_allocation(
    allocation: Allocation, *, ci_prob: float | None = None, landmarks: bool = True
):
    """The compute-optimal N and D against the budget, beside published rules and known models.

    Parameters
    ----------
    allocation : Allocation
        Of several budgets, such as ``bs.allocate(fit, bs.grid(1e19, 1e26))``.
    ci_prob : float, optional
        Probability of the bands; ArviZ's default.
    landmarks : bool
        Draw Kaplan's and Hoffmann's lines, and well-known models as points.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        The panels of N and D.
    """
    if len(np.unique(allocation.data["C"])) < 2:
        raise FitError("plot_allocation needs two budgets or more, such as bs.grid(1e20, 1e25)")
    allocation.fit.warn_if_failed()
    prob, kind = defaults(ci_prob)
    _, panels = style.figure(1, 2, (12, 4.8))
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
            label=f"optimum, {100 * prob:.0f} %",
        )
        ax.plot(
            C, data[f"{column}_decision"], color=colour(0), label="decision (least expected loss)"
        )
        if landmarks:
            for (name, split), dash in zip(SPLITS.items(), style.DASHES, strict=False):
                ax.plot(C, split(C)[k], color=style.GREY, linestyle=dash, linewidth=1.6, label=name)
        for i, m in enumerate(models):
            value = getattr(m, column)
            ax.plot(m.C, value, "o", color=colour(1), markersize=6, zorder=4)
            side = -1 if i % 2 == 0 else 1  # neighbours in compute are named on opposite sides
            ax.annotate(
                m.name,
                (m.C, value),
                xytext=(5 * side, 10 * side),
                textcoords="offset points",
                ha="right" if side < 0 else "left",
                va="center",
                fontsize=9,
                color=colour(1),
            )
        ax.plot([], [], "o", color=colour(1), label="models as trained") if models else None
        ax.axvline(float(allocation.fit.runs.table["C"].max()), color="#bbbbbb", linewidth=1)
        log_axis(ax.xaxis, "C")
        log_axis(ax.yaxis, column)
        ax.set(
            xlabel=label_for("C"),
            ylabel=label_for(column),
            xlim=(C.min(), C.max()),
            title=f"Best {label_for(column)}{allocation.group}",
        )
    panels[0].legend(loc="upper left")
    return panels


def plot_residuals(fit: Fit, *, label: int = 4):
    """Residuals of log loss along N, D and C, in percent, with the most surprising runs named.

    Parameters
    ----------
    fit : Fit
    label : int
        How many of the most surprising runs to name.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
    """
    fit.warn_if_failed()
    columns = [c for c in "NDC" if c in fit.runs]
    _, panels = style.figure(1, len(columns), (4.6 * len(columns), 4.2), squeeze=False, sharey=True)
    thinned = fit.posterior.isel(draw=slice(None, None, 4))
    residual = 100 * np.expm1(np.median(at_runs(thinned, fit.plan)["residual"], axis=0))
    sigma = 100 * float(
        fit.posterior["sigma" if "sigma" in fit.posterior else f"sigma_{fit.groups[0]}"].median()
    )
    labels = _group_labels(fit.runs, fit.groups)
    rows = list(fit.runs.table.index)
    for ax, column in zip(panels.flat, columns, strict=True):
        values = fit.runs.table[column].to_numpy()
        ax.axhspan(-sigma, sigma, color="#e8eef4", zorder=0, linewidth=0)
        ax.axhline(0, color=style.GREY, linewidth=1)
        for i, name in enumerate(sorted(set(labels))):
            here = labels == name
            ax.scatter(
                values[here],
                residual[here],
                color=colour(i),
                marker=marker(i),
                s=30,
                edgecolor="white",
                linewidth=0.6,
                label=name or None,
                zorder=3,
            )
        for row in list(fit.check().surprising.index)[:label]:
            k = rows.index(row)
            ax.annotate(
                str(row),
                (values[k], residual[k]),
                xytext=(5, 3),
                fontsize=9,
                textcoords="offset points",
                color=style.GREY,
            )
        log_axis(ax.xaxis, column)
        ax.set(xlabel=label_for(column))
    panels.flat[0].set(ylabel="observed above the law (%)")
    panels.flat[0].set_title(f"band: one noise scale, {sigma:.1f} %", fontsize=11)
    if any(labels):
        panels.flat[-1].legend()
    return panels.ravel()


def plot_sbc(calibration: Calibration, *, prob: float = 0.95, ax=None):
    """Ranks of the truth in simulated tables: their distribution less the uniform one.

    Parameters
    ----------
    calibration : Calibration
    prob : float
        Probability of the simultaneous envelope.
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib.axes.Axes
        Lines inside the envelope: posteriors hold the truth as often as they say.
    """
    ax = style.axes(ax)
    n = len(calibration.pit)
    at, lower, upper = envelope(n, prob)
    ax.fill_between(
        at,
        lower - at,
        upper - at,
        color="#dddddd",
        linewidth=0,
        label=f"{100 * prob:.0f} % envelope",
    )
    many = calibration.pit.shape[1] > len(style.COLOURS)
    for i, name in enumerate(calibration.pit):
        count = np.searchsorted(np.sort(calibration.pit[name]), at, side="right")
        ax.plot(
            at,
            count / n - at,
            color=colour(i),
            linewidth=1.0 if many else 1.8,
            alpha=0.6 if many else 1,
            label=None if many else name,
        )
    ax.axhline(0, color=style.GREY, linewidth=0.8)
    ax.set(
        xlabel="rank of the truth in its posterior",
        ylabel="share below, less uniform",
        title=f"{calibration.law}: {n} simulated tables, {calibration.pit.shape[1]} scalars",
    )
    ax.legend(ncols=2, fontsize=9.5)
    return ax


def _group_labels(runs: Runs, groups=None) -> np.ndarray:
    groups = runs.groups if groups is None else groups
    if not groups:
        return np.array([""] * len(runs), dtype=object)
    rows = zip(*(runs.table[g].astype(str) for g in groups), strict=True)
    return np.array([", ".join(row) for row in rows], dtype=object)


def _log_norm(values):
    from matplotlib.colors import LogNorm

    return LogNorm(float(values.min()), float(values.max()))
