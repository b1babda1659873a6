"""Further columns of runs that laws may need."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale import Runs, RunsError, RunsWarning
from bayescale.data.extras import quantity_of
from bayescale.keywords import for_command_line


def table(**more):
    base = {
        "params": [1e8, 2e8, 4e8, 8e8],
        "tokens": [1e9, 2e9, 4e9, 8e9],
        "loss": [4.0, 3.6, 3.3, 3.1],
    }
    return pd.DataFrame({**base, **more})


@pytest.mark.parametrize(
    ("name", "quantity"),
    [
        ("unique_tokens", "U"),
        ("unique tokens (B)", "U"),
        ("unique_tokens_b", "U"),
        ("U", "U"),
        ("num_experts", "experts"),
        ("learning_rate", "lr"),
        ("peak_lr", "lr"),
        ("batch_size", "batch"),
        ("vocab_size", "vocab"),
        ("embedding_params", "N_vocab"),
        ("precision_bits", None),
        ("weight_bits", "bits"),
        ("parallel_size", "streams"),
        ("finetuning_examples", "finetune"),
        ("granularity", "granularity"),
        ("lr_schedule", None),
        ("loss", None),
        ("tokens", None),
        ("experts_per_token", None),
    ],
)
def test_usual_names_of_further_columns_are_found(name, quantity):
    assert quantity_of(name)[0] == quantity


def test_a_unit_in_the_name_is_used_and_the_source_is_kept():
    runs = Runs.from_frame(table(unique_tokens_b=[0.5, 1, 2, 4], learning_rate=[1e-3] * 4))
    np.testing.assert_allclose(runs.table["U"], [5e8, 1e9, 2e9, 4e9])
    assert runs.table["unique_tokens_b"].tolist() == [0.5, 1, 2, 4]
    assert runs.table["lr"].tolist() == [1e-3] * 4
    assert runs.mapping["U"] == "unique_tokens_b (b)"


def test_a_further_column_can_be_named_by_an_expression():
    runs = Runs.from_frame(table(size=[1, 2, 3, 4]), U="size*1e8", experts="size")
    assert runs.table["U"].tolist() == [1e8, 2e8, 3e8, 4e8]
    assert runs.table["experts"].tolist() == [1, 2, 3, 4]


def test_active_and_total_parameters_are_told_apart():
    frame = table(active_params=[5e7, 1e8, 2e8, 4e8]).rename(columns={"params": "total_params"})
    runs = Runs.from_frame(frame, N="active_params")
    assert runs.table["N"].tolist() == [5e7, 1e8, 2e8, 4e8]
    assert runs.table["N_total"].tolist() == [1e8, 2e8, 4e8, 8e8]
    runs = Runs.from_frame(frame, N="total_params")
    assert runs.table["N_active"].tolist() == [5e7, 1e8, 2e8, 4e8]


@pytest.mark.parametrize(
    "values", [[1e-3, 0, 1e-3, 1e-3], ["a", "b", "c", "d"], [1e-3, None, 1e-3, 1e-3]]
)
def test_a_column_that_does_not_hold_positive_numbers_is_left_as_it_is(values):
    runs = Runs.from_frame(table(learning_rate=values))
    assert "lr" not in runs
    assert "learning_rate" in runs


def test_a_named_column_must_hold_positive_numbers():
    with pytest.raises(
        RunsError, match=r"'rate' \(lr \(learning rate\)\): 1 value is not positive"
    ):
        Runs.from_frame(table(rate=[1e-3, 0, 1e-3, 1e-3]), lr="rate")


def test_more_unique_tokens_than_tokens_are_refused_or_not_used():
    frame = table(unique_tokens=[1e9, 2e9, 4e9, 9e9])
    with pytest.warns(RunsWarning, match=r"U \(unique tokens\) exceeds D .*: U is not used"):
        runs = Runs.from_frame(frame)
    assert "U" not in runs
    assert "U" not in runs.mapping
    with pytest.raises(RunsError, match="exceeds D"):
        Runs.from_frame(frame, U="unique_tokens")


def test_more_active_than_total_parameters_are_refused():
    with pytest.raises(RunsError, match=r"N \(parameters\) exceeds N_total"):
        Runs.from_frame(table(all=[1e7] * 4), N_total="all")


def test_a_group_column_is_not_read_as_a_number():
    runs = Runs.from_frame(table(experts=[1, 1, 8, 8]), groups="experts")
    assert runs.table["experts"].tolist() == ["1", "1", "8", "8"]


def test_runs_that_differ_in_a_further_column_have_different_fingerprints():
    one, two = (Runs.from_frame(table(lr=[x] * 4)).fingerprint for x in (1e-3, 2e-3))
    assert one != two


def test_a_law_without_its_column_says_how_to_name_it():
    def loss(N, lr, *, A, alpha):
        return A * N**-alpha + 0 * lr

    priors = dict(A=bs.Positive(3), alpha=bs.Positive(0.1))
    law = bs.Law("rated", loss, priors, "a test", settings=("lr",))
    message = r"needs the column 'lr'.*name the column that holds it: Runs.read\(..., lr="
    with pytest.raises(bs.FitError, match=message):
        bs.fit(table(), law)
    with for_command_line(), pytest.raises(bs.FitError, match=r"--columns lr=\.\.\."):
        bs.fit(table(), law)
    with pytest.raises(bs.FitError, match="must be positive numbers"):
        bs.fit(table(lr=["a", "b", "c", "d"]), law)


def test_a_column_that_no_law_knows_is_to_be_renamed():
    def loss(N, width, *, A, alpha):
        return A * N**-alpha + 0 * width

    priors = dict(A=bs.Positive(3), alpha=bs.Positive(0.1))
    law = bs.Law("wide", loss, priors, "a test", settings=("width",))
    frame = pd.DataFrame({"N": [1e8, 2e8, 4e8], "loss": [3.0, 2.9, 2.8]})
    with pytest.raises(bs.FitError, match="rename the column of the table that holds it"):
        bs.fit(frame, law)


def test_steps_are_taken_where_they_are_named():
    frame = pd.DataFrame({"N": [1e8, 2e8, 4e8], "steps": [1e3, 2e3, 4e3], "loss": [3.0, 2.9, 2.8]})
    assert "S" not in bs.Runs.from_frame(frame.assign(D=[1e9, 2e9, 4e9]))
    assert bs.Runs.from_frame(frame, S="steps").table["S"].tolist() == [1e3, 2e3, 4e3]
