"""The command laws."""

from __future__ import annotations

import json

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
