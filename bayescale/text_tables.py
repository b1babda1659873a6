"""Tables as text of a given width, in which no word is broken, and as HTML."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape

#: Cells up to this length are kept on one line.
ONE_LINE = 34
GAP = "  "
#: A space at which a head is not wrapped.
UNBROKEN = "\N{NO-BREAK SPACE}"


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], width: int = 80, lead: int = 1
) -> str:
    """A table as text.

    Parameters
    ----------
    header : sequence of str
    rows : sequence of sequence of str
    width : int
        Largest number of characters in a line. Heads and long cells are wrapped between words. If
        the columns do not fit side by side, they follow in blocks, each with the first columns.
    lead : int
        Number of columns that each block repeats.

    Returns
    -------
    str
        A line may be longer only if a single word is.

    Examples
    --------
    >>> print(text_table(("N", "loss of a run"), [("7B", "2.41"), ("70B", "2.1")]))
    N    loss
         of a
         run
    7B   2.41
    70B  2.1
    """
    columns = [[str(head), *(str(row[i]) for row in rows)] for i, head in enumerate(header)]
    wrapped = [_wrapped(column, width) for column in columns]
    first, others = wrapped[:lead], wrapped[lead:]
    start = sum(_width(column) + len(GAP) for column in first) - len(GAP)
    blocks, used = [[*first]], start
    for column in others:
        more = len(GAP) + _width(column)
        if used + more > width and len(blocks[-1]) > lead:
            blocks.append([*first])
            used = start
        blocks[-1].append(column)
        used += more
    return "\n\n".join(_block(block) for block in blocks).replace(UNBROKEN, " ")


def fits(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether the columns of a table fit side by side."""
    text = text_table(header, rows, width)
    return "\n\n" not in text and max(map(len, text.splitlines())) <= width


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as HTML, without styles."""
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _wrapped(column: list[str], width: int) -> list[list[str]]:
    """The lines of each cell of a column; the first cell is the head."""
    head, *cells = column
    longest = max(ONE_LINE, width // 2)
    lines = [_lines(cell, longest if len(cell) > ONE_LINE else width) for cell in cells]
    widest = max((len(line) for cell in lines for line in cell), default=0)
    words = max((len(word) for word in head.split()), default=0)
    return [_lines(head, max(widest, words)), *lines]


def _lines(text: str, width: int) -> list[str]:
    options = dict(break_long_words=False, break_on_hyphens=False)
    return textwrap.wrap(text, max(width, 1), **options) or [""]


def _width(column: list[list[str]]) -> int:
    return max(len(line) for cell in column for line in cell)


def _block(columns: list[list[list[str]]]) -> str:
    out = []
    for cells in zip(*columns, strict=True):
        for i in range(max(map(len, cells))):
            parts = [
                (cell[i] if i < len(cell) else "").ljust(_width(column))
                for cell, column in zip(cells, columns, strict=True)
            ]
            out.append(GAP.join(parts).rstrip())
    return "\n".join(out)


def as_sentence(text: str) -> str:
    """A note as a sentence, for pages.

    Examples
    --------
    >>> as_sentence("one law was fitted: see below")
    'One law was fitted: see below.'
    """
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
