"""The command laws."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from bayescale import laws


def test_all_laws_are_listed_with_their_papers(run):
    ended = run("laws")
    assert (ended.code, ended.err) == (0, "")
    first = [line.split("  ")[0] for line in ended.out.splitlines()]
    assert set(laws.REGISTRY) <= set(first)
    assert "arXiv:2305.16264" in ended.out


def test_one_law_is_shown_with_its_formula_and_published_constants(run):
    out = run("laws", "repeated_data").out
    assert out.startswith("repeated_data: repeated data\n\nloss = E + A * n**-alpha")
    assert "R_D = 15.39" in out
    assert "R_N" in out
    assert "No published constants" in run("laws", "parallel_streams").out


def test_laws_as_json(run):
    (law,) = json.loads(run("laws", "chinchilla", "--json").out)
    assert law["columns"] == ["N", "D"]
    assert law["published"]["hoffmann2022"]["alpha"] == 0.34
    assert len(json.loads(run("laws", "--json").out)) == len(laws.REGISTRY)


def test_an_unknown_law_gives_the_closest_name(refused):
    assert "Did you mean 'repeated_data'?" in refused("laws", "repeated")


def test_the_module_shows_the_gallery_and_nothing_private():
    assert {"name", "regime", "columns", "parameters", "paper"} <= set(repr(laws).split())
    assert "<td>repeated_data</td>" in laws._repr_html_()
    assert set(laws.REGISTRY) <= set(dir(laws))
    assert not [n for n in dir(laws) if n.startswith("_")]


def test_a_law_of_further_columns_is_fitted_and_forecast(run, tmp_path):
    N, D = (v.ravel() for v in np.meshgrid([1e8, 4e8, 1.6e9], [4e9, 16e9, 64e9]))
    unique = np.minimum(D, 8e9)
    loss = laws.repeated_data.at("muennighoff2023", N=N, D=D, U=unique)
    scatter = np.exp(0.003 * np.random.default_rng(1).standard_normal(len(N)))
    frame = pd.DataFrame(dict(params=N, tokens=D, own_tokens=unique / 1e9, loss=loss * scatter))
    frame.to_csv(tmp_path / "runs.csv", index=False)
    table, fit = tmp_path / "runs.csv", tmp_path / "fit.nc"
    ended = run("fit", table, "--law", "repeated_data", "--columns", "U=own_tokens*1e9",
                "--draws", 50, "--seed", 1, "--out", fit)  # fmt: skip
    assert ended.code == 0, ended.err
    ended = run("forecast", fit, "--N", "1B", "--D", "64B", "--at", "U=8B", "--json")
    (row,) = json.loads(ended.out)["forecast"]
    assert row["U"] == 8e9
    truth = laws.repeated_data.at("muennighoff2023", N=1e9, D=64e9, U=8e9)
    assert abs(np.log(row["loss"] / truth)) < 0.05
    assert run("forecast", fit, "--N", "1B", "--D", "64B").code == 2
