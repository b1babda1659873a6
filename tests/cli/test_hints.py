"""Unknown options are refused with the right one, and counts without a unit with its option."""

from __future__ import annotations

import pytest

from bayescale.cli.hints import joined

VALUES = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, "sigma": 0.01, "nu": 5.0}


@pytest.fixture(scope="module")
def saved(by_hand, openlm, tmp_path_factory):
    path = tmp_path_factory.mktemp("hints") / "fit.nc"
    by_hand(openlm.query("dataset == 'c4'"), "chinchilla", VALUES, draws=100).save(path)
    return path


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            ("allocate", "fit.nc", "--loss", "2.3"),
            "no such option --loss: did you mean --target-lo",
        ),
        (("allocate", "fit.nc", "--C=1e22"), "no such option --C: did you mean --flops?"),
        (("forecast", "fit.nc", "--U", "4B"), "did you mean --at U=200B?"),
        (("fit", "runs.csv", "--random-seed", "1"), "did you mean --seed?"),
        (("fit", "runs.csv", "--laws", "kaplan"), "did you mean --law?"),
        (("rollout", "runs.csv", "--law", "kaplan"), "did you mean --laws?"),
        (("fit", "runs.csv", "--drop_missing"), "did you mean --drop-missing?"),
        (("fit", "runs.csv", "--chains", "2"), "only in Python, by bs.fit(..., chains=...)"),
        (("report", "runs.csv", "--priors", "E"), "only in Python, by bs.fit(..., priors=...)"),
    ],
)
def test_an_argument_of_python_is_refused_with_the_option(refused, words, hint):
    assert hint in refused(*words)


def test_other_options_are_refused_as_before(run):
    ended = run("fit", "runs.csv", "--colour", "red")
    assert ended.code == 2
    assert "No such option" in ended.err


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (("forecast", "--N", "1.3", "--D", "140"), ("--N is 1.3", "--N 1.3B", "--D 140B")),
        (("forecast", "--flops", "22"), ("--flops is 22", "did you mean --flops 1e22?")),
        (("allocate", "--flops", "22"), ("did you mean --flops 1e22?",)),
        (("allocate", "--budget", "2M"), ("'2M' has no unit", "write $2M, 2M H100 hours")),
        (
            ("suggest", "--N", "1B", "--D", "20B", "--target-N", "7", "--target-D", "140B"),
            ("--target-N is 7:", "--target-N 7B"),
        ),
    ],
)
def test_counts_without_their_unit_are_refused_with_the_option(refused, saved, words, problems):
    text = refused(words[0], saved, *words[1:])
    for problem in problems:
        assert problem in text


def test_a_table_in_place_of_a_fit_is_refused_with_the_command_that_fits_it(refused, tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text("params,tokens,loss\n7B,140B,2.5\n")
    assert f"`bayescale fit {table} --out fit.nc`" in refused(
        "preregister", table, "--flops", "1e22", "--out", tmp_path / "a"
    )


def test_missing_columns_of_scores_are_refused_with_their_options(refused, tmp_path):
    table = tmp_path / "scores.csv"
    table.write_text("task,size,result\na,1e20,0.3\n")
    text = refused("emergence", table)
    assert "Give --y, the column of the score." in text
    assert "Give --x, the column of the scale" in text


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (
            ["t.csv", "--tasks", "a", "b,", "c", "--x", "C"],
            ["t.csv", "--tasks", "a,b,c", "--x", "C"],
        ),
        (["t.csv", "--tasks", "a,", "b"], ["t.csv", "--tasks", "a,b"]),
        (["t.csv", "--tasks", "a,b"], ["t.csv", "--tasks", "a,b"]),
        (["--tasks", "a", "t.csv"], ["--tasks", "a", "t.csv"]),
        (["t.csv", "--x", "C", "more"], ["t.csv", "--x", "C", "more"]),
    ],
)
def test_a_list_that_the_shell_has_split_is_one_list(words, read):
    assert joined(words) == read


def test_an_option_that_is_given_twice_is_refused(refused):
    message = refused(
        "fit", "runs.csv", "--columns", "N=a", "--columns", "D=b", "--quiet", "--quiet"
    )
    assert "--columns is given 2 times: give it once, and several values with commas" in message
    assert "--quiet" not in message
    message = refused("forecast", "fit.nc", "--flops=1e21", "--flops", "3e21", "--N=1B", "--N=2B")
    assert "--flops is given 2 times" in message
    assert "--N is given 2 times" in message
