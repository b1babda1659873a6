"""One self-contained HTML page about a fit: tables, pictures and cautions, with explanations."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bayescale.capabilities import Breaks, Link
from bayescale.errors import ConvergenceWarning, LawError
from bayescale.evaluation import Hypotheses
from bayescale.forecasting import allocate, forecast
from bayescale.intervals import defaults
from bayescale.model import Fit, atomically
from bayescale.plots import (
    plot_allocation,
    plot_breaks,
    plot_exponents,
    plot_fit,
    plot_forecast,
    plot_link,
    plot_posterior,
    plot_residuals,
    plot_runs,
    png,
)
from bayescale.reporting import tables
from bayescale.units import grid

MOST_GROUPS = 12  # largest number of groups in the tables of forecasts and allocations


@dataclass(frozen=True)
class Picture:
    """A caption, and a png in base64."""

    caption: str
    png: str


@dataclass(frozen=True)
class Section:
    """A part of the page; `how` explains its tables."""

    title: str
    how: str
    tables: Sequence[tables.Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True)
class Findings:
    """The tables of a report, and its cautions."""

    posterior: tables.Table
    forecasts: tables.Table | None
    allocations: tables.Table | None
    notes: tuple[str, ...] = field(default=())


def findings(fit: Fit, budgets: Sequence[float] = (), ci_prob: float | None = None) -> Findings:
    """The tables of a fit: its posterior, and forecasts and allocations for the budgets.

    Parameters
    ----------
    fit : Fit
    budgets : sequence of float
        In FLOP.
    ci_prob : float, optional
        Probability of all intervals; 90 % by default.

    Returns
    -------
    Findings
        Warnings are not raised; their messages are in ``notes``. Warnings about convergence are
        left out, because the check of the fit is shown with the tables.
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
    notes = [str(w.message) for w in caught if not issubclass(w.category, ConvergenceWarning)]
    return Findings(posterior, ahead, split, tuple(dict.fromkeys(notes)))


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
        Created if it does not exist. Existing files of these names are replaced atomically.
    C : sequence of float
        Budgets in FLOP. The page has a forecast and an allocation for each.
    ci_prob : float, optional
        Probability of all intervals; 90 % by default.
    command : str, optional
        The command line that made the report, to be shown on the page.
    found : Findings, optional
        The tables, if they have been computed already.
    hypotheses : Hypotheses, optional
        A comparison of laws on the same runs, shown in its own section.
    breaks : Breaks, optional
        Breaks in curves of the same models, shown in their own section.
    link : Link, optional
        Accuracy on tasks against loss, shown in its own section.

    Returns
    -------
    Path
        The path of the page.

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
        warnings.simplefilter("ignore")  # `findings` has put them on the page
        sections = _sections(fit, found, C, ci_prob)
        if hypotheses is not None:
            sections.insert(-1, _hypotheses(hypotheses, ci_prob))
        if link is not None:
            sections.insert(-1, _link(link, ci_prob))
        if breaks is not None:
            sections.insert(-1, _breaks(breaks, ci_prob))
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
    """The sections about the fit alone."""
    prob, _ = defaults(ci_prob)
    first = fit.members()[0] or None
    name = ", ".join(first.values()) if first else "these runs"
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
                    plot_forecast(ahead, ci_prob=ci_prob),
                    f"Forecast for {name}"
                    + (" at the compute-optimal N and D." if fit.law.allocates else "."),
                )
            ]
        out.append(
            Section(
                "Forecast losses",
                f"The loss of a new run, trained like the fitted runs, lies in its interval with "
                f"{100 * prob:g} % probability. 'mean loss' is the law with its drift, without the "
                "scatter of a single run. The last column is the compute as a multiple "
                "of the largest fitted run's: the larger it is, the more the forecast depends on "
                "the law.",
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
                plot_allocation(wide, ci_prob=ci_prob),
                f"Optimal N and D for {name}. The vertical line marks the largest fitted run.",
            )
        ]
        out.append(
            Section(
                "Compute-optimal allocation",
                "'train' is the model size and the number of tokens with the lowest expected loss. "
                "'expected regret' is the expected difference from the loss at the true optimum, "
                "in nats per token. The optimal N and D can be uncertain although the regret is "
                "small, because the loss changes little near the optimum.",
                [found.allocations],
                pictures,
            )
        )
    pictures = [
        _picture(
            plot_fit(fit, references="all", ci_prob=ci_prob),
            "The runs, and the fitted law"
            + (" at the compute-optimal N and D." if fit.law.allocates else "."),
        ),
        _picture(plot_posterior(fit), "Posterior densities, with the priors in grey."),
        _picture(
            plot_residuals(fit),
            "Residuals. Numbers are the rows of the most surprising runs.",
        ),
    ]
    if {"N", "D"} <= set(fit.runs.table):
        pictures.append(_picture(plot_runs(fit.runs), "The fitted runs."))
    out.append(
        Section(
            "Parameters of the law",
            "E is the irreducible loss. The amplitudes A and B are the parts of the reducible loss "
            "that depend on N and on D, at the geometric means of N and D over the runs. Rows "
            "marked (raw) are the constants in the units that papers use. sigma is the scale of "
            "the noise on log loss, and nu its degrees of freedom: a small nu means occasional "
            "outliers.",
            [found.posterior],
            pictures,
        )
    )
    return out


def _hypotheses(hypotheses: Hypotheses, ci_prob) -> Section:
    pictures = []
    if hypotheses.exponents:
        pictures = [
            _picture(
                plot_exponents(hypotheses, ci_prob=ci_prob),
                "The exponent of the optimal size under each law, their average, and published "
                "values.",
            )
        ]
    return Section(
        "Comparison of laws",
        f"{hypotheses.verdict} The weights are stacking weights: they make the best mixture for "
        f"prediction and are not probabilities that a law is true.{_noted(hypotheses.notes)}",
        [tables.hypotheses(hypotheses, ci_prob), tables.claims(hypotheses, ci_prob)],
        pictures,
    )


def _breaks(breaks: Breaks, ci_prob) -> Section:
    return Section(
        "Breaks",
        "P(break) is the probability that the slope of a curve changes at a break, rather than by "
        "drift, a gradual random walk of the slope. The frequency of breaks is estimated from all "
        "curves together. The last column is the rate of false alarms: the share of simulated "
        "curves without a break, with about as many points, in which a break was found. Bayes "
        "factors are natural logarithms. 'break over law' compares a break with the law, both "
        "without drift; 'break over drift' compares a break with drift with drift alone."
        f"{_noted(breaks.notes)}",
        [tables.breaks(breaks, ci_prob)],
        [
            _picture(
                plot_breaks(breaks, ci_prob=ci_prob),
                "Curves with credible bands. Histograms are posteriors of the place of a break.",
            )
        ],
    )


def _link(link: Link, ci_prob) -> Section:
    return Section(
        "Accuracy on tasks",
        "Accuracy against loss, with partial pooling across tasks. 'threshold' is the loss (in a "
        "direct link, the compute) at which accuracy is halfway between its floor and its maximum; "
        "in a hinge link, at which it begins to rise. 'scatter' is the standard deviation between "
        f"runs of equal loss, beyond binomial noise.{_noted(link.notes)}",
        [tables.links(link, ci_prob)],
        [_picture(plot_link(link, ci_prob=ci_prob), "Accuracy of the runs, and the fitted link.")],
    )


def _noted(notes: Sequence[str]) -> str:
    return "".join(f" Note: {note}." for note in notes)


def _picture(axes: Any, caption: str) -> Picture:
    return Picture(caption, base64.b64encode(png(axes)).decode())


def save_picture(axes: Any, path: Path) -> None:
    """Write the figure of these axes as a png file, atomically. The figure is closed."""
    atomically(path, lambda temporary: temporary.write_bytes(png(axes)))
