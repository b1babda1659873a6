"""Columns that are proposed for a quantity that was not found."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection

import pandas as pd

from bayescale.data import names, numerals, remedies
from bayescale.data.formats import RawTable, is_missing
from bayescale.data.names import MEANING, USUAL, compact
from bayescale.data.suspicions import SWEPT

#: Names of columns, as `compact` gives them, of the number of steps, and of the tokens of a step.
STEPS = re.compile(
    r"(?:train(?:ing|er)?|num|n|max|total|global|optimi[sz]er|gradient)*"
    r"(?:steps?|iter(?:ation)?s?|updates)"
)
STEP_TOKENS = re.compile(
    r"tok\w*.{0,3}per.?(?:step|batch|iter)|batch.*tok|tok.*batch", re.IGNORECASE
)
TOKENS_PER_PARAMETER = re.compile(
    r"^(?:tok\w*\s*(?:per|/|:)\s*param\w*|tok\w*_per_param\w*|d\s*/\s*n|tpp)$", re.IGNORECASE
)
LENGTH = re.compile(
    r"seq(?:uence)?s?.?len|context.?(?:len|size|window)|block.?size|n_ctx|max.?len", re.IGNORECASE
)
BATCH = re.compile("batch.?size|^bs$|global.?batch", re.IGNORECASE)
#: Names of columns of sequences and of data sets; of epochs, as `compact` gives them.
SEQUENCES = re.compile(r"samples|sequences|examples|seqs\b", re.IGNORECASE)
DATA = re.compile(r"data|corpus|set.?size", re.IGNORECASE)
EPOCHS = frozenset(("epoch", "epochs", "nepochs", "numepochs", "epochsseen"))
#: Names of columns, as `compact` gives them, of the shape of a model.
WIDTH = frozenset((
    "dmodel", "width", "modelwidth", "hiddensize", "hiddendim", "nembd", "modeldim", "embeddim",
))  # fmt: skip
DEPTH = frozenset((
    "nlayers", "nlayer", "layers", "numlayers", "numhiddenlayers", "depth", "modeldepth",
))  # fmt: skip
#: Names of columns of logarithms, of time on accelerators, and of any time, money or label.
LOGARITHM = re.compile(r"(log_?10|log_?2|log|ln)[_ (]+([A-Za-z][\w ()-]*?)\)?$", re.IGNORECASE)
#: By quantity: larger logarithms are not to the base 10.
LARGEST_LOG10 = {"N": 13.0, "D": 15.5, "C": 30.0}
HOURS = re.compile(r"(?:gpu|tpu|accelerator|device)[\w -]*h(?:ou)?rs?\b", re.IGNORECASE)
NO_COUNT = re.compile(
    r"hour|time|second|minute|days?\b|cost|usd|price|log_?10|\b[mh]fu\b|\b(?:\w+_)?(?:name|id)$",
    re.IGNORECASE,
)

#: A smaller count in such a column is no number of parameters.
SMALLEST_SIZE = 1e4
#: Names of columns that hold parameters if their cells are counts with a unit; and words in a name
#: that exclude this.
SIZE = re.compile("size|model|scale|variant|arch|network", re.IGNORECASE)
NO_SIZE = re.compile(
    "batch|vocab|seq|context|file|data|token|step|train|hidden|disk", re.IGNORECASE
)
#: Numbers that are too large for anything but compute, unless a name says so.
SMALLEST_BUDGET = 1e15
NO_BUDGET = re.compile("time|date|stamp|seed|hash|(?:^|[^a-z])id$", re.IGNORECASE)


def of_counts(raw: RawTable, columns: list[str], used: Collection[str]) -> str:
    """The message on a table without N, D and C: the products that may give them, or a column."""
    if logs := of_logarithms(raw, columns):
        return logs
    hours = [c for c in columns if HOURS.search(c)]
    width, depth = (_named(columns, spellings) for spellings in (WIDTH, DEPTH))
    tokens, is_complete = _tokens(raw, columns)
    if width is None or depth is None:
        also = "D (tokens) or C (training FLOP)"
        stated = of_steps(raw, columns) or no_column("N", raw, used, also)
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


def of_logarithms(raw: RawTable, columns: list[str], known: Collection[str] = ()) -> str:
    """A message on columns that are logarithms of N, D or C by their names; empty without them."""
    found: dict[str, str] = {}
    for column in columns:
        if match := LOGARITHM.match(column):
            quantity = names.recognise(match[2]).quantity
            if quantity in {*"NDC"} - {*known}:
                middle = pd.to_numeric(raw.cells[column], errors="coerce").median()
                natural = match[1].lower() in ("log", "ln") and middle > LARGEST_LOG10[quantity]
                undone = f"exp({column})" if natural else f"10**{column}"
                undone = f"exp({column}*0.6931472)" if match[1][-1] == "2" else undone
                found.setdefault(quantity, undone)
    if not found:
        return ""
    lacking = " or ".join(found) if known else "a count"
    return f"no column holds {lacking}: if these are logarithms, pass {remedies.columns(found)}"


def of_shape(raw: RawTable, columns: list[str]) -> str:
    """A message that asks whether N follows from width and depth; empty if these do not vary."""
    width, depth = (_named(columns, spellings) for spellings in (WIDTH, DEPTH))
    if width is None or depth is None or raw.cells[[width, depth]].astype(str).nunique().max() < 2:
        return ""
    return (
        f"no column holds {MEANING['N']}: if N = 12 x width^2 x layers, without embeddings, pass "
        f"{remedies.column('N', f'12*{width}*{width}*{depth}')}"
    )


def of_ratios(columns: list[str], N: str) -> str:
    """A message that asks whether D is N times a column of tokens per parameter.

    Parameters
    ----------
    columns : list of str
    N : str
        The expression of N, with its unit.
    """
    ratio = next((c for c in columns if TOKENS_PER_PARAMETER.search(c)), None)
    if ratio is None:
        return ""
    return (
        f"no column holds tokens: if D = N x tokens per parameter, pass "
        f"{remedies.column('D', f'{ratio}*{N}')}"
    )


def of_steps(raw: RawTable, columns: list[str]) -> str:
    """A message that asks whether D is steps x batch size x length; empty without steps."""
    tokens, is_complete = _tokens(raw, columns)
    if not tokens:
        return ""
    unknown_sizes = "" if is_complete else " with the sizes of your batches"
    is_whole = tokens.count("*") - tokens.count("*1e") == 1
    each = "tokens of a step" if is_whole else "batch_size x seq_len"
    return (
        f"no column holds tokens: if D = steps x {each}, pass "
        f"{remedies.column('D', tokens)}{unknown_sizes}"
    )


def _tokens(raw: RawTable, columns: list[str]) -> tuple[str, bool]:
    """The product of steps, batch size and length, and whether the table has all of them."""
    step = next((c for c in columns if STEPS.fullmatch(_last(_without_unit(c)[0]))), None)
    if step is None or raw.cells[step].astype(str).nunique() < 2:
        return "", False
    tokens, batch, length = (
        next((c for c in columns if pattern.search(c)), None)
        for pattern in (STEP_TOKENS, BATCH, LENGTH)
    )
    power = sum(_without_unit(c)[1] for c in (step, tokens or batch) if c is not None)
    factor = f"*1e{power}" if power else ""
    if tokens is not None:
        return f"{step}*{tokens}{factor}", True
    product = "*".join([step, batch or "512", length or "2048"])
    return f"{product}{factor}", bool(batch and length)


def _without_unit(column: str) -> tuple[str, int]:
    """The name of a column without a unit such as ``(k)``, and the power of ten of the unit."""
    match = re.search(r"[(\[_ ]+([kKmMbBgG])(?:[ _-]?tok\w*)?[)\]]?$", column)
    if match is None:
        return column, 0
    return column[: match.start()], numerals.COUNT_UNITS[match[1].lower()]


def of_data(raw: RawTable, columns: list[str], D: str) -> str:
    """A message on a column of D that may have to be multiplied: sequences, or one epoch.

    Parameters
    ----------
    raw : RawTable
    columns : list of str
    D : str
        The column that was read as D, or none.
    """
    length = next((c for c in columns if LENGTH.search(c) and _has_numbers(raw, c)), None)
    if length is not None and SEQUENCES.search(D):
        product, why = f"{D}*{length}", f"it counts sequences of length {length!r}"
    elif epochs := next((c for c in columns if compact(c) in EPOCHS and DATA.search(D)), None):
        values = pd.to_numeric(raw.cells[epochs], errors="coerce")
        if not (values > 1).any():
            return ""
        product, why = f"{D}*{epochs}", f"it counts one of several {epochs!r}"
    else:
        return ""
    return (
        f"column {D!r} ({MEANING['D']}): if {why}, pass {remedies.column('D', product)}, else "
        f"{remedies.column('D', f'{D}*1')}"
    )


def _named(columns: list[str], spellings: Collection[str]) -> str | None:
    """The first column with one of these names, whatever path is before it."""
    return next((c for c in columns if _last(c) in spellings), None)


def _last(column: str) -> str:
    """The last part of a path, as `compact` gives it."""
    return compact(re.split("[/.:]", column)[-1])


def power_of_ten(factor: float) -> str:
    """A power of ten as in expressions: ``1e9``."""
    return f"1e{round(math.log10(factor))}"


def unit_factor_of(column: str) -> float:
    """The factor of a unit in the brackets of a name, as of ``Size (B)``; 0 without one."""
    bracket = re.search(r"[(\[]([^)\]]*)[)\]]\s*$", column)
    return float((bracket and numerals.unit_factor(bracket[1])) or 0)


def of_sizes(raw: RawTable, columns: list[str]) -> list[str]:
    """Messages that ask whether a column such as ``size``, with cells such as 7B, holds N."""
    for column in columns:
        if not SIZE.search(column) or NO_SIZE.search(column):
            continue
        counts = []
        factor = unit_factor_of(column)
        for cell in (c for c in raw.cells[column] if not is_missing(c)):
            try:
                value, unit = numerals.parse(cell)
            except (ValueError, TypeError, OverflowError):
                break
            counts.append(value if unit else value * factor if factor else 0.0)
        else:
            if len(set(counts)) > 1 and min(counts) >= SMALLEST_SIZE:
                cells = ", ".join(dict.fromkeys(str(c).strip() for c in raw.cells[column][:3]))
                stated = f"{column}*{power_of_ten(factor)}" if factor else column
                return [
                    f"column {column!r} ({cells}, ...) looks like {MEANING['N']}: pass "
                    f"{remedies.column('N', stated)}, or rename it if it is something else"
                ]
    return []


def of_budgets(raw: RawTable, columns: list[str]) -> str:
    """A message that asks whether a column of numbers as large as compute holds C."""
    for column in columns:
        values = pd.to_numeric(raw.cells[column], errors="coerce").to_numpy(float)
        if NO_BUDGET.search(column) or not (values >= SMALLEST_BUDGET).all():
            continue
        if values.max() > 2 * values.min():
            return (
                f"column {column!r} ({values[0]:.3g}, ...) looks like {MEANING['C']}: pass "
                f"{remedies.column('C', column)}, or rename it if it is something else"
            )
    return ""


def no_column(quantity: str, raw: RawTable, used: Collection[str] = (), also="") -> str:
    """The message on a quantity that no column holds, with a column that may hold it."""
    columns = [str(c) for c in raw.cells.columns]
    labels = {c for c in columns if not _has_numbers(raw, c)}
    close = [
        n
        for n in columns
        if n not in labels
        and difflib.get_close_matches(compact(n), USUAL[quantity], 1, 0.7)
        and names.recognise(n).quantity is None
        and not names.recognise(n).refusal
    ]
    hint = f" Is it {close[0]!r}? Then pass {remedies.column(quantity, close[0])}." if close else ""
    free = [c for c in columns if c not in {*used, *labels} and _may_be(quantity, c)]
    free = [c for c in free if quantity == "loss" or _are_counts(raw, c)] or ["COLUMN"]
    if quantity == "loss":
        if logs := [c for c in columns if names.recognise(c).refusal == "a logarithm"]:
            ten, natural = (
                remedies.column("loss", f.format(logs[0])) for f in ("10**{}", "exp({})")
            )
            asked = f"pass {ten}" if "10" in logs[0] else f"pass {natural}, or {ten} to the base 10"
            return (
                f"no column holds {MEANING['loss']}, but {logs[0]!r} is its logarithm by its name: "
                f"{asked}"
            )
        if both := [c for c in columns if names.recognise(c).refusal == names.PERPLEXITY_OR_LOSS]:
            either = (remedies.column("loss", f.format(both[0])) for f in ("log({})", "{}*1"))
            return f"{both[0]!r} is a perplexity or a loss by its name: pass {' or '.join(either)}"
        # A validation loss before others.
        free.sort(key=lambda c: bool(re.search("val|eval", c, re.IGNORECASE)))
    ask = "" if hint else f" {remedies.naming(quantity, free[-1 if quantity == 'loss' else 0])}"
    return (
        f"no column holds {MEANING[quantity]}{', ' * bool(also)}{also}.{hint}{ask} "
        f"The columns are {', '.join(columns[:12])}"
        f"{', ...' if len(columns) > 12 else ''}; usual names are "
        f"{', '.join(USUAL[quantity][:4])}."
    )


def _has_numbers(raw: RawTable, column: str) -> bool:
    """Whether a cell of a column is a number."""
    for cell in raw.cells[column]:
        for mark in ".,":
            try:
                numerals.parse(cell, mark)
            except (ValueError, TypeError, OverflowError):
                continue
            return True
    return False


def _are_counts(raw: RawTable, column: str) -> bool:
    """Whether the numbers of a column may be counts in some unit: positive, and of several sizes.

    A column with cells such as 7B is taken to hold counts.
    """
    values = pd.to_numeric(raw.cells[column], errors="coerce").dropna()
    return bool(not len(values) or (values.min() > 0 and values.max() > 1.5 * values.min()))


def _may_be(quantity: str, column: str) -> bool:
    """Whether a column may be a quantity: none that is another one by its name, or a setting."""
    read = names.recognise(column)
    if quantity == "loss":
        return read.quantity is None or read.quantity == "loss"
    is_other = read.quantity is not None or bool(read.refusal)
    is_other |= bool(SWEPT.search(column) or NO_COUNT.search(column))
    return not is_other and not names.names_loss(column) and not remedies.is_score(column)
