"""The names of arguments in Python and on the command line, and hints where they differ."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from pathlib import Path

import pandas as pd
import pytest

import bayescale as bs
from bayescale import keywords
from bayescale.cli.command import COMMANDS, app

ROOT = Path(bs.__file__).parent
FUNCTIONS = [c.__name__ for c in COMMANDS if c.__name__ not in ("example", "laws", "docs", "cost")]


def options_of(command: str) -> set[str]:
    import typer

    group = typer.main.get_command(app)
    found = group.commands[command].params
    return {o[2:].replace("-", "_") for p in found for o in p.opts if o.startswith("--")}


@pytest.mark.parametrize("name", sorted(keywords.DIFFERENT))
def test_both_names_of_a_pair_exist(name):
    arguments = inspect.signature(getattr(bs, name)).parameters
    for option, argument in keywords.DIFFERENT[name].items():
        assert option in options_of(name)
        assert argument in arguments
        assert option not in arguments, "an argument of the same name needs no hint"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_has_a_counterpart_in_python(name):
    """All but those of the output alone: json, overwrite, and help."""
    arguments = inspect.signature(getattr(bs, name)).parameters
    without = {"json", "overwrite", "help"}
    lacking = {
        option
        for option in options_of(name) - without
        if option not in arguments and keywords.in_python(name, option) is None
    }
    assert not lacking


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: bs.allocate(None, target_loss=2.3), "in Python it is loss="),
        (lambda: bs.allocate(None, flops=1e22), "in Python it is C="),
        (lambda: bs.fit(None, seed=1), "in Python it is random_seed="),
        (lambda: bs.fit(None, laws=["kaplan"]), "bs.ensemble"),
        (lambda: bs.fit(None, N="size"), "bs.fit(bs.Runs.read(path, N=...))"),
        (lambda: bs.suggest(None, None, target_N="7B"), "target={'N'"),
        (lambda: bs.hypotheses(None, seed=1), "random_seed="),
        (lambda: bs.emergence(None, questions=100), "n_questions="),
        (lambda: bs.report(None, flops=[1e22]), "C="),
    ],
)
def test_an_option_in_python_is_refused_with_the_argument(call, hint):
    with pytest.raises(TypeError) as refused:
        call()
    assert hint in str(refused.value)


@pytest.mark.parametrize("sentence", sorted(keywords.REMEDIES))
def test_a_remedy_of_the_command_line_stands_for_one_that_is_given(sentence):
    """A message that was reworded would be printed as it is."""
    texts = [
        "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        if isinstance(node, ast.JoinedStr)
        else node.value
        for path in ROOT.rglob("*.py")
        if path.name != "keywords.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
    ]
    assert any(re.sub("price|power", "", sentence) in re.sub("price|power", "", t) for t in texts)


def test_other_names_are_refused_as_python_does():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        bs.allocate(None, colour="red")


def test_a_forecast_names_the_argument_too(by_hand, openlm):
    values = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, "sigma": 0.01, "nu": 5.0}
    fit = by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values)
    with pytest.raises(bs.FitError, match="no column 'flops': in Python it is C="):
        bs.forecast(fit, flops=1e22)
    with pytest.raises(bs.FitError, match="no column 'tokens': in Python it is D="):
        bs.forecast(fit, tokens="20B")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bs.allocate(fit, C=1e30)
    assert [w.filename for w in caught] == [__file__], "a warning names the line of the caller"


@pytest.mark.parametrize("function", [bs.allocate, bs.report])
def test_runs_in_place_of_a_fit_are_refused_with_what_to_do(function, openlm):
    with pytest.raises(bs.FitError, match=r"got Runs: give a Fit .* bs.ensemble\(runs\)"):
        function(openlm, "1e22")


def test_a_law_for_runs_without_parameters_is_named():
    runs = bs.Runs.from_frame(pd.DataFrame({"flops": [1e18, 1e19, 1e20], "loss": [4.0, 3.5, 3.1]}))
    with pytest.raises(bs.FitError, match=r"a law for these runs is 'power\(C\)'"):
        bs.fit(runs)
