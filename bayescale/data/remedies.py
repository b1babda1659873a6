"""Remedies in messages: how to pass a column or an option, in Python or on the command line."""

from __future__ import annotations

import numpy as np

from bayescale.keywords import on_command_line, option

__all__ = ["column", "columns", "naming", "of_tasks", "option", "percent_signs", "value_of_tasks"]


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


def naming(quantity: str, name: str) -> str:
    """How to name the column of a quantity that was not found; accuracies become error rates."""
    if quantity == "loss" and "acc" in name.lower():
        share, percent = (column("loss", f"1-{name}{by}") for by in ("", "/100"))
        return (
            f"For an accuracy pass {share}, for one in percent (without percent signs) {percent}."
        )
    return f"Name it: {column(quantity, name)}."


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
