"""The command docs."""

from __future__ import annotations

from pathlib import Path

import typer

from bayescale.errors import BayescaleError


def docs() -> None:
    """Print where the documentation is on this computer."""
    typer.echo(folder() / "index.md")


def folder() -> Path:
    """The folder of the documentation: inside the installed package, or ``docs/`` of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "_docs", package.parent / "docs"):
        if (path / "index.md").is_file():
            return path
    raise BayescaleError("the documentation is missing: reinstall bayescale", where=str(package))
