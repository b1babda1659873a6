"""Tables of another arrangement: losses by N and D, transposed tables, one row per number."""

import warnings

import numpy as np
import pandas as pd
import pytest

from bayescale import Runs, RunsError

N = np.array([7e7, 1.6e8, 4.1e8, 1e9])
D = np.array([2e9, 8e9, 3e10])
LOSS = np.round(1.7 + 400 * N[:, None] ** -0.34 + 420 * D**-0.29, 4)


def read(frame, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Runs.from_frame(frame, **keywords)


def by_columns(names, losses=LOSS, first="params"):
    return pd.DataFrame({first: N, **dict(zip(names, losses.T, strict=True))})


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (["2B", "8B", "30B"], "params"),
        (["2B tokens", "8B tokens", "30B tokens"], "params"),
        (["D=2e9", "D=8e9", "D=3e10"], "N"),
        (["2B", "8B", "30B"], "N \\ D"),
        (["2e9", "8e9", "3e10"], "params / tokens"),
        (["loss@2B", "loss@8B", "loss@30B"], "params"),
        (["val loss (2B tokens)", "val loss (8B tokens)", "val loss (30B tokens)"], "params"),
    ],
)
def test_losses_by_parameters_and_tokens(names, first):
    table = read(by_columns(names, first=first)).table
    assert len(table) == 12
    for n, d, loss in zip(table["N"], table["D"], table["loss"], strict=True):
        assert loss == LOSS[n == N, d == D].item()


@pytest.mark.parametrize(
    "names", [["6e18", "1e19", "3e19"], ["C=6e18", "C=1e19", "C=3e19"], ["6 EFLOP", "1e19", "3e19"]]
)
def test_losses_by_parameters_and_budgets(names):
    frame = by_columns(names).astype(object)
    frame.iloc[3, 1] = ""  # not every size was trained with every budget
    runs = read(frame.assign(recipe="base"), groups="recipe")
    assert sorted(set(runs.table["C"])) == [6e18, 1e19, 3e19]
    assert len(runs) == 11
    assert runs.table["loss"].tolist()[:3] == LOSS[:3, 0].tolist()
    assert "names as C (training FLOP)" in runs.notes[0]


@pytest.mark.parametrize(
    "frame",
    [
        by_columns(["2B", "8B", "30B"], np.exp(LOSS)),  # perplexities
        by_columns(["2B", "8B", "30B"], 1 / LOSS),  # accuracies rise
        by_columns(["1k", "4k", "16k"]),  # steps
        by_columns(["1", "2", "4"]),
    ],
)
def test_other_numbers_in_columns_are_not_taken_for_losses(frame):
    with pytest.raises(RunsError, match="no column holds the loss"):
        read(frame)


def test_a_transposed_table_is_turned(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(
        "run,a,b,c,d\nparams,70M,160M,410M,1B\ntokens,2e9,8e9,3e10,6e10\n"
        "val loss,3.9,3.5,3.1,2.9\nrecipe,x,x,y,y\n"
    )
    with pytest.warns(match="the table was turned"):
        runs = Runs.read(path)
    assert runs.table["N"].tolist() == N.tolist()
    assert runs.table["loss"].tolist() == [3.9, 3.5, 3.1, 2.9]
    assert runs.table["run"].tolist() == list("abcd")


def test_one_row_per_number_is_read_as_columns():
    long = by_columns(["2B", "8B", "30B"]).assign(run=list("abcd"))[["run", "params", "2B"]]
    long = long.assign(tokens=2e9).rename(columns={"2B": "loss"}).melt("run", var_name="metric")
    runs = read(long.sample(frac=1, random_state=1))
    assert runs.table.set_index("run").loc[list("abcd"), "N"].tolist() == N.tolist()
    assert runs.table.set_index("run").loc["b", "loss"] == LOSS[1, 0]
    # A number that is there twice is not chosen in silence.
    with pytest.raises(RunsError, match="no column holds the loss"):
        read(pd.concat([long, long.iloc[[0]]]))
