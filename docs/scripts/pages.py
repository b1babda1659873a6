"""Write the pages that are made from the package: ``docs/laws.md`` and ``docs/api.md``.

Run ``python docs/scripts/pages.py`` after a change of a law or of a public name. A test compares
both pages with the package.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import bayescale as bs

DOCS = Path(__file__).resolve().parents[1]

#: The formula of each law as text, which a test compares with the code, and when to use the law.
#: `x` is the one column of a law. ``solve`` stands for the solution of an implicit equation.
LAWS = {
    "chinchilla": (
        "E + A * N**-alpha + B * D**-beta",
        "Runs with different N and D, each token seen about once. The terms of model size and data "
        "add. The usual choice for compute-optimal sizes.",
    ),
    "kaplan": (
        "(A**(1/alpha_D) * N**(-alpha_N/alpha_D) + B**(1/alpha_D) / D)**alpha_D",
        "As `chinchilla`, without an irreducible loss: the loss is limited by the scarcer of "
        "parameters and data. Use it to compare with Kaplan et al.",
    ),
    "kaplan_floor": (
        "E + (A**(1/alpha_D) * N**(-alpha_N/alpha_D) + B**(1/alpha_D) / D)**alpha_D",
        "Kaplan's law with an irreducible loss. Part of the default family.",
    ),
    "skaling": (
        "E + ((A * N**-alpha)**(1/q) + (B * D**-beta)**(1/q))**q",
        "Contains `chinchilla` (q = 1), `kaplan_floor` (beta = q) and `kaplan` (E = 0 and "
        "beta = q). q measures how the two terms combine. Part of the default family.",
    ),
    "shifted_chinchilla": (
        "E + A * ((N + shift_N) / (1 + shift_N))**-alpha"
        " + B * ((D + shift_D) / (1 + shift_D))**-beta",
        "As `chinchilla`, for sizes that are counted without a constant part, or curves that level "
        "off towards small sizes.",
    ),
    "bounded_chinchilla": (
        "E + r / (1 + r/H)  with  r = A * N**-alpha + B * D**-beta",
        "As `chinchilla`, but the loss of small runs cannot exceed E + H, the loss of a model that "
        "has learnt nothing.",
    ),
    "farseer": (
        "E * exp(-e * (N**gamma - 1) / gamma) + B * exp(b * (N**-beta - 1) / beta) * D**-p"
        "  with  p = A * exp(-a * (N**alpha - 1) / alpha)",
        "Large sweeps: floor, amplitude and exponent of the data term change with N. Nine "
        "parameters; with fewer than a hundred runs most of them keep their priors.",
    ),
    "isoflop": (
        "E + K * (N*D)**-gamma * (beta * r**-alpha + alpha * r**beta) / (alpha + beta)"
        "  with  r = N / (n * (N*D)**a)",
        "IsoFLOP sweeps: several model sizes for each of several budgets. The exponent a of "
        "N* ~ C^a is a parameter.",
    ),
    "multiplicative": (
        "E + A * N**-alpha * D**-beta",
        "A simplification that is often quoted. It has no best split of a budget; use it only to "
        "compare.",
    ),
    "kaplan_steps": (
        "A * N**-alpha_N + B * S**-alpha_S",
        "Runs described by parameters N and optimiser steps S in the limit of large batches.",
    ),
    "power": (
        "E + A * x**-alpha",
        "One column, such as compute, tokens or steps, with an irreducible loss.",
    ),
    "pure_power": (
        "A * x**-alpha",
        "One column, far above any irreducible loss.",
    ),
    "shifted_power": (
        "A * ((1/x + gamma) / (1 + gamma))**alpha",
        "One column; the curve levels off by a shift of 1/x. Part of the default family for tables "
        "without both N and D.",
    ),
    "chance_power": (
        "E + A * (1 + headroom) * s  where s solves  s / (1 - s)**kappa = "
        "headroom**-kappa * (1 + headroom)**(kappa - 1) * x**-alpha",
        "Error rates that begin at chance level and fall to a limit.",
    ),
    "delayed_power": (
        "E + A * exp(-alpha * b)  with  f = k / alpha,  "
        "b = f * (log(1 + (x/d)**(1/f)) - log(1 + (1/d)**(1/f)))",
        "Learning curves with a plateau before they begin to fall at about x = d.",
    ),
    "broken_power": (
        "E + A * x**-alpha0 * exp((alpha0 - alpha1) * b)  with  "
        "b = f * (log(1 + (x/d)**(1/f)) - log(1 + (1/d)**(1/f)))",
        "Learning curves whose slope changes from alpha0 to alpha1 at about x = d.",
    ),
}

#: Sections of the reference, by the folder of the package in which a name is defined.
SECTIONS = {
    "data": "Runs and tables",
    "model": "Fits",
    "forecasting": "Forecasts and allocations",
    "decisions": "Decisions",
    "evaluation": "Tests and comparisons",
    "capabilities": "Tasks and breaks",
    "reporting": "The report",
    "plots": "Figures",
    "laws": "Laws",
    "priors": "Priors",
    "units": "Counts",
    "testing": "Testing a law",
    "errors": "Errors and warnings",
}


def laws_page() -> str:
    """The gallery of laws."""
    parts = [
        "# The laws",
        "<!-- written by docs/scripts/pages.py -->",
        "A law is one formula for the loss. N is the number of parameters, D the number of tokens "
        'and x the column of a law of one column: C (compute) by default, or `"power(D)"` for '
        "another. In these formulas each column is divided by its geometric mean over the runs. "
        "An amplitude such as A is therefore the part of the loss at the centre of your runs that "
        "its term contributes. Summaries also give the constants in original units, as papers "
        "quote them.",
        "The priors are given as 90 % intervals. Those of floors and amplitudes are fractions of "
        "the typical loss of the runs (its geometric mean), so that they hold in any unit of loss. "
        "[How the statistics work](statistics.md) explains priors; "
        "[Contributing](../CONTRIBUTING.md) shows how to write your own law.",
    ]
    for name, law in bs.laws.REGISTRY.items():
        formula, regime = LAWS[name]
        rows = [
            f"| `{p}` | {_number(low)} to {_number(high)}"
            f"{' of the typical loss' if getattr(prior, 'of', None) else ''} "
            f"| {'yes' if p in law.poolable else 'no'} |"
            for p, prior in law.priors.items()
            for low, high in [prior.interval(0.9)]
        ]
        parts += [
            f"## {name}",
            regime,
            f"```text\nloss = {formula.replace('  ', chr(10) + '       ')}\n```",
            "\n".join(
                [
                    f"Columns: {', '.join(law.columns)}. Paper: {law.reference}.",
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
