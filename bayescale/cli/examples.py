"""The command example."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def example(
    name: Annotated[str, typer.Argument(help="openlm or chinchilla")] = "openlm",
    out: Annotated[
        Path | None, typer.Option(help="file to write, standard output by default")
    ] = None,
) -> None:
    """Print an example table of runs as csv."""
    from bayescale.data import Runs
    from bayescale.model import atomically

    text = Runs.example(name).table.to_csv(index=False)
    if out is None:
        typer.echo(text, nl=False)
    else:
        atomically(out, lambda temporary: temporary.write_text(text, encoding="utf-8"))
