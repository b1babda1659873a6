"""The gallery of laws as text and as HTML."""

from __future__ import annotations

from collections.abc import Mapping

from bayescale.laws.base import Law
from bayescale.text_tables import html_table, text_table

HEADER = ("name", "regime", "columns", "parameters", "paper")


def rows(laws: Mapping[str, Law]) -> list[tuple[str, ...]]:
    """One row per law: the cells of `HEADER`."""
    return [
        (
            name,
            law.regime,
            ", ".join(law.columns),
            ", ".join(law.parameters),
            law.reference,
        )
        for name, law in laws.items()
    ]


def listed(laws: Mapping[str, Law], width: int = 120) -> str:
    """A table of laws as text."""
    return text_table(HEADER, rows(laws), width)


def listed_html(laws: Mapping[str, Law]) -> str:
    """A table of laws as HTML."""
    return html_table(HEADER, rows(laws))


def described(law: Law, width: int = 100) -> str:
    """One law as text: formula, use, priors and published constants."""
    formula = law.formula.replace("  ", "\n       ") or "(no text of the formula)"
    priors = [
        (
            name,
            "{:.2g} to {:.2g}".format(*prior.interval(0.9))
            + (" of the typical loss" if getattr(prior, "of", None) else ""),
        )
        for name, prior in law.priors.items()
    ]
    parts = [
        f"{law.name}: {law.regime}" if law.regime else law.name,
        f"loss = {formula}",
        law.use,
        f"Columns: {', '.join(law.columns)}. Paper: {law.reference}.",
        text_table(("parameter", "prior, 90 %"), priors, width),
    ]
    for point in law.published.values():
        values = ", ".join(f"{k} = {v:.4g}" for k, v in point.values.items())
        parts.append(f"Published constants, {point.label}:\n{values}\n({point.reference})")
    if not law.published:
        parts.append("No published constants are included.")
    return "\n\n".join(filter(None, parts))
