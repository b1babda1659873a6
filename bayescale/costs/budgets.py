"""Budgets as text: an amount, its unit, and the accelerator that it names."""

from __future__ import annotations

import re
from typing import NamedTuple

from bayescale.costs.hardware import is_accelerator
from bayescale.errors import LawError
from bayescale.keywords import on_command_line
from bayescale.units import parse_count

FLOP_PER_PF_DAY = 86400e15
#: A smaller number with a suffix but without a unit, such as 2M, is refused: money may be meant.
FEWEST_FLOP = 1e9
#: Names of accelerators of any kind.
GENERIC = ("", "gpu", "tpu", "chip", "accelerator")

_NUMBER = r"(?P<number>[+-]?(?:[\d,_]+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<suffix>[kmbgt]?)\s*"
#: What may follow the number of a budget, in the order in which it is tried.
_BUDGETS = {
    "kg_co2e_t": r"t(?:on(?:ne)?s?)?\s*co2e?",
    "kg_co2e_g": r"g\s*co2e?",
    "wh": r"wh",
    "flop": r"(?:flops?)?",
    "pf_days": r"(?:pf(?:lops?)?|petaflops?)(?:/s)?[\s-]*days?",
    "dollars": r"(?:usd|dollars?|\$)",
    # A suffix directly before a letter is the beginning of a name: 100 GPU-hours.
    "hours": r"(?<![kmbgt](?=[a-z]))(?P<hardware>[a-z][\w .-]*?)??"
    r"[\s-]*(?:gpu|tpu|chip|accelerator)?[\s-]*(?:hours?|hrs?|h)",
}
#: Units of the costs of a run, and multiples of them.
_SCALES = {"kg_co2e_t": ("kg_co2e", 1e3), "kg_co2e_g": ("kg_co2e", 1e-3), "wh": ("kwh", 1e-3)}


class Amount(NamedTuple):
    """A budget as written.

    Attributes
    ----------
    value : float
    unit : {"flop", "hours", "dollars", "kwh", "kg_co2e"}
    hardware : str
        The accelerator that is named; empty without one.
    """

    value: float
    unit: str
    hardware: str


def parse_budget(text: str) -> Amount:
    """Read ``1e24 FLOP``, ``50k H100 hours``, ``$2M``, ``30 GWh`` or ``12 t CO2e``.

    Raises
    ------
    LawError
        If the text is not a budget.
    """
    plain = text.strip()
    if plain.startswith("$"):
        plain = f"{plain[1:]} $"
    tried = {u: re.fullmatch(_NUMBER + p, plain, re.IGNORECASE) for u, p in _BUDGETS.items()}
    unit, match = next(((u, m) for u, m in tried.items() if m), ("", None))
    if match is None:
        raise LawError(
            f"{text!r} is not a budget: write 1e24 FLOP, 50k H100 hours, $2M, 30 GWh or 12 t CO2e"
            + (" in single quotes ('$5k'), because a shell reads $ itself" * on_command_line())
        )
    try:
        value = parse_count(match["number"] + match["suffix"])
    except ValueError as error:
        raise LawError(f"{text!r} is not a budget: {error}") from None
    if unit == "flop" and match["suffix"] and value < FEWEST_FLOP and "flop" not in plain.lower():
        raise LawError(
            f"{text!r} has no unit and is too little for FLOP of training: write ${plain}, "
            f"{plain} H100 hours, or FLOP as in 1e24"
        )
    if unit == "pf_days":
        return Amount(value * FLOP_PER_PF_DAY, "flop", "")
    unit, scale = _SCALES.get(unit, (unit, 1.0))
    named = (match.groupdict().get("hardware") or "").strip(" -")
    return Amount(value * scale, unit, "" if named.lower() in GENERIC else named)


def hardware_in(budget) -> str | None:
    """The accelerator that budgets name first; None if they name none.

    Parameters
    ----------
    budget : float, str or sequence of these
    """
    items = [budget] if isinstance(budget, str) or not hasattr(budget, "__iter__") else budget
    for item in items:
        try:
            found = parse_budget(item).hardware if isinstance(item, str) else ""
        except LawError:  # reported where the budget is read
            continue
        if is_accelerator(found):
            return found
    return None
