"""Columns that are proposed for a quantity that was not found."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from bayescale.data import names, remedies
from bayescale.data.formats import RawTable
from bayescale.data.names import MEANING, USUAL, compact
from bayescale.data.suspicions import SWEPT

#: Names of columns, as `compact` gives them, of the number of steps and of the shape of a model.
STEPS = frozenset((
    "step", "steps", "globalstep", "trainsteps", "trainingsteps", "numsteps", "nsteps", "maxsteps",
    "totalsteps", "iteration", "iterations", "iter",
))  # fmt: skip
WIDTH = frozenset((
    "dmodel", "width", "modelwidth", "hiddensize", "hiddendim", "nembd", "modeldim", "embeddim",
))  # fmt: skip
DEPTH = frozenset((
    "nlayers", "nlayer", "layers", "numlayers", "numhiddenlayers", "depth", "modeldepth",
))  # fmt: skip
#: Names of columns of logarithms to the base 10, of time on accelerators, and of any time,
#: money or label.
LOGARITHM = re.compile(r"log_?10[_ (]*([A-Za-z][\w -]*?)\)?$", re.IGNORECASE)
HOURS = re.compile(r"(?:gpu|tpu|accelerator|device)[\w -]*h(?:ou)?rs?\b", re.IGNORECASE)
NO_COUNT = re.compile(
    r"hour|time|second|minute|days?\b|cost|usd|price|log_?10|\b(?:\w+_)?(?:name|id)$", re.IGNORECASE
)


def of_counts(raw: RawTable, columns: list[str], used: Collection[str]) -> str:
    """The message on a table without N, D and C: the products that may give them, or a column."""
    if logs := _of_logarithms(columns):
        return f"no column holds a count: if these are logarithms, pass {remedies.columns(logs)}"
    hours = [c for c in columns if HOURS.search(c)]
    width, depth = (_named(columns, spellings) for spellings in (WIDTH, DEPTH))
    tokens, is_complete = _tokens(raw, columns)
    if width is None or depth is None:
        also = "D (tokens) or C (training FLOP)"
        stated = of_steps(raw, columns) or no_column("N", columns, used, also)
        if not hours:
            return stated
        return (
            f"{stated} If the runs used accelerators of one kind, the compute is hours x 3600 x "
            "peak FLOP per second x utilisation: for H100 at 40 %, pass "
            f"{remedies.column('C', f'{hours[0]}*1.4e18')}"
        )
    products = {"N": f"12*{width}*{width}*{depth}"}
    formulas = "N = 12 x width^2 x layers, without embeddings"
    if tokens and is_complete:
        products["D"] = tokens
        formulas += ", and D = steps x batch_size x seq_len"
    return (
        f"no column holds {MEANING['N']}, {MEANING['D']} or {MEANING['C']}: if {formulas}, pass "
        f"{remedies.columns(products)}"
    )


def _of_logarithms(columns: list[str]) -> dict[str, str]:
    """An expression for each count whose logarithm to the base 10 is a column by its name."""
    found: dict[str, str] = {}
    for column in columns:
        if match := LOGARITHM.match(column):
            quantity = names.recognise(match[1]).quantity
            if quantity in ("N", "D", "C"):
                found.setdefault(quantity, f"10**{column}")
    return found


def of_steps(raw: RawTable, columns: list[str]) -> str:
    """A message that asks whether D is steps x batch size x length; empty without steps."""
    tokens, is_complete = _tokens(raw, columns)
    if not tokens:
        return ""
    unknown_sizes = "" if is_complete else " with the sizes of your batches"
    return (
        f"no column holds tokens: if D = steps x batch_size x seq_len, pass "
        f"{remedies.column('D', tokens)}{unknown_sizes}"
    )


def _tokens(raw: RawTable, columns: list[str]) -> tuple[str, bool]:
    """The product of steps, batch size and length, and whether the table has all of them."""
    step = _named(columns, STEPS)
    if step is None or raw.cells[step].astype(str).nunique() < 2:
        return "", False
    batch = next((c for c in columns if re.search("batch.?size|^bs$|global.?batch", c, re.I)), None)
    length = next(
        (c for c in columns if re.search("seq.?len|context.?len|block.?size", c, re.I)), None
    )
    tokens = batch is not None and "token" in batch.lower()
    parts = [step, batch or "512", *(() if tokens else (length or "2048",))]
    return "*".join(parts), bool(batch and (length or tokens))


def _named(columns: list[str], spellings: Collection[str]) -> str | None:
    """The first column with one of these names, whatever path is before it."""
    return next((c for c in columns if compact(re.split("[/.:]", c)[-1]) in spellings), None)


def no_column(quantity: str, columns: list[str], used: Collection[str] = (), also="") -> str:
    close = [
        n
        for n in columns
        if difflib.get_close_matches(compact(n), USUAL[quantity], 1, 0.7)
        and names.recognise(n).quantity is None
        and not names.recognise(n).refusal
    ]
    hint = f" Is it {close[0]!r}? Then pass {remedies.column(quantity, close[0])}." if close else ""
    free = [c for c in columns if c not in used and _may_be(quantity, c)] or ["COLUMN"]
    if quantity == "loss":  # a validation loss before others
        free.sort(key=lambda c: bool(re.search("val|eval", c, re.IGNORECASE)))
    ask = "" if hint else f" {remedies.naming(quantity, free[-1])}"
    return (
        f"no column holds {MEANING[quantity]}{', ' * bool(also)}{also}.{hint}{ask} "
        f"The columns are {', '.join(columns[:12])}"
        f"{', ...' if len(columns) > 12 else ''}; usual names are "
        f"{', '.join(USUAL[quantity][:4])}."
    )


def _may_be(quantity: str, column: str) -> bool:
    """Whether a column may be a quantity: none that is another one by its name, or a setting."""
    read = names.recognise(column)
    if quantity == "loss":
        return read.quantity is None or read.quantity == "loss"
    is_other = read.quantity is not None or bool(read.refusal)
    is_other |= bool(SWEPT.search(column) or NO_COUNT.search(column))
    return not is_other and not names.names_loss(column) and not remedies.is_score(column)
