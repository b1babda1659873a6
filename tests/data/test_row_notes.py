"""Notes on rows hold for the rows that are there; units and sizes that are doubtful are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from bayescale.data import Runs
from bayescale.errors import RunsError, RunsWarning
from bayescale.keywords import for_command_line

pytestmark = pytest.mark.filterwarnings("ignore::bayescale.errors.RunsWarning")
N, D = np.array([7e7, 4e8, 1e9] * 3), np.repeat([2e9, 2e10, 1e11], 3)
LOSS = 1.7 + 400 * N**-0.34 + 420 * D**-0.29
FRAME = pd.DataFrame({"params": N, "tokens": D, "loss": LOSS})


def notes(runs: Runs) -> str:
    return "\n".join(runs.notes)


def test_a_note_on_crashed_runs_goes_with_them(tmp_path):
    state = ["finished"] * 9
    state[1] = state[7] = "crashed"
    path = tmp_path / "runs.csv"
    FRAME.assign(state=state).to_csv(path, index=False)
    runs = Runs.read(path)
    assert "2 runs have not finished by column 'state' (2 crashed) (lines 3, 9)" in notes(runs)
    assert "1 run has not finished by column 'state' (1 crashed) (line 9)" in notes(
        runs[runs.table.index != 3]
    )
    assert runs.query("state == 'finished'").notes == ()
    assert runs.query("state == 'finished'").row_notes == ()


def test_crashed_runs_are_left_out_on_request():
    crashed = FRAME.assign(state=["crashed", "running"] + ["finished"] * 7)
    with pytest.warns(RunsWarning, match="leave them out with drop_failed=True"):
        Runs.from_frame(crashed)
    runs = Runs.from_frame(crashed, drop_failed=True)
    assert len(runs) == 7
    assert runs.notes == (
        "left out 2 unfinished runs by column 'state' (1 crashed, 1 running) (rows 0, 1)",
    )


@pytest.mark.parametrize(
    ("column", "state"),
    [
        ("state", "OUT_OF_MEMORY"),
        ("job status", "CANCELLED by 1000"),
        ("run_state", "Node fail"),
        ("Status", "OOM"),
    ],
)
def test_states_of_schedulers_are_known(column, state):
    losses = FRAME["loss"]
    frame = FRAME.assign(**{column: [state] + ["COMPLETED"] * (len(losses) - 1)})
    (note,) = [n for n in Runs.from_frame(frame).notes if "not finished" in n]
    assert f"1 run has not finished by column {column!r} (1 {state.lower()}) (row 0)" in note
    assert len(Runs.from_frame(frame, drop_failed=True)) == len(losses) - 1
    # Labels of finished runs, and columns of other names, say nothing.
    fine = FRAME.assign(**{column: "COMPLETED", "statement": state})
    assert not any("not finished" in n for n in Runs.from_frame(fine).notes)


@pytest.mark.parametrize("state", ["running", "Pending", "queued", "preempting"])
def test_runs_under_way_are_named_with_those_that_crashed(state):
    losses = [float("nan"), float("nan"), *LOSS[2:]]
    frame = FRAME.assign(loss=losses, status=["crashed", state] + ["finished"] * 7)
    with pytest.raises(RunsError) as refused:
        Runs.from_frame(frame)
    (problem,) = refused.value.problems
    assert problem == (
        f"2 runs have not finished by column 'status' (1 crashed, 1 {state.lower()}) (rows 0, 1): "
        "if their losses are missing or not final, leave them out with drop_failed=True"
    )
    assert len(Runs.from_frame(frame, drop_failed=True)) == 7


def test_the_hint_for_a_missing_column_names_one_that_is_free():
    frame = pd.DataFrame({"budget_x": 6 * N * D, "loss": LOSS})
    with pytest.raises(RunsError, match="Name it: N='budget_x'"):
        Runs.from_frame(frame)


SHAPES = {"d_model": [256, 512, 1024] * 3, "n_layers": [4, 8, 16] * 3, "batch_size": 64,
          "seq_len": 1024, "max_steps": np.repeat([1000, 4000, 16000], 3)}  # fmt: skip


def test_the_shape_and_the_steps_are_proposed_as_parameters_and_tokens():
    frame = pd.DataFrame({**SHAPES, "train/loss": LOSS + 0.1, "eval/loss": LOSS})
    with pytest.raises(RunsError) as refused:
        Runs.from_frame(frame)
    products = {"N": "12*d_model*d_model*n_layers", "D": "max_steps*batch_size*seq_len"}
    assert refused.value.problems == (
        "no column holds N (parameters), D (tokens) or C (training FLOP): if N = 12 x width^2 x "
        "layers, without embeddings, and D = steps x batch_size x seq_len, pass "
        f"N={products['N']!r}, D={products['D']!r}",
    )
    runs = Runs.from_frame(frame, **products)
    assert runs.table["N"].iloc[0] == 12 * 256**2 * 4
    assert runs.table["D"].iloc[0] == 1000 * 64 * 1024


@pytest.mark.parametrize("other", ["train/loss", "mmlu_acc", "lr", "aux_loss", "tokens/s"])
def test_no_other_quantity_is_proposed_as_the_parameters(other):
    frame = pd.DataFrame({"budget_x": 6 * N * D, "eval/loss": LOSS, other: np.arange(1.0, 10)})
    with pytest.raises(RunsError, match="Name it: N='budget_x'"):
        Runs.from_frame(frame)


def test_notes_on_duplicates_and_disagreement_go_with_their_rows():
    C = 6 * N * D
    C[4] *= 3
    frame = pd.concat([FRAME.assign(C=C), FRAME.assign(C=C).iloc[[0]]], ignore_index=True)
    runs = Runs.from_frame(frame)
    assert "C differs from 6ND by more than a factor of 2 in 1 rows (row 4)" in notes(runs)
    assert "repeats an earlier one (row 9)" in notes(runs)
    assert runs[~runs.table.index.isin([4, 9])].notes == ()


def test_notes_on_how_a_table_was_read_are_kept():
    frame = FRAME.astype(object)
    frame.loc[2, "loss"] = None
    runs = Runs.from_frame(frame.assign(state=["crashed"] + ["finished"] * 8), drop_missing=True)
    (kept,) = runs.query("state == 'finished'").notes
    assert kept == "left out 1 row with missing values (row 2)"


def test_a_group_of_which_one_run_is_left_is_noted():
    runs = Runs.from_frame(FRAME.assign(corpus=["a"] * 6 + ["b"] * 3), groups="corpus")
    assert runs.notes == ()
    assert "corpus 'b' has a single run" in notes(runs[runs.table.index < 7])


def test_notes_on_rows_are_saved():
    runs = Runs.from_frame(FRAME.assign(state=["crashed"] + ["finished"] * 8))
    loaded = Runs.from_json(runs.to_json())
    assert loaded.notes == runs.notes != ()
    assert loaded.query("state == 'finished'").notes == ()


# -- units and sizes ---------------------------------------------------------------------------


def test_tokens_in_thousands_are_a_caution_with_the_remedy():
    small = FRAME.assign(tokens=D / 1e3)
    (note,) = Runs.from_frame(small).notes
    assert "D / N: the median is 0.05 tokens per parameter" in note
    assert "is 'tokens' in thousands (D='tokens*1e3')?" in note
    assert "If all counts are absolute, pass N='params*1', D='tokens*1'" in note
    assert Runs.from_frame(small, D="tokens*1e3").notes == ()
    assert Runs.from_frame(small, N="params*1", D="tokens*1").notes == ()
    with for_command_line():
        (note,) = Runs.from_frame(small).notes
    assert '--columns "D=tokens*1e3"' in note


def test_parameters_in_thousands_are_a_caution():
    (note,) = Runs.from_frame(FRAME.assign(params=N / 1e3)).notes
    assert "is 'params' in thousands (N='params*1e3')?" in note


@pytest.mark.parametrize(
    ("params", "tokens", "proposals"),
    [
        (("params (M)", 1e-6), ("tokens (M)", 1e-9), [{"D": "tokens (M)*1e9"}]),
        (("params (B)", 1e-6), ("tokens (B)", 1e-9),
         [{"D": "tokens (B)*1e12"}, {"N": "params (B)*1e6"}]),
        (("params (M)", 1e-6), ("tokens (B)", 1e-6),
         [{"N": "params (M)*1e9"}, {"D": "tokens (B)*1e6"}]),
        (("params", 1), ("tokens (k)", 1e-6), [{"D": "tokens (k)*1e6"}]),
    ],
)  # fmt: skip
def test_a_unit_proposed_in_place_of_that_of_a_header_is_the_whole_one(params, tokens, proposals):
    frame = pd.DataFrame({params[0]: N * params[1], tokens[0]: D * tokens[1], "loss": LOSS})
    (note,) = Runs.from_frame(frame).notes
    assert "?." not in note
    for proposal in proposals:
        ((quantity, expression),) = proposal.items()
        assert f"({quantity}={expression!r})" in note
        assert Runs.from_frame(frame, **proposal).notes == ()
    # What states the units as they were read changes nothing but the caution.
    stated = note.partition("are right, pass ")[2]
    named = dict(part.split("=") for part in stated.replace("'", "").split(", "))
    kept = Runs.from_frame(frame, **named)
    assert kept.notes == ()
    assert kept.table["D"].tolist() == pytest.approx(Runs.from_frame(frame).table["D"].tolist())


def test_a_unit_proposed_for_an_expression_is_the_whole_one():
    frame = pd.DataFrame({"params (M)": N / 1e6, "tokens (M)": D / 1e9, "loss": LOSS})
    (note,) = Runs.from_frame(frame, D="tokens (M)*1.5e6").notes
    assert "is 'tokens (M)' in" in note
    assert "(D='tokens (M)*1e9')" in note
    with for_command_line():
        (note,) = Runs.from_frame(frame).notes
    assert "is 'tokens (M)' in billions (--columns \"D=tokens (M)*1e9\")? If the units" in note


def test_a_unit_of_compute_is_proposed_where_tokens_are_computed_from_it():
    frame = pd.DataFrame({"params (M)": N / 1e6, "C (EFLOP)": 6 * N * D / 1e21, "loss": LOSS})
    (note,) = Runs.from_frame(frame).notes
    assert "ZFLOP (C='C (EFLOP)*1e21')" in note
    assert Runs.from_frame(frame, C="C (EFLOP)*1e21").notes == ()


@pytest.mark.parametrize("factor", [0.01, 1.0, 100.0])
def test_usual_ratios_are_not_noted(factor):
    assert Runs.from_frame(FRAME.assign(tokens=D * factor)).notes == ()


@pytest.mark.parametrize("name", ["size", "model", "Model scale", "arch"])
def test_a_size_with_a_unit_is_proposed_as_the_parameters(name):
    frame = FRAME.drop(columns="params").assign(**{name: ["70M", "400M", "1B"] * 3})
    with pytest.raises(RunsError) as refused:
        Runs.from_frame(frame)
    assert f"column {name!r} (70M, 400M, 1B, ...) looks like N (parameters)" in str(refused.value)
    assert f"pass N={name!r}" in str(refused.value)
    with pytest.raises(RunsError) as refused, for_command_line():
        Runs.from_frame(frame.drop(columns="tokens"))
    assert f"N={name}" in str(refused.value)
    assert "--columns" in str(refused.value)
    np.testing.assert_allclose(Runs.from_frame(frame, N=name).table["N"], N)


@pytest.mark.parametrize(
    "column",
    [
        {"batch_size": ["1M", "2M", "4M"] * 3},
        {"model": ["gpt-70M", "gpt-400M", "gpt-1B"] * 3},
        {"size": ["7B"] * 9},
        {"size": [1, 2, 3] * 3},
    ],
)
def test_other_columns_are_not_proposed(column):
    assert "N" not in Runs.from_frame(FRAME.drop(columns="params").assign(**column))


def test_sizes_that_label_groups_are_not_proposed():
    frame = FRAME.drop(columns="params").assign(size=["70M", "400M", "1B"] * 3)
    assert Runs.from_frame(frame, groups="size").groups == ("size",)


def test_rows_that_look_like_checkpoints_have_a_note():
    curves = pd.DataFrame({"run": np.repeat(["a", "b", "c"], 3), "N": np.repeat(N[:3], 3)})
    curves = curves.assign(D=np.tile(D[[0, 3, 6]], 3), loss=LOSS)
    text = "if they are checkpoints of one run, pass series='run'"
    assert text in notes(Runs.from_frame(curves))
    assert "checkpoints" not in notes(Runs.from_frame(curves, series="run"))
    sizes = curves.assign(N=N)  # a label of several sizes is no run
    assert "checkpoints" not in notes(Runs.from_frame(sizes))
    with for_command_line():
        assert "--columns series=run" in notes(Runs.from_frame(curves))


def test_rows_with_unusual_tokens_per_parameter_have_a_note():
    wrong = FRAME.assign(tokens=[2e4, *D[1:]])
    assert "1 row has tokens per parameter outside 0.01 to 100000 (row 0)" in notes(
        Runs.from_frame(wrong)
    )
    assert "tokens per parameter" not in notes(Runs.from_frame(FRAME))


def test_a_repeated_heading_is_recognised(tmp_path):
    path = tmp_path / "twice.csv"
    lines = FRAME.to_csv(index=False).splitlines()
    path.write_text("\n".join([*lines, lines[0]]))
    with pytest.raises(RunsError, match="remove the row if it repeats the heading"):
        Runs.read(path)


def test_an_accuracy_without_a_loss_has_the_error_rate_as_remedy():
    scores = FRAME[["params", "tokens"]].assign(accuracy=100 * (1 - LOSS / 9))
    with pytest.raises(
        RunsError, match=r"is the score of a task .* loss='1-accuracy/100' if it is"
    ):
        Runs.from_frame(scores)
    runs = Runs.from_frame(scores, loss="1-accuracy/100")
    np.testing.assert_allclose(runs.table["loss"], LOSS / 9)


def checkpoints(label: str | None, each: int = 20, **more) -> pd.DataFrame:
    """Three models of so many checkpoints."""
    rows = [
        {"model": f"m{i}", "params": n, "tokens": 1e8 * k, "loss": 5 * (n * k) ** -0.06, "step": k}
        for i, n in enumerate((2e7, 8e7, 3e8))
        for k in range(1, each + 1)
    ]
    frame = pd.DataFrame(rows).assign(**more)
    return frame.rename(columns={"model": label}) if label else frame.drop(columns="model")


@pytest.mark.parametrize("label", ["model", "name", "model_name", "run_name", "Run ID"])
def test_rows_with_one_label_and_many_tokens_may_be_checkpoints(label):
    frame = checkpoints(label).drop(columns="step")
    with pytest.warns(RunsWarning, match=f"rows with one '{label}' differ in D alone"):
        runs = Runs.from_frame(frame)
    assert f"series={label!r}" in runs.notes[0]
    assert Runs.from_frame(frame, series=label).how_read.endswith(f"series from {label}")


@pytest.mark.parametrize(("label", "each"), [("model", 7), ("architecture", 20)])
def test_few_token_counts_of_a_model_are_runs_of_their_own(label, each):
    assert Runs.from_frame(checkpoints(label, each).drop(columns="step")).notes == ()


def test_steps_without_a_label_may_be_those_of_checkpoints():
    with pytest.warns(RunsWarning, match="differ in D and in 'step' alone"):
        Runs.from_frame(checkpoints(None))
    assert Runs.from_frame(checkpoints(None, 7)).notes == ()


def test_series_that_steps_show_are_named_by_their_column():
    with pytest.warns(RunsWarning, match="rows with one 'run_name' are read as checkpoints"):
        runs = Runs.from_frame(checkpoints("run_name"))
    assert "series from run_name" in runs.how_read
    with pytest.warns(RunsWarning, match="all rows are read as checkpoints of one run"):
        one = Runs.from_frame(checkpoints(None).query("params == 2e7"))
    assert "series from one run" in one.how_read


@pytest.mark.parametrize("name", ["mmlu_acc", "score", "em", "hellaswag"])
def test_a_score_is_not_proposed_as_the_loss(name):
    frame = pd.DataFrame({"params": [7e7, 2e8, 5e8], "tokens": 2e9, name: [0.2, 0.3, 0.4]})
    with pytest.raises(RunsError) as caught:
        Runs.from_frame(frame)
    assert f"loss={name!r}" not in str(caught.value)
    assert f"bs.emergence(table, y={name!r}), or bs.link" in str(caught.value)
    with for_command_line(), pytest.raises(RunsError) as caught:
        Runs.from_frame(frame)
    assert f"`emergence --y {name}`" in str(caught.value)
    assert f"--columns loss={name}" not in str(caught.value)


def test_values_that_only_crashed_runs_lack_have_one_remedy():
    frame = FRAME.assign(state="finished")
    frame.loc[3, ["state", "loss"]] = "crashed", np.nan
    with pytest.raises(RunsError) as caught:
        Runs.from_frame(frame)
    (problem,) = caught.value.problems
    assert "missing or not final, leave them out with drop_failed=True" in problem
    assert len(Runs.from_frame(frame, drop_failed=True)) == 8
    frame.loc[5, "loss"] = np.nan  # of a run that finished
    with pytest.raises(RunsError, match="drop_missing=True"):
        Runs.from_frame(frame)


def test_several_rows_of_a_point_are_led_to_the_best_one_first():
    sweep = pd.concat([FRAME.assign(loss=LOSS * (1 + 0.1 * i), rate=f"{i}e-4") for i in (1, 2, 3)])
    with pytest.warns(RunsWarning) as caught:
        Runs.from_frame(sweep)
    told, *_ = [str(w.message) for w in caught if "keep_best=True" in str(w.message)]
    assert told.index("keep_best=True") < told.index("groups='rate'")


def test_many_rows_in_another_unit_are_refused():
    tokens = FRAME["tokens"].copy()
    tokens[[0, 4, 8]] /= 1e9
    with pytest.raises(RunsError, match=r"3 rows have tokens per parameter .*rows 0, 4, 8") as bad:
        Runs.from_frame(FRAME.assign(tokens=tokens))
    assert "probably in another unit than the others, such as billions" in str(bad.value)
    # One such row is named, and so are all if the unit was stated.
    one = FRAME["tokens"].copy()
    one[4] /= 1e9
    assert "check the units of N and D there" in notes(Runs.from_frame(FRAME.assign(tokens=one)))
    stated = Runs.from_frame(FRAME.assign(tokens=tokens), D="tokens*1")
    assert "3 rows have tokens per parameter" in notes(stated)


def test_a_learning_rate_that_falls_along_checkpoints_is_noted():
    D = np.geomspace(1e9, 1e11, 8)
    frame = pd.DataFrame({"D": D, "loss": 2 + 300 * D**-0.3, "series": "run"})
    falling = Runs.from_frame(frame.assign(lr=np.linspace(3e-4, 0.75e-4, 8)))
    assert "the learning rate falls along the checkpoints, to 25 % of its peak" in notes(falling)
    rising = frame.assign(lr=np.r_[1e-4, 2e-4, np.full(6, 3e-4)])
    assert "learning rate" not in notes(Runs.from_frame(rising))


def test_unique_tokens_times_epochs_are_proposed_as_tokens():
    frame = pd.DataFrame(
        {"params": [1e8] * 4, "unique toks (B)": [1, 1, 2, 2], "epochs": [1, 4, 1, 4],
         "loss": [3.9, 3.6, 3.6, 3.3]}
    )  # fmt: skip
    lacking = Runs.from_frame(frame).lacking
    assert "if D is unique tokens x epochs, pass D='unique toks (B)*epochs*1e9'" in lacking
    runs = Runs.from_frame(frame, D="unique toks (B)*epochs*1e9")
    assert runs.table["D"].tolist() == [1e9, 4e9, 2e9, 8e9]
    assert "epochs" not in Runs.from_frame(frame.drop(columns="unique toks (B)")).lacking
