"""The command ``bayescale``."""

from bayescale.cli.commands import app, main

__all__ = ["app", "main"]
