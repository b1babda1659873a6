"""The files that a command writes: none is replaced unless ``--overwrite`` is given."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from bayescale.cli.options import typed
from bayescale.errors import BayescaleError

#: Names of the arguments of commands that are files, or a folder, to be written.
WRITTEN = ("out", "csv", "plot")

#: Arguments that are a folder, and what is written there: see `bayescale.report`.
FOLDERS = {("report", "out"): ("index.html", "fit.nc")}

#: A preregistered forecast is never replaced.
NEVER_REPLACED = ("preregister",)


def replacing(command: Callable) -> Callable:
    """The command with the option ``--overwrite``, if it writes files that may be replaced.

    Parameters
    ----------
    command : callable
        The function of a command.

    Returns
    -------
    callable
        A function of the same name that raises `BayescaleError`, which names every file, before
        anything else is done, if the command would replace a file.
    """
    spellings = _spellings(command)
    if not spellings or command.__name__ in NEVER_REPLACED:
        return command
    listed = ", ".join(names[0] for names in spellings.values())
    kind = Annotated[
        bool, typer.Option("--overwrite", help=f"replace existing files: those of {listed}")
    ]

    @functools.wraps(command)
    def checked(*, overwrite: bool, **arguments):
        options = {name: _named(names) for name, names in spellings.items()}
        if problems := _problems(command.__name__, options, arguments, overwrite):
            raise BayescaleError(problems)
        return command(**arguments)

    hints = {**get_type_hints(command, include_extras=True), "overwrite": kind}
    parameters = [
        *inspect.signature(command).parameters.values(),
        inspect.Parameter("overwrite", inspect.Parameter.KEYWORD_ONLY, default=False),
    ]
    checked.__signature__ = inspect.Signature(
        [p.replace(annotation=hints[p.name]) for p in parameters]
    )
    checked.__annotations__ = hints
    return checked


def _named(spellings: tuple[str, ...]) -> str:
    """The option as it was typed; one that was not typed writes to its default file."""
    words = {word.partition("=")[0] for word in sys.argv}
    return typed(*spellings) + ("" if words & set(spellings) else " (by default)")


def _spellings(command: Callable) -> dict[str, tuple[str, ...]]:
    """The spellings of the options of the files that a command writes, by argument."""
    found = {}
    for name, hint in get_type_hints(command, include_extras=True).items():
        if name in WRITTEN:
            # Typer keeps the first spelling in an Annotated option where a default would be.
            option = hint.__metadata__[0]
            given = (option.default, *(option.param_decls or ()))
            found[name] = tuple(n for n in given if str(n).startswith("--")) or (f"--{name}",)
    return {name: found[name] for name in WRITTEN if name in found}


def _problems(
    command: str, options: Mapping[str, str], arguments: Mapping[str, Any], overwrite: bool
) -> list[str]:
    """A sentence for each file that must not be written, with the option that names it."""
    given = [v for k, v in arguments.items() if isinstance(v, Path) and k not in WRITTEN]
    if not all(path.exists() for path in given):
        return []  # the command says which file is missing, and writes nothing
    read = {path.resolve() for path in given}
    problems, taken = [], {}
    for name, option in options.items():
        path = arguments.get(name)
        if path is None:
            continue
        inside = FOLDERS.get((command, name))
        for file in [path / part for part in inside] if inside else [path]:
            place = file.resolve()
            if place in read:
                problems.append(f"{option}: {file} is the file that is read; name another one")
            elif place in taken:
                problems.append(f"{option}: {file} is also the file of {taken[place]}")
            elif file.is_file() and not overwrite:
                problems.append(
                    f"{option}: {file} exists; name another place, or give --overwrite to "
                    "replace it"
                )
            taken[place] = option
    return problems
