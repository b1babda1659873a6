"""Forecasts and allocations of a table, which is fitted first."""

from __future__ import annotations

import json

import pytest


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
