"""Output of the commands: the result as text or as JSON, and the exit code."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bayescale.terms import Explained

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from bayescale.forecasting import Average
    from bayescale.model import Fit
    from bayescale.reporting import Table

WIDTH = 80  # width of tables that are written to a file or a pipe
PIPE = 10_000  # sentences in a file or a pipe are not wrapped
COLOURS = {"passed": "green", "caution": "yellow", "failed": "bold red"}


def progress(quiet: bool, as_json: bool) -> bool | None:
    """Silence warnings if `quiet`; return the argument `progressbar` of the package's functions."""
    if quiet:
        warnings.showwarning = lambda *_, **__: None
    return False if quiet or as_json else None


def announce(text: str, quiet: bool) -> None:
    """Print a note on standard error before a long computation, unless `quiet`."""
    if not quiet:
        typer.echo(f"note: {text}", err=True)


def saved(csv: Path | None, frame: pd.DataFrame) -> dict[str, Path]:
    """Write the numbers to the file of ``--csv``, if it is given, and return the file by name."""
    if csv is None:
        return {}
    from bayescale.model import atomically

    text = frame.to_csv(index=False)
    atomically(csv, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return {"csv": csv}


def _described(table: Table) -> dict[str, Any]:
    """A table as JSON has it."""
    return {name: getattr(table, name) for name in ("title", "header", "rows", "notes")}


def finish(
    tables: Sequence[Table],
    data: Mapping[str, Any],
    *,
    seed: int | None,
    as_json: bool,
    headline: str = "",
    comment: str = "",
    cautions: Iterable[str] = (),
    fits: Iterable[Fit | Average] = (),
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
        The answer, printed first; in the JSON object as ``answer``.
    comment : str
        Printed after the headline; not part of the JSON object.
    cautions : iterable of str
        Reasons to doubt the tables besides the one in the headline, printed below the tables.
    fits : iterable of Fit or Average
        The fits that were used. Failed checks are always printed.
    show_passed : bool
        Print checks that passed too. Of an average, only what calls for caution is printed.
    notes : iterable of str
        Cautions.
    files : mapping of str to Path
        The files that were written, by a short description.
    strict : bool
        Exit with code 1 if a check failed.
    """
    fits, notes, files = list(fits), list(notes), dict(files or {})
    passed = all(fit.check().passed for fit in fits)
    cautions = list(cautions) if passed else []  # the check that failed is printed in full
    if as_json:
        body = {
            **_checks(fits),
            "seed": seed,
            "tables": [_described(table) for table in tables],
            "notes": notes,
            **({"answer": headline} if headline else {}),
            **({"cautions": cautions} if cautions else {}),
            **{name: str(path) for name, path in files.items()},
            **data,
        }
        typer.echo(json.dumps(_without_nan(body), indent=1, default=float))
    else:
        console, explained = _console(), Explained()
        for text in (headline, comment):
            if text:
                _show_text(console, explained(text))
        for fit in fits:
            if show_passed or not fit.check().passed:
                _show_check(console, fit, len(fits) > 1, explained)
        for table in tables:
            _show_table(console, table)
        if cautions or notes:
            typer.echo()
        for kind, texts in (("caution", cautions), ("note", notes)):
            for text in texts:
                _show_text(console, f"{kind}: {explained(text)}")
        for name, path in files.items():
            typer.echo(f"{name}: {path}")
    if strict and not all(fit.check().passed for fit in fits):
        raise typer.Exit(1)


def _checks(fits: list[Fit | Average]) -> dict[str, Any]:
    """The check of one fit with its law and size, or the checks of several by law.

    An average has the verdict and the weights of its laws too.
    """
    from bayescale.forecasting import Average

    if len(fits) != 1:
        return {"checks": {fit.law.name: _check(fit) for fit in fits}} if fits else {}
    (fit,) = fits
    about = {"law": fit.law.name, "runs": len(fit.runs)}
    if not isinstance(fit, Average):
        return {"check": _check(fit), **about}
    return {
        "check": {"passed": fit.check().passed},
        "checks": {name: _check(member) for name, member in fit.fits.items()},
        **about,
        "weights": dict(fit.weights),
    }


def _check(fit: Fit | Average) -> dict[str, Any]:
    check = fit.check()
    return {"passed": check.passed, "findings": [vars(finding) for finding in check.findings]}


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE)


def _show_text(console: Console, text: str) -> None:
    """Print a sentence, wrapped between words on a terminal."""
    from rich.text import Text

    console.print(Text(text))


def _show_check(console: Console, fit: Fit | Average, named: bool, explained: Explained) -> None:
    from rich.text import Text

    from bayescale.forecasting import Average
    from bayescale.reporting import tables

    check = fit.check()
    head = repr(check).splitlines()[0]
    head = f"{fit.law.name}: {head}" if named else head
    console.print(Text(head, style=COLOURS["passed" if check.passed else "failed"]))
    for finding in tables.problems(fit) if isinstance(fit, Average) else check.findings:
        ink = "" if finding.level == "passed" else COLOURS[finding.level]
        console.print(Text(f"  {explained(str(finding))}", style=ink))


def _show_table(console: Console, table: Table) -> None:
    from rich.text import Text

    width = min(console.width, 2 * WIDTH) if console.is_terminal else WIDTH
    console.print()
    console.print(Text(table.title, style="italic"))
    typer.echo(table.text(width))
    for note in table.notes:
        _show_text(console, note)


def _without_nan(value: Any) -> Any:
    """The same with null in place of nan, which JSON does not have."""
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and value != value else value
