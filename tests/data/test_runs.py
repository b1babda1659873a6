"""Runs: recognition of columns and numbers, completeness of the table, messages."""

import hashlib
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale import Runs, RunsError, RunsWarning
from bayescale.data import datasets as examples

FRAME = pd.DataFrame(
    {
        "params": [70e6, 160e6, 410e6, 1e9],
        "tokens": [2e9, 4e9, 9e9, 21e9],
        "loss": [4.1, 3.7, 3.3, 3.0],
        "corpus": ["web", "web", "code", "code"],
    }
)
CSV = FRAME.to_csv(index=False)  # the header is line 1, the first run is line 2


@pytest.fixture
def read(tmp_path):
    """Read a text as if it were the file ``runs.csv``."""

    def read(text, **keywords):
        path = tmp_path / "runs.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Runs.read(path, **keywords)

    return read


def refused(read, text, **keywords):
    """The problems for which a text is refused."""
    with pytest.raises(RunsError) as caught:
        read(text, **keywords)
    assert str(caught.value).startswith(caught.value.where)
    return caught.value.problems


def with_cells(row, **cells):
    """The valid table with some cells of one row replaced."""
    frame = FRAME.astype(object)
    for column, cell in cells.items():
        frame.loc[row, column] = cell
    return frame.to_csv(index=False)


# -- columns and numbers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "spelling"),
    [
        ("N", "N"), ("N", "params"), ("N", "Model Size"), ("N", "num_parameters"),
        ("N", "non-embedding params"), ("D", "Training Tokens"), ("D", "n_tokens"),
        ("D", "examples"), ("C", "Training FLOP"), ("C", "flops"), ("C", "compute"),
        ("C", "compute_flops"), ("C", "training compute FLOPs"),
        ("loss", "val_loss"), ("loss", "Validation Loss"), ("loss", "L"), ("loss", "cross-entropy"),
        ("loss_sd", "loss std"), ("series", "Series"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_the_usual_spellings_are_found(quantity, spelling):
    columns = {"N": "N", "D": "D", "C": "C", "loss": "loss", "loss_sd": "loss_sd", "series": "s"}
    columns[quantity] = spelling
    values = {"N": 1e9, "D": 2e10, "C": 1.2e20, "loss": 3.0, "loss_sd": 0.01, "series": "a"}
    frame = pd.DataFrame({columns[q]: [values[q]] * 3 for q in columns})
    frame[columns["loss"]] += [0, 0.1, 0.2]
    runs = Runs.from_frame(frame)
    assert runs.mapping[quantity] == spelling
    assert runs.table[quantity].iloc[0] == values[quantity]


def test_columns_of_any_name_can_be_named(read):
    text = CSV.replace("params", "weights").replace("tokens", "seen").replace("loss", "bpb")
    runs = read(text, N="weights", D="seen", loss="bpb")
    assert dict(runs.mapping) == {"N": "weights", "D": "seen", "loss": "bpb"}


def test_a_named_column_has_priority_and_the_other_column_remains():
    frame = FRAME.assign(N=5.0, loss_smooth=[4.0, 3.6, 3.2, 2.9])
    runs = Runs.from_frame(frame, N="params", loss="loss_smooth")
    assert runs.table["N"].tolist() == FRAME["params"].tolist()
    assert runs.table["N_original"].tolist() == [5.0] * 4
    assert runs.table["loss"].tolist() == [4.0, 3.6, 3.2, 2.9]
    assert runs.table["loss_original"].tolist() == FRAME["loss"].tolist()


def test_embeddings_are_counted_where_both_counts_are_given():
    both = FRAME.assign(params_non_embedding=[4e7, 1e8, 3e8, 9e8])
    assert Runs.from_frame(both).mapping["N"] == "params"
    alone = Runs.from_frame(both.drop(columns="params"))
    assert alone.mapping["N"] == "params_non_embedding"
    assert alone.convention == "N is counted without embeddings, C = 6ND"


def test_numbers_may_have_suffixes_and_exponents(read):
    runs = read("N,D,C,loss\n70B,1.4T,5.88e23,1.9\n410M,8.2B,2.02e19,3.3\n1e9,20e9,1.2e20,2.9\n")
    assert runs.table["N"].tolist() == [70e9, 410e6, 1e9]
    assert runs.table["D"].tolist() == [1.4e12, 8.2e9, 20e9]
    assert runs.table["C"].tolist() == [5.88e23, 2.02e19, 1.2e20]


def test_thousands_may_be_separated(read):
    runs = read(with_cells(0, params="70,000,000"))
    assert runs.table["N"].iloc[0] == 70e6


@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_text_table_may_be_delimited_in_any_common_way(read, delimiter, newline):
    runs = read(CSV.replace(",", delimiter).replace("\n", newline), groups="corpus")
    for quantity, column in {"N": "params", "D": "tokens", "loss": "loss"}.items():
        assert runs.table[quantity].tolist() == FRAME[column].tolist()
    assert runs.table["corpus"].tolist() == FRAME["corpus"].tolist()


def test_a_byte_order_mark_blank_lines_and_spaces_are_ignored(read):
    runs = read(b"\xef\xbb\xbf\n" + CSV.replace(",", " , ").replace("\n", "\n\n").encode())
    assert len(runs) == 4
    assert runs.mapping["N"] == "params"


@pytest.mark.parametrize("character", ["\u2028", "\x0b", "\x0c", "\x85"])
def test_only_an_end_of_line_ends_a_line(read, character):
    runs = read(CSV.replace("web", f"w{character}b"), groups="corpus")
    assert runs.table.index.tolist() == [2, 3, 4, 5]
    assert runs.table["corpus"].iloc[0] == f"w{character}b"


def test_a_quoted_cell_may_hold_delimiters_and_lines(read):
    runs = read(CSV.replace("web", '"web, 2019\nfiltered"'), groups="corpus")
    assert runs.table["corpus"].iloc[0] == "web, 2019\nfiltered"
    assert runs.table.index.tolist() == [2, 4, 6, 7]


def test_parquet_is_read_like_csv(read, tmp_path):
    FRAME.to_parquet(tmp_path / "runs.parquet")
    runs = Runs.read(tmp_path / "runs.parquet", groups="corpus")
    assert runs.fingerprint == read(CSV, groups="corpus").fingerprint
    assert runs.table.index.tolist() == [0, 1, 2, 3]


def test_every_other_column_is_included():
    extra = FRAME.assign(lr=["3e-4", "2e-4", "1e-4", "1e-4"], note=["a", None, "", "b"])
    runs = Runs.from_frame(extra)
    assert runs.table["lr"].tolist() == [3e-4, 2e-4, 1e-4, 1e-4]
    assert runs.table["note"].isna().tolist() == [False, True, False, False]
    assert "corpus" in runs
    assert "loss_sd" not in runs


# -- C = 6ND and the error of the loss -----------------------------------------------------------


@pytest.mark.parametrize("missing", ["N", "D", "C"])
def test_two_of_N_D_and_C_give_the_third(missing):
    full = FRAME.rename(columns={"params": "N", "tokens": "D"})
    full["C"] = 6 * full["N"] * full["D"]
    runs = Runs.from_frame(full.drop(columns=missing))
    np.testing.assert_allclose(runs.table[missing], full[missing], rtol=1e-15)
    assert runs.convention == "N is counted as given, C = 6ND"
    assert runs.flop_factor == 6


def test_from_one_of_N_D_and_C_no_other_is_computed():
    runs = Runs.from_frame(FRAME.drop(columns="params"))
    assert "N" not in runs
    assert "C" not in runs
    assert runs.convention == "N is counted as given, D alone is known"
    assert runs.scales == {"D": pytest.approx(np.exp(np.log(FRAME["tokens"]).mean()))}


def test_compute_of_the_table_is_kept_and_gives_the_flop_factor():
    runs = Runs.from_frame(FRAME.assign(flops=7.5 * FRAME["params"] * FRAME["tokens"]))
    assert runs.table["C"].tolist() == (7.5 * FRAME["params"] * FRAME["tokens"]).tolist()
    assert runs.flop_factor == pytest.approx(7.5, rel=1e-14)
    assert runs.convention == "N is counted as given, C as given"


@pytest.mark.parametrize(("N", "C"), [("1e200", None), ("1e-300", "1e300")])
def test_a_third_column_out_of_range_is_refused(N, C):
    frame = FRAME.assign(params=[N, 1e8, 1e8, 1e8])
    frame = frame.assign(tokens=[1e200, 1e9, 1e9, 1e9]) if C is None else frame.assign(
        C=[C, 1e19, 1e19, 1e19]).drop(columns="tokens")  # fmt: skip
    named = dict(D="tokens*1") if C is None else dict(C="C*1")
    with pytest.raises(RunsError, match=r"too large or too small for a number \(row 0\)"):
        Runs.from_frame(
            frame,
            N="params*1",
            **named,
        )


def test_a_95_percent_interval_gives_the_standard_error():
    half = np.array([0.01, 0.02, 0.03, 0.04])
    frame = FRAME.assign(loss_lower95=FRAME["loss"] - half, loss_upper95=FRAME["loss"] + half)
    runs = Runs.from_frame(frame)
    np.testing.assert_allclose(runs.table["loss_sd"], half / 1.959964, rtol=1e-12)
    assert "loss_lower" not in runs


def test_a_given_standard_error_has_priority_over_an_interval():
    frame = FRAME.assign(loss_sd=0.5, loss_lower=FRAME["loss"] - 1, loss_upper=FRAME["loss"] + 1)
    assert Runs.from_frame(frame).table["loss_sd"].tolist() == [0.5] * 4


def test_half_an_interval_is_refused():
    with pytest.raises(RunsError, match="one bound of the loss's 95 % interval is missing"):
        Runs.from_frame(FRAME.assign(loss_lower=FRAME["loss"] - 1))


def test_an_interval_that_does_not_hold_the_loss_is_refused_by_row():
    frame = FRAME.assign(low=FRAME["loss"] - 1, high=FRAME["loss"] + [1, -0.5, 1, -2])
    with pytest.raises(RunsError, match=r"does not lie inside its 95 % interval \(rows 1, 3\)"):
        Runs.from_frame(frame, loss_lower="low", loss_upper="high")


# -- refusals: columns ---------------------------------------------------------------------------


def test_a_missing_loss_column_names_the_closest_one(read):
    (problem,) = refused(read, CSV.replace("loss", "losss"))
    assert problem.startswith("no column holds the loss. Is it 'losss'? Then pass loss='losss'.")
    assert "The columns are params, tokens, losss, corpus; usual names are loss" in problem


def test_missing_counts_name_the_closest_column(read):
    (problem,) = refused(read, CSV.replace("params", "parmas").replace("tokens", "seen"))
    assert problem.startswith("no column holds N (parameters), D (tokens) or C (training FLOP).")
    assert "Is it 'parmas'? Then pass N='parmas'." in problem


def test_a_misspelt_name_gives_the_closest_name(read):
    problems = refused(read, CSV, N="parms", loss_sd="spread", groups=["corpora"])
    assert problems == (
        "N (parameters): there is no column 'parms'. Did you mean 'params'? "
        "There are: params, tokens, loss, corpus.",
        "the standard error of the loss: there is no column 'spread'. "
        "There are: params, tokens, loss, corpus.",
        "there is no group column 'corpora'. Did you mean 'corpus'? "
        "There are: params, tokens, loss, corpus.",
    )


def test_a_misspelt_standard_error_does_not_hide_a_missing_loss(read):
    problems = refused(read, CSV.replace("loss", "score"), loss_sd="sd")
    assert [p.split(":")[0].split(".")[0] for p in problems] == [
        "the standard error of the loss",
        "no column holds the loss",
    ]


def test_two_columns_that_could_be_the_loss_are_refused_until_one_is_named():
    frame = FRAME.assign(val_loss=FRAME["loss"] + 0.1)
    with pytest.raises(RunsError) as caught:
        Runs.from_frame(frame)
    assert caught.value.problems == (
        "columns 'loss' and 'val_loss' could each be the loss: name one, loss='loss'",
    )
    assert Runs.from_frame(frame, loss="val_loss").mapping["loss"] == "val_loss"


def test_a_repeated_header_is_refused(read):
    (problem,) = refused(read, CSV.replace("corpus", "loss"))
    assert problem == "column 'loss' appears 2 times: give each column its own name"


def test_a_repeated_column_of_a_frame_is_refused():
    frame = pd.concat([FRAME, FRAME["loss"]], axis=1)
    with pytest.raises(RunsError, match="column 'loss' appears more than once"):
        Runs.from_frame(frame)


def test_an_unnamed_column_gets_a_unique_name(read):
    assert "unnamed_4" in read(CSV.replace("corpus", ""))
    (problem,) = refused(read, CSV.replace("params", "unnamed_4").replace("corpus", ""))
    assert problem.startswith("column 'unnamed_4' appears 2 times")


@pytest.mark.parametrize("name", ["N", "loss", "loss_upper"])
def test_groups_cannot_have_the_name_of_a_quantity(name):
    frame = FRAME.assign(**{name: FRAME["loss"] + 1})
    with pytest.raises(RunsError, match=f"column '{name}' cannot label groups"):
        Runs.from_frame(frame, N="params", loss="loss", groups=name)


def test_an_unknown_keyword_gives_the_closest_keyword():
    with pytest.raises(RunsError, match=r"no column keyword 'los'\. Did you mean 'loss'"):
        Runs.from_frame(FRAME, los="loss")


def test_from_frame_refuses_other_types():
    with pytest.raises(RunsError, match="expected a pandas DataFrame, got str: for a file use"):
        Runs.from_frame("runs.csv")


# -- refusals: cells -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("", "1 value is missing (line 4): fill in or remove these rows"),
        ("NaN", "1 value is missing (line 4): fill in or remove these rows"),
        ("n/a", "1 value is missing (line 4): fill in or remove these rows"),
        ("-", "1 value is missing (line 4): fill in or remove these rows"),
        ("inf", "1 value is not finite (line 4): remove diverged runs or correct the values"),
        ("-Infinity", "1 value is not finite (line 4): remove diverged runs"),
        ("1e999", "1 value is not finite (line 4): remove diverged runs"),
        ("0", "1 value is not positive (line 4): give values above 0"),
        ("-3.3", "1 value is not positive (line 4): give values above 0"),
        ("diverged", "1 value is not a number (line 4), e.g. 'diverged': write "),
        ("+-inf", "1 value is not a number (line 4), e.g. '+-inf'"),
    ],
)
@pytest.mark.parametrize("column", ["params", "loss"])
def test_a_cell_that_is_no_positive_number_is_refused_with_its_line(read, column, cell, sentence):
    (problem,) = refused(read, with_cells(2, **{column: cell}))
    assert problem.startswith(f"column '{column}' (")
    assert sentence in problem
    # A count may be written as 70B, a loss may not.
    assert ("70B" in problem) is (column == "params" and "not a number" in sentence)


@pytest.mark.parametrize("cell", [None, np.nan, pd.NA, pd.NaT])
def test_every_missing_value_of_pandas_is_missing(cell):
    frame = FRAME.astype(object)
    frame.loc[1, "loss"] = cell
    with pytest.raises(RunsError, match=r"1 value is missing \(row 1\)"):
        Runs.from_frame(frame)


@pytest.mark.parametrize("cell", [True, np.True_, [3.0, 2.9], {}, 3 + 1j, 10**400])
def test_a_value_of_another_kind_is_not_a_number(cell):
    frame = FRAME.astype(object)
    frame.at[1, "loss"] = cell
    with pytest.raises(RunsError, match=r"1 value is not a number \(row 1\)"):
        Runs.from_frame(frame)


def test_a_decimal_comma_is_not_read_as_a_thousands_separator(read):
    text = "N;D;loss\n1e9;2e10;3,123\n2e9;4e10;2,912\n4e9;8e10;2,750\n"
    (problem,) = refused(read, text)
    assert "the separator in '3,123' can mark decimals or thousands" in problem


def test_every_problem_is_reported_at_once_with_its_lines(read):
    text = (
        "params,tokens,loss,corpus\n"
        "70M,2B,4.1,web\n"
        "\n"
        "many,4B,nan,web\n"
        "410M,-9B,inf,\n"
        "1B,0,NA,code\n"
    )
    assert refused(read, text, groups=["corpus", "recipe"]) == (
        "column 'params' (N (parameters)): 1 value is not a number (line 4), e.g. 'many': "
        "write 70B, 1.4T, 1e24 or a plain number",
        "column 'tokens' (D (tokens)): 2 values are not positive (lines 5, 6): give values above 0",
        "column 'loss' (the loss): 2 values are missing (lines 4, 6): fill in or remove these "
        "rows, or pass drop_missing=True",
        "column 'loss' (the loss): 1 value is not finite (line 5): "
        "remove diverged runs or correct the values",
        "group column 'corpus': 1 label is missing (line 5): every run needs one",
        "there is no group column 'recipe'. There are: params, tokens, loss, corpus.",
    )


def test_rows_of_a_frame_are_named_by_its_labels():
    frame = FRAME.set_axis(["tiny", "small", "medium", "large"])
    frame.loc[["small", "large"], "loss"] = np.nan
    with pytest.raises(RunsError, match=r"2 values are missing \(rows small, large\)"):
        Runs.from_frame(frame)


def test_at_most_eight_rows_are_named():
    frame = pd.concat([FRAME] * 3, ignore_index=True).assign(loss=0)
    with pytest.raises(RunsError, match=r"\(rows 0, 1, 2, 3, 4, 5, 6, 7 and 4 more\)"):
        Runs.from_frame(frame)


@pytest.mark.parametrize(
    ("column", "factor", "middle"),
    [("params", 1e-6, "285"), ("tokens", 1e-9, "6.5"), ("flops", 1e-15, "12990")],
)
def test_counts_left_unscaled_are_refused_unless_the_unit_is_stated(column, factor, middle):
    frame = FRAME.assign(flops=6 * FRAME["params"] * FRAME["tokens"])
    frame[column] *= factor
    frame = frame[[column, "loss"]]
    message = f"the median is {middle}.*looks like counts in another unit"
    with pytest.raises(RunsError, match=message):
        Runs.from_frame(frame)
    quantity = {"params": "N", "tokens": "D", "flops": "C"}[column]
    assert len(Runs.from_frame(frame, **{quantity: f"{column}*1"})) == 4


def test_fewer_than_three_runs_are_refused(read):
    few = CSV.splitlines()
    assert refused(read, "\n".join(few[:3])) == ("only 2 runs: a law needs at least 3",)
    assert refused(read, few[0]) == ("the table has no rows",)
    assert len(read("\n".join(few[:4]))) == 3


# -- refusals: files -----------------------------------------------------------------------------


def test_ragged_lines_are_refused_each_with_its_number(read):
    text = CSV.replace("3.7,web", "3.7,web,new").replace("3.0,code", "3.0")
    assert refused(read, text) == (
        "line 3 has 5 cells, the header has 4",
        "line 5 has 3 cells, the header has 4",
    )


def test_many_ragged_lines_are_counted(read):
    problems = refused(read, "N,D,loss\n" + "1e9,1e10\n" * 11)
    assert problems[0] == "line 2 has 2 cells, the header has 3"
    assert problems[8:] == ("3 more lines have a wrong number of cells",)


def test_a_quote_that_is_never_closed_is_refused(read):
    (problem,) = refused(read, CSV.replace("3.7,web", '3.7,"web'))
    assert problem == "line 3 cannot be read as csv (unexpected end of data)"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty"),
        (b" \n\n\t\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b",,,\n,,,\n", "the file holds no column names"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "this is not a text table (it is not UTF-8)"),
        (b"N,D,loss\n1,2,\0\n", "this is not a text table ("),
        (b'"' + b"x" * 200_000 + b'"', "line 1 cannot be read as csv (field larger than"),
    ],
)
def test_a_file_that_is_no_table_is_refused(read, content, problem):
    (found,) = refused(read, content)
    assert found.startswith(problem)


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    path = tmp_path / "runs.parquet"
    path.write_text(CSV)
    with pytest.raises(RunsError, match="this is not a parquet file"):
        Runs.read(path)


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(RunsError, match="this is a directory: name a csv or parquet file in it"):
        Runs.read(tmp_path)


def test_a_missing_file_names_the_closest_one(tmp_path):
    (tmp_path / "runs_2024.csv").write_text(CSV)
    with pytest.raises(RunsError, match=r"there is no such file\. Did you mean .*runs_2024\.csv\?"):
        Runs.read(tmp_path / "runs2024.csv")
    with pytest.raises(RunsError, match=r"there is no such file\.$"):
        Runs.read(tmp_path / "nowhere" / "losses.csv")


def test_a_table_passed_in_place_of_its_path_is_refused():
    with pytest.raises(RunsError, match="there is no such file"):
        Runs.read(CSV * 100)


# -- warnings ------------------------------------------------------------------------------------


def test_a_clean_table_is_read_without_a_note():
    assert Runs.from_frame(FRAME, groups="corpus").notes == ()


@pytest.mark.parametrize(
    ("source", "counted"),
    [
        ("a/runs.csv", "lines of runs.csv, whose heading is line 1"),
        ("runs.tsv.gz", "lines of runs.tsv.gz, whose heading is line 1"),
        ("log.jsonl", "lines of log.jsonl"),
        ("runs.xlsx", "rows of the table"),
        ("a DataFrame", "rows of the table"),
    ],
)
def test_what_the_index_counts(source, counted):
    runs = Runs.from_frame(pd.DataFrame({"C": [1e18, 1e19, 1e20], "loss": [4, 3, 2.5]}))
    noun = "line" if "lines" in counted else "row"
    assert replace(runs, source=source, noun=noun).rows_are == counted


def test_what_a_table_without_tokens_cannot_tell():
    frame = pd.DataFrame({"params": [1e8, 1e9, 1e10], "loss": [4, 3, 2.5]})
    runs = Runs.from_frame(frame)
    assert runs.lacking.startswith("there is no column of tokens (D), so laws are of N alone: ")
    assert "D='COLUMN' names a column of tokens" in runs.lacking
    assert f"note: {runs.lacking}" in repr(runs)
    seen = Runs.from_frame(frame.assign(Seen=[int(2e9) * (i + 1) for i in range(len(frame))]))
    assert "is 'Seen' the column of tokens? Then pass D='Seen'" in seen.lacking
    assert Runs.from_frame(frame.assign(Seen=7)).lacking == runs.lacking
    compute = Runs.from_frame(frame.assign(params=frame["params"] ** 2 * 1e3), C="params")
    assert "so laws are of C alone" in compute.lacking
    assert Runs.from_frame(frame.assign(tokens=2e10)).lacking == ""


def test_repeated_rows_remain_with_a_note(read):
    with pytest.warns(RunsWarning, match=r"2 rows repeat an earlier one \(lines 6, 7\)"):
        runs = read(CSV + "\n".join(CSV.splitlines()[-2:]))
    assert len(runs) == 6
    assert len(runs.notes) == 1


def test_rows_that_differ_in_their_group_alone_are_no_repeats():
    frame = pd.concat([FRAME, FRAME.assign(corpus="books")], ignore_index=True)
    assert Runs.from_frame(frame, groups="corpus").notes == ()


def test_compute_that_disagrees_with_6ND_remains_with_a_note():
    factors = np.array([2.01, 1.99, 1 / 1.99, 1 / 2.01])
    frame = FRAME.assign(C=6 * FRAME["params"] * FRAME["tokens"] * factors)
    with pytest.warns(RunsWarning, match=r"C differs from 6ND .* in 2 rows \(rows 0, 3\)"):
        runs = Runs.from_frame(frame)
    assert runs.table["C"].tolist() == frame["C"].tolist()


def test_a_group_of_one_run_gives_a_note():
    frame = FRAME.assign(corpus=["web", "web", "web", "code"])
    with pytest.warns(RunsWarning, match="corpus 'code' has a single run"):
        Runs.from_frame(frame, groups="corpus")


def test_a_warning_points_at_the_line_that_read_the_table():
    with pytest.warns(RunsWarning) as caught:
        Runs.from_frame(pd.concat([FRAME, FRAME], ignore_index=True))
    assert [Path(w.filename).name for w in caught] == [Path(__file__).name]


# -- using runs ----------------------------------------------------------------------------------


def test_saved_runs_are_restored_exactly():
    rng = np.random.default_rng(0)
    frame = FRAME.assign(
        params=rng.lognormal(20, 2, 4),
        loss=rng.lognormal(1, 0.1, 4),
        loss_sd=rng.lognormal(-5, 1, 4),
        lr=[1 / 3, np.nan, np.inf, 1e-300],
        steps=[2**60 + 1, 2, 3, 4],
        note=['"quoted"', "é\u2028", None, ""],
        run=["a", "a", "b", "b"],
    ).rename(columns={"run": "series"})
    runs = Runs.from_frame(frame.set_axis([3, 1, 7, 5]), groups="corpus", source="memory")
    again = Runs.from_json(runs.to_json())
    pd.testing.assert_frame_equal(again.table, runs.table, check_exact=True)
    for attribute in ("groups", "mapping", "convention", "source", "notes", "fingerprint"):
        assert getattr(again, attribute) == getattr(runs, attribute)
    assert again.to_json() == runs.to_json()


@pytest.mark.parametrize(
    "index",
    [
        pd.MultiIndex.from_product([["a", "b"], [1, 2]]),
        pd.date_range("2024-01-01", periods=4),
        pd.Index([0, 0, 1, 1]),
    ],
    ids=["of levels", "of dates", "with repeats"],
)
def test_rows_without_plain_labels_are_named_by_their_position(index):
    runs = Runs.from_frame(FRAME.set_axis(index))
    assert runs.table.index.tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(Runs.from_json(runs.to_json()).table, runs.table)


def test_the_saved_text_is_plain_json():
    saved = json.loads(Runs.from_frame(FRAME, groups="corpus").to_json())
    assert saved["groups"] == ["corpus"]
    assert saved["mapping"] == {"N": "params", "D": "tokens", "loss": "loss"}


def test_the_fingerprint_depends_on_the_data_only(read):
    plain = Runs.from_frame(FRAME)
    renamed = FRAME.rename(columns={"params": "N", "loss": "val_loss"}).set_axis(list("abcd"))
    assert Runs.from_frame(renamed).fingerprint == read(CSV).fingerprint == plain.fingerprint
    others = [
        Runs.from_frame(FRAME, groups="corpus"),
        Runs.from_frame(FRAME.assign(loss=FRAME["loss"] + [0, 0, 0, 1e-9])),
        plain.query("loss < 4"),
    ]
    assert len({runs.fingerprint for runs in (plain, *others)}) == 4


def test_a_query_and_a_mask_choose_rows_and_change_nothing_else():
    runs = Runs.from_frame(FRAME, groups="corpus")
    queried, masked = runs.query("N > 2e8 and corpus == 'code'"), runs[runs.table["N"] > 2e8]
    for some in (queried, masked):
        assert some.table.index.tolist() == [2, 3]
        assert (some.groups, some.source, some.mapping) == (runs.groups, runs.source, runs.mapping)
    assert len(runs) == 4


@pytest.mark.parametrize(
    "rows", [0, "N", slice(2), [0, 2], [0, 1, 1, 0], [True], [True] * 5, [[True] * 4], [None] * 4]
)
def test_only_one_truth_value_per_run_is_a_mask(rows):
    with pytest.raises(RunsError, match="takes a mask of 4 truth values"):
        Runs.from_frame(FRAME)[rows]


def test_labels_have_the_row_its_groups_and_sizes(read):
    assert read(CSV, groups="corpus").labels()[:2] == [
        "line 2: web, 70M N, 2B D",
        "line 3: web, 160M N, 4B D",
    ]
    compute = pd.DataFrame({"C": [1e18, 1e19, 1e20], "loss": [3.0, 2.8, 2.6]})
    assert Runs.from_frame(compute).labels() == ["row 0: ", "row 1: ", "row 2: "]


def test_scales_are_geometric_means():
    runs = Runs.from_frame(pd.DataFrame({"N": [1e8, 1e9, 1e10], "D": 2e9, "loss": [4, 3, 2]}))
    assert runs.scales == pytest.approx({"N": 1e9, "D": 2e9, "C": 1.2e19})


def test_the_repr_of_runs():
    shown = repr(Runs.from_frame(FRAME, groups="corpus", source="my sweep"))
    assert shown == (
        "<4 runs from my sweep>\n"
        "  N 70M to 1B, D 2B to 21B, C 8.4e17 to 1.26e20, loss 3 to 4.1\n"
        "  corpus: web (2), code (2)\n"
        "  read N = 'params', D = 'tokens', loss = 'loss'; N is counted as given, C = 6ND"
    )


def test_the_repr_of_an_empty_table():
    assert repr(Runs.from_frame(FRAME).query("N < 0")).startswith("<0 runs from the DataFrame>")


# -- examples ------------------------------------------------------------------------------------


def test_openlm_has_104_runs_on_three_corpora():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs = Runs.example("openlm")
    assert len(runs) == 104
    assert runs.groups == ("dataset",)
    assert runs.table["dataset"].nunique() == 3
    assert runs.mapping["N"] == "params"
    assert runs.source == "example 'openlm'"
    assert (runs.table["loss_sd"] > 0).all()


def test_an_unknown_example_lists_the_examples():
    with pytest.raises(RunsError, match=r"no example 'chinchila'\. Did you mean 'chinchilla'"):
        Runs.example("chinchila")


POINTS = Path(__file__).parents[3] / "shared/data/reference/chinchilla.csv"


@pytest.fixture
def chinchilla_in_cache(tmp_path, monkeypatch):
    """The digitised points in the cache, under the names of their public source."""
    if not POINTS.exists():
        pytest.skip("needs the digitised Chinchilla points beside the checkout")
    names = {"params": "Model Size", "flops": "Training FLOP", "loss": "loss"}
    path = tmp_path / "chinchilla_svg_extracted_data.csv"
    pd.read_csv(POINTS)[list(names)].rename(columns=names).to_csv(path, index=False)
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path))
    monkeypatch.setattr(examples, "EPOCH_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.usefixtures("chinchilla_in_cache")
def test_chinchilla_has_245_runs_of_which_240_are_usually_fitted():
    full, usual = (Runs.example("chinchilla", drop_outliers=d) for d in (False, True))
    assert (len(full), len(usual)) == (245, 240)
    assert dict(full.mapping) == {"N": "Model Size", "C": "Training FLOP", "loss": "loss"}
    dropped = full.table.drop(index=usual.table.index)
    assert dropped["loss"].min() > usual.table["loss"].max()
    losses = ", ".join(f"{v:.2f}" for v in sorted(dropped["loss"]))
    assert f"the five runs of highest loss ({losses}) are kept" in full.notes[-1]
    assert usual.notes[-1].startswith(f"left out the five runs of highest loss ({losses})")


@pytest.mark.usefixtures("chinchilla_in_cache")
def test_the_five_runs_left_out_are_those_that_epoch_leaves_out():
    kept = Runs.example("chinchilla", drop_outliers=True).table["loss"]
    points = pd.read_csv(POINTS)
    assert sorted(kept) == sorted(points["loss"][~points["epoch_excluded"]])


def test_without_a_network_the_cache_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(examples, "EPOCH_URL", "http://127.0.0.1:9/x")  # nothing listens there
    with pytest.raises(RunsError, match="could not download") as caught:
        Runs.example("chinchilla")
    assert f"put that file into {tmp_path / 'cache'} as chinchilla_svg" in str(caught.value)
    assert "Runs.example('openlm'), which is not downloaded" in str(caught.value)


@pytest.mark.parametrize(("name", "quantity"), [("tokns", "D"), ("Params_", "N"), ("fllops", "C")])
def test_a_misspelt_second_column_is_named_rather_than_ignored(name, quantity):
    columns = {"N": [7e7, 1e9, 7e9], "D": [2e9, 2e10, 1.4e11], "C": [8e17, 1e20, 6e21]}
    first = "D" if quantity == "N" else "N"
    frame = pd.DataFrame({first: columns[first], name: columns[quantity], "loss": [4, 3, 2.5]})
    if name == "Params_":  # punctuation and case are no misspelling
        assert Runs.from_frame(frame).mapping["N"] == name
    else:
        with pytest.raises(RunsError, match=f"{name}.*pass {quantity}="):
            Runs.from_frame(frame)


# -- sweeps ------------------------------------------------------------------------------------


def sweep(**columns) -> pd.DataFrame:
    """Three sizes, each trained with three learning rates; the second one is the best."""
    N = np.repeat([1e8, 3e8, 1e9], 3)
    rate = np.tile([1e-4, 3e-4, 1e-3], 3)
    loss = 4 * (N / 1e8) ** -0.1 + np.where(rate == 3e-4, 0.0, 0.4)
    return pd.DataFrame({"N": N, "D": 20 * N, "loss": loss, "lr": rate} | columns)


def test_of_a_sweep_the_setting_that_was_read_is_named():
    frame = pd.DataFrame({"name": ["s1", "s2", "s3"] * 3, "N": np.repeat([1e8, 2e8, 4e8], 3)})
    frame = frame.assign(D=2e9, lr=[1e-4, 1e-3, 1e-2] * 3, loss=[3.3, 3.0, 3.2] * 3)
    with pytest.warns(RunsWarning, match="and lr differs between them: keep the row of"):
        Runs.from_frame(frame)


def test_of_a_sweep_the_run_of_lowest_loss_can_be_kept():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Runs.from_frame(sweep())
    assert any("keep" in str(w.message) and "keep_best=True" in str(w.message) for w in caught)
    with pytest.warns(RunsWarning) as caught:
        best = Runs.from_frame(sweep(), keep_best=True)
    note = "kept the row of lowest loss of each (N, D, C) and left out 6 rows"
    assert [str(w.message) for w in caught] == [f"the DataFrame: {note}"]
    assert best.notes == (note,)
    assert best.table["lr"].tolist() == [3e-4] * 3
    assert list(best.table.index) == [1, 4, 7]


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_the_best_run_is_kept_of_each_group_and_none_where_points_differ():
    frame = sweep(corpus=["a", "b", "b"] * 3)
    best = Runs.from_frame(frame, groups="corpus", keep_best=True)
    assert list(zip(best.table["corpus"], best.table["lr"], strict=True)) == [
        ("a", 1e-4), ("b", 3e-4)] * 3  # fmt: skip
    distinct = sweep(D=np.geomspace(1e9, 1e10, 9))
    assert len(Runs.from_frame(distinct, keep_best=True)) == 9


def test_percent_signs_are_divided_by_a_hundred_once():
    cells = ["22.3%", "31.0%", "38.7%"]
    frame = pd.DataFrame({"N": [1e7, 1e8, 1e9], "D": [1e9, 2e9, 4e9], "accuracy": cells})
    runs = Runs.from_frame(frame, columns={"loss": "1-accuracy"})
    assert runs.table["loss"].tolist() == pytest.approx([0.777, 0.69, 0.613])
    with pytest.raises(RunsError, match=r"read as fractions .*: leave out the division by 100"):
        Runs.from_frame(frame, columns={"loss": "1-accuracy/100"})
    plain = frame.assign(accuracy=[22.3, 31.0, 38.7])
    runs = Runs.from_frame(plain, columns={"loss": "1-accuracy/100"})
    assert runs.table["loss"].tolist() == pytest.approx([0.777, 0.69, 0.613])


def test_a_table_in_memory_in_place_of_a_file_is_told_where_to_go():
    with pytest.raises(RunsError, match=r"not a DataFrame: Runs\.from_frame takes"):
        Runs.read(pd.DataFrame({"N": [1e9], "D": [1e10], "loss": [3.0]}))
