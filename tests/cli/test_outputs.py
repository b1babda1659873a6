"""No command replaces a file, unless it is told to."""

from __future__ import annotations

import pytest

from bayescale.cli.command import COMMANDS
from bayescale.cli.outputs import replacing

VALUES = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, "sigma": 0.01, "nu": 5.0}


@pytest.fixture(scope="module")
def saved(by_hand, openlm, tmp_path_factory):
    path = tmp_path_factory.mktemp("outputs") / "fit.nc"
    by_hand(openlm.query("dataset == 'c4'"), "chinchilla", VALUES, draws=100).save(path)
    return path


def test_every_existing_file_is_named_and_kept(saved, tmp_path, refused, run):
    csv, plot = tmp_path / "out.csv", tmp_path / "out.svg"
    for file in (csv, plot):
        file.write_text("mine")
    words = ("forecast", saved, "--flops", "1e22", "--csv", csv, "--plot", plot)
    message = refused(*words)
    assert f"--csv: {csv} exists" in message
    assert f"--plot: {plot} exists" in message
    assert "--overwrite" in message
    assert [file.read_text() for file in (csv, plot)] == ["mine", "mine"]
    assert run(*words, "--overwrite").code == 0
    assert csv.read_text().startswith("C,")
    assert "<svg" in plot.read_text()


def test_the_file_that_is_read_is_never_replaced(saved, refused):
    before = saved.read_bytes()
    words = ("forecast", saved, "--flops", "1e22", "--csv", saved, "--overwrite")
    assert f"--csv: {saved} is the file that is read" in refused(*words)
    assert saved.read_bytes() == before


def test_two_results_are_not_written_to_one_file(tmp_path, refused):
    table, out = tmp_path / "runs.csv", tmp_path / "one.svg"
    table.write_text("N,D,loss\n")
    message = refused("fit", table, "--out", out, "--plot", out)
    assert f"--plot: {out} is also the file of --out" in message


def test_the_option_that_was_typed_is_named(tmp_path, refused):
    picture = tmp_path / "tasks.png"
    picture.write_text("mine")
    table = tmp_path / "tasks.csv"
    table.write_text("C,loss\n")
    for option in ("--plot", "--out"):
        assert refused("breaks", table, option, picture).startswith(f"error: {option}: ")


def test_a_default_file_that_exists_is_named_as_such_and_a_missing_table_first(
    tmp_path, monkeypatch, refused
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fit.nc").write_text("mine")
    assert "nofile.csv: there is no such file" in refused("fit", "nofile.csv")
    (tmp_path / "runs.csv").write_text("N,D,loss\n")
    message = refused("fit", "runs.csv")
    assert message.startswith("error: --out (by default): fit.nc exists")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.__name__)
def test_a_command_that_writes_files_can_be_told_to_replace_them(command, run):
    help_text = run(command.__name__, "--help").out
    writes = any(f"{option} " in help_text for option in ("--out", "--csv", "--plot"))
    expected = writes and command.__name__ != "preregister"
    assert ("--overwrite" in help_text) is expected
    assert (replacing(command) is not command) is expected
