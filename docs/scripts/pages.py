"""Write the pages that are made from the package: ``docs/laws.md`` and ``docs/api.md``.

Run ``python docs/scripts/pages.py`` after a change of a law or of a public name. A test compares
both pages with the package.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import bayescale as bs

DOCS = Path(__file__).resolve().parents[1]

#: Sections of the reference, by the folder of the package in which a name is defined.
SECTIONS = {
    "data": "Runs and tables",
    "model": "Fits",
    "forecasting": "Forecasts and allocations",
    "decisions": "Decisions",
    "costs": "Costs",
    "evaluation": "Tests and comparisons",
    "capabilities": "Tasks and breaks",
    "saved": "Saved results",
    "reporting": "The report",
    "plots": "Figures",
    "laws": "Laws",
    "priors": "Priors",
    "units": "Counts",
    "testing": "Testing a law",
    "theory": "Theories of exponents",
    "errors": "Errors and warnings",
}


def laws_page() -> str:
    """The gallery of laws."""
    parts = [
        "# The laws",
        "<!-- written by docs/scripts/pages.py -->",
        "A law is one formula for the loss. N is the number of parameters and D the number of "
        "tokens. A law of one column has x in their place: compute (C), or the column that is "
        'named, as in `"power(D)"`. Laws of other regimes need further columns, such as the number '
        "of unique tokens, U; [what is read](reading.md#further-columns) lists them. `bayescale "
        "laws` prints a short version of this page. By default `chinchilla`, `kaplan_floor` and "
        "`skaling` are fitted, or `power` and `shifted_power` if the table does not have both N "
        "and D; these are the default family. Laws of precision and of pruned weights are not "
        "included, because their published constants could not be verified.",
        "In the formulas each column is divided by its geometric mean over the runs, except "
        "numbers of experts and of streams; ratios such as D / U keep their values. An amplitude "
        "such as A is therefore the contribution of its term to the loss at the centre of your "
        "runs. Summaries also give the constants in original units, as papers do.",
        "The priors are given as 90 % intervals. Those of floors and amplitudes are fractions of "
        "the typical loss of the runs (its geometric mean), so that they hold in any unit of loss. "
        "With groups, parameters that differ between groups have a value for each; the others have "
        "one for all. "
        "[How the statistics work](statistics.md) explains priors; "
        "[Contributing](../CONTRIBUTING.md) shows how to write your own law.",
    ]
    for name, law in bs.laws.REGISTRY.items():
        rows = [
            f"| `{p}` | {_number(low)} to {_number(high)}"
            f"{' of the typical loss' if getattr(prior, 'of', None) else ''} "
            f"| {'yes' if p in law.poolable else 'no'} |"
            for p, prior in law.priors.items()
            for low, high in [prior.interval(0.9)]
        ]
        parts += [
            f"## {name}",
            law.use,
            f"```text\nloss = {law.formula.replace('  ', chr(10) + '       ')}\n```",
            "\n".join(
                [
                    f"Regime: {law.regime}. Columns: {', '.join(law.columns)}. "
                    f"Paper: {law.reference}.",
                    "",
                    "| parameter | prior, 90 % | differs between groups by default |",
                    "|---|---|---|",
                    *rows,
                ]
            ),
        ]
        for point in law.published.values():
            values = ", ".join(f"{k} = {v:.4g}" for k, v in point.values.items())
            parts.append(f"Published constants, {point.label}: {values} ({point.reference}).")
    return "\n\n".join(parts) + "\n"


#: What the functions of each section are for.
INTRODUCTIONS = {
    "Runs and tables": "`Runs.read` checks a table of training runs, from a file or a DataFrame. "
    "`count` counts parameters and FLOP, and `literature` looks published constants up.",
    "Fits": "`fit` gives the posterior of one law, whose checks are `Fit.check()`. `simulate` "
    "makes tables from known parameters, and `sensitivity` tells how much depends on priors.",
    "Forecasts and allocations": "`forecast` gives losses of runs with their intervals, and "
    "`allocate` the N and D for a budget or for a loss. `regret` is the loss of another choice.",
    "Decisions": "`speedup` compares recipes, `suggest` chooses the runs to train next, and "
    "`design` scores a plan by simulation. `preregister` and `outcome` keep and score forecasts.",
    "Costs": "`Cost` is the hardware with its prices. Budgets in dollars or in hours become FLOP.",
    "Tests and comparisons": "`ensemble` fits the default family of laws and weighs them. "
    "`rollout` tests forecasts on larger runs, and `hypotheses` and `compare` compare laws.",
    "Tasks and breaks": "`link` maps losses to accuracy, and `forecast_tasks` forecasts it. "
    "`emergence` and `breaks` ask whether a task leaves its smooth curve.",
    "Saved results": "`load` reads the file of any result that has `save(path)`, such as a fit or "
    "a link, and gives an object of the same class.",
    "The report": "`report` writes one HTML page about a fit, with the answer, the risk and the "
    "next step first, and the fit itself beside it.",
    "Figures": "Each function draws one kind of result and returns matplotlib axes, which can be "
    "changed further. None of them computes anything that the result does not hold.",
    "Laws": "A law is one formula of the loss with priors of its parameters. Own laws are "
    "instances of `Law`.",
    "Priors": "A prior is a normal distribution on a link scale. `fit(..., priors=...)` takes it "
    "by the name of a parameter.",
    "Counts": "Counts may be text with units (`70B`, `1e22`). These functions read, write and "
    "convert them.",
    "Testing a law": "`check_law` tests whether an own law has the properties that the package "
    "requires.",
    "Theories of exponents": "Theories predict exponents from other quantities. Their predictions "
    "are compared with a posterior.",
    "Errors and warnings": "All errors are `BayescaleError`, with every problem in `problems`. "
    "Warnings do not stop a computation.",
}


def api_page() -> str:
    """The reference of all public names."""
    parts = [
        "# Public functions and classes",
        "<!-- written by docs/scripts/pages.py -->",
        "All names are used as `bayescale.<name>`, usually after `import bayescale as bs`. "
        "Functions do something with a result; classes are the results. Results are never changed "
        "by a function.",
    ]
    by_section: dict[str, list[str]] = {title: [] for title in SECTIONS.values()}
    for name in sorted(set(bs.__all__) - {"__version__"}):
        value = getattr(bs, name)
        if inspect.ismodule(value):
            folder, path = value.__name__.split(".")[1], value.__name__
        elif callable(value):
            folder, path = value.__module__.split(".")[1], f"{value.__module__}.{name}"
        else:
            continue
        if name != "laws":  # shown in the gallery
            by_section[SECTIONS[folder]].append(path)
    for title, paths in by_section.items():
        parts.append(f"## {title}")
        if title in INTRODUCTIONS:
            parts.append(INTRODUCTIONS[title])
        if title == "Fits":
            parts.append("`bayescale.NEW` is the label of a group that was not observed.")
        if title == "Laws":
            parts.append(
                "`bayescale.laws` contains the laws of the package by name, and `laws.REGISTRY` "
                "all of them; see [the laws](laws.md)."
            )
        parts += [f"::: {path}" for path in paths]
    return "\n\n".join(parts) + "\n"


def _number(value: float) -> str:
    return f"{value:.2g}"


if __name__ == "__main__":
    (DOCS / "laws.md").write_text(laws_page(), encoding="utf-8")
    (DOCS / "api.md").write_text(api_page(), encoding="utf-8")
