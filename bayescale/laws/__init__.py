"""The scaling laws of the package, one file each, and their registry by name."""

from __future__ import annotations

import copyreg
import importlib
import re
import sys
import types

from bayescale.errors import LawError, unknown
from bayescale.laws.base import RESERVED, Law, Published, group_name_problem
from bayescale.laws.bounded_chinchilla import bounded_chinchilla
from bayescale.laws.broken_power import broken_power, delayed_power
from bayescale.laws.chance_power import chance_power
from bayescale.laws.chinchilla import chinchilla
from bayescale.laws.farseer import farseer
from bayescale.laws.finetuning import finetuning, rectified
from bayescale.laws.gallery import described, listed, listed_html
from bayescale.laws.granular_experts import granular_experts
from bayescale.laws.isoflop import isoflop
from bayescale.laws.kaplan import kaplan, kaplan_floor
from bayescale.laws.kaplan_steps import kaplan_steps
from bayescale.laws.learning_rate import learning_rate_batch
from bayescale.laws.mixing import mixing, mixing_law, mixing_transfer, share_columns
from bayescale.laws.multiplicative import multiplicative
from bayescale.laws.overtraining import overtraining
from bayescale.laws.parallel_streams import parallel_streams
from bayescale.laws.power import power, pure_power
from bayescale.laws.published import CLAIMS, MODELS, SPLITS, STAIRCASE, Claim
from bayescale.laws.repeated_data import repeated_data
from bayescale.laws.repeated_overfit import repeated_bounded, repeated_overfit
from bayescale.laws.routed_experts import routed_experts
from bayescale.laws.schedules import annealing, multi_power, schedule_columns
from bayescale.laws.shifted_chinchilla import shifted_chinchilla
from bayescale.laws.shifted_power import shifted_power
from bayescale.laws.sigmoid import sigmoid
from bayescale.laws.skaling import skaling
from bayescale.laws.sparse_experts import sparse_experts, sparse_multiplicative
from bayescale.laws.vocabulary import vocabulary, vocabulary_size

#: Every law by its name. A law of one column may name it: ``power(D)``.
REGISTRY: dict[str, Law] = {
    law.name: law
    for law in (
        chinchilla, kaplan, kaplan_floor, skaling, shifted_chinchilla, bounded_chinchilla, farseer,
        isoflop, multiplicative, kaplan_steps,
        power, pure_power, shifted_power, chance_power, delayed_power, broken_power,
        repeated_data, repeated_overfit, repeated_bounded, overtraining, routed_experts,
        granular_experts, sparse_experts, sparse_multiplicative, vocabulary, vocabulary_size,
        learning_rate_batch, annealing, multi_power, mixing, mixing_transfer, rectified,
        finetuning, parallel_streams, sigmoid,
    )
}  # fmt: skip

__all__ = [
    "CLAIMS", "MODELS", "REGISTRY", "RESERVED", "SPLITS", "STAIRCASE", "Claim", "Law", "Published",
    "annealing", "bounded_chinchilla", "broken_power", "chance_power", "chinchilla",
    "delayed_power", "described", "farseer", "finetuning", "get", "granular_experts",
    "group_name_problem", "isoflop", "kaplan", "kaplan_floor", "kaplan_steps",
    "learning_rate_batch", "listed", "mixing", "mixing_law", "mixing_transfer", "multi_power",
    "multiplicative", "overtraining", "parallel_streams", "power", "pure_power", "rectified",
    "repeated_bounded", "repeated_data", "repeated_overfit", "routed_experts", "schedule_columns",
    "share_columns", "shifted_chinchilla", "shifted_power", "sigmoid", "skaling", "sparse_experts",
    "sparse_multiplicative", "vocabulary", "vocabulary_size",
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


class _Gallery(types.ModuleType):
    """This module, which shows the table of laws in a notebook, and only public names."""

    def __repr__(self) -> str:
        return listed(REGISTRY)

    def _repr_html_(self) -> str:
        return listed_html(REGISTRY)

    def __dir__(self) -> list[str]:
        return list(__all__)

    def __reduce__(self):
        # Functions that use this module can be sent to other processes.
        return importlib.import_module, (__name__,)


sys.modules[__name__].__class__ = _Gallery
