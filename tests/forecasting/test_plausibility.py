"""Counts without their unit are refused, with what may be meant."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale import laws
from bayescale.errors import FitError
from bayescale.forecasting import beyond_largest, refuse_tiny
from bayescale.keywords import for_command_line
from bayescale.units import parse_count

VALUES = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, "sigma": 0.01, "nu": 5.0}
RUNS = pd.DataFrame({"N": [1e7, 4e8], "D": [2e8, 4e10], "C": [1e16, 1e20]})


@pytest.fixture(scope="module")
def c4(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture
def fit(by_hand, c4):
    return by_hand(c4, "chinchilla", VALUES)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("N", 1.3, "N='1.3B'"),
        ("N", 70, "N='70M' or N='70B'"),
        ("D", 140, "D='140B'"),
        ("unique", 4, "unique='4B'"),
        ("C", 22, "C='1e22'"),
    ],
)
def test_a_count_without_its_unit_is_refused_with_what_may_be_meant(name, value, meant):
    with pytest.raises(FitError) as refused:
        refuse_tiny({name: np.array([value])}, RUNS)
    text = str(refused.value)
    assert f"{name} is {value}: fewer than" in text
    assert f"did you mean {meant}" in text


def test_the_options_of_the_command_line_are_named():
    with pytest.raises(FitError) as refused, for_command_line():
        refuse_tiny({"N": np.array([1.3]), "C": np.array([22.0]), "U": np.array([4.0])}, RUNS)
    text = str(refused.value)
    for words in ("--N is 1.3", "--N 1.3B", "--flops is 22", "--flops 1e22", "--at U=4B"):
        assert words in text
    with pytest.raises(FitError, match="did you mean --target-N 7"), for_command_line():
        refuse_tiny({"N": np.array([7.0])}, RUNS, "target-")


def test_compute_that_is_no_power_of_ten_has_an_example():
    with pytest.raises(FitError, match="counts are absolute, such as C='1e22'"):
        refuse_tiny({"C": np.array([2e6])}, RUNS)


def test_small_counts_are_allowed_where_runs_are_as_small():
    small = pd.DataFrame({"N": [3e3, 2e4], "D": [5e3, 1e5], "C": [9e7, 1.2e10]})
    refuse_tiny({"N": np.array([500.0]), "D": np.array([100.0])}, small)
    with pytest.raises(FitError):
        refuse_tiny({"N": np.array([5.0])}, small)


@pytest.mark.parametrize(
    "question",
    [
        lambda fit: bs.forecast(fit, N=1.3, D="26B"),
        lambda fit: bs.forecast(fit, pd.DataFrame({"N": [1e9], "D": [140.0]})),
        lambda fit: bs.forecast(fit, C=22),
        lambda fit: bs.forecast(fit, N="1B", C="1e10"),
        lambda fit: bs.allocate(fit, C=22),
        lambda fit: bs.allocate(fit, C=1e22, N=1.3),
        lambda fit: bs.allocate(fit, C=1e22, models=[1, 3]),
        lambda fit: bs.allocate(fit, C=1e22, serve=1),
        lambda fit: bs.regret(fit, 7, 140),
        lambda fit: bs.suggest(fit, {"N": ["1B"], "D": [20]}, target={"N": "7B", "D": "140B"}),
        lambda fit: bs.suggest(fit, {"N": ["1B"], "D": ["20B"]}, target={"N": 7, "D": "140B"}),
        lambda fit: bs.trajectory(fit, [2026], start=(2025, 24)),
    ],
)
def test_every_question_refuses_tiny_counts(fit, question):
    with pytest.raises(FitError, match="fewer than"):
        question(fit)


def test_unique_tokens_of_an_allocation_are_checked(by_hand, c4):
    law = laws.get("repeated_data")
    runs = bs.Runs.from_frame(c4.table.assign(U=c4.table["D"]), U="U")
    values = dict.fromkeys(law.parameters, 0.5) | {"E": 1.8, "sigma": 0.01, "nu": 5.0}
    fit = by_hand(runs, law, values)
    with pytest.raises(FitError, match=r"unique is 4: .*unique='4B'"):
        bs.allocate(fit, C=1e22, unique=4)
    with pytest.raises(FitError, match=r"U cannot be derived from N, D, C: give it, such as U='"):
        bs.forecast(fit, N="1B", D="20B")
    with pytest.raises(FitError, match="such as --at U="), for_command_line():
        bs.forecast(fit, N="1B", D="20B")


@pytest.fixture
def sparse(by_hand):
    """A law of parameters in use and of all parameters, with 16 times as many at most."""
    N, share, D = (v.ravel() for v in np.meshgrid([5e7, 8e8], [1.0, 16.0], [2e9, 2e10]))
    frame = pd.DataFrame({"N": N, "N_total": N * share, "D": D, "loss": 2 + 0 * N})
    values = dict.fromkeys(laws.get("sparse_experts").parameters, 0.3)
    return by_hand(bs.Runs.from_frame(frame), "sparse_experts", values | {"sigma": 0.01, "nu": 5.0})


def test_no_proposed_run_has_more_parameters_in_use_than_in_all(sparse):
    place, _ = beyond_largest(sparse)
    largest = sparse.runs.table.iloc[int(sparse.plan.log_scale.argmax())]
    assert place["N"] > largest["N_total"] / 16
    assert place["N_total"] / place["N"] == pytest.approx(largest["N_total"] / largest["N"])
    with pytest.raises(FitError, match="such as N_total='") as refused:
        bs.forecast(sparse, N="30B", D="200B")
    text = str(refused.value)
    assert parse_count(text.split("N_total='")[1].split("'")[0]) >= 30e9
    with for_command_line(), pytest.raises(FitError, match="--at N_total="):
        bs.forecast(sparse, N="30B", D="200B")


def test_more_parameters_in_use_than_in_all_are_refused(sparse):
    with pytest.raises(FitError, match="N_total is 500M where N is 1B"):
        bs.forecast(sparse, N="1B", D="20B", N_total="500M")
    candidates = {"N": ["1B"], "D": ["20B"], "N_total": ["500M"]}
    with pytest.raises(FitError, match="N_total is 500M where N is 1B"):
        bs.suggest(sparse, candidates, target={"N": "2B", "D": "40B", "N_total": "2B"})
    assert bs.forecast(sparse, N="1B", D="20B", N_total="1B").data.sizes["point"] == 1


def test_counts_that_neither_law_nor_runs_have_are_refused(by_hand):
    frame = pd.DataFrame({"D": [1e9, 1e10, 1e11], "loss": [3.0, 2.5, 2.2]})
    values = dict.fromkeys(laws.get("power(D)").parameters, 0.3) | {"sigma": 0.01, "nu": 5.0}
    fit = by_hand(bs.Runs.from_frame(frame), "power(D)", values)
    with pytest.raises(FitError) as refused:
        bs.forecast(fit, N="7B", D="140B")
    assert str(refused.value) == (
        "no column holds N (parameters), which N asks about: name it with N='COLUMN' when the runs "
        "are read, or leave N out"
    )
    # Two counts that give the third are used, and a table of points may have more columns.
    assert pytest.approx(1e22 / 6 / 7e9) == bs.forecast(fit, N="7B", C="1e22").data.D
    assert bs.forecast(fit, pd.DataFrame({"N": [7e9], "D": [1.4e11]})).data.sizes["point"] == 1


def test_compute_from_two_counts_is_used_by_a_law_of_compute(by_hand):
    frame = pd.DataFrame({"C": [1e18, 1e19, 1e20], "loss": [3.0, 2.5, 2.2]})
    values = dict.fromkeys(laws.get("power(C)").parameters, 0.3) | {"sigma": 0.01, "nu": 5.0}
    fit = by_hand(bs.Runs.from_frame(frame), "power(C)", values)
    assert pytest.approx(1.2e20) == bs.forecast(fit, N="1B", D="20B").data.C
    with pytest.raises(FitError, match="which N asks about"):
        bs.forecast(fit, N="1B", C="1e20")
