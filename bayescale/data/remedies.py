"""Remedies in messages: how to pass a column or an option, in Python or on the command line."""

from __future__ import annotations

import re

import numpy as np

from bayescale.keywords import on_command_line, option

__all__ = [
    "column",
    "columns",
    "is_score",
    "naming",
    "of_missing",
    "of_tasks",
    "option",
    "percent_signs",
    "value_of_tasks",
]


def column(quantity: str, expression: str) -> str:
    """How to name the column of a quantity: ``N='params*1e6'`` or ``--columns N=params*1e6``."""
    if not on_command_line():
        return f"{quantity}={expression!r}"
    text = f"{quantity}={expression}"
    return f"--columns {text}" if text.replace("=", "").isidentifier() else f'--columns "{text}"'


def columns(expressions: dict[str, str]) -> str:
    """How to name the columns of several quantities."""
    if not on_command_line():
        return ", ".join(column(q, e) for q, e in expressions.items())
    return f'--columns "{",".join(f"{q}={e}" for q, e in expressions.items())}"'


#: Words of names of columns that hold the score of a task.
SCORES = frozenset(
    ("acc", "accuracy", "accuracies", "score", "scores", "em", "f1", "match", "pass", "correct",
     "bleu", "rouge", "mmlu", "hellaswag", "piqa", "winogrande", "boolq", "gsm8k", "humaneval",
     "arc", "lambada")
)  # fmt: skip


def is_score(name: str) -> bool:
    """Whether a name says that a column holds the score of a task.

    Examples
    --------
    >>> is_score("mmlu_acc"), is_score("avg score"), is_score("EM"), is_score("accum_loss")
    (True, True, True, False)
    """
    return bool(SCORES & set(re.split(r"[^a-z0-9]+", name.lower())))


def naming(quantity: str, name: str) -> str:
    """How to name the column of a quantity that was not found; a score is no loss."""
    if quantity != "loss" or not is_score(name):
        return f"Name it: {column(quantity, name)}."
    ask = f"`emergence --y {name}`" if on_command_line() else f"bs.emergence(table, y={name!r})"
    linked = "" if on_command_line() else ", or bs.link if there are losses of the models"
    share, percent = (column("loss", f"1-{name}{by}") for by in ("", "/100"))
    return (
        f"Column {name!r} is the score of a task by its name, and no loss: ask {ask}{linked}. To "
        f"fit its error rate as a loss, pass {share}, or {percent} if it is in percent (without "
        "percent signs)."
    )


def percent_signs(column_name: str, factor: float | None) -> str:
    """What is wrong with a loss whose cells have percent signs; empty if nothing is.

    Parameters
    ----------
    column_name : str
    factor : float, optional
        The factor in the expression that the user gave, if one was given.
    """
    read = "cells with a percent sign are read as fractions (80% as 0.8)"
    if factor is None:
        accuracy, error = (column("loss", e.format(column_name)) for e in ("1-{}", "{}*1"))
        return (
            f"the values are percentages, not losses: for an accuracy pass {accuracy} (the error "
            f"rate), for an error rate {error}; {read}"
        )
    return f"{read}: leave out the division by 100" if np.isclose(factor, 0.01) else ""


def of_missing() -> str:
    """What to do about missing values."""
    return f"fill in or remove these rows, or pass {option('drop_missing')}"


def of_tasks(quantity: str, expression: str) -> str:
    """How to name a column of a table of tasks: ``columns={'accuracy': 'acc/100'}``."""
    if on_command_line():
        return column(quantity, expression)
    return f"columns={{{quantity!r}: {expression!r}}}"


def value_of_tasks(name: str) -> str:
    """How to give a number of questions or of samples, or a level of chance."""
    if on_command_line():
        flag = {"n_questions": "--questions"}.get(name, f"--{name}")
        return f"give {flag} a column, a number, or one for each task (task=number,...)"
    return f"give {name}= as a column, a number, or a mapping from task to number"
