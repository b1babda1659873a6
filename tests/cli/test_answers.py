"""Answers, files and grids of the commands, from fits that are made by hand."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import options

VALUES = {"E": 1.7, "A": 1.0, "B": 0.7, "alpha": 0.27, "beta": 0.24, "sigma": 0.02, "nu": 5.0}


@pytest.fixture(scope="module")
def saved(by_hand, openlm, tmp_path_factory):
    rng = np.random.default_rng(1)
    drawn = {k: v * np.exp(0.01 * rng.standard_normal((4, 500))) for k, v in VALUES.items()}
    fit = by_hand(openlm.query("dataset == 'c4'"), "chinchilla", drawn, draws=500, chains=4)
    path = tmp_path_factory.mktemp("saved") / "fit.nc"
    fit.save(path)
    return path


@pytest.fixture(scope="module")
def grouped(by_hand, openlm, tmp_path_factory):
    pool = dict.fromkeys(VALUES, "complete") | {"E": "partial"}
    rng = np.random.default_rng(1)
    values = VALUES | {"E_dataset_scale": 0.1, "E_dataset": np.array([1.6, 1.7, 1.8])}
    drawn = {
        k: v * np.exp(0.01 * rng.standard_normal((4, 500, *np.shape(v)))) for k, v in values.items()
    }
    fit = by_hand(openlm, "chinchilla", drawn, draws=500, chains=4, groups="dataset", pool=pool)
    path = tmp_path_factory.mktemp("saved") / "grouped.nc"
    fit.save(path)
    return path


def lines_of_tables(out: str) -> list[str]:
    """The output without sentences, which are not wrapped in a pipe."""
    return [x for x in out.splitlines() if not x.endswith(".") and ": " not in x]


def test_the_first_line_is_the_answer(saved, run):
    fit = bs.Fit.load(saved)
    ahead, split = bs.forecast(fit, C=[1e22]), bs.allocate(fit, [1e22])
    for command, result in (("forecast", ahead), ("allocate", split)):
        ended = run(command, saved, "--flops", "1e22")
        assert ended.out.splitlines()[0] == result.bottom_line()
        printed = json.loads(run(command, saved, "--flops", "1e22", "--json").out)
        assert printed["answer"] == result.bottom_line()


@pytest.mark.parametrize("command", ["forecast", "allocate"])
@pytest.mark.parametrize("group", [(), ("--group", "refinedweb")])
def test_tables_fit_80_columns(saved, grouped, command, group, run):
    ended = run(command, grouped if group else saved, "--flops", "1e22,1e23", *group)
    assert ended.code == 0
    assert len(lines_of_tables(ended.out)) > 3
    assert max(map(len, lines_of_tables(ended.out))) <= 80


def test_the_regret_is_said_to_be_under_the_law(saved, run):
    assert "expectation under the law" in run("allocate", saved, "--flops", "1e22").out


def test_every_combination_is_forecast(saved, run):
    words = ("forecast", saved, "--N", "1B,2B,3B", "--flops", "1e21,1e22", "--json")
    points = json.loads(run(*words).out)["forecast"]
    pairs = [(p["N"], p["C"]) for p in points]
    assert pairs == [(N, C) for N in (1e9, 2e9, 3e9) for C in (1e21, 1e22)]
    words = ("forecast", saved, "--N", "1B,2B", "--D", "20B,40B", "--json", "--paired")
    points = json.loads(run(*words).out)["forecast"]
    assert [(p["N"], p["D"]) for p in points] == [(1e9, 2e10), (2e9, 4e10)]


def test_values_may_be_separated_by_spaces(saved, run):
    one = run("forecast", saved, "--flops", "1e21,1e22", "--json")
    for words in (["1e21", "1e22"], ["1e21,", "1e22"]):
        assert run("forecast", "--flops", *words, saved, "--json").out == one.out
    assert options.joined(["fit", "runs.csv", "--seed", "3", "4"]) == ["fit", "runs.csv", "--seed",
                                                                      "3", "4"]  # fmt: skip


@pytest.mark.parametrize("command", ["forecast", "allocate"])
def test_numbers_and_a_plot_are_written(saved, command, tmp_path, run):
    csv, plot = tmp_path / "numbers.csv", tmp_path / "plot.svg"
    ended = run(command, saved, "--flops", "1e22,1e23", "--csv", csv, "--plot", plot)
    assert ended.code == 0
    assert f"csv: {csv}" in ended.out
    assert f"plot: {plot}" in ended.out
    verb = getattr(bs, command)
    expected = pd.DataFrame(verb(bs.Fit.load(saved), C=[1e22, 1e23]).summary())
    pd.testing.assert_frame_equal(pd.read_csv(csv), expected, check_exact=False, rtol=1e-12)
    assert "<svg" in plot.read_text()


@pytest.mark.parametrize("command", ["forecast", "allocate"])
def test_with_several_groups_one_is_asked_for(command, grouped, refused, run):
    message = refused(command, grouped, "--flops", "1e22")
    assert "--group: which dataset? The runs are of c4, redpajama, refinedweb" in message
    assert "--group c4, or --group '(new)' for one without runs" in message
    ended = run(command, grouped, "--flops", "1e22", "--group", "(new)")
    assert ended.code == 0
    assert "a new dataset" in ended.out


def test_a_plot_of_another_kind_is_refused(saved, tmp_path, refused):
    message = refused("forecast", saved, "--flops", "1e22", "--plot", tmp_path / "plot.docx")
    assert message.startswith("error: --plot: ")
    assert ".png, .pdf, .svg" in message


@pytest.mark.parametrize("command", ["report", "fit"])
def test_an_existing_result_is_not_replaced(command, tmp_path, monkeypatch, refused, run):
    written = {"report": tmp_path / "report" / "index.html", "fit": tmp_path / "fit.nc"}[command]
    written.parent.mkdir(exist_ok=True)
    written.write_text("mine")
    monkeypatch.chdir(tmp_path)
    message = refused(command, tmp_path / "runs.csv")
    assert "--overwrite to replace it" in message
    assert written.read_text() == "mine"
    # With the option the command gets as far as reading the table.
    assert "no such file" in refused(command, tmp_path / "runs.csv", "--overwrite")


def test_an_example_is_not_written_over_a_file(tmp_path, run, refused):
    (tmp_path / "runs.csv").write_text("mine")
    assert "--overwrite" in refused("example", "--out", tmp_path / "runs.csv")
    assert run("example", "--out", tmp_path / "runs.csv", "--overwrite").code == 0


def test_cautions_stand_below_the_table(saved, run):
    """Here the far budget is the main reason; the cautions of the check follow."""
    ended = run("allocate", saved, "--flops", "1e25")
    assert "times the compute of the largest fitted run" in ended.out.splitlines()[0]
    assert "lies beyond 100 times" in ended.err
    fit = bs.Fit.load(saved)
    with pytest.warns(bs.ExtrapolationWarning):
        cautions = bs.allocate(fit, 1e25).cautions()[1:]
    if fit.check().passed:
        assert [f"caution: {c}" for c in cautions] == [
            x for x in ended.out.splitlines() if x.startswith("caution: ")
        ]


def test_a_grid_of_runs_is_said_to_be_one(kept, run):
    both = ("--N", "1B,2B", "--D", "2e10,4e10")
    said = "note: each --N with each --D: 4 runs; --paired combines the first with the first"
    assert said in run("forecast", kept, *both).err
    assert "note: each" not in run("forecast", kept, *both, "--paired").err
    assert "note: each" not in run("forecast", kept, "--N", "1B,2B", "--D", "2e10").err
