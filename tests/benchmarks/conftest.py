"""Scripts of the benchmarks, imported for the time of a test."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """A function that imports a script by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in {"common", *(p.stem for p in BENCHMARKS.glob("*.py"))} - before:
        sys.modules.pop(name, None)
