"""Several laws for the same runs: looked up by name, with the options of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bayescale.data import Runs
from bayescale.errors import LawError, unknown
from bayescale.laws import Law, get
from bayescale.priors import Prior

Priors = Mapping[str, Prior | Mapping[str, Prior]]


def contenders(laws: str | Law | Sequence[str | Law], runs: Runs, problems: list[str]) -> list[Law]:
    """The laws, looked up by name.

    Problems are added to `problems`: unknown laws, two laws of one name, and columns of a law that
    `runs` do not have.
    """
    chosen = []
    for law in [laws] if isinstance(laws, (str, Law)) else laws:
        try:
            chosen.append(get(law))
        except LawError as error:
            problems += error.problems
    names = [law.name for law in chosen]
    problems += [
        f"{names.count(n)} laws are called {n!r}: give each a different name"
        for n in dict.fromkeys(names)
        if names.count(n) > 1
    ]
    problems += [
        f"law {law.name!r} needs the column {c!r}, which these runs lack"
        for law in chosen
        for c in law.columns
        if c not in runs
    ]
    if not chosen and not problems:
        problems.append("there is no law to fit: name at least one")
    return chosen


def check_priors(priors: Priors | None, laws: Sequence[Law], problems: list[str]) -> None:
    """Add a problem for every key of `priors` that holds a mapping and names no law."""
    names = [law.name for law in laws]
    problems += [
        f"priors: {unknown('law', key, names)}"
        for key, value in (priors or {}).items()
        if isinstance(value, Mapping) and key not in names
    ]


def priors_of(law: Law, laws: Sequence[Law], priors: Priors | None) -> dict[str, Prior] | None:
    """The priors of one law: those given under its name override those for all laws."""
    shared = {k: v for k, v in (priors or {}).items() if not isinstance(v, Mapping)}
    by_name = dict((priors or {}).get(law.name) or {})
    return {**(options_of(law, laws, shared) or {}), **by_name} or None


def options_of(
    law: Law, laws: Sequence[Law], options: Mapping[str, object] | None
) -> dict[str, object] | None:
    """Options by parameter, without the parameters that only other laws have.

    Names that no law has remain: they are parameters of noise or drift, or else `bayescale.fit`
    refuses them.
    """
    of_others = {p for other in laws for p in other.parameters} - set(law.parameters)
    return {p: v for p, v in (options or {}).items() if p not in of_others} or None
