"""The documents agree with the code: commands, links, names of files and functions, examples."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import bayescale as bs

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "data/README.md",
    *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))),
)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def python_blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def cells(notebook: Path) -> str:
    """All text and code of a notebook, without its outputs."""
    return "\n".join("".join(c["source"]) for c in json.loads(notebook.read_text())["cells"])


def test_readme_opens_with_the_two_commands():
    lines = [x for x in (ROOT / "README.md").read_text().splitlines() if x.startswith("python3 -m")]
    assert lines[0].endswith(
        ".venv/bin/bayescale report data/openlm.csv --groups dataset --flops 1e22,1e24"
    )
    assert lines[1].endswith(".venv/bin/pip install -e '.[test]' && .venv/bin/pytest")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_linked_file_exists(document):
    for name in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / document).read_text()):
        assert ((ROOT / document).parent / name).exists(), f"{document} links to {name}"


def test_architecture_lists_every_file_and_no_other():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    rooms = {p.stem for p in (ROOT / "bayescale").rglob("*.py")} - {"__init__"}
    assert {r for r in rooms if f"`{r}`" not in text} == set()
    listed = set(re.findall(r"^- `(\w+)`:", text, re.MULTILINE))
    assert listed - rooms == set()


def test_changelog_names_modules_that_exist():
    text = (ROOT / "CHANGELOG.md").read_text()
    modules = re.findall(
        r"^\| `bayescale\.[\w.]+` \| `(bayescale\.[\w.]+)` \|$", text, re.MULTILINE
    )
    assert len(modules) > 40
    assert [m for m in modules if find_spec(m) is None] == []


@pytest.mark.parametrize(
    "path",
    [*(d for d in DOCUMENTS if d != "CHANGELOG.md"), *NOTEBOOKS],  # that one lists old names too
    ids=lambda p: p.name if isinstance(p, Path) else p,
)
def test_public_names_in_documents_exist(path):
    text = cells(path) if isinstance(path, Path) else (ROOT / path).read_text()
    named = set(re.findall(r"\bbs\.([a-zA-Z_]\w*)", text))
    assert named - {*bs.__all__, "__version__"} == set()


def test_the_law_in_contributing_runs():
    exec(compile("\n".join(python_blocks("CONTRIBUTING.md")), "CONTRIBUTING.md", "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
@pytest.mark.filterwarnings("ignore")
def test_notebook_runs_top_to_bottom(path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "notebooks"))
    from execute import execute

    notebook, _ = execute(path)
    assert all(
        o.output_type != "error" for c in notebook.cells if c.cell_type == "code" for o in c.outputs
    )
