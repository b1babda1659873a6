"""Units that a table states in a column, or that its numbers suggest."""

import numpy as np
import pandas as pd
import pytest

from bayescale import Runs, RunsError, RunsWarning
from bayescale.data import unit_doubts

N = np.repeat([7e7, 1.6e8, 4.1e8, 1e9], 3)
D = np.tile([2e9, 8e9, 3e10], 4)
LOSS = np.round(1.7 + 400 * N**-0.34 + 420 * D**-0.29, 4)
FRAME = pd.DataFrame({"params": N, "tokens": D, "loss": LOSS})
ODD = np.arange(12) % 2 == 1


def test_a_column_of_units_is_asked_about():
    frame = FRAME.assign(params=N / 1e6, params_unit="M", tokens=D / 1e9, tokens_unit="B")
    with pytest.raises(RunsError) as refused:
        Runs.from_frame(frame)
    assert refused.value.problems == (
        "column 'params_unit' says that 'params' is in 'M': pass N='params*1e6'",
        "column 'tokens_unit' says that 'tokens' is in 'B': pass D='tokens*1e9'",
    )
    runs = Runs.from_frame(frame, N="params*1e6", D="tokens*1e9")
    np.testing.assert_allclose(runs.table["D"], D)


@pytest.mark.parametrize("column", ["unit", "loss_unit", "unit of loss"])
def test_rows_in_different_units_are_refused(column):
    units = np.where(ODD, "bits", "nats")
    with pytest.raises(RunsError, match=f"different units by column {column!r} \\(nats, bits\\)"):
        Runs.from_frame(FRAME.assign(**{column: units}))
    assert len(Runs.from_frame(FRAME.assign(**{column: "nats"}))) == 12
    assert len(Runs.from_frame(FRAME.assign(**{column: units}), groups=column)) == 12


@pytest.mark.filterwarnings("ignore:.*far above those of similar")
@pytest.mark.parametrize(
    ("ratio", "words"),
    [(1 / np.log(2), "in bits and the others in nats"), (100, "in per cent and the others")],
)
def test_losses_in_two_units_are_refused(ratio, words):
    own, name = (LOSS, "loss") if ratio < 2 else (LOSS / 10, "error")
    frame = FRAME.drop(columns="loss").assign(**{name: np.where(ODD, own * ratio, own)})
    with pytest.raises(
        RunsError, match=r"the losses of 6 rows \(rows 1, 3, 5, 7, 9, 11\) are"
    ) as e:
        Runs.from_frame(frame)
    assert words in str(e.value)
    assert "'source'" not in str(e.value)
    labelled = frame.assign(source=np.where(ODD, "lab B", "lab A"))
    with pytest.raises(RunsError, match="those of one label of 'source', are"):
        Runs.from_frame(labelled)
    # Groups may be of different units. What is stated is not doubted.
    with pytest.warns(RunsWarning, match="the losses of 6 rows"):
        Runs.from_frame(labelled, groups="source")
    stated = Runs.from_frame(frame, loss=f"{name}*1")
    assert not any("the losses of 6 rows" in note for note in stated.notes)


@pytest.mark.filterwarnings("ignore:.*far above those of similar")
@pytest.mark.parametrize("ratio", [1.3, 1.6])
def test_two_data_sets_are_not_taken_for_two_units(ratio):
    Runs.from_frame(FRAME.assign(loss=np.where(ODD, LOSS * ratio, LOSS)))


def test_a_table_wholly_in_thousands_is_doubted():
    small = FRAME.assign(params=N / 1e3, tokens=D / 1e3)
    with pytest.warns(RunsWarning, match="are both counts in thousands"):
        runs = Runs.from_frame(small)
    (note,) = runs.notes
    assert "(N='params*1e3', D='tokens*1e3')?" in note
    assert "If all counts are absolute, pass N='params*1', D='tokens*1'" in note
    assert unit_doubts(runs.notes) == [note]
    np.testing.assert_allclose(Runs.from_frame(small, N="params*1e3", D="tokens*1e3").table["D"], D)
    assert Runs.from_frame(small, N="params*1", D="tokens*1").notes == ()


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.assign(params=N / 1e3, tokens=D / 1e3, loss=9.0 + LOSS),  # as of small models
        FRAME.assign(params=N / 1e3, tokens=D / 1e3).rename(columns={"tokens": "samples"}),
        FRAME.assign(params=N / 1e3, tokens=D / 1e3).rename(columns={"loss": "bpb"}),
    ],
)
def test_other_tables_are_not_doubted(frame):
    assert Runs.from_frame(frame).notes == ()


def test_a_perplexity_of_tokens_is_asked_about():
    frame = pd.DataFrame({"N": N, "tokens": D, "loss": np.exp(LOSS)})
    with pytest.raises(RunsError, match=r"for a perplexity pass loss='log\(loss\)'"):
        Runs.from_frame(frame)
    anything = Runs.from_frame(frame.rename(columns={"tokens": "D"}))
    np.testing.assert_allclose(anything.table["loss"], frame["loss"])


def test_a_name_of_both_a_perplexity_and_a_loss_is_asked_about():
    frame = FRAME.rename(columns={"loss": "val_ppl_loss"})
    with pytest.raises(RunsError, match="a perplexity or a loss"):
        Runs.from_frame(frame)
    stated = Runs.from_frame(frame, loss="val_ppl_loss*1")
    np.testing.assert_allclose(stated.table["loss"], frame["val_ppl_loss"])
    stated = Runs.from_frame(frame, loss="log(val_ppl_loss)")
    np.testing.assert_allclose(stated.table["loss"], np.log(frame["val_ppl_loss"]))


def test_a_number_is_the_size_of_all_rows():
    curve = FRAME[["tokens", "loss"]].drop_duplicates("tokens")
    runs = Runs.from_frame(curve, N="1.31B")
    assert set(runs.table["N"]) == {1.31e9}
    np.testing.assert_allclose(runs.table["C"], 6 * 1.31e9 * curve["tokens"])
    with pytest.raises(RunsError, match="there is no column '3'"):
        Runs.from_frame(curve, N="1.31B", loss="3")


def test_few_rows_in_another_unit_are_a_reason_for_doubt():
    wrong = FRAME.assign(params=np.where(np.arange(len(FRAME)) == 3, FRAME["params"] * 1e6, N))
    with pytest.warns(RunsWarning, match="check the units of N and D there"):
        runs = Runs.from_frame(wrong)
    assert any("check the units of N and D there" in note for note in unit_doubts(runs.notes))
