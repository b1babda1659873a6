"""Exponents of the compute-optimal size: estimates and published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayescale.errors import BayescaleError, unknown
from bayescale.evaluation import Hypotheses
from bayescale.forecasting import percent
from bayescale.intervals import defaults, interval
from bayescale.laws import CLAIMS, STAIRCASE, Claim
from bayescale.plots import style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes


def plot_exponents(
    exponents: Hypotheses | Mapping[str, xr.DataArray],
    claims: Sequence[Claim] = CLAIMS,
    *,
    ci_prob: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Forest plot of the exponent a in N* ~ C^a.

    Parameters
    ----------
    exponents : Hypotheses, or mapping of str to xarray.DataArray
        Hypotheses: every law and the average are drawn. Or a mapping from names to draws of a, with
        dims (chain, draw).
    claims : sequence of Claim
        Published values, with the intervals of their authors if there are any; by default
        ``bayescale.laws.CLAIMS``.
    ci_prob : float, optional
        Probability of the thin bars; 90 % by default. Thick bars are 50 % intervals.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a new figure.

    Returns
    -------
    matplotlib.axes.Axes
        A row for each exponent, estimates above and published values below. Laws are labelled with
        their weight.

    Raises
    ------
    BayescaleError
        If there is no exponent.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import bayescale as bs
    >>> values = np.random.default_rng(1).normal(0.5, 0.02, (4, 500))
    >>> a = xr.DataArray(values, dims=("chain", "draw"))
    >>> bs.plot_exponents({"C4": a}).get_xlabel()
    'exponent a of the optimal size, N* ~ C^a'
    """
    style.require(exponents, (Hypotheses, Mapping), "plot_exponents")
    if isinstance(exponents, Hypotheses):
        draws, weights = dict(exponents.exponents), exponents.comparison.weights
    else:
        draws, weights = dict(exponents), {}
    if not draws:
        raise BayescaleError(
            "there is no exponent to draw: none of the laws has a compute-optimal N and D",
            where="plot_exponents",
        )
    prob, _ = defaults(ci_prob)
    rows = len(draws) + len(claims)
    ax = style.figure(size=(8.2, 1.4 + 0.36 * rows))[1] if ax is None else ax
    names, y = [], 0
    for name, values in draws.items():
        low, high = (float(v) for v in interval(values, prob))
        inner = [float(v) for v in interval(values, 0.5)]
        ink = style.COLOURS[1] if name == "average" else style.COLOURS[0]
        ax.plot([low, high], [y, y], color=ink, lw=2.2, solid_capstyle="butt")
        ax.plot(inner, [y, y], color=ink, lw=6, solid_capstyle="butt")
        ax.plot(float(values.median()), y, "o", color="white", mec=ink, ms=6, mew=1.8)
        names.append(f"{name} ({percent(weights[name])})" if name in weights else name)
        y += 1
    for claim in claims:
        _claim(ax, claim, y)
        names.append(claim.name)
        y += 1
    if claims:
        ax.axhline(len(draws) - 0.5, color=style.GREY, lw=0.8)
    ax.set_yticks(range(rows), names)
    ax.set_ylim(rows - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("exponent a of the optimal size, N* ~ C^a")
    ax.set_title(
        f"{100 * prob:g} % and 50 % intervals" + ("; published values below" if claims else "")
    )
    return ax


def _claim(ax: Axes, claim: Claim, y: float, ink: str = style.GREY) -> None:
    if claim.low is not None:
        ax.plot([claim.low, claim.high], [y, y], color=ink, lw=2, solid_capstyle="butt")
    ax.plot(claim.a, y, "D", color=ink, ms=5.5)


STEPS = ("step", "corpus", "a", "low", "high")  # columns that plot_staircase requires


def plot_staircase(
    steps: pd.DataFrame,
    claims: Mapping[str, Sequence[Claim]] = STAIRCASE,
    *,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """The exponent a in N* ~ C^a, as differences between two procedures are removed one by one.

    Parameters
    ----------
    steps : pandas.DataFrame
        One row per step and corpus, in order, with the columns ``step``, ``corpus``, ``a`` and its
        interval, ``low`` to ``high``.
    claims : mapping of str to sequence of Claim
        Published values of each corpus, matched to `steps` by name; by default those of Porian et
        al. 2024, arXiv:2406.19146, Table 1.
    axes : sequence of matplotlib.axes.Axes, optional
        One for each corpus; by default a new figure.

    Returns
    -------
    numpy.ndarray of matplotlib.axes.Axes
        A panel for each corpus.

    Raises
    ------
    BayescaleError
        If a column is missing.

    Examples
    --------
    >>> import pandas as pd
    >>> steps = pd.DataFrame({"step": ["as Kaplan et al.", "tuned, no decay"], "a": [0.83, 0.5],
    ...                       "low": [0.81, 0.48], "high": [0.85, 0.51], "corpus": "RefinedWeb"})
    >>> len(plot_staircase(steps))
    1
    """
    if missing := [c for c in STEPS if c not in steps]:
        raise BayescaleError(
            [unknown("column", c, steps.columns) for c in missing], where="plot_staircase"
        )
    corpora = list(dict.fromkeys(steps["corpus"]))
    if axes is None:
        axes = style.figure(1, len(corpora), size=(5.6 * len(corpora) + 0.6, 4.8), sharey=True)[1]
    axes = np.atleast_1d(axes)
    for ax, corpus in zip(axes, corpora, strict=True):
        part = steps[steps["corpus"] == corpus].reset_index(drop=True)
        x = np.arange(len(part))
        ax.step(x, part["a"], where="mid", color=style.COLOURS[0], lw=1.2, alpha=0.5)
        ax.errorbar(
            x - 0.1,
            part["a"],
            [part["a"] - part["low"], part["high"] - part["a"]],
            fmt="o",
            color=style.COLOURS[0],
            lw=2.5,
            ms=6,
            label="estimated",
        )
        published = {c.name: c for c in claims.get(corpus, ())}
        for i, step in enumerate(part["step"]):
            if step in published:
                claim, first = (
                    published[step],
                    step == next(s for s in part["step"] if s in published),
                )
                bars = (
                    None if claim.low is None else [[claim.a - claim.low], [claim.high - claim.a]]
                )
                ax.errorbar(
                    i + 0.1,
                    claim.a,
                    bars,
                    fmt="D",
                    color=style.GREY,
                    lw=1.6,
                    ms=5,
                    label="as published" if first else None,
                )
        for value, name in ((0.73, "Kaplan et al."), (0.5, "Hoffmann et al.")):
            ax.axhline(value, color=style.GREY, lw=0.9, ls=style.DASHES[0])
            ax.annotate(
                name,
                (0.01, value),
                xycoords=("axes fraction", "data"),
                fontsize=9.5,
                ha="left",
                va="bottom",
                color=style.GREY,
            )
        ax.set_xticks(x, part["step"], rotation=28, ha="right")
        ax.set_title(corpus)
        ax.legend(loc="upper right", bbox_to_anchor=(1, 0.98))
    axes[0].set_ylabel("exponent a, N* ~ C^a")
    return axes
