"""The command example."""

from __future__ import annotations

import pandas as pd

import bayescale as bs


def test_the_example_is_a_table_that_can_be_read_back(openlm, tmp_path, run):
    ended = run("example")
    assert (ended.code, ended.err) == (0, "")
    (tmp_path / "printed.csv").write_text(ended.out)
    assert run("example", "openlm", "--out", tmp_path / "written.csv") == (0, "", "")
    assert (tmp_path / "written.csv").read_text() == ended.out
    runs = bs.Runs.read(tmp_path / "printed.csv", groups="dataset")
    assert len(runs) == 104
    same = ["N", "D", "C", "loss", "loss_sd", "dataset"]
    pd.testing.assert_frame_equal(
        runs.table[same].reset_index(drop=True),
        openlm.table[same].reset_index(drop=True),
        check_exact=True,
    )


def test_an_unknown_example_ends_with_two(tmp_path, refused):
    assert "no example 'openml'. Did you mean 'openlm'?" in refused("example", "openml")
    assert "this is a directory" in refused("example", "--out", tmp_path)
