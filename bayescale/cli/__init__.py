"""The command ``bayescale``."""

from bayescale.cli.command import app, main

__all__ = ["app", "main"]
