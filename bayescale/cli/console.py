"""What a person types after a command, and what it prints: tables for people, or JSON."""

from __future__ import annotations

import json


def names(text: str | None) -> tuple[str, ...] | None:
    return tuple(name.strip() for name in text.split(",")) if text else None


def number(text: str) -> str | float:
    """A number where one was written, else the name of a column."""
    try:
        return float(text)
    except ValueError:
        return text


def counts(text: str | None, option: str) -> list[float]:
    from bayescale.errors import BayescaleError
    from bayescale.units import parse_count

    values, problems = [], []
    for part in (text or "").split(",") if text else []:
        try:
            values.append(parse_count(part))
        except ValueError as error:
            problems.append(str(error))
        else:
            if not 0 < values[-1] < float("inf"):
                problems.append(f"{part.strip()} is not a positive, finite count")
    if problems:
        raise BayescaleError(problems, where=option)
    return values


def pairs(text: str | None, option: str) -> dict[str, str]:
    from bayescale.errors import BayescaleError

    parts = [p.partition("=") for p in text.split(",")] if text else []
    if bad := ["".join(p) for p in parts if not (p[0].strip() and p[1] and p[2].strip())]:
        raise BayescaleError(
            f"{', '.join(map(repr, bad))}: write name=value,name=value", where=option
        )
    keys = [p[0].strip() for p in parts]
    known = ("N", "D", "C", "loss", "loss_sd", "loss_lower", "loss_upper", "series")
    if option == "--columns" and (strange := [k for k in keys if k not in known]):
        raise BayescaleError(
            f"{', '.join(strange)} is no quantity: use {', '.join(known)}", where=option
        )
    return {k: p[2].strip() for k, p in zip(keys, parts, strict=True)}


def mapping(group: str | None, columns):
    if group is None or len(columns) <= 1:
        return group
    return pairs(group, "--group")


def say(fitted, tables, as_json: bool, extra: dict, notes=(), check: bool = True) -> None:
    """Print results: for people, or for machines."""
    found = fitted.check()
    if as_json:
        body = {
            "check": {"passed": found.passed, "findings": [vars(f) for f in found.findings]},
            "law": fitted.law.name,
            "runs": len(fitted.runs),
            "seed": fitted.random_seed,
            **({"posterior": fitted.summary().T.to_dict()} if check else {}),
            "tables": [vars(t) for t in tables],
            "notes": list(notes),
            **extra,
        }
        print(json.dumps(without_nan(body), indent=1, default=float))
        return
    from rich.text import Text

    console = _console()
    if check or not found.passed:
        ink = {"passed": "green", "caution": "yellow", "failed": "bold red"}
        for i, line in enumerate(repr(found).splitlines()):
            level = found.findings[i - 1].level if i else "passed" if found.passed else "failed"
            console.print(Text(line, style=ink[level] if level != "passed" or not i else ""))
    show(tables)
    for note in notes:
        console.print(Text(f"warning: {note}", style="yellow"))
    for what, where in extra.items():
        if isinstance(where, str):
            console.print(Text(f"{what}: {where}"))


def _console():
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=220)


def show(tables) -> None:
    from rich.table import Table

    console = _console()
    for table in tables:
        shown = Table(title=table.title, title_justify="left", box=None, pad_edge=False)
        for i, head in enumerate(table.header):
            shown.add_column(head, overflow="fold", no_wrap=i == 0)
        for row in table.rows:
            shown.add_row(*row)
        console.print()
        console.print(shown)


def without_nan(value):
    if isinstance(value, dict):
        return {k: without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(v) for v in value]
    return None if isinstance(value, float) and value != value else value
