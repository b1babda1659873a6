"""Tables of task results: which are accepted, and that every problem names its rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.data.task_table import task_table


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
        task_table(frame, **options)
    return caught.value.problems


def test_a_valid_table_is_accepted_with_its_index(frame):
    table, notes = task_table(frame, keep=("dataset",))
    assert list(table.columns) == ["task", "y", "loss", "dataset", "n_questions", "chance"]
    assert list(table.index) == list(frame.index)
    assert notes == []


def test_questions_and_chance_may_be_numbers_or_mappings(frame):
    bare = frame.drop(columns=["n_questions", "chance"])
    table, _ = task_table(bare, n_questions=200, chance={"quiz": 0.25, "riddle": 0})
    assert set(table["n_questions"]) == {200}
    assert dict(table.groupby("task")["chance"].first()) == {"quiz": 0.25, "riddle": 0.0}
    (found,) = problems(bare, n_questions={"quiz": 5}, chance=0.0)
    assert found == "n_questions has no value for task 'riddle': add it"
    (found,) = problems(bare, n_questions={"quiz": 5, "ridle": 7}, chance=0.0)
    assert found.endswith("has no value for task 'riddle': add it; task 'ridle' is no task here")


def test_missing_columns_are_named_with_the_closest_match(frame):
    found = problems(frame.rename(columns={"accuracy": "acuracy", "n_questions": "n_question"}))
    assert len(found) == 2
    assert "no column 'accuracy'. Did you mean 'acuracy'?" in found[0]
    assert "Did you mean 'n_question'?" in found[1]
    assert "binomial noise" in found[1]


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("accuracy", -0.1, r"'accuracy': 1 value is outside [0, 1] (row r2): give accuracies as"),
        ("accuracy", np.nan, "'accuracy': 1 value is missing (row r2): fill in or remove"),
        ("n_questions", 1.5, "'n_questions': 1 value is not a whole number of at least 1 (row r2)"),
        ("n_questions", 0, "binomial noise of an accuracy"),
        ("n_questions", np.nan, "missing (row r2): fill in or remove these rows; the number of q"),
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
    (found,) = problems(frame)
    assert "these look like percentages: divide by 100" in found


def test_percentages_are_recognised_where_other_columns_are_missing(frame):
    percent = frame.assign(accuracy=frame["accuracy"] * 100).drop(columns=["chance", "task"])
    found = problems(percent, task=None)
    assert found[0].startswith("there is no column 'chance'")
    columns = found[0].split("There are: ")[1].split(".")[0]
    assert columns == ", ".join(percent.columns)
    assert "these look like percentages: divide by 100" in found[1]


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
    (found,) = problems(frame)
    assert "30 values are outside [0, 1] (rows 0, 1, 2, 3, 4, 5, 6, 7 and 22 more)" in found


@pytest.mark.parametrize("column", ["chance", "n_questions"])
def test_a_task_has_one_chance_and_one_number_of_questions(frame, column):
    frame[column] = frame[column].astype(float)
    frame.loc["r1", column] = {"chance": 0.5, "n_questions": 7}[column]
    (found,) = problems(frame)
    assert found.startswith(f"column '{column}' differs within task 'quiz'")


def test_a_task_needs_two_rows_and_two_values_of_each_column(frame):
    one = frame.iloc[:5]
    (found,) = problems(one)
    assert "task 'riddle': only one row" in found
    frame.loc[frame["task"] == "quiz", "loss"] = 3.0
    (found,) = problems(frame)
    assert "task 'quiz': only one value of 'loss'" in found


def test_every_problem_is_named_at_once(frame):
    frame = frame.astype({"n_questions": float})
    frame.loc["r0", "accuracy"] = 1.2
    frame.loc["r4", "n_questions"] = 2.5
    frame.loc["r6", "loss"] = -1.0
    found = problems(frame)
    for column in ("accuracy", "n_questions", "loss"):
        assert any(f"'{column}'" in problem for problem in found)


def test_a_task_at_chance_is_a_note_not_an_error(frame):
    frame.loc[frame["task"] == "quiz", "accuracy"] = [0.24, 0.26, 0.25, 0.25]
    _, (note,) = task_table(frame)
    assert note.startswith("task 'quiz' never exceeds chance")


@pytest.mark.parametrize("thing", [None, [1, 2], "table.csv"])
def test_a_value_that_is_not_a_table_is_refused(thing):
    with pytest.raises(bs.RunsError, match="expected a DataFrame"):
        task_table(thing)


def test_an_empty_table_is_refused(frame):
    with pytest.raises(bs.RunsError, match="got one with no rows"):
        task_table(frame.iloc[:0])


def test_a_fixed_number_of_questions_must_be_a_number(frame):
    (found,) = problems(frame, n_questions=[500, 100])
    assert found == (
        "n_questions is [500, 100]: give a column, a number, or a mapping from task to number"
    )


# -- scores of repeated samples ------------------------------------------------------------------


def pass_at_k(right, n, k):
    """The unbiased estimator of Chen et al. 2021."""
    wrong = n - right[..., None] - np.arange(k)
    return 1 - np.prod(np.maximum(wrong, 0) / (n - np.arange(k)), axis=-1)


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.4])
def test_the_noise_of_pass_at_k_is_at_most_that_of_the_answers(scale):
    rng = np.random.default_rng(1)
    solved = scale * rng.beta(0.5, 2, 60)  # the probability of each question
    n, k = 40, 10
    scores = pass_at_k(rng.binomial(n, solved, (4000, 60)), n, k).mean(axis=1)
    table = pd.DataFrame({"loss": [2.0, 3.0], "task": "code", "pass@10": scores[:2]})
    counts, _ = task_table(table, y="pass@10", n_questions=60, chance=0.0, samples=n)
    assert set(counts["n_questions"]) == {60 * n / k}
    bound = scores.mean() * (1 - scores.mean()) / counts["n_questions"].iloc[0]
    assert scores.var() < bound
    if scale == 0.01:  # it is nearly reached if questions are hardly solved
        assert scores.var() > 0.8 * bound


def test_pass_at_k_needs_the_number_of_samples(frame):
    frame = frame.rename(columns={"accuracy": "pass@10"})
    (found,) = problems(frame, y="pass@10")
    assert found.startswith("the number of samples of each question sets the noise of pass@k")
    assert "give samples= as a column, a number, or a mapping" in found
    (found,) = problems(frame, y="pass@10", samples=5)
    assert "below k of pass@k" in found
    (found,) = problems(frame, y="pass@10", samples=20.5)
    assert "not a whole number of at least 1" in found
    # Without numbers of questions the noise is estimated, and no samples are needed.
    table, _ = task_table(frame, y="pass@10", n_questions=None)
    assert np.isinf(table["n_questions"]).all()


def test_k_is_read_from_the_task_too(frame):
    frame["task"] = frame["task"].replace({"quiz": "code pass@4"})
    counts = task_table(frame, samples=8)[0].groupby("task")["n_questions"].first()
    assert dict(counts) == {"code pass@4": 500 * 8 / 4, "riddle": 100 * 8}


# -- positive scores ---------------------------------------------------------------------------

POSITIVE = dict(y="loss", metric="positive", needs=("C",))


@pytest.fixture
def losses(frame):
    return frame.assign(C=10.0 ** np.arange(18, 26))[["task", "loss", "C", "dataset"]]


def test_positive_scores_need_no_questions(losses):
    table, notes = task_table(losses, **POSITIVE, keep=("dataset",))
    assert list(table.columns) == ["task", "y", "C", "dataset"]
    assert table["y"].tolist() == losses["loss"].tolist()
    assert notes == []


def test_positive_scores_may_exceed_1_and_must_exceed_0(losses):
    losses.loc["r1", "loss"] = 0.0
    losses.loc["r2", "C"] = -1.0
    assert problems(losses, **POSITIVE) == (
        "column 'loss': 1 value is not positive (row r1): give values above 0",
        "column 'C': 1 value is not positive (row r2): give values above 0",
    )


def test_positive_scores_need_two_rows_per_task(losses):
    found = problems(losses.iloc[:5], **POSITIVE)
    assert found[0].startswith("task 'riddle': only one row, from which no curve can be fitted")


def test_an_unknown_metric_is_refused(frame):
    (found,) = problems(frame, metric="accurracy")
    assert "Did you mean 'accuracy'?" in found


# -- the bundled scores ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "needs"), [("openlm", ("loss", "C")), ("emergent", ("C",))])
def test_bundled_scores_are_valid(name, needs):
    table, _ = task_table(getattr(bs.datasets, f"{name}_tasks")(), needs=needs)
    assert table.notna().all().all()
    difference = np.abs(
        table["y"] - np.round(table["y"] * table["n_questions"]) / table["n_questions"]
    )
    assert (difference <= 0.5e-4 + 1e-9).mean() > 0.97  # accuracies are counts, to four decimals


def test_openlm_scores_are_one_row_per_run_and_task():
    table = bs.datasets.openlm_tasks()
    assert not table.duplicated(["dataset", "architecture", "N", "D", "task"]).any()
    np.testing.assert_allclose(table["C"], 6 * table["N"] * table["D"])


@pytest.mark.parametrize("n_questions", [1000, None])
def test_accuracies_below_chance_have_a_note(n_questions):
    scores = pd.DataFrame({"task": "sums", "C": np.geomspace(1e18, 1e22, 8)})
    scores["accuracy"] = np.linspace(0.01, 0.6, 8)
    found = bs.emergence(scores, n_questions=n_questions, chance=0.25, random_seed=1)
    assert any("accuracies down to 0.01, and chance is 0.25" in note for note in found.notes)
    scores["accuracy"] = np.linspace(0.23, 0.6, 8)
    found = bs.emergence(scores, n_questions=n_questions, chance=0.25, random_seed=1)
    assert not any("and chance is" in note for note in found.notes)


def test_a_rising_score_is_no_loss(losses):
    """It is perhaps an accuracy whose name does not say so."""
    rising = losses.assign(loss=3 - losses["loss"] / 2).rename(columns={"loss": "em"})
    options = POSITIVE | dict(y="em", falls_with="C")
    (found,) = problems(rising, **options)
    assert found.startswith("column 'em' rises with C (rank correlation 1.00)")
    assert "give y='accuracy', columns={'accuracy': 'em'}" in found
    task_table(losses.rename(columns={"loss": "em"}), **options)
