"""The command laws."""

from __future__ import annotations

from typing import Annotated

import typer

from bayescale.cli.options import AsJson


def laws(
    name: Annotated[
        str | None, typer.Argument(help="one law, such as repeated_data; by default all")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the laws, or show one with its formula and its published constants."""
    from bayescale.laws import REGISTRY, described, get, listed

    if as_json:
        import json

        shown = REGISTRY.values() if name is None else [get(name)]
        typer.echo(json.dumps([_fields(law) for law in shown], indent=1))
    else:
        typer.echo(listed(REGISTRY) if name is None else described(get(name)))


def _fields(law) -> dict[str, object]:
    return dict(
        name=law.name,
        regime=law.regime,
        formula=law.formula,
        columns=law.columns,
        parameters=law.parameters,
        paper=law.reference,
        published={key: dict(point.values) for key, point in law.published.items()},
    )
