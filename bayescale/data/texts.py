"""Tables in texts that are not delimited: HTML, and the lines of logs."""

from __future__ import annotations

import re
from collections import defaultdict
from html.parser import HTMLParser

import pandas as pd

from bayescale.data import names

#: A step in a line of a log, and a name with its number.
STEP = re.compile(r"\b(?:global[ _]?step|step|iter(?:ation)?)\b[\s:=\[]*\d", re.IGNORECASE)
PAIR = re.compile(
    r"([A-Za-z][\w/.-]*(?: [A-Za-z(][\w/.()-]*)*)\s*[:= ]\s*\[?([+-]?\d[\d.]*(?:e[+-]?\d+)?)",
    re.IGNORECASE,
)
#: A number with separators of thousands, as of steps.
THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d.,])")
#: A log has at least so many lines with a loss.
FEWEST = 3


def of_log(text: str) -> tuple[pd.DataFrame, tuple[str, ...]] | None:
    """The names and numbers in the lines of a log that hold a step and a loss; None without them.

    Lines with an evaluation loss are read if there are enough, otherwise those of the most frequent
    kind.
    """
    kinds = defaultdict(dict)
    for i, line in enumerate(text.split("\n"), 1):
        if not STEP.search(line):
            continue
        line = THOUSANDS.sub(lambda number: number[0].replace(",", ""), line).replace(",", ", ")
        found = {name.strip(): number for name, number in PAIR.findall(line)}
        losses = [name for name in found if names.recognise(name).quantity == "loss"]
        if losses:
            kinds[tuple(found)][i] = found
    enough = [lines for lines in kinds.values() if len(lines) >= FEWEST]
    if not enough:
        return None

    def preference(lines: dict) -> tuple[bool, int]:
        name = " ".join(next(iter(lines.values())))
        return bool(re.search(r"\b(?:val|eval|test)", name, re.IGNORECASE)), len(lines)

    lines = max(enough, key=preference)
    cells = pd.DataFrame(list(lines.values()), index=list(lines), dtype=object)
    return cells, (f"a log: {len(lines)} lines with a step and a loss are read",)


class _Rows(HTMLParser):
    """The rows of each table of a page; cells that span several are repeated."""

    def __init__(self):
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._below: dict[int, list] = {}  # by column: the text and the number of rows it spans
        self._cell: list[str] | None = None
        self._span = (1, 1)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
            self._below = {}
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self._fill()
            spans = dict(attrs)
            self._cell = []
            self._span = tuple(int(spans.get(k) or 1) for k in ("colspan", "rowspan"))

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            row, text = self.tables[-1][-1], " ".join("".join(self._cell).split())
            columns, rows = self._span
            for k in range(columns):
                if rows > 1:
                    self._below[len(row)] = [text, rows - 1]
                # A name above several columns is written once, as in a sheet.
                row.append("" if k else text)
            self._cell = None
        elif tag == "tr" and self.tables and self.tables[-1]:
            self._fill()

    def _fill(self) -> None:
        row = self.tables[-1][-1]
        while (spanned := self._below.get(len(row))) and spanned[1] > 0:
            spanned[1] -= 1
            row.append(spanned[0])


def of_html(text: str) -> list[tuple[int, list]]:
    """The rows of the longest table of a page of HTML; empty without one."""
    page = _Rows()
    page.feed(text)
    rows = max(page.tables, key=len, default=[])
    return [(i, row) for i, row in enumerate(rows, 1) if any(row)]
