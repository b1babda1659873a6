"""Tables as text."""

from __future__ import annotations

from bayescale.text_tables import html_table, text_table


def test_wide_tables_follow_in_blocks_with_the_first_column():
    header = ("name", *(f"column {i}" for i in range(9)))
    rows = [("a", *("0.1234 (0.1 to 0.2)",) * 9)]
    text = text_table(header, rows, 60)
    assert max(map(len, text.splitlines())) <= 60
    blocks = text.split("\n\n")
    assert len(blocks) == 5
    assert all(block.startswith("name") for block in blocks)
    assert text.count("0.1234 (0.1 to 0.2)") == 9


def test_words_are_not_broken():
    text = text_table(("claim", "P"), [("of the compute-optimal size " * 6, "0.1")], 60)
    assert max(map(len, text.splitlines())) <= 60
    assert "compute-optimal" in text


def test_html_is_escaped():
    assert "<td>&lt;1 %</td>" in html_table(("weight",), [("<1 %",)])
