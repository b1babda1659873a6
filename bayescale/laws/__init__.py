"""The gallery of scaling laws, one small file each, and the registry that finds them by name."""

from __future__ import annotations

import re

from bayescale.errors import LawError, unknown
from bayescale.law import Law
from bayescale.laws.chinchilla import chinchilla
from bayescale.laws.kaplan import kaplan, kaplan_floor
from bayescale.laws.power import power

#: Every law by its name. A law of one column may name it: ``power(D)``.
REGISTRY: dict[str, Law] = {law.name: law for law in (chinchilla, kaplan, kaplan_floor, power)}

__all__ = ["REGISTRY", "chinchilla", "get", "kaplan", "kaplan_floor", "power"]


def get(law: str | Law) -> Law:
    """A law by name, or the law itself.

    Parameters
    ----------
    law : str or Law
        ``"chinchilla"``, ``"kaplan"``, ``"kaplan_floor"``, ``"power"`` (in C), ``"power(D)"``, or
        a `Law` of your own.

    Raises
    ------
    LawError
        If no law has that name; the message lists those that exist.

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
