"""The commands breaks, emergence and link."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.model import Check


@pytest.mark.slow
def test_breaks_are_printed_as_a_table_as_json_and_drawn(tmp_path, run):
    x = np.geomspace(1e18, 1e22, 16)
    table = tmp_path / "curves.csv"
    pd.DataFrame({"C": x, "loss": 0.5 + np.minimum(1, (x / 1e20) ** -0.4)}).to_csv(table)
    done = run("breaks", table, "--quiet", "--out", tmp_path / "breaks.png")
    assert "P(break)" in done.out
    assert (tmp_path / "breaks.png").read_bytes().startswith(b"\x89PNG")
    printed = json.loads(run("breaks", table, "--quiet", "--json").out)
    assert printed["breaks"][0]["P(break)"] > 0.5


def test_invalid_accuracies_end_with_two(tmp_path, run):
    table = tmp_path / "tasks.csv"
    table.write_text("task,C,accuracy\na,1e18,0.1\na,1e19,1.2\nb,1e18,0.3\n")
    done = run(
        "breaks", table, "--y", "accuracy", "--groups", "task", "--questions", 100, "--chance", 0
    )
    assert done.code == 2
    assert "outside [0, 1] (row 3)" in done.err
    assert "only one row" in done.err


def test_emergence_is_printed_as_a_table_as_json_and_drawn(tmp_path, run):
    x = np.geomspace(1e19, 1e24, 12)
    accuracy = np.random.default_rng(1).binomial(2000, 1 / (1 + (x / 1e22) ** -0.6)) / 2000
    table = tmp_path / "tasks.csv"
    pd.DataFrame({"task": "a", "C": x, "accuracy": accuracy}).to_csv(table)
    options = ("--questions", 2000, "--chance", 0, "--quiet")
    csv = tmp_path / "out.csv"
    done = run("emergence", table, *options, "--plot", tmp_path / "tasks.png", "--csv", csv)
    assert list(pd.read_csv(csv)["task"]) == ["a"]
    assert "Emergence of accuracy" in done.out
    (said,) = pd.read_csv(csv)["sentence"]
    assert done.out.startswith(f"a: {said}\n")
    assert done.out.count(said) == 1
    assert (tmp_path / "tasks.png").read_bytes().startswith(b"\x89PNG")
    printed = json.loads(run("emergence", table, *options, "--json").out)
    assert printed["emergence"][0]["task"] == "a"
    assert 0 <= printed["emergence"][0]["P(departure)"] <= 1


def test_percentages_end_with_two(tmp_path, run):
    table = tmp_path / "tasks.csv"
    table.write_text("task,C,accuracy\na,1e18,10\na,1e19,20\n")
    done = run("emergence", table, "--questions", 100, "--chance", 0)
    assert done.code == 2
    assert "divide by 100" in done.err


@pytest.mark.parametrize("command", ["breaks", "emergence"])
def test_only_columns_of_the_file_are_listed(tmp_path, run, command):
    frame = pd.DataFrame({"C": [1e20, 1e21, 1e22], "accuracy": [20.0, 40.0, 60.0]})
    frame.to_csv(tmp_path / "scores.csv", index=False)
    ended = run(command, tmp_path / "scores.csv", "--y", "accuracy", "--questions", "100")
    assert ended.code == 2
    assert "There are: C, accuracy." in ended.err
    assert "divide by 100" in ended.err


@pytest.mark.parametrize("command", ["breaks", "emergence"])
def test_a_missing_column_is_answered_with_options_of_the_command(tmp_path, run, command):
    table = tmp_path / "tasks.csv"
    table.write_text("C,accuracy\n1e18,0.1\n1e19,0.2\n")
    done = run(command, table, "--y", "accuracy")
    assert done.code == 2
    assert "give --chance a column, a number, or one for each task (task=number,...)" in done.err
    assert "chance=" not in done.err


@pytest.mark.parametrize("command", ["breaks", "emergence"])
def test_each_task_may_have_its_own_level_of_chance(tmp_path, run, monkeypatch, command):
    table = tmp_path / "tasks.csv"
    table.write_text("task,C,accuracy\na,1e18,0.1\na,1e19,0.2\nb,1e18,0.6\nb,1e19,0.7\n")
    given = {}

    def capture(*_, **keywords):
        given.update(keywords)
        raise bs.FitError("seen")

    words = (command, table, "--y", "accuracy", "--groups", "task", "--questions", "a=100,b=200")
    done = run(*words, "--chance", "a=0.1")
    assert done.code == 2
    assert "chance has no value for task 'b': add it" in done.err
    monkeypatch.setattr(f"bayescale.capabilities.{command}", capture)
    assert "seen" in run(*words, "--chance", "a=0.1,b=0.5").err
    assert given["chance"] == {"a": 0.1, "b": 0.5}
    assert given["n_questions"] == {"a": 100, "b": 200}
    assert "--chance: b=half: give a number for each task" in run(*words, "--chance", "b=half").err


def test_emergence_refuses_a_wide_table_once_with_a_command_that_works(tmp_path, run, refused):
    cases = Path(__file__).parents[1] / "data" / "cases"
    table = tmp_path / "my tasks.csv"
    table.write_text((cases / "tasks_wide_percent.csv").read_text())
    text = refused("emergence", table, "--chance=0.1", "--seed", 3, "--tasks", "piqa")
    assert "--chance=0.1 --seed 3 --tasks piqa --columns" in text
    text = refused("emergence", table, "--seed", 3)
    assert text.startswith("error: 3 problems")
    command = shlex.split(text.splitlines()[-1].removeprefix("All together: "))
    ended = run(*command[1:], "--quiet")
    assert ended.code == 0
    assert "arc_challenge" in ended.out


@pytest.mark.parametrize("option", ["--out", "--plot"])
def test_a_refused_file_of_a_picture_names_the_option_that_was_typed(refused, option):
    assert f"error: {option}: DIR has no ending" in refused("emergence", "any.csv", option, "DIR")


# -- link --------------------------------------------------------------------------------------

SMALL = "task in ['hellaswag', 'piqa'] and dataset == 'c4' and N < 5e8"


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Scores of small models on two tasks."""
    file = tmp_path_factory.mktemp("scores") / "scores.csv"
    bs.datasets.openlm_tasks().query(SMALL).to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def fitted(by_hand, openlm, tmp_path_factory) -> Path:
    """A fit of the loss in a file."""
    file = tmp_path_factory.mktemp("fit") / "fit.nc"
    values = dict(E=1.8, A=0.5, B=0.45, alpha=0.35, beta=0.35, sigma=0.01, nu=8.0)
    fit = by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values, draws=50)
    fit.__dict__["_check"] = Check((), None)
    fit.save(file)
    return file


def test_a_link_forecasts_at_the_losses_of_a_fit(run, results, fitted, tmp_path):
    words = ("link", results, "--runs", fitted, "--N", "7B", "--D", "140B,1T", "--quiet")
    files = {name: tmp_path / f"link.{name}" for name in ("csv", "png", "nc")}
    done = run(*words, "--csv", files["csv"], "--plot", files["png"], "--out", files["nc"])
    assert done.code == 0, done.err
    link = bs.link(bs.Fit.load(fitted), pd.read_csv(results), random_seed=1)
    same = bs.forecast_tasks(link, N=[7e9, 7e9], D=[140e9, 1e12], random_seed=1).summary()
    assert files["csv"].read_text() == same.to_csv(index=False)
    assert done.out.startswith("Main reason for doubt: the run has a loss of ")
    assert "Accuracies: medians (90 % interval)" in done.out
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    again = run("trajectory", files["nc"], "--years", "2026", "--quiet")
    assert "hellaswag 0." in again.out


def test_a_link_without_a_fit_takes_losses_or_needs_none(run, refused, results):
    text = refused("link", results, "--N", "7B", "--D", "140B")
    assert "the loss of --N and --D is not known" in text
    assert all(way in text for way in ("--runs", "--loss", "--kind direct"))
    text = refused("link", results, "--N", "7B", "--loss", "2.5", "--kind", "direct")
    assert "--loss was given together with --N" in text
    ahead = run("link", results, "--tasks", "piqa", "--loss", "2.5", "--quiet", "--json")
    found = json.loads(ahead.out)
    assert found["answer"].startswith("Accuracy of a run of loss 2.5: piqa 0.")
    (row,) = found["forecast"]
    assert 0.6 < row["accuracy_eti90_lb"] < row["accuracy"] < row["accuracy_eti90_ub"] < 0.9
    direct = run(
        "link", results, "--tasks", "piqa", "--kind", "direct", "--N", "1B", "--D", "20B", "--quiet"
    )
    assert direct.out.startswith("Accuracy of a run of N 1B, D 20B, C 1.2e20: piqa 0.")


def test_a_link_alone_says_where_tasks_rise(run, results, tmp_path):
    done = run("link", results, "--tasks", "piqa", "--quiet", "--csv", tmp_path / "link.csv")
    assert done.out.startswith("piqa reaches half of its rise at loss ")
    assert "Threshold: the loss midway from floor to top." in done.out
    (threshold,) = pd.read_csv(tmp_path / "link.csv")["threshold"]
    assert 1.5 < threshold < 3


def test_a_link_asks_for_the_group_before_it_is_fitted(refused, tmp_path):
    table = bs.datasets.openlm_tasks().query("task == 'piqa' and N < 5e8")
    table.to_csv(tmp_path / "scores.csv", index=False)
    words = ("link", tmp_path / "scores.csv", "--groups", "dataset", "--loss", "2.5")
    text = refused(*words)
    assert "--group: which dataset?" in text
    assert "as in --group c4" in text
    assert "did you mean --runs?" in refused(*words, "--fit", "fit.nc")
