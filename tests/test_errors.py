"""One error names every problem it found."""

import pytest

import bayescale
from bayescale.errors import BayescaleError, unknown


def test_one_problem_is_a_sentence_with_its_place():
    error = BayescaleError("the file is empty", where="runs.csv")
    assert str(error) == "runs.csv: the file is empty"
    assert error.problems == ("the file is empty",)
    assert error.where == "runs.csv"


def test_one_problem_without_a_place_is_the_sentence_itself():
    assert str(BayescaleError(["too few runs"])) == "too few runs"


def test_several_problems_are_counted_and_listed():
    error = BayescaleError(["no loss", "line 3 is short"], where="runs.csv")
    assert str(error) == "runs.csv: 2 problems\n  - no loss\n  - line 3 is short"
    assert error.problems == ("no loss", "line 3 is short")
    assert str(BayescaleError(["a", "b"])) == "2 problems\n  - a\n  - b"


@pytest.mark.parametrize("name", ["RunsError", "LawError", "FitError"])
def test_every_error_is_a_value_error_of_this_package(name):
    kind = getattr(bayescale, name)
    assert issubclass(kind, BayescaleError)
    assert issubclass(kind, ValueError)


@pytest.mark.parametrize("name", ["RunsWarning", "ConvergenceWarning", "ExtrapolationWarning"])
def test_every_warning_is_a_user_warning(name):
    assert issubclass(getattr(bayescale, name), UserWarning)


def test_an_unknown_name_comes_with_the_closest_match_and_the_choice():
    assert unknown("law", "chinchila", ["chinchilla", "kaplan"]) == (
        "there is no law 'chinchila'. Did you mean 'chinchilla'? There are: chinchilla, kaplan."
    )


def test_the_closest_match_ignores_case_and_keeps_the_spelling():
    assert "Did you mean 'Val Loss'?" in unknown("column", "VAL LOSS", ["Val Loss", "N"])


def test_nothing_is_suggested_where_nothing_is_close():
    sentence = unknown("column", "temperature", ["N", "D"])
    assert sentence == "there is no column 'temperature'. There are: N, D."


def test_a_long_choice_is_cut_and_an_empty_one_is_named():
    assert "There are: 0, 1, 2 and 17 more." in unknown("column", "x", range(20), many=3)
    assert unknown("column", "x", []) == "there is no column 'x'. There are: none."
