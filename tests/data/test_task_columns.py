"""Columns of tables of task results: names, units, and one column for each task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.data.task_columns import task_columns
from bayescale.keywords import for_command_line


@pytest.fixture
def wide():
    return pd.DataFrame(
        {
            "model": ["a", "b", "c"],
            "params (M)": [70, 160, 410],
            "tokens": ["2B", "4B", "8B"],
            "val_loss": [3.1, 2.9, 2.7],
            "layers": [6, 12, 24],
            "piqa": [58.1, 62.0, 66.4],
            "arc": [21.5, 24.0, 29.9],
        }
    )


@pytest.fixture
def long(wide):
    scores = wide.melt(["model", "params (M)", "tokens", "val_loss"], ["piqa", "arc"], "benchmark")
    return scores.rename(columns={"value": "acc"}).assign(acc=scores["value"] / 100, acc_stderr=0.1)


def test_columns_are_recognised_and_said(long):
    found = task_columns(long, ["C", "loss"])
    assert found.task == "task"
    assert found.read == (
        "N from params (M), D from tokens, loss from val_loss, C = 6ND, accuracy from acc, "
        "task from benchmark"
    )
    assert found.notes == (f"read {found.read}",)
    assert found.frame["C"].tolist()[0] == 6 * 70e6 * 2e9
    assert found.frame["accuracy"].tolist() == long["acc"].tolist()


def test_columns_of_the_right_names_are_used_as_they_are(long):
    ready = long.rename(columns={"val_loss": "loss", "acc": "accuracy", "benchmark": "task"})
    found = task_columns(ready, ["loss"])
    pd.testing.assert_frame_equal(found.frame, ready)
    assert (found.read, found.notes) == ("", ())


def test_one_column_for_each_task_is_refused_with_the_remedy(wide):
    with pytest.raises(bs.RunsError, match=r"give tasks=\['piqa', 'arc'\]"):
        task_columns(wide, ["C"])
    with for_command_line(), pytest.raises(bs.RunsError, match="give --tasks piqa,arc"):
        task_columns(wide, ["C"])


def test_tasks_names_columns_that_become_rows(wide):
    found = task_columns(wide, ["C"], tasks=["piqa", "arc"], columns={"accuracy": "accuracy/100"})
    rows = found.frame[["task", "accuracy", "C"]].values.tolist()
    assert rows[0] == ["piqa", pytest.approx(0.581), 8.4e17]
    assert rows[5] == ["arc", pytest.approx(0.299), 6 * 410e6 * 8e9]
    assert found.notes[0] == "read 2 columns as tasks, with one row for each model: piqa, arc"
    with pytest.raises(bs.RunsError, match="no column of a task 'boolq'"):
        task_columns(wide, ["C"], tasks=["boolq"])


def test_tasks_selects_rows_of_a_long_table(long):
    found = task_columns(long, ["C"], tasks=["arc"])
    assert set(found.frame["task"]) == {"arc"}
    with pytest.raises(bs.RunsError, match="no task 'boolq'"):
        task_columns(long, ["C"], tasks=["boolq"])


def test_columns_that_cannot_be_told_apart_are_named(long):
    two = long.assign(acc_norm=long["acc"])
    with pytest.raises(bs.RunsError, match="'acc' and 'acc_norm' could each be the accuracy"):
        task_columns(two, ["C"])
    losses = long.assign(test_loss=long["val_loss"] + 0.1)
    with pytest.raises(bs.RunsError, match=r"columns=\{'loss': 'val_loss'\}"):
        task_columns(losses, ["loss"])
    assert task_columns(losses, ["C"]).read  # the loss is not needed
    with pytest.raises(bs.RunsError, match="no quantity 'size'"):
        task_columns(long, ["C"], columns={"size": "tokens"})


def test_counts_without_their_unit_are_refused(long):
    bare = long.rename(columns={"params (M)": "params"})
    with pytest.raises(bs.RunsError, match=r"columns=\{'N': 'params\*1e6'\}"):
        task_columns(bare, ["C"])
    stated = task_columns(bare, ["C"], columns={"N": "params*1e6"})
    assert stated.frame["N"].tolist()[0] == 70e6


def test_a_scale_written_with_units_is_read(long):
    assert task_columns(long, ["tokens"]).frame["tokens"].tolist()[:2] == [2e9, 4e9]
    with pytest.raises(bs.RunsError, match="not a number"):
        task_columns(long.assign(tokens="many"), ["tokens"])


def test_percentages_are_refused_with_an_expression_that_works(long):
    percent = long.assign(acc=100 * long["acc"], chance=0.25)
    with pytest.raises(bs.RunsError) as caught:
        bs.emergence(percent)
    assert "columns={'accuracy': 'accuracy/100'}" in str(caught.value)
    found = task_columns(percent, ["C"], columns={"accuracy": "accuracy/100"})
    assert found.frame["accuracy"].tolist() == pytest.approx(long["acc"].tolist())
    wrong = task_columns(long, ["C"], columns={"accuracy": "1-acc"})
    assert wrong.frame["accuracy"].tolist() == pytest.approx((1 - long["acc"]).tolist())
    below = task_columns(long.assign(acc=-1.0), ["C"], columns={"accuracy": "acc*1"})
    assert set(below.frame["accuracy"]) == {-1.0}  # refused where scores are checked


def test_a_missing_cell_of_a_wide_table_leaves_out_that_cell_only(wide):
    wide.loc[wide.index[1], "arc"] = np.nan
    found = task_columns(wide, ["C"], tasks=["piqa", "arc"])
    counts = found.frame["task"].value_counts()
    assert counts["piqa"] == len(wide)
    assert counts["arc"] == len(wide) - 1
    assert "models without a score, left out for the task only: arc 1" in found.notes


def test_per_cent_in_the_name_of_a_column_is_taken_at_its_word(wide):
    shares = wide[["params (M)", "tokens"]].assign(**{"acc (%)": np.linspace(31, 42, len(wide))})
    found = task_columns(shares, ["C"])
    assert found.frame["accuracy"].max() == pytest.approx(0.42)
    assert "accuracy from acc (%), divided by 100" in found.read
    found = task_columns(shares, ["C"], tasks=["acc (%)"])
    assert found.frame["accuracy"].max() == pytest.approx(0.42)
    assert "divided by 100, as the name says per cent: acc (%)" in found.notes
    shares["acc (%)"] /= 100
    with pytest.raises(bs.RunsError, match=r"largest value is 0\.42: rename it if it holds shares"):
        task_columns(shares, ["C"])


def test_shares_beside_percentages_are_not_divided_with_them():
    table = pd.DataFrame(
        {"C": [1e20, 1e21, 1e22], "piqa": [60.0, 70.0, 80.0], "boolq": [0.5, 0.6, 0.7]}
    )
    with pytest.raises(bs.RunsError) as caught:
        bs.emergence(table, tasks=["piqa", "boolq"], chance={"piqa": 0.5, "boolq": 0.5})
    message = str(caught.value)
    assert "the accuracies of piqa are up to 80 and look like percentages" in message
    assert "those of boolq are shares" in message
    assert "/100" not in message
    named = table.rename(columns={"piqa": "piqa %"})
    found = task_columns(named, ["C"], tasks=["piqa %", "boolq"])
    assert found.frame.groupby("task")["accuracy"].max().to_dict() == {"piqa %": 0.8, "boolq": 0.7}


WIDE_PERCENT = Path(__file__).parent / "cases" / "tasks_wide_percent.csv"


def test_one_refusal_of_a_wide_table_in_per_cent_ends_in_a_call_that_works():
    table = pd.read_csv(WIDE_PERCENT)
    with pytest.raises(bs.RunsError) as caught:
        bs.emergence(table)
    unnamed, percent, chance = caught.value.problems
    assert "hellaswag, piqa, arc_challenge, lambada may each hold" in unnamed
    assert "up to 84.87: they look like percentages" in percent
    assert "accuracy of guessing" in chance
    call = caught.value.remedy.removeprefix("All together: ")
    assert str(caught.value).endswith(call)
    verdicts = eval(call.removesuffix(")") + ", random_seed=1)", {"bs": bs, "table": table})
    assert verdicts.tasks == ("hellaswag", "piqa", "arc_challenge", "lambada")
    assert verdicts.curves["piqa"].chance == 0.5


def test_a_proposed_level_of_guessing_that_is_not_known_is_named():
    table = pd.read_csv(WIDE_PERCENT).rename(columns={"piqa": "own_test"})
    with pytest.raises(
        bs.RunsError, match="0, for free answers, is assumed for own_test"
    ) as caught:
        bs.emergence(table, tasks=["own_test", "lambada"])
    assert "chance={'own_test': 0.0, 'lambada': 0.0}" in caught.value.remedy
    assert len(caught.value.problems) == 2  # the tasks are named
    with pytest.raises(bs.RunsError, match=r"tasks=\['lambada'\].*, chance=0\.1\)$"):
        bs.emergence(table, tasks=["lambada"], chance=0.1)
