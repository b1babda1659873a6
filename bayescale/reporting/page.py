"""One self-contained HTML page about a fit or an average of laws: tables, pictures, cautions."""

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
from bayescale.forecasting import Average, allocate, forecast
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

    laws: tables.Table | None
    posteriors: tuple[tables.Table, ...]
    forecasts: tables.Table | None
    allocations: tables.Table | None
    notes: tuple[str, ...] = field(default=())

    @property
    def tables(self) -> list[tables.Table]:
        """All tables: laws, parameters, forecasts, allocations."""
        listed = (self.laws, *self.posteriors, self.forecasts, self.allocations)
        return [table for table in listed if table is not None]


def findings(
    fit: Fit | Average, budgets: Sequence[float] = (), ci_prob: float | None = None
) -> Findings:
    """The tables of a fit: its parameters, and forecasts and allocations for the budgets.

    Parameters
    ----------
    fit : Fit or Average
        The table of an average lists its laws. Forecasts and allocations are of the mixture.
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
        if len(budgets) and not (fit.law.allocates or fit.law.columns == ("C",)):
            warnings.warn(
                f"no losses are forecast for these budgets: {fit.law.name} is a function of "
                f"{', '.join(fit.law.columns)}, which do not follow from a budget in FLOP"
            )
        elif len(budgets):
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
        laws = tables.laws(fit) if isinstance(fit, Average) else None
        posteriors = tables.posteriors(fit, ci_prob)
    notes = [str(w.message) for w in caught if not issubclass(w.category, ConvergenceWarning)]
    return Findings(laws, posteriors, ahead, split, tuple(dict.fromkeys(notes)))


def report(
    fit: Fit | Average,
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
    fit : Fit or Average
        Forecasts and allocations of an average are those of the mixture of its laws. Densities of
        parameters and residuals are those of the law with the largest weight.
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
    by = f" by {', '.join(fit.groups)}" if fit.groups else ""
    members = list(fit.used.values()) if isinstance(fit, Average) else [fit]
    name = f"{len(members)} laws" if len(members) > 1 else members[0].law.name
    check = fit.check()
    html = environment.get_template("report.html").render(
        title=f"{name} fitted to {len(fit.runs)} runs{by}",
        runs=repr(fit.runs).replace("<", "", 1).replace(">", "", 1),
        passed=check.passed,
        # The findings of several laws are many, so those that passed are folded away.
        findings=tables.problems(fit) if len(members) > 1 else check.findings,
        folded=[f for f in check.findings if f.level == "passed"] if len(members) > 1 else [],
        verdict=_verdict(check.passed, len(members) > 1),
        notes=[*fit.runs.notes, *found.notes],
        sections=sections,
        command=command,
        laws=[f"{repr(m.law).strip('<>')}; {_settings(m)}" for m in members],
        seed=fit.random_seed,
        versions=", ".join(f"{k} {v}" for k, v in members[0].facts.get("versions", {}).items()),
        kind=type(fit).__name__,
    )
    page = Path(folder) / "index.html"
    atomically(page, lambda temporary: temporary.write_text(html, encoding="utf-8"))
    fit.save(Path(folder) / "fit.nc")
    return page


def _verdict(passed: bool, several: bool) -> str:
    fits = "The fits" if several else "The fit"
    if passed:
        return f"{fits} passed {'their' if several else 'its'} checks."
    return f"{fits} FAILED a check: {'their' if several else 'its'} intervals are unreliable."


def _settings(fit: Fit) -> str:
    """How a fit was sampled, for readers who repeat it."""
    facts = fit.facts
    text = f"{facts.get('chains')} chains of {facts.get('draws')} draws"
    if facts.get("engine") == "particles":
        return f"{text} by importance sampling"
    return f"{text} by NUTS, target acceptance {facts.get('target_accept')}"


def _sections(fit: Fit | Average, found: Findings, budgets, ci_prob) -> list[Section]:
    """The sections about the fit alone."""
    heaviest, of = fit, ""
    if isinstance(fit, Average):
        law, heaviest = next(iter(fit.used.items()))
        of = f" of {law}, the law with the largest weight" if len(fit.used) > 1 else ""
    prob, _ = defaults(ci_prob)
    first = fit.members()[0] or None
    name = ", ".join(first.values()) if first else "these runs"
    out = []
    if isinstance(fit, Average) and found.laws is not None:
        out.append(_laws(fit, found.laws))
    if found.forecasts is not None:
        pictures = []
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
                f"{'the laws' if of else 'the law'}.",
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
    pictures = []
    if fit.law.allocates or len(fit.law.columns) == 1:
        shown = "the average of the laws" if of else "the fitted law"
        at = " at the compute-optimal N and D" if fit.law.allocates else ""
        pictures.append(
            _picture(
                plot_fit(fit, references="all", ci_prob=ci_prob), f"The runs, and {shown}{at}."
            )
        )
    pictures += [
        _picture(
            plot_posterior(heaviest),
            f"Posterior densities{of}, with the priors in grey.",
        ),
        _picture(
            plot_residuals(heaviest),
            f"Residuals{of}. Numbers are the rows of the most surprising runs.",
        ),
    ]
    if {"N", "D"} <= set(fit.runs.table):
        pictures.append(_picture(plot_runs(fit.runs), "The fitted runs."))
    out.append(
        Section(
            "Parameters of the laws" if of else "Parameters of the law",
            "E is the irreducible loss. The amplitudes A and B are the parts of the reducible loss "
            "that depend on N and on D, at the geometric means of N and D over the runs. Rows "
            "marked (raw) are the constants in the units that papers use. sigma is the scale of "
            "the noise on log loss, and nu its degrees of freedom: a small nu means occasional "
            "outliers."
            + (
                f" The table is that{of}; load fit.nc for the parameters of the other laws."
                if of and fit.groups
                else ""
            ),
            found.posteriors,
            pictures,
        )
    )
    return out


def _laws(average: Average, table: tables.Table) -> Section:
    differ = f"{average.difference[0].upper()}{average.difference[1:]}. "
    return Section(
        "Laws",
        f"{differ if len(average.used) > 1 else ''}Forecasts and allocations on this page are of "
        "the mixture of these laws in proportion to their weights, so their intervals include the "
        "uncertainty about the law. The log evidence is the log probability of the runs under a "
        "law and its priors; of two laws, the one with the larger value predicts the runs better.",
        [table],
    )


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
