"""README, notebooks and code say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_readme_opens_with_the_two_commands():
    lines = [x for x in (ROOT / "README.md").read_text().splitlines() if x.startswith("python3 -m")]
    assert lines[0].endswith(
        ".venv/bin/bayescale report data/openlm.csv --groups dataset --flops 1e22,1e24"
    )
    assert lines[1].endswith(".venv/bin/pip install -e '.[test]' && .venv/bin/pytest")


def test_every_file_that_documents_name_exists():
    for document in ("README.md", "ARCHITECTURE.md", "benchmarks/README.md"):
        text = (ROOT / document).read_text()
        for name in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert ((ROOT / document).parent / name).exists(), f"{document} links to {name}"


def test_architecture_names_every_room():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = {p.stem for p in (ROOT / "bayescale").rglob("*.py")} - {"__init__"}
    assert {r for r in rooms if f"`{r}`" not in text} == set()


@pytest.mark.slow
def test_readme_code_runs(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.name)
@pytest.mark.filterwarnings("ignore")
def test_notebook_runs_top_to_bottom(path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "notebooks"))
    from execute import execute

    notebook, _ = execute(path)
    assert all(
        o.output_type != "error" for c in notebook.cells if c.cell_type == "code" for o in c.outputs
    )
