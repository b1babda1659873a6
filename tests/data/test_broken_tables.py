"""A broken table is refused with a reason or read completely; no other error, no missing row."""

import csv
import io
import random
import re
from collections import Counter

import numpy as np
import pytest

from bayescale import Runs, RunsError

ABSOLUTE = dict(N="params*1", D="tokens*1")
HEADER = ["params", "tokens", "loss", "corpus"]
ROWS = [
    ["70M", "2B", "4.1", "web"],
    ["160M", "4e9", "3.7", "web"],
    ["410000000", "9B", "3.3", "code"],
    ["1e9", "21B", "3.0", "code"],
    ["1,400,000,000", "30_000_000_000", "2.9", "code"],
]
NUMBERS = ["NaN", "inf", "-Infinity", "1e999", "1e300", "1e-300", "0", "-0", "-1e9", "3,1",
           "3,142", "70Q", "1.4T", "7e-1", "0x1p3", "١٢", "½"]  # fmt: skip
CELLS = [
    "", " ", "n/a", "-", "many", "True", "loss", "é", "\u2028", "\x0c", "\x85", "\ufeff", "🙂",
    '"', "'", '""', 'a"b', "a\nb", "x" * 300,
]  # fmt: skip
NAMES = ["", "params ", "PARAMS", "parmas", "N", "D", "flops", "Training FLOP", "loss_sd",
         "loss_lower", "series", "val_loss", "unnamed_1", "x;y", "x\ty", "损失"]  # fmt: skip


def some_text(rng):
    """Up to eight characters of any script."""
    points = [
        *range(1, 0x250),
        *range(0x600, 0x680),
        *range(0x2000, 0x2070),
        *range(0x1F600, 0x1F610),
    ]
    return "".join(chr(rng.choice(points)) for _ in range(rng.randint(0, 8)))


def some_cell(rng, table):
    """A row of the table and a place in it, where there is one."""
    row = rng.choice(table)
    return row, rng.randint(0, max(len(row) - 1, 0))


def put(row, place, cell):
    row[place : place + 1] = [cell]


def drop_column(rng, table):
    place = rng.randint(0, 3)
    for row in table:
        del row[place : place + 1]


def rename_column(rng, table):
    put(table[0], rng.randint(0, 3), rng.choice(NAMES))


def repeat_column_name(rng, table):
    put(table[0], rng.randint(0, 3), rng.choice(HEADER))


def replace_cell(rng, table):
    row, place = some_cell(rng, table)
    put(row, place, rng.choice([rng.choice(CELLS), some_text(rng)]))


def replace_number(rng, table):
    put(rng.choice(table), rng.randint(0, 2), rng.choice(NUMBERS))


def blank_cells(rng, table):
    for row in table[rng.randint(0, 5) :]:
        row[:] = [""] * len(row)


def lengthen_line(rng, table):
    row, place = some_cell(rng, table)
    row.insert(place, rng.choice(CELLS))


def shorten_line(rng, table):
    row, place = some_cell(rng, table)
    del row[place:]


def leave_counts_unscaled(rng, table):
    place = rng.randint(0, 1)
    for i, row in enumerate(table[1:], 1):
        put(row, place, str(0.1 * i))


def repeat_rows(rng, table):
    table += [list(rng.choice(table)) for _ in range(rng.randint(1, 3))]


def lose_rows(rng, table):
    del table[rng.randint(0, 4) :]


def insert_bytes(rng, content):
    place = rng.randint(0, len(content))
    return content[:place] + rng.randbytes(rng.randint(1, 6)) + content[place:]


def insert_quote(rng, content):
    place = rng.randint(0, len(content))
    return content[:place] + b'"' + content[place:]


def overwrite_bytes(rng, content):
    place = rng.randint(0, len(content))
    noise = rng.randbytes(rng.randint(1, 6))
    return content[:place] + noise + content[place + len(noise) :]


def truncate(rng, content):
    return content[: rng.randint(0, len(content))]


def insert_lines(rng, content):
    lines = content.split(b"\n")
    lines.insert(rng.randint(0, len(lines)), rng.choice([b"", b"  ", b",,,", b"# sweep"]))
    return b"\n".join(lines)


def encode_otherwise(rng, content):
    encoding = rng.choice(["utf-16", "utf-8-sig", "utf-32-le"])
    return content.decode("utf-8", errors="replace").encode(encoding)


TO_TABLES = [drop_column, rename_column, repeat_column_name, replace_cell, replace_number,
             blank_cells, lengthen_line, shorten_line, leave_counts_unscaled, repeat_rows,
             lose_rows]  # fmt: skip
#: A first cell can begin with "#", and a row with one cell above the header is a title.
CAN_BECOME_TITLES_OR_COMMENTS = {replace_cell, blank_cells, lengthen_line, shorten_line,
                                 drop_column}  # fmt: skip
TO_FILES = [insert_bytes, insert_quote, overwrite_bytes, truncate, insert_lines, encode_otherwise]


def broken_file(rng):
    """A small valid table after one to three damages: its bytes, its rows, and the damages.

    The number of rows that hold anything is that of the table before damages to the bytes, and
    None after a damage to the bytes that may change it.
    """
    damages = rng.choices(TO_TABLES + TO_FILES, k=rng.choice([1, 1, 1, 2, 3]))
    table = [list(row) for row in (HEADER, *ROWS)]
    for damage in damages:
        if damage in TO_TABLES and table:
            damage(rng, table)
    rows = sum(any(cell.strip() for cell in row) for row in table) - 1
    delimiter = rng.choice([",", ",", ",", ";", "\t", "|"])
    quoting = rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, quoting=quoting,
                        lineterminator=rng.choice(["\n", "\r\n"]))  # fmt: skip
    writer.writerows(table)
    content = text.getvalue().encode("utf-8", errors="surrogatepass")
    for damage in damages:
        if damage in TO_FILES:
            content = damage(rng, content)
    kept = None if set(damages) & set(TO_FILES) - {insert_lines, encode_otherwise} else rows
    return content, kept, damages


def attempt(path, **keywords):
    """The runs, or else the problems; any other exception escapes."""
    try:
        return Runs.read(path, **keywords), ()
    except RunsError as error:
        return None, error.problems


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_500_broken_tables_are_refused_with_a_reason_or_read_whole(tmp_path):
    path = tmp_path / "runs.csv"
    tally = Counter()

    for seed in range(500):
        rng = random.Random(seed)
        content, rows, damages = broken_file(rng)
        groups, absolute = rng.choice([None, "corpus", "loss"]), rng.random() < 0.5
        damage_names = f"table {seed}: {[damage.__name__ for damage in damages]}"
        path.write_bytes(content)
        runs, problems = attempt(path, groups=groups, **(ABSOLUTE if absolute else {}))
        tally["refused" if runs is None else "read"] += 1
        for damage in damages:
            tally[damage] += 1
        if runs is None:
            assert problems, damage_names
            assert all(len(problem.split()) >= 4 for problem in problems)
            continue
        if rows is not None:
            # A line ",,," that was inserted is a row without values; a title has one cell.
            assert len(runs) <= rows, damage_names
            if not set(damages) & CAN_BECOME_TITLES_OR_COMMENTS:
                assert len(runs) == rows, damage_names
        for quantity in {"N", "D", "C", "loss", "loss_sd"} & set(runs.table):
            values = runs.table[quantity].to_numpy()
            assert np.isfinite(values).all()
            assert (values > 0).all()
        assert Runs.from_json(runs.to_json()).fingerprint == runs.fingerprint

    assert min(tally[damage] for damage in TO_TABLES + TO_FILES) >= 20, "each damage is tested"
    assert min(tally["refused"], tally["read"]) >= 50, "both outcomes must be put to the test"


# -- one breakage at a time --------------------------------------------------------------------


def written(rows) -> bytes:
    """A table as csv."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def with_cell(row: int, place: int, cell: str) -> bytes:
    table = [list(r) for r in (HEADER, *ROWS)]
    table[row][place] = cell
    return written(table)


INTACT = written([HEADER, *ROWS])
#: Each breakage with what the refusal names: the line, the column or the value.
NAMED = {
    "a missing column of losses": (written([row[:2] for row in (HEADER, *ROWS)]), "loss"),
    "a column name twice": (with_cell(0, 3, "loss"), "'loss' appears 2 times"),
    "a short line": (written([HEADER, *ROWS[:2], ROWS[2][:3], *ROWS[3:]]), "line 4 has 3 cells"),
    "a long line": (written([HEADER, ROWS[0] + ["x"], *ROWS[1:]]), "line 2 has 5 cells"),
    "a word for a count": (with_cell(3, 0, "many"), "'many'.*line 4|line 4.*'many'"),
    "a word for a loss": (with_cell(5, 2, "loss"), "'loss'.*line 6|line 6.*'loss'"),
    "a missing loss": (with_cell(2, 2, ""), "missing.*line 3"),
    "nan for a loss": (with_cell(2, 2, "NaN"), "missing.*line 3"),
    "an infinite count": (with_cell(4, 1, "inf"), "line 5"),
    "a count of zero": (with_cell(4, 1, "0"), "not positive.*line 5"),
    "a negative loss": (with_cell(1, 2, "-4.1"), "not positive.*line 2"),
    "a unit that does not exist": (with_cell(1, 0, "70Q"), "'70Q'.*line 2|line 2.*'70Q'"),
    "two runs": (written([HEADER, *ROWS[:2]]), r"only 2 runs"),
    "only the header": (written([HEADER]), "no rows"),
    "an empty file": (b"", "empty"),
    "binary noise": (bytes(range(256)) * 3, "not a text table"),
    "an open quote": (INTACT.replace(b"3.3", b'"3.3', 1), "line|quote"),
    "counts in an unknown unit": (
        written([HEADER, *([str(0.1 * i), *row[1:]] for i, row in enumerate(ROWS, 1))]),
        "looks like counts in another unit",
    ),
}


@pytest.mark.parametrize("breakage", NAMED)
def test_one_breakage_is_refused_by_its_name(breakage, tmp_path):
    content, message = NAMED[breakage]
    path = tmp_path / "runs.csv"
    path.write_bytes(content)
    with pytest.raises(RunsError) as caught:
        Runs.read(path)
    assert re.search(f"(?s){message}", str(caught.value)), str(caught.value)


#: Changes of the file that change no value.
HARMLESS = {
    "a blank line": INTACT.replace(b"\n", b"\n\n", 2),
    "a comment above": b"# sweep of June\n" + INTACT,
    "a byte-order mark": b"\xef\xbb\xbf" + INTACT,
    "line ends of Windows": INTACT.replace(b"\n", b"\r\n"),
    "no end of the last line": INTACT.rstrip(b"\n"),
    "semicolons": INTACT.replace(b",", b";").replace(b'"1;400;000;000"', b"1400000000"),
    "UTF-16": INTACT.decode().encode("utf-16"),
    "spaces around cells": INTACT.replace(b",web", b" , web "),
}


@pytest.mark.parametrize("change", HARMLESS)
@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_a_harmless_change_is_read_with_every_value(change, tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(HARMLESS[change])
    runs = Runs.read(path)
    assert runs.table["N"].tolist() == [70e6, 160e6, 410e6, 1e9, 1.4e9]
    assert runs.table["D"].tolist() == [2e9, 4e9, 9e9, 21e9, 30e9]
    assert runs.table["loss"].tolist() == [4.1, 3.7, 3.3, 3.0, 2.9]
    assert runs.table["corpus"].tolist() == ["web", "web", "code", "code", "code"]
