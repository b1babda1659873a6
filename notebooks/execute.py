"""Run every notebook from top to bottom and store its outputs.

    python notebooks/execute.py [--check]

With --check nothing is written. A notebook fails if a cell raises an error. A cell that takes
longer than `SECONDS` is interrupted, and its traceback shows where it stood.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
#: Far more than any cell needs on two cores, so that a busy machine fails no notebook.
SECONDS = 400


def execute(path: Path) -> tuple[nbformat.NotebookNode, float]:
    """Return the notebook with fresh outputs, and the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    NotebookClient(
        notebook,
        timeout=SECONDS,
        interrupt_on_timeout=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(HERE)}},
    ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook, time.perf_counter() - started


def main() -> None:
    for path in sorted(HERE.glob("*.ipynb")):
        notebook, seconds = execute(path)
        print(f"{path.name}: {seconds:.0f} s")
        if "--check" not in sys.argv:
            nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
