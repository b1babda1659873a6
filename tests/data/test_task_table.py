"""Tables of task results: what is accepted, and that every problem is named with its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.data.task_table import sheet


@pytest.fixture
def frame():
    rows = [
        dict(
            task=t,
            loss=3.5 - 0.25 * i,
            accuracy=chance + 0.1 * i,
            n_questions=n,
            chance=chance,
            dataset="c4",
        )
        for t, n, chance in (("quiz", 500, 0.25), ("riddle", 100, 0.0))
        for i in range(4)
    ]
    return pd.DataFrame(rows, index=[f"r{i}" for i in range(len(rows))])


def problems(frame, **options) -> tuple[str, ...]:
    with pytest.raises(bs.RunsError) as caught:
        sheet(frame, **options)
    return caught.value.problems


def test_what_is_right_passes_and_keeps_its_labels(frame):
    table, notes = sheet(frame, keep=("dataset",))
    assert list(table.columns) == ["task", "y", "loss", "dataset", "n_questions", "chance"]
    assert list(table.index) == list(frame.index)
    assert notes == []


def test_questions_and_chance_may_be_numbers_or_mappings(frame):
    bare = frame.drop(columns=["n_questions", "chance"])
    table, _ = sheet(bare, n_questions=200, chance={"quiz": 0.25, "riddle": 0})
    assert set(table["n_questions"]) == {200}
    assert dict(table.groupby("task")["chance"].first()) == {"quiz": 0.25, "riddle": 0.0}
    (said,) = problems(bare, n_questions={"quiz": 5}, chance=0.0)
    assert said == "n_questions says nothing of task 'riddle': add them to the mapping"


def test_columns_that_are_not_there_are_named_with_the_nearest(frame):
    said = problems(frame.rename(columns={"accuracy": "acuracy", "n_questions": "n_question"}))
    assert len(said) == 2
    assert "no column 'accuracy'. Did you mean 'acuracy'?" in said[0]
    assert "Did you mean 'n_question'?" in said[1]
    assert "binomial noise" in said[1]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("accuracy", -0.1, r"'accuracy': 1 value is outside [0, 1] (row r2): give accuracies as"),
        ("accuracy", np.nan, "'accuracy': 1 value is missing (row r2): fill or remove"),
        ("n_questions", 1.5, "'n_questions': 1 value is no whole number of at least 1 (row r2)"),
        ("n_questions", 0, "binomial noise of accuracies"),
        ("n_questions", np.nan, "missing (counts make the binomial noise of accuracies) (row r2)"),
        ("chance", 1.0, "'chance': 1 value is outside [0, 1) (row r2): chance is the accuracy of"),
        ("loss", 0.0, "'loss': 1 value is not positive (row r2)"),
        ("loss", np.inf, "'loss': 1 value is not a finite number (row r2)"),
        ("loss", "low", "'loss': 1 value is not a finite number (row r2)"),
        ("task", " ", "'task': 1 value is missing (row r2): every row needs a label"),
        ("dataset", None, "'dataset': 1 value is missing (row r2): every row needs a label"),
    ],
)
def test_a_bad_cell_is_named_with_its_row(frame, column, value, expected):
    frame[column] = frame[column].astype(object)
    frame.loc["r2", column] = value
    assert any(expected in p for p in problems(frame, keep=("dataset",)))


def test_percentages_are_recognised(frame):
    frame["accuracy"] *= 100
    (said,) = problems(frame)
    assert "these look like percentages: divide by 100" in said


def test_many_rows_are_shortened():
    frame = pd.DataFrame(
        {
            "task": "quiz",
            "loss": np.linspace(2, 3, 30),
            "accuracy": -1.0,
            "n_questions": 10,
            "chance": 0.0,
        }
    )
    (said,) = problems(frame)
    assert "30 values are outside [0, 1] (rows 0, 1, 2, 3, 4, 5, 6, 7 and 22 more)" in said


@pytest.mark.parametrize("column", ["chance", "n_questions"])
def test_a_task_has_one_chance_and_one_number_of_questions(frame, column):
    frame[column] = frame[column].astype(float)
    frame.loc["r1", column] = {"chance": 0.5, "n_questions": 7}[column]
    (said,) = problems(frame)
    assert said.startswith(f"column '{column}' differs within task 'quiz'")


def test_a_task_needs_two_places(frame):
    one = frame.iloc[:5]
    assert any("task 'riddle': only one row" in p for p in problems(one))
    frame.loc[frame["task"] == "quiz", "loss"] = 3.0
    (said,) = problems(frame)
    assert "task 'quiz': only one value of 'loss'" in said


def test_every_problem_is_named_at_once(frame):
    frame = frame.astype({"n_questions": float})
    frame.loc["r0", "accuracy"] = 1.2
    frame.loc["r4", "n_questions"] = 2.5
    frame.loc["r6", "loss"] = -1.0
    said = problems(frame)
    assert {c for c in ("accuracy", "n_questions", "loss") if any(f"'{c}'" in p for p in said)} == {
        "accuracy",
        "n_questions",
        "loss",
    }


def test_a_task_at_chance_is_a_note_and_no_error(frame):
    frame.loc[frame["task"] == "quiz", "accuracy"] = [0.24, 0.26, 0.25, 0.25]
    _, (note,) = sheet(frame)
    assert note.startswith("task 'quiz' never leaves chance")


@pytest.mark.parametrize("thing", [None, [1, 2], "table.csv"])
def test_what_is_no_table_is_refused(thing):
    with pytest.raises(bs.RunsError, match="expected a DataFrame"):
        sheet(thing)


def test_an_empty_table_is_refused(frame):
    with pytest.raises(bs.RunsError, match="got one with no rows"):
        sheet(frame.iloc[:0])


# -- the bundled scores ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "needs"), [("openlm", ("loss", "C")), ("emergent", ("C",))])
def test_bundled_scores_are_sound(name, needs):
    table, _ = sheet(getattr(bs.datasets, f"{name}_tasks")(), needs=needs)
    assert table.notna().all().all()
    off = np.abs(table["y"] - np.round(table["y"] * table["n_questions"]) / table["n_questions"])
    assert (off <= 0.5e-4 + 1e-9).mean() > 0.97  # accuracies are counts, to four decimals


def test_openlm_scores_are_one_row_per_run_and_task():
    table = bs.datasets.openlm_tasks()
    assert not table.duplicated(["dataset", "architecture", "N", "D", "task"]).any()
    np.testing.assert_allclose(table["C"], 6 * table["N"] * table["D"])
