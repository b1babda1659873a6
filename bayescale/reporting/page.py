"""One self-contained page from a fit: tables, pictures, warnings, and how to read them."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bayescale.capabilities import Breaks, Link
from bayescale.errors import ConvergenceWarning, LawError
from bayescale.evaluation import Hypotheses
from bayescale.forecasting import allocate, forecast
from bayescale.intervals import defaults
from bayescale.model import Fit, atomically
from bayescale.plots import exponents as forest
from bayescale.plots import fits as plots
from bayescale.plots import style
from bayescale.plots import tasks as panels
from bayescale.reporting import tables
from bayescale.units import grid

MOST_GROUPS = 12  # groups that get rows and pictures of their own


@dataclass(frozen=True)
class Picture:
    caption: str
    png: str


@dataclass(frozen=True)
class Section:
    title: str
    how: str
    tables: Sequence[tables.Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Findings:
    """What a report says, before it is laid out."""

    posterior: tables.Table
    forecasts: tables.Table | None
    allocations: tables.Table | None
    notes: tuple[str, ...] = field(default=())


def findings(fit: Fit, budgets: Sequence[float] = (), ci_prob: float | None = None) -> Findings:
    """The tables of a fit: its posterior, and forecasts and allocations of the budgets.

    Warnings raised on the way become notes.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ahead = split = None
        groups = [m or None for m in fit.members()[:MOST_GROUPS]]
        groups += [None] if fit.groups else []
        if len(budgets) and ("C" in fit.law.columns or fit.law.allocates):
            ahead = tables.forecasts(
                [forecast(fit, C=budgets, group=g, random_seed=fit.random_seed) for g in groups],
                ci_prob,
            )
        if len(budgets) and fit.law.allocates:
            try:
                splits = [allocate(fit, budgets, group=g) for g in groups]
                split = tables.allocations(splits, ci_prob)
            except LawError as error:
                warnings.warn(str(error))
        posterior = tables.posterior(fit, ci_prob)
    said = [str(w.message) for w in caught if not issubclass(w.category, ConvergenceWarning)]
    return Findings(posterior, ahead, split, tuple(dict.fromkeys(said)))


def report(
    fit: Fit,
    folder: str | Path = "report",
    *,
    C: Sequence[float] = (),
    ci_prob: float | None = None,
    command: str | None = None,
    found: Findings | None = None,
    hypotheses: Hypotheses | None = None,
    breaks: Breaks | None = None,
    link: Link | None = None,
) -> Path:
    """Write ``index.html`` and ``fit.nc`` into a folder.

    Parameters
    ----------
    fit : Fit
    folder : str or Path
        Made if it does not exist; files of the same names are replaced, each whole.
    C : sequence of float
        Budgets in FLOP to forecast and to allocate.
    ci_prob : float, optional
        Probability of all intervals; ArviZ's default.
    command : str, optional
        The command line that led here, to be shown.
    found : Findings, optional
        The tables, if they are made already.
    hypotheses : Hypotheses, optional
        What the same runs say of this law and others, for a section of its own.
    breaks : Breaks, optional
        Where curves of the same models break, for a section of its own.
    link : Link, optional
        What the loss is worth on tasks, for a section of its own.

    Returns
    -------
    Path
        The page.

    Examples
    --------
    >>> import tempfile
    >>> import bayescale as bs
    >>> fit = bs.fit(bs.Runs.example("openlm").query("dataset == 'c4'"), random_seed=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     bs.report(fit, folder, C=[1e21]).name
    'index.html'
    """
    from jinja2 import Environment, PackageLoader

    found = found or findings(fit, C, ci_prob)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are on the page, from `findings`
        sections = _sections(fit, found, C, ci_prob)
        if hypotheses is not None:
            sections.insert(-1, _compared(hypotheses, ci_prob))
        if link is not None:
            sections.insert(-1, _linked(link, ci_prob))
        if breaks is not None:
            sections.insert(-1, _broken(breaks, ci_prob))
    environment = Environment(loader=PackageLoader("bayescale.reporting"), autoescape=True)
    facts = fit.facts
    html = environment.get_template("report.html").render(
        title=f"{fit.law.name} fitted to {len(fit.runs)} runs"
        + (f" by {', '.join(fit.groups)}" if fit.groups else ""),
        runs=repr(fit.runs).replace("<", "", 1).replace(">", "", 1),
        check=fit.check(),
        notes=[*fit.runs.notes, *found.notes],
        sections=sections,
        command=command,
        law=repr(fit.law).strip("<>"),
        seed=fit.random_seed,
        settings=f"{facts.get('chains')} chains of {facts.get('draws')} draws, "
        f"target acceptance {facts.get('target_accept')}",
        versions=", ".join(f"{k} {v}" for k, v in facts.get("versions", {}).items()),
    )
    page = Path(folder) / "index.html"
    atomically(page, lambda temporary: temporary.write_text(html, encoding="utf-8"))
    fit.save(Path(folder) / "fit.nc")
    return page


def _sections(fit: Fit, found: Findings, budgets, ci_prob) -> list[Section]:
    prob, _ = defaults(ci_prob)
    first = fit.members()[0] or None
    named = ", ".join(first.values()) if first else "these runs"
    out = []
    if found.forecasts is not None:
        pictures = []
        if fit.law.allocates or fit.law.columns == ("C",):
            seen = fit.runs.table["C"]
            top = max(max(budgets), float(seen.max()))
            ahead = forecast(
                fit, C=grid(float(seen.median()), top, 40), group=first, random_seed=fit.random_seed
            )
            pictures = [
                _picture(
                    plots.plot_forecast(ahead, ci_prob=ci_prob),
                    f"Forecast along the compute-optimal path for {named}.",
                )
            ]
        out.append(
            Section(
                "What larger runs would reach",
                f"With {100 * prob:g} % probability a run made like the fitted ones would measure "
                "a loss inside 'loss of a new run'. 'Where the law lies' leaves out the scatter of "
                "single runs. The last column tells how far out the question is.",
                [found.forecasts],
                pictures,
            )
        )
    if found.allocations is not None:
        pictures = []
        low = float(fit.runs.table["C"].median())
        wide = allocate(fit, grid(low, max(*budgets, 10 * low), 30), group=first)
        pictures = [
            _picture(
                plots.plot_allocation(wide, ci_prob=ci_prob),
                f"Best split for {named}; the grey upright line is the largest run.",
            )
        ]
        out.append(
            Section(
                "How to spend a budget",
                "'train' is the split that minimises the expected loss given all that is "
                "uncertain; 'expected regret' is the loss it is still expected to waste, in nats "
                "per token, against knowing the true optimum. Intervals of best N and D may be "
                "wide while the regret is small: near the optimum the loss is flat.",
                [found.allocations],
                pictures,
            )
        )
    fitted = [plots.plot_fit(fit, references="all", ci_prob=ci_prob)]
    pictures = [
        _picture(fitted[0], "The runs, and the law along its best split."),
        _picture(plots.plot_posterior(fit), "Posteriors over their priors (grey)."),
        _picture(
            plots.plot_residuals(fit),
            "What the law leaves unexplained. Numbers name the most surprising rows of the table.",
        ),
    ]
    if {"N", "D"} <= set(fit.runs.table):
        pictures.append(_picture(plots.plot_runs(fit.runs), "The design of the table."))
    out.append(
        Section(
            "What was learnt",
            "Amplitudes A and B hold at the centre of the runs (the geometric means of N and D): "
            "the loss still to be won there. Rows marked (raw) are the constants papers quote. "
            "sigma and nu are the scale and tail of the noise on log loss.",
            [found.posterior],
            pictures,
        )
    )
    return out


def _compared(said: Hypotheses, ci_prob) -> Section:
    notes = " ".join(f"Note: {n}." for n in said.notes)
    return Section(
        "Which law?",
        f"{said.verdict} Weights are by stacking: those of the best mixture for forecasts, not "
        f"chances that a law is true. {notes}",
        [tables.hypotheses(said, ci_prob), tables.claims(said, ci_prob)],
        [
            _picture(
                forest.plot_exponents(said, ci_prob=ci_prob),
                "The exponent of the best size under each law, averaged, and as papers claim.",
            )
        ]
        if said.exponents
        else [],
    )


def _broken(said: Breaks, ci_prob) -> Section:
    notes = " ".join(f"Note: {n}." for n in said.notes)
    return Section(
        "Where curves break",
        "P(break) is the probability that a curve has a break that says more than drift, a slope "
        "that wanders by itself; how common breaks are is learnt from all curves. The last column "
        "is how often simulated curves without a break, of as many points, were said to break. "
        "Bayes factors are logs: 'break over law' is what one would claim without drift, 'break "
        f"over drift' what is left of it. {notes}",
        [tables.breaks(said, ci_prob)],
        [
            _picture(
                panels.plot_breaks(said, ci_prob=ci_prob),
                "Curves with their intervals; hills show where a break would lie.",
            )
        ],
    )


def _linked(link: Link, ci_prob) -> Section:
    notes = " ".join(f"Note: {n}." for n in link.notes)
    return Section(
        "What a loss buys",
        "Accuracy on each task against the loss, fitted to all tasks together. 'threshold' is "
        "where half of what is above the floor is won; 'scatter' the standard deviation between "
        f"runs of one loss, beyond the binomial noise. {notes}",
        [tables.links(link, ci_prob)],
        [_picture(panels.plot_link(link, ci_prob=ci_prob), "Tasks, and the link through them.")],
    )


def _drawn(axes) -> bytes:
    """The picture that axes are part of, as png; it is closed."""
    import matplotlib.pyplot as plt
    import numpy as np

    figure = np.ravel(axes)[0].figure
    buffer = io.BytesIO()
    with plt.rc_context(style.STYLE):
        figure.savefig(buffer, format="png", dpi=130)
    plt.close(figure)
    return buffer.getvalue()


def _picture(axes, caption: str) -> Picture:
    return Picture(caption, base64.b64encode(_drawn(axes)).decode())


def save_picture(axes, path: Path) -> None:
    """Write the picture that axes are part of as png, whole or not at all."""
    atomically(path, lambda temporary: temporary.write_bytes(_drawn(axes)))
