"""A type checker accepts what users write against the public API, and refuses mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_typical_calls_pass_the_type_checker():
    pytest.importorskip("basedpyright", reason="the type checker comes with the `test` extra")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "basedpyright"),
            *("--project", str(ROOT), "--pythonpath", sys.executable),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout
