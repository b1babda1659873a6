"""One self-contained HTML page about a fit or an average of laws: tables, pictures, cautions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from bayescale.capabilities import Breaks, Emergence, Link
from bayescale.costs import Cost
from bayescale.data import Runs
from bayescale.evaluation import Hypotheses, Rollout
from bayescale.forecasting import (
    FAR,
    Allocation,
    Average,
    Forecast,
    check_posterior,
    fits_of,
    losses_by_law,
)
from bayescale.intervals import defaults
from bayescale.keywords import hinted
from bayescale.model import Check, Fit, atomically
from bayescale.plots import (
    plot_allocation,
    plot_fit,
    plot_posterior,
    plot_residuals,
    plot_runs,
)
from bayescale.reporting import tables
from bayescale.reporting.answers import Findings, allocation_curve, findings
from bayescale.reporting.sections import (
    TABLE_WIDTH,
    Picture,
    Section,
    broken,
    compared,
    emergent,
    held_out,
    linked,
    picture,
)
from bayescale.text_tables import as_sentence
from bayescale.units import counted, format_count, format_flop, format_loss


@hinted
def report(
    fit: Fit | Average,
    folder: str | Path = "report",
    *,
    C: Sequence[float | str] | None = None,
    cost: Cost | None = None,
    ci_prob: float | None = None,
    command: str | None = None,
    found: Findings | None = None,
    rollout: Rollout | str | None = None,
    hypotheses: Hypotheses | None = None,
    breaks: Breaks | None = None,
    link: Link | None = None,
    emergence: Emergence | None = None,
) -> Path:
    """Write ``index.html`` and ``fit.nc`` into a folder.

    Parameters
    ----------
    fit : Fit or Average
        Forecasts and allocations of an average are those of the mixture of its laws. Densities of
        parameters and residuals are those of the law with the largest weight.
    folder : str or Path
        Created if it does not exist. Existing files of these names are replaced atomically.
    C : sequence of float or str, optional
        Budgets in FLOP, or in any unit that `bayescale.as_flops` reads. The page has a forecast
        and an allocation for each. By default 3, 10 and 30 times the compute of the largest run.
    cost : Cost, optional
        The hardware and its prices, for budgets in other units and for what budgets cost; by
        default an H100.
    ci_prob : float, optional
        Probability of all intervals; 90 % by default.
    command : str, optional
        The command line that made the report, to be shown on the page.
    found : Findings, optional
        The tables, if they have been computed already.
    rollout : Rollout or str, optional
        Forecasts of some of these runs from the others, shown in their own section; or a sentence
        that says why there are none.
    hypotheses : Hypotheses, optional
        A comparison of laws on the same runs, shown in its own section.
    breaks : Breaks, optional
        Breaks in curves of the same models, shown in their own section.
    link : Link, optional
        Accuracy on tasks against loss, shown in its own section.
    emergence : Emergence, optional
        Verdicts on tasks of the same models, shown in their own section.

    Returns
    -------
    Path
        The path of the page. It begins with the answer, the risk and the next step; diagnostics
        and parameters are in an appendix. With groups the answer is about the one that has the
        lowest loss at the largest budget, if it has it with more than 90 % probability, and else
        about that of the largest run; it says which.

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

    check_posterior(fit, "report")
    found = found or findings(fit, C, ci_prob, cost)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `findings` has put them on the page
        sections = [*_sections(fit, found, ci_prob), *found.decisions.sections(ci_prob)]
        if rollout is not None:
            sections.append(held_out(rollout, ci_prob))
        if hypotheses is not None:
            sections.append(compared(hypotheses, ci_prob))
        if link is not None:
            sections.append(linked(link, ci_prob))
        if emergence is not None:
            sections.append(emergent(emergence, ci_prob))
        if breaks is not None:
            sections.append(broken(breaks, ci_prob))
        appendix = [*_parameters(fit, found, ci_prob), *found.decisions.sources()]
    environment = Environment(loader=PackageLoader("bayescale.reporting"), autoescape=True)
    by = f" by {', '.join(fit.groups)}" if fit.groups else ""
    members = list(fits_of(fit).values())
    name = f"{len(members)} laws" if len(members) > 1 else members[0].law.name
    check = fit.check()
    html = environment.get_template("report.html").render(
        title=f"{name} fitted to {len(fit.runs)} runs{by}",
        runs=_runs_in_words(fit.runs),
        answer=found.answers[0],
        each=found.each,
        risk=found.answers[1],
        next_step=found.next_step,
        passed=check.passed,
        # The findings of several laws are many, so those that passed follow.
        findings=tables.problems(fit) if len(members) > 1 else check.findings,
        folded=[f for f in check.findings if f.level == "passed"] if len(members) > 1 else [],
        verdict=_verdict(check, len(members) > 1),
        notes=[as_sentence(note) for note in (*found.notes, *fit.runs.notes)],
        sections=sections,
        appendix=appendix,
        width=TABLE_WIDTH,
        command=command,
        laws=[f"{repr(m.law).strip('<>')}; {_settings(m)}" for m in members],
        seed=fit.random_seed,
        versions=", ".join(f"{k} {v}" for k, v in members[0].facts.get("versions", {}).items()),
    )
    page = Path(folder) / "index.html"
    atomically(page, lambda temporary: temporary.write_text(html, encoding="utf-8"))
    fit.save(Path(folder) / "fit.nc")
    return page


def _runs_in_words(runs: Runs) -> str:
    """What was read, without the notes, which are among the risks."""
    lines = [line for line in repr(runs).splitlines() if not line.startswith("  note: ")]
    text = "\n".join(lines).replace("<", "", 1).replace(">", "", 1)
    return as_sentence(text.removeprefix(f"{counted(len(runs), 'run')} ")).removesuffix(".")


def _verdict(check: Check, several: bool) -> str:
    fits = "The fits" if several else "The fit"
    if not check.passed:
        return f"{fits} FAILED a check: {'their' if several else 'its'} intervals are unreliable."
    if cautions := sum(finding.level == "caution" for finding in check.findings):
        return f"Sampling converged; {counted(cautions, 'caution')}."
    return f"{fits} passed {'their' if several else 'its'} checks."


def _settings(fit: Fit) -> str:
    """How a fit was sampled, for readers who repeat it."""
    facts = fit.facts
    text = f"{facts.get('chains')} chains of {facts.get('draws')} draws"
    if facts.get("engine") == "particles":
        return f"{text} by importance sampling"
    if facts.get("engine") == "gibbs":
        return f"{text} by Metropolis within Gibbs"
    return f"{text} by NUTS, target acceptance {facts.get('target_accept')}"


def _sections(fit: Fit | Average, found: Findings, ci_prob) -> list[Section]:
    """The sections about forecasts, allocations and laws."""
    out = []
    ahead = [r for r in found.results if isinstance(r, Forecast)]
    splits = [r for r in found.results if isinstance(r, Allocation)]
    several = isinstance(fit, Average) and len(fit.used) > 1
    prob, _ = defaults(ci_prob)
    if ahead or fit.law.allocates or len(fit.law.columns) == 1:
        out.append(
            Section(
                "Forecast losses" if ahead else "The runs and the law",
                f"The loss of a new run, trained like the fitted runs, lies in its interval with "
                f"{100 * prob:g} % probability. The compute is given as a multiple of that of "
                "the largest fitted run: the larger it is, the more the forecast depends "
                f"on {'the laws' if several else 'the law'}."
                if ahead
                else "",
                [found.forecasts] if found.forecasts is not None else [],
                [_forecast_picture(fit, ahead, found.group, several, ci_prob)],
            )
        )
    if splits:
        group = found.group
        (split,) = [s for s in splits if s.labels == (group or {})][:1] or splits[:1]
        curve = allocation_curve(fit, found.budgets, group)
        out.append(
            Section(
                "Compute-optimal allocation",
                "'train' is the model size and the number of tokens with the lowest expected loss. "
                "The optimal N and D can be uncertain although the expected regret is small, "
                "because the loss changes little near the optimum.",
                found.allocations,
                [
                    picture(
                        plot_allocation(curve, ci_prob=ci_prob),
                        _allocation_caption(split, curve, ci_prob),
                    )
                ],
            )
        )
    if isinstance(fit, Average) and found.laws is not None:
        expectations = [_what_laws_say(fit, ahead, found.group)] if several and ahead else []
        out.append(_laws(fit, [found.laws, *expectations], found.difference))
    return out


def _forecast_picture(fit, ahead: list[Forecast], group, several: bool, ci_prob) -> Picture:
    """The runs of all groups, the law up to the budgets, and the forecasts."""
    prob, _ = defaults(ci_prob)
    axes = plot_fit(fit, references="all", forecasts=ahead, ci_prob=ci_prob)
    shown = "the average of the laws" if several else "the fitted law"
    at = " at the compute-optimal N and D" if fit.law.allocates else ""
    caption = f"The runs, and {shown}{at} with its {100 * prob:g} % band."
    if ahead:
        group = group or {}
        row = _of_group(ahead, group).summary(ci_prob).iloc[-1]
        name = f" for {', '.join(group.values())}" if group else ""
        caption = (
            f"At {format_flop(row['C'])} FLOP a new run{name} is expected between "
            f"{format_loss(row.iloc[-2])} and {format_loss(row.iloc[-1])} ({100 * prob:g} %, "
            f"bars). {caption}"
        )
    if isinstance(fit, Fit) and fit.law.published:
        caption += (
            " Grey lines are laws published for other data and tokenizers, whose losses are not "
            "comparable."
        )
    return picture(axes, caption)


def _of_group(ahead: list[Forecast], group) -> Forecast:
    """The forecast of one group, or the first if there is none of it."""
    labels = (group or {}).items()
    chosen = [a for a in ahead if all(str(a.data[g].values[0]) == v for g, v in labels)]
    return (chosen or ahead)[0]


def _allocation_caption(split: Allocation, curve: Allocation, ci_prob) -> str:
    prob, kind = defaults(ci_prob)
    row = split.summary(prob, kind).iloc[-1]
    low, high = (row[f"N_{kind}{100 * prob:g}_{end}"] for end in ("lb", "ub"))
    name = split.group.removeprefix(" for ") or "these runs"
    beyond = float(curve.data["C"].max()) > FAR * float(curve.fit.runs.table["C"].max())
    shaded = "; the shaded region is beyond 100 times its compute" if beyond else ""
    return (
        f"For {name} the optimal N at {format_flop(row['C'])} FLOP lies between "
        f"{format_count(low)} and {format_count(high)} ({100 * prob:g} %); N grows as "
        f"C^{row['a']:.2f}. The vertical line marks the largest fitted run{shaded}. Rules and "
        "models were made with other data and tokenizers."
    )


def _what_laws_say(fit: Average, ahead: list[Forecast], group) -> tables.Table:
    """The median loss of each law alone at the budgets, and how far the laws differ."""
    data = _of_group(ahead, group).data
    columns = {c: data[c].to_numpy() for c in ("N", "D", "C") if c in data.coords}
    medians = losses_by_law(fit.used, columns, group)
    by_point = [dict(zip(medians, at, strict=True)) for at in zip(*medians.values(), strict=True)]
    rows = [
        (name, f"{100 * fit.weights[name]:.0f} %", *(format_loss(p[name]) for p in by_point))
        for name in fit.used
    ]
    spread = [f"{100 * (max(p.values()) / min(p.values()) - 1):.1f} %" for p in by_point]
    budgets = [f"loss at {format_flop(float(C))}" for C in data["C"]]
    name = f" for {', '.join(group.values())}" if group else ""
    return tables.Table(
        f"Median loss of each law alone{name}",
        ("law", "weight", *budgets),
        (*rows, ("largest difference", "", *spread)),
    )


def _parameters(fit: Fit | Average, found: Findings, ci_prob) -> list[Section]:
    """The sections of the appendix: parameters, residuals and the design."""
    heaviest, of = fit, ""
    if isinstance(fit, Average):
        law, heaviest = next(iter(fit.used.items()))
        of = f" of {law}, the law with the largest weight" if len(fit.used) > 1 else ""
    surprising = heaviest.check().surprising
    farthest = ""
    if surprising is not None and len(surprising):
        farthest = f" The most surprising run is number {surprising.index[0]}."
    pictures = [
        picture(
            plot_posterior(heaviest),
            f"Posterior densities{of}, with the priors in grey: where they agree, the runs say "
            "little about the parameter.",
        ),
        picture(
            plot_residuals(heaviest),
            f"Residuals{of}.{farthest} Numbers are {fit.runs.rows_are}.",
        ),
    ]
    if {"N", "D"} <= set(fit.runs.table):
        table = fit.runs.table
        pictures.append(
            picture(
                plot_runs(fit.runs),
                f"The fitted runs: {format_count(table['N'].min())} to "
                f"{format_count(table['N'].max())} parameters and {format_count(table['D'].min())} "
                f"to {format_count(table['D'].max())} tokens.",
            )
        )
    return [
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
    ]


def _laws(average: Average, listed: Sequence[tables.Table], difference: str) -> Section:
    differ = f"{difference or as_sentence(average.difference)} " * (len(average.counted) > 1)
    return Section(
        "What each law says" if len(average.used) > 1 else "Law",
        f"{differ}Forecasts and allocations on this page are of "
        "the mixture of these laws in proportion to their weights, so their intervals include the "
        "uncertainty about the law. The log evidence is the log probability of the runs under a "
        "law and its priors; of two laws, the one with the larger value predicts the runs better.",
        listed,
    )
