"""Forecasts and allocations of a table, which is fitted first."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli.fitting import _time_of_groups


@pytest.mark.parametrize("command", ["forecast", "allocate"])
def test_a_table_is_fitted_first_with_the_options_of_fit(table, run, tmp_path, command):
    settings = ("--law", "kaplan_floor", "--draws", 200, "--seed", 3, "--drop-missing")
    ended = run(command, table, "--flops", "1e21", *settings, "--json")
    assert ended.code == 0
    assert "is a table, so kaplan_floor will be fitted to it first" in ended.err
    run("fit", table, *settings, "--out", tmp_path / "fit.nc", "--quiet")
    saved = run(command, tmp_path / "fit.nc", "--flops", "1e21", "--json", "--quiet")
    name = {"forecast": "forecast", "allocate": "allocation"}[command]
    assert json.loads(ended.out)[name] == json.loads(saved.out)[name]


def test_without_a_law_the_default_family_is_fitted(table, run):
    ended = run("forecast", table, "--flops", "1e21", "--draws", 200)
    assert "the default family of laws will be fitted" in ended.err
    assert ended.code == 0


def test_options_of_a_fit_are_refused_with_a_saved_fit(kept, refused):
    text = refused("forecast", kept, "--flops", "1e21", "--law", "power", "--drop-missing")
    assert "--law, --drop-missing apply to a table of runs, and this file holds a fit" in text
    assert "--groups applies" in refused("allocate", kept, "--flops", "1e21", "--groups", "a")


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ([20, 20, 20], "two to seven minutes (here N and D rise together)"),
        ([20, 2, 200], "one to two minutes"),
        (None, "two to seven minutes (here groups have few runs)"),
    ],
)
def test_poorly_determined_groups_are_said_to_take_longer(tokens, told):
    N = np.geomspace(1e8, 2e9, 12)
    D = N * np.tile(tokens or [20, 2, 200], 4)
    frame = pd.DataFrame({"N": N, "D": D, "loss": 2 + (N / 1e8) ** -0.3, "recipe": list("ab") * 6})
    frame = frame if tokens else frame.iloc[:9]
    runs = bs.Runs.from_frame(frame, groups="recipe")
    assert _time_of_groups(runs, ["recipe"]).startswith(told)


@pytest.fixture
def of_tokens(tmp_path):
    """A table whose parameters are in a column that is not recognised."""
    path = tmp_path / "runs.csv"
    tokens = np.geomspace(1e9, 1e11, 8)
    frame = {"tokens": tokens, "width": 512, "lr": 1e-3, "loss": 2 + 300 * tokens**-0.3}
    pd.DataFrame(frame).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("forecast", ("--N", "7B", "--D", "140B"),
         "no column holds N (parameters), which --N asks about: name it with --columns N=COLUMN, "
         "or leave --N out"),
        ("forecast", ("--flops", "1e22"),
         "no column holds C (training FLOP), which --flops asks about: name it with --columns "
         "C=COLUMN, or leave --flops out"),
        ("forecast", ("--D", "140B", "--at", "lr=0.01"), "there is no column 'lr'"),
        ("allocate", ("--flops", "1e22"),
         "no column holds N (parameters), without which no budget can be split: name it with "
         "--columns N=COLUMN"),
    ],
)  # fmt: skip
def test_what_a_table_cannot_answer_is_refused_before_it_is_fitted(
    of_tokens, run, monkeypatch, command, options, message
):
    monkeypatch.setattr("bayescale.evaluation.ensemble", None)  # a fit would be another error
    ended = run(command, of_tokens, *options)
    assert (ended.code, ended.out) == (2, "")
    assert f"error: {message}" in ended.err


def test_laws_of_one_column_are_named_with_their_forecast(of_tokens, table, run):
    settings = ("--draws", 100, "--quiet")
    told = "note: fitted: power(D), shifted_power(D); the table lacks N or D"
    assert told in run("forecast", of_tokens, "--D", "140B", *settings).out
    assert "note: fitted" not in run("forecast", table, "--flops", "1e21", *settings).out
