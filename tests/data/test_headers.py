"""Rows of cells as a table: units below the header, footnotes, columns of spaces, no header."""

import pytest

from bayescale import Runs, RunsError, RunsWarning

ROWS = ["70,2,3.9", "160,8,3.5", "410,30,3.1", "1000,60,2.9"]


@pytest.fixture
def read(tmp_path):
    def read(text, name="runs.csv", **keywords):
        path = tmp_path / name
        path.write_text(text)
        return Runs.read(path, **keywords)

    return read


@pytest.mark.parametrize(
    "units", ["M,B,nats", "(millions),(billions),(nats/token)", "[1e6],[1e9],-"]
)
def test_units_below_the_header_are_read(read, units):
    runs = read("\n".join(["params,tokens,loss", units, *ROWS]))
    assert runs.table["N"].tolist() == [7e7, 1.6e8, 4.1e8, 1e9]
    assert runs.table["D"].tolist() == [2e9, 8e9, 3e10, 6e10]
    assert runs.loss_unit == ("nats per token" if "nats" in units else "")
    assert runs.table.index.tolist() == [3, 4, 5, 6]


def test_a_label_that_looks_like_a_unit_is_none(read):
    text = "size,params,tokens,loss\nM,,,\nS,7e7,2e9,3.9\nM,1.6e8,8e9,3.5\nL,4.1e8,3e10,3.1\n"
    with pytest.raises(RunsError, match=r"1 value is missing \(line 2\)"):
        read(text)


def test_text_below_the_table_is_left_out_with_a_note(read):
    text = "\n".join(["params (M),tokens (B),loss", *ROWS, "* trained twice"])
    with pytest.warns(RunsWarning, match=r"text below the table is not read \(line 6\)"):
        runs = read(text)
    assert len(runs) == 4
    with pytest.raises(RunsError, match="line 6 has 1 cells"):
        read(text.replace("* trained twice", "2000"))


@pytest.mark.parametrize(
    "text",
    [
        "    params  tokens  loss\n0      7e7     2e9   3.9\n1    1.6e8     8e9   3.5\n"
        "2    4.1e8    3e10   3.1\n",  # as pandas prints it
        "Params   Tokens   Loss\n70 M     2 B      3.9\n160 M    8 B      3.5\n"
        "410 M    30 B     3.1\n",
        "params  tokens  loss\n------  ------  ----\n7e7     2e9     3.9\n1.6e8   8e9     3.5\n"
        "4.1e8   3e10    3.1\n",
    ],
)
def test_columns_of_spaces(read, text):
    runs = read(text, "runs.txt")
    assert runs.table[["N", "D", "loss"]].to_numpy().tolist() == [
        [7e7, 2e9, 3.9], [1.6e8, 8e9, 3.5], [4.1e8, 3e10, 3.1]]  # fmt: skip


def test_delimiters_at_the_end_of_each_line_are_no_column(read):
    runs = read("\n".join(["params (M),tokens (B),loss", *(f"{row}," for row in ROWS)]))
    assert runs.table["loss"].tolist() == [3.9, 3.5, 3.1, 2.9]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join(ROWS), "there is no line of names: add one, such as N,D,loss"),
        ("Model Params Loss\nsmall one 7M 3.9\nb 8M 3.5\nc 9M 3.1", "only one column was found"),
        ("- params: 7e7\n  loss: 3.9\n- params: 8e7\n  loss: 3.5\n", "only one column was found"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(read, text, message):
    with pytest.raises(RunsError, match=message) as refused:
        read(text)
    assert len(refused.value.problems) == 1


def test_markdown_tables_of_the_same_columns_are_one(read):
    head = "| params | tokens | loss |\n|--|--|--|\n"
    text = (
        f"{head}| **70M** | 2B | <u>3.9</u> |\n| 160M | 8B | 3.5 |\n\nThen\n\n{head}"
        "| 410M | 30B | 3.1 |\n\n| a | b |\n|--|--|\n| 1 | 2 |\n"
    )
    with pytest.warns(RunsWarning) as caught:
        runs = read(text, "runs.md")
    assert runs.table["N"].tolist() == [7e7, 1.6e8, 4.1e8]
    told = " ".join(str(w.message) for w in caught)
    assert "2 tables of the same columns are read as one" in told
    assert "1 other table is not read" in told
