"""Output of the commands: the result as text or as JSON, and the exit code."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from bayescale.model import Fit
    from bayescale.reporting import Table

WIDTH = 220  # width of tables that are written to a file or a pipe
COLOURS = {"passed": "green", "caution": "yellow", "failed": "bold red"}


def progress(quiet: bool, as_json: bool) -> bool | None:
    """Silence warnings if `quiet`; return the argument `progressbar` of the package's functions."""
    if quiet:
        warnings.showwarning = lambda *_, **__: None
    return False if quiet or as_json else None


def finish(
    tables: Sequence[Table],
    data: Mapping[str, Any],
    *,
    seed: int | None,
    as_json: bool,
    headline: str = "",
    fits: Iterable[Fit] = (),
    show_passed: bool = False,
    notes: Iterable[str] = (),
    files: Mapping[str, Path] | None = None,
    strict: bool = False,
) -> None:
    """Print the result of a command.

    Parameters
    ----------
    tables : sequence of Table
    data : mapping
        Further entries of the JSON object.
    seed : int or None
        The random seed that was used.
    as_json : bool
        Print one JSON object instead of text.
    headline : str
        Printed before the tables; not part of the JSON object.
    fits : iterable of Fit
        The fits that were used. Failed checks are always printed.
    show_passed : bool
        Print checks that passed too.
    notes : iterable of str
        Cautions.
    files : mapping of str to Path
        The files that were written, by a short description.
    strict : bool
        Exit with code 1 if a check failed.
    """
    fits, notes, files = list(fits), list(notes), dict(files or {})
    if as_json:
        body = {
            **_checks(fits),
            "seed": seed,
            "tables": [vars(table) for table in tables],
            "notes": notes,
            **{name: str(path) for name, path in files.items()},
            **data,
        }
        typer.echo(json.dumps(_without_nan(body), indent=1, default=float))
    else:
        console = _console()
        if headline:
            typer.echo(headline)
        for fit in fits:
            if show_passed or not fit.check().passed:
                _show_check(console, fit, named=len(fits) > 1)
        for table in tables:
            _show_table(console, table)
        for note in notes:
            typer.echo(f"note: {note}")
        for name, path in files.items():
            typer.echo(f"{name}: {path}")
    if strict and not all(fit.check().passed for fit in fits):
        raise typer.Exit(1)


def _checks(fits: list[Fit]) -> dict[str, Any]:
    """The check of one fit with its law and size, or the checks of several by law."""
    checks = {
        fit.law.name: {
            "passed": fit.check().passed,
            "findings": [vars(finding) for finding in fit.check().findings],
        }
        for fit in fits
    }
    if len(fits) != 1:
        return {"checks": checks} if fits else {}
    (fit,) = fits
    return {"check": checks[fit.law.name], "law": fit.law.name, "runs": len(fit.runs)}


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def _show_check(console: Console, fit: Fit, named: bool) -> None:
    from rich.text import Text

    check = fit.check()
    head = repr(check).splitlines()[0]
    head = f"{fit.law.name}: {head}" if named else head
    console.print(Text(head, style=COLOURS["passed" if check.passed else "failed"]))
    for finding in check.findings:
        ink = "" if finding.level == "passed" else COLOURS[finding.level]
        console.print(Text(f"  {finding}", style=ink))


def _show_table(console: Console, table: Table) -> None:
    from rich.table import Table as RichTable

    grid = RichTable(title=table.title, title_justify="left", box=None, pad_edge=False)
    for i, head in enumerate(table.header):
        grid.add_column(head, overflow="fold", no_wrap=i == 0)
    for row in table.rows:
        grid.add_row(*row)
    console.print()
    console.print(grid)


def _without_nan(value: Any) -> Any:
    """The same with null in place of nan, which JSON does not have."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and value != value else value
