"""How every picture looks: colours that all can tell apart, ticks that people can read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bayescale.units import format_count

#: Okabe & Ito's colours, safe for colour-blind readers, the readable ones first.
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

UNITS = {
    "N": "parameters N",
    "D": "training tokens D",
    "C": "training compute C (FLOP)",
    "loss": "loss (nats per token)",
}


def figure(rows: int = 1, columns: int = 1, size=None, **options):
    """A figure and its axes, in this style."""
    import matplotlib.pyplot as plt

    size = size or (7.2 * columns if columns == 1 else 4.9 * columns, 4.6 * rows)
    with plt.rc_context(STYLE):
        made = plt.subplots(rows, columns, figsize=size, **options)
        interactive = plt.isinteractive()
    # A notebook's backend is loaded by its first figure and turns interaction on; leaving the
    # context would turn it off again, and later figures would not be shown.
    plt.interactive(interactive)
    return made


def axes(ax=None):
    """The axes that were given, or new ones."""
    return figure()[1] if ax is None else ax


def colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def marker(i: int) -> str:
    return MARKERS[i % len(MARKERS)]


def label_for(column: str) -> str:
    """Axis label with its unit; a column of one's own is its own label."""
    return UNITS.get(column, column)


def log_axis(axis, column: str) -> None:
    """A logarithmic axis with ticks such as 1B, 10B or 1e22."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    which = axis.axis_name
    getattr(axis.axes, f"set_{which}scale")("log")
    low, high = sorted(axis.get_view_interval())
    decades = np.log10(high / low)
    subs: Sequence[float] = (1.0,) if decades > 2.2 else (1.0, 2.0, 5.0)
    stride = max(1, round(decades / 7))
    if column == "C":
        write = _scientific
    else:
        write = format_count if column in ("N", "D") else "{:g}".format
    axis.set_major_locator(LogLocator(base=10.0**stride, subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda v, _: write(v)))
    axis.set_minor_formatter(NullFormatter())


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"


TICKS = 8  # of a loss axis, at most


def loss_axis(axis) -> None:
    """A logarithmic loss axis with plain numbers, few enough not to touch."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    which = axis.axis_name
    getattr(axis.axes, f"set_{which}scale")("log")
    low, high = sorted(axis.get_view_interval())
    apart = np.log(high / low) / TICKS
    ticks: list[float] = []
    # Round numbers first, less round ones where there is room left.
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
