"""The command docs."""

from __future__ import annotations

from pathlib import Path

from bayescale.cli import documents


def test_docs_prints_the_path_of_the_first_page(run):
    ended = run("docs")
    assert (ended.code, ended.err) == (0, "")
    page = Path(ended.out.strip())
    assert page.is_absolute()
    assert page.read_text(encoding="utf-8").startswith("# ")


def test_missing_documentation_is_one_sentence(monkeypatch, tmp_path, refused):
    monkeypatch.setattr(documents, "__file__", str(tmp_path / "package" / "cli" / "documents.py"))
    assert "the documentation is missing: reinstall bayescale" in refused("docs")
