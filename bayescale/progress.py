"""Progress bars on terminals and in notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec


def is_shown(progressbar: bool | None) -> bool:
    """Whether to show progress; `progressbar` if it is not None.

    With None, progress is shown on a terminal or in a notebook, unless the environment variable
    ``BAYESCALE_PROGRESS`` is ``0``, ``no``, ``false`` or ``off``.
    """
    if progressbar is not None:
        return progressbar
    if os.environ.get("BAYESCALE_PROGRESS", "").lower() in ("0", "no", "false", "off"):
        return False
    in_notebook = "ipykernel" in sys.modules and find_spec("ipywidgets") is not None
    return in_notebook or sys.stderr.isatty()


@contextmanager
def bar(progressbar: bool | None) -> Iterator[Callable[..., None]]:
    """Yield ``step(text, done, total)``, which updates a progress bar.

    With a `total` of None, the bar shows activity without a percentage. The bar is removed when the
    block ends.
    """
    if not is_shown(progressbar):
        yield lambda text, done=0, total=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as display:
        task = display.add_task("", total=None)

        def step(text: str, done: float = 0, total: float | None = None) -> None:
            display.update(task, description=text, completed=done, total=total)

        yield step
