"""The command ``bayescale``: the list of its commands, and how errors and warnings are printed.

Exit codes: 0 for success; 1 if a check failed and ``--strict`` was given; 2 for invalid input.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from bayescale.cli import (
    allocations,
    decisions,
    documents,
    evaluation,
    examples,
    fits,
    gallery,
    suggestions,
    tasks,
)
from bayescale.cli.hints import HintingCommand
from bayescale.cli.options import joined
from bayescale.cli.outputs import replacing
from bayescale.errors import BayescaleError, ConvergenceWarning, ExtrapolationWarning, RunsWarning
from bayescale.keywords import for_command_line, in_options

#: In the order of the help text.
COMMANDS = (
    fits.report,
    fits.fit,
    fits.forecast,
    allocations.allocate,
    decisions.speedup,
    decisions.cost,
    suggestions.suggest,
    suggestions.design,
    decisions.preregister,
    decisions.outcome,
    decisions.trajectory,
    evaluation.rollout,
    evaluation.hypotheses,
    tasks.breaks,
    tasks.emergence,
    tasks.link,
    examples.example,
    gallery.laws,
    documents.docs,
)
SHOWN = (RunsWarning, ConvergenceWarning, ExtrapolationWarning)


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Bayesian neural scaling laws: forecasts and allocations with credible intervals.",
)
for command in COMMANDS:
    app.command(cls=HintingCommand)(replacing(command))


def _version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"bayescale {version('bayescale')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="print the version"),
    ] = False,
) -> None:
    context.with_resource(for_command_line())


def main() -> None:
    """Run the command. Errors of the package become one message and exit code 2."""
    warnings.simplefilter("ignore")
    for category in SHOWN:
        warnings.simplefilter("always", category)
    words, printed = joined(sys.argv[1:]), set()
    called = typer.main.get_command(app).commands.get(next(iter(words), ""))
    known = {name for parameter in getattr(called, "params", ()) for name in parameter.opts}

    def show(message, category, *rest) -> None:
        if str(message) not in printed:
            printed.add(str(message))
            print(f"warning: {in_options(str(message), known)}", file=sys.stderr)

    warnings.showwarning = show
    try:
        app(words)
    except BayescaleError as error:
        print(f"error: {in_options(str(error), known)}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
