"""The scaling laws of the package, one file each, and their registry by name."""

from __future__ import annotations

import copyreg
import re

from bayescale.errors import LawError, unknown
from bayescale.laws.base import RESERVED, Law, Published, group_name_problem
from bayescale.laws.bounded_chinchilla import bounded_chinchilla
from bayescale.laws.broken_power import broken_power, delayed_power
from bayescale.laws.chance_power import chance_power
from bayescale.laws.chinchilla import chinchilla
from bayescale.laws.farseer import farseer
from bayescale.laws.isoflop import isoflop
from bayescale.laws.kaplan import kaplan, kaplan_floor
from bayescale.laws.kaplan_steps import kaplan_steps
from bayescale.laws.multiplicative import multiplicative
from bayescale.laws.power import power, pure_power
from bayescale.laws.published import CLAIMS, MODELS, SPLITS, STAIRCASE, Claim
from bayescale.laws.shifted_chinchilla import shifted_chinchilla
from bayescale.laws.shifted_power import shifted_power
from bayescale.laws.skaling import skaling

#: Every law by its name. A law of one column may name it: ``power(D)``.
REGISTRY: dict[str, Law] = {
    law.name: law
    for law in (
        chinchilla, kaplan, kaplan_floor, skaling, shifted_chinchilla, bounded_chinchilla, farseer,
        isoflop, multiplicative, kaplan_steps,
        power, pure_power, shifted_power, chance_power, delayed_power, broken_power,
    )
}  # fmt: skip

__all__ = [
    "CLAIMS", "MODELS", "REGISTRY", "RESERVED", "SPLITS", "STAIRCASE", "Claim", "Law", "Published",
    "bounded_chinchilla", "broken_power", "chance_power", "chinchilla", "delayed_power", "farseer",
    "get", "group_name_problem", "isoflop", "kaplan", "kaplan_floor", "kaplan_steps",
    "multiplicative", "power", "pure_power", "shifted_chinchilla", "shifted_power", "skaling",
]  # fmt: skip


def get(law: str | Law) -> Law:
    """A law by name, or the law itself.

    Parameters
    ----------
    law : str or Law
        A name in `REGISTRY`, such as ``"chinchilla"``. Laws of one column are functions of C; with
        another column in parentheses, ``"power(D)"``, of that one. A `Law` is returned as it is.

    Raises
    ------
    LawError
        If no law has that name; the message lists all laws.

    Examples
    --------
    >>> get("power(N)").columns
    ('N',)
    """
    if isinstance(law, Law):
        return law
    match = re.fullmatch(r"(\w+)(?:\((\w+)\))?", str(law).strip())
    name, column = match.groups() if match else (law, None)
    if name not in REGISTRY:
        raise LawError(unknown("law", law, REGISTRY))
    return REGISTRY[name].on(column) if column else REGISTRY[name]


def _pickled(law: Law):
    """Pickle a law of the registry by name, so that it is unpickled as the same object."""
    try:
        registered = get(law.name) is law
    except LawError:
        registered = False
    return (get, (law.name,)) if registered else law.__reduce__()


copyreg.pickle(Law, _pickled)
