"""The style of all plots: colours, labels and ticks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayescale.errors import BayescaleError
from bayescale.forecasting import FAR, Average
from bayescale.units import format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

    from bayescale.model import Fit

#: The colour-blind safe palette of Okabe & Ito, high contrast first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B2A300")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ((0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)))
GREY = "#666666"

STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "figure.constrained_layout.use": True,
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.labelsize": 12.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "lines.linewidth": 2,
}

LABEL_INCHES = 0.6  # room for a tick label and the gap to the next
UNITS = {
    "N": "parameters N",
    "D": "training tokens D",
    "C": "training compute C (FLOP)",
    "loss": "loss",
}


#: The loss axis ends above the runs if some lie farther above nine tenths of all than this multiple
#: of the range of these.
FAR_ABOVE = 1.5


def cut_outliers(ax: Axes, x, loss) -> None:
    """End the loss axis below far outliers, which would squeeze the rest, and mark them there.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        With all that is drawn except these marks.
    x, loss : array
        Places and losses of the runs.
    """
    at, loss = np.asarray(x, float), np.asarray(loss, float)
    logs, low = np.log(loss), float(np.log(loss.min()))
    usual = float(np.quantile(logs, 0.9))
    far = logs > usual + FAR_ABOVE * (usual - low)
    if not far.any() or usual <= low:
        return
    bottom, top = float(np.log(ax.dataLim.y0)), float(logs[~far].max())
    margin = 0.06 * (top - bottom)
    ax.set_ylim(np.exp(bottom - margin), np.exp(top + 2 * margin))
    several = f"{far.sum()} runs" if far.sum() > 1 else "1 run"
    ax.plot(
        at[far],
        np.full(far.sum(), 0.975),
        "^",
        color=GREY,
        transform=ax.get_xaxis_transform(),
        label=f"{several} above the axis, loss up to {loss[far].max():.3g}",
        zorder=5,
    )


def legend_below(panels) -> None:
    """A legend of the first panel across the figure, below the axes."""
    handles, texts = panels[0].get_legend_handles_labels()
    panels[0].figure.legend(handles, texts, loc="outside lower center", ncols=3, fontsize=9.5)


def figure(
    rows: int = 1, columns: int = 1, size: tuple[float, float] | None = None, **options
) -> tuple[Figure, Any]:
    """A figure and its axes, as `matplotlib.pyplot.subplots`, in this style."""
    import matplotlib.pyplot as plt

    size = size or (7.2 * columns if columns == 1 else 4.9 * columns, 4.6 * rows)
    with plt.rc_context(STYLE):
        made = plt.subplots(rows, columns, figsize=size, **options)
        interactive = plt.isinteractive()
    # The first figure in a notebook loads the backend, which turns interactive mode on. The end of
    # rc_context turns it off again. Later figures would then not be shown.
    plt.interactive(interactive)
    return made


def axes(ax: Axes | None = None) -> Axes:
    """The given axes, or new ones."""
    return figure()[1] if ax is None else ax


def png(
    axes: Axes | np.ndarray,
    dpi: int = 130,
    *,
    size: tuple[float, float] | None = None,
    kind: str = "png",
) -> bytes:
    """The figure of these axes as an image. The figure is closed.

    Parameters
    ----------
    axes : matplotlib.axes.Axes or array of them
    dpi : int
        Dots per inch.
    size : tuple of float, optional
        Width, and largest height, in inches. The sizes of text and lines do not change.
    kind : {"png", "pdf", "svg"}
    """
    import matplotlib.pyplot as plt

    of = np.ravel(np.asarray(axes, object))[0].figure
    buffer = io.BytesIO()
    if size is not None:
        width, height = of.get_size_inches()
        of.set_size_inches(size[0], min(height * max(1.0, 0.75 * size[0] / width), size[1]))
    with plt.rc_context(STYLE):
        of.savefig(buffer, format=kind, dpi=dpi)
    plt.close(of)
    return buffer.getvalue()


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def label_for(column: str, loss_unit: str = "") -> str:
    """The axis label with its unit; for an unknown column its name.

    Parameters
    ----------
    column : str
    loss_unit : str
        The unit of the loss, as `bayescale.Runs.loss_unit`; empty if it is not known.
    """
    label = UNITS.get(column, column)
    return f"{label} ({loss_unit})" if column == "loss" and loss_unit else label


def short(name: str, most: int) -> str:
    """A name of at most `most` letters."""
    return name if len(name) <= most else f"{name[: most - 3]}..."


def log_axis(axis: Axis, column: str) -> None:
    """Make an axis logarithmic, with ticks such as 1B, 10B or 1e22."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    which = axis.axis_name
    getattr(axis.axes, f"set_{which}scale")("log")
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low)
    subs: Sequence[float] = (1.0,) if decades > 2.2 else (1.0, 2.0, 5.0)
    stride = max(1, round(decades / min(7.0, _room(axis))))
    if column == "C":
        write = _scientific
    else:
        write = format_count if column in ("N", "D") else "{:g}".format
    axis.set_major_locator(LogLocator(base=10.0**stride, subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda v, _: write(v)))
    axis.set_minor_formatter(NullFormatter())


def _room(axis: Axis) -> float:
    """How many tick labels fit along an axis."""
    if axis.axis_name != "x":
        return 7.0
    inches = axis.axes.figure.get_figwidth() * axis.axes.get_position().width
    return max(2.0, inches / LABEL_INCHES)


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


TICKS = 8  # most ticks on a loss axis


def loss_axis(axis: Axis) -> None:
    """Make a loss axis logarithmic, with ticks that are plain numbers and do not collide."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    which = axis.axis_name
    getattr(axis.axes, f"set_{which}scale")("log")
    low, high = sorted(axis.get_view_interval())
    apart = np.log(high / low) / TICKS
    ticks: list[float] = []
    # Multiples of large steps come first, then multiples of smaller steps where there is space.
    top = np.floor(np.log10(high))
    for step in (10 ** (top - np.arange(4))[:, None] * np.array([5, 2, 1])).ravel():
        for tick in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step:
            if all(abs(np.log(tick / t)) >= apart for t in ticks):
                ticks.append(tick)
        if len(ticks) > TICKS / 2:
            break
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def times_axis(axis: Axis) -> None:
    """Make an axis of factors logarithmic, with a tick at 1 if it is in the range."""
    low, high = sorted(axis.get_view_interval())
    if high > 10 * low:
        log_axis(axis, "")
    else:
        loss_axis(axis)


def name_of_law(fit: Fit | Average) -> str:
    """The name of the law of a fit, or the number of laws of an average, for titles."""
    if isinstance(fit, Average) and len(fit.used) > 1:
        return f"the average of {len(fit.used)} laws"
    return next(iter(fit.used)) if isinstance(fit, Average) else fit.law.name


#: The function that draws each kind of result.
DRAWN_BY = {
    "Allocation": "plot_allocation",
    "Average": "plot_fit",
    "Breaks": "plot_breaks",
    "Calibration": "plot_sbc",
    "Fit": "plot_fit",
    "Forecast": "plot_forecast",
    "Hypotheses": "plot_exponents",
    "Link": "plot_link",
    "Rollout": "plot_rollout",
    "Runs": "plot_runs",
    "Speedup": "plot_speedup",
}


def require(result: object, types: type | tuple[type, ...], where: str) -> None:
    """Raise an error if a plot is given a result of another type.

    Parameters
    ----------
    result : object
    types : type or tuple of type
        What the plot draws.
    where : str
        Name of the plot.
    """
    if isinstance(result, types):
        return
    listed = types if isinstance(types, tuple) else (types,)
    names = " or ".join(t.__name__ for t in listed)
    got = type(result).__name__
    other = DRAWN_BY.get(got)
    hint = f"; {other} draws {got}" if other not in (None, where) else ""
    if got == "Average" and "Fit" in names:
        hint = "; give one of its fits, such as average.fits['chinchilla']"
    raise BayescaleError(f"it draws {names}, got {got}{hint}", where=where)


def shade_far(ax: Axes, largest: float) -> None:
    """Shade the region beyond 100 times the largest run. Axis limits must be set before."""
    left, right = ax.get_xlim()
    if right > FAR * largest:
        ax.axvspan(
            max(FAR * largest, left),
            right,
            color="#f0e0d6",
            zorder=0,
            linewidth=0,
            label=f"beyond {FAR:.0f} times the largest run",
        )
        ax.set_xlim(left, right)


def place_labels(ax: Axes, labels: Sequence[tuple[str, float, float]], colour: str) -> None:
    """Label points, without collisions and inside the axes.

    Labels that would overlap others are left out. Before the call, set the limits and scales of the
    axes and lay out the figure (``figure.draw_without_rendering()``).

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    labels : sequence of tuple
        Text, x and y of each point.
    colour : str
    """
    from matplotlib.transforms import Bbox

    if not labels:
        return
    renderer, inside = ax.figure.canvas.get_renderer(), ax.get_window_extent()
    pixel = ax.figure.dpi / 72
    points = ax.transData.transform([(x, y) for _, x, y in labels])
    taken = [
        Bbox.from_bounds(x - 4 * pixel, y - 4 * pixel, 8 * pixel, 8 * pixel) for x, y in points
    ]
    legend = ax.get_legend()
    taken += [legend.get_window_extent(renderer)] if legend else []
    places = [
        (dx * reach, dy * reach, ha)
        for reach in (8, 14, 22)
        for dx, dy, ha in ((-1, 0.7, "right"), (1, -0.7, "left"), (1, 0.7, "left"),
                           (-1, -0.7, "right"), (0, 1, "center"), (0, -1, "center"))
    ]  # fmt: skip
    for i, (text, x, y) in enumerate(labels):
        note = ax.annotate(
            text,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colour,
        )
        for dx, dy, ha in places:
            note.set_position((dx, dy))
            note.set_ha(ha)
            box = note.get_window_extent(renderer).padded(3 * pixel)
            within = inside.x0 <= box.x0 and box.x1 <= inside.x1
            within &= inside.y0 <= box.y0 and box.y1 <= inside.y1
            others = [b for j, b in enumerate(taken) if j != i]
            if within and not any(box.overlaps(b) for b in others):
                taken.append(box)
                break
        else:
            note.remove()
