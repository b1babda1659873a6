"""Output of commands: text or JSON, and the exit code."""

from __future__ import annotations

import json

import pytest
import typer

import bayescale as bs
from bayescale.cli import console
from bayescale.reporting import Table

TABLE = Table("A title", ("run", "loss"), (("first", "2.5"),))


@pytest.fixture
def failed(failing) -> bs.Fit:
    return bs.Fit.load(failing)


def test_text_has_the_headline_tables_notes_and_files(capsys, tmp_path):
    console.finish(
        [TABLE],
        {"only": "in JSON"},
        seed=1,
        as_json=False,
        headline="In short.",
        notes=["be careful"],
        files={"picture": tmp_path},
    )
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line.split() for line in lines[1:4]] == [
        ["A", "title"],
        ["run", "loss"],
        ["first", "2.5"],
    ]
    assert [lines[0], *lines[4:]] == ["In short.", "note: be careful", f"picture: {tmp_path}"]


def test_json_has_the_same_and_null_for_nan(capsys, tmp_path):
    console.finish(
        [TABLE],
        {"rows": [{"loss": float("nan")}]},
        seed=1,
        as_json=True,
        headline="In short.",
        notes=["be careful"],
        files={"picture": tmp_path},
    )
    assert json.loads(capsys.readouterr().out) == {
        "seed": 1,
        "tables": [
            {"title": "A title", "header": ["run", "loss"], "rows": [["first", "2.5"]], "notes": []}
        ],
        "answer": "In short.",
        "notes": ["be careful"],
        "picture": str(tmp_path),
        "rows": [{"loss": None}],
    }


def test_failed_checks_of_several_fits_are_printed_by_law(failed, capsys):
    console.finish([], {}, seed=1, as_json=False, fits=[failed, failed])
    assert capsys.readouterr().out.count("chinchilla: CHECK FAILED") == 2
    console.finish([], {}, seed=1, as_json=True, fits=[failed, failed])
    assert json.loads(capsys.readouterr().out)["checks"]["chinchilla"]["passed"] is False


def test_a_failed_check_ends_with_one_only_if_strict(failed):
    console.finish([], {}, seed=1, as_json=True, fits=[failed])
    with pytest.raises(typer.Exit) as ended:
        console.finish([], {}, seed=1, as_json=True, fits=[failed], strict=True)
    assert ended.value.exit_code == 1
