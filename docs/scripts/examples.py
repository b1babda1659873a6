"""Run the examples of the documents, and update the output that is shown below them.

A block of Python, followed by a block of text, prints that text. A block ``console`` contains
commands, each after a ``$``, with their output. All blocks of one document run in order, the Python
blocks in one namespace, in a folder that contains ``runs.csv`` and the folder ``data``.

Run ``python docs/scripts/examples.py`` after a change of an output; names of documents may follow.
A slow test compares the documents with what the examples print.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.M | re.S)


class Example(NamedTuple):
    """A block of a document: its place, and the output that is shown and that is printed."""

    span: tuple[int, int]
    shown: str
    printed: str


def documents() -> list[Path]:
    """All documents with examples that run."""
    pages = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    return [page for page in pages if BLOCK.search(page.read_text(encoding="utf-8"))]


def run(document: Path) -> Iterator[Example]:
    """Run the examples of a document in order, in a temporary folder."""
    text = document.read_text(encoding="utf-8")
    namespace: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Path("data").symlink_to(ROOT / "data")
        Path("runs.csv").write_bytes((DOCS / "runs.csv").read_bytes())
        for match in BLOCK.finditer(text):
            kind, source, shown = match.groups()
            if kind == "console":
                commands = [x[2:] for x in source.splitlines() if x.startswith("$ ")]
                yield Example(match.span(2), source, "".join(map(_command, commands)))
                continue
            out = io.StringIO()
            with redirect_stdout(out):
                exec(compile(source, document.name, "exec"), namespace)
            if shown is not None:
                yield Example(match.span(3), shown, _trimmed(out.getvalue()))


def _command(line: str) -> str:
    """A command and what it prints."""
    words = shlex.split(line, comments=True)
    if words[0] == "bayescale":
        words = [sys.executable, "-m", "bayescale", *words[1:]]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{line}: {done.stderr}")
    return f"$ {line}\n{_trimmed(done.stdout)}"


def _trimmed(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())


def update(document: Path) -> None:
    """Replace the output that a document shows by what its examples print."""
    text = document.read_text(encoding="utf-8")
    for example in reversed(list(run(document))):
        start, end = example.span
        text = text[:start] + example.printed + text[end:]
    document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else documents():
        update(path.resolve())
        print(path)
