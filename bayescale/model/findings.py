"""The result of a check: findings in sentences, each with a level and a remedy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from bayescale.terms import Explained

LEVELS = ("passed", "caution", "failed")
#: Sentences about several laws that share at least this part of their words are written as one.
ALIKE = 0.3
#: The last words of the shared beginning of such sentences, and the last characters of the parts
#: that differ, so that no phrase is torn apart.
BEFORE, AFTER = (":", ";", "of", "by", "the", "for", "with", "spans", "only"), (":", ";", ",", ")")
#: What may differ between sentences of one kind: numbers and names.
VARIABLE = re.compile(r"'[^']*'|[\d.]+")


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    name : str
        ``convergence``, ``runs``, ``design``, ``groups``, ``regime``, ``information``, ``prior``,
        ``misfit``, ``noise``, ``dependence``, ``influence``, ``outlier`` or ``surprise``.
    level : {"passed", "caution", "failed"}
        ``failed``: do not rely on this fit. ``caution``: rely on it only with this in mind.
    text, remedy : str
        What was found, and what to do.
    rows : tuple of pairs of str
        The runs that `text` names, and what it says of each.
    """

    name: str
    level: str
    text: str
    remedy: str = ""
    rows: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        mark = {"passed": "ok     ", "caution": "CAUTION", "failed": "FAILED "}[self.level]
        return f"{mark} {self.name}: {self.text}" + (f" -> {self.remedy}" if self.remedy else "")


@dataclass(frozen=True)
class Check:
    """Every finding about a fit; true if none failed.

    Attributes
    ----------
    findings : tuple of Finding
    surprising : pandas.DataFrame
        The runs farthest from the fit to all other runs, the farthest first: ``label``,
        ``percent`` of the loss above (+) or below (-) the law, and ``tail``, the leave-one-out
        predictive probability of a distance as large or larger. The index is that of the runs.
    """

    findings: tuple[Finding, ...]
    surprising: pd.DataFrame = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return all(f.level != "failed" for f in self.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Findings that failed or call for caution, the failed ones first."""
        problems = [f for f in self.findings if f.level != "passed"]
        return tuple(sorted(problems, key=lambda f: -LEVELS.index(f.level)))

    @property
    def verdict(self) -> str:
        """Whether the check passed, and the number of cautions, in a few words."""
        cautions = sum(f.level == "caution" for f in self.findings)
        listed = f"{cautions} caution{'s' * (cautions != 1)}" if cautions else ""
        if not self.passed:
            return f"CHECK FAILED{f', {listed}' if listed else ''}"
        return f"sampling converged; {listed}" if listed else "check passed"

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        head = self.verdict.replace("FAILED", "FAILED: do not rely on this fit")
        explained = Explained()
        return "\n".join([head, *(f"  {explained(str(f))}" for f in self.findings)])


def merged(by_law: Mapping[str, Sequence[Finding]]) -> list[tuple[tuple[str, ...], Finding]]:
    """The findings about several laws, each kind once.

    Parameters
    ----------
    by_law : mapping of str to sequence of Finding

    Returns
    -------
    list of tuple
        The laws to name before a finding, and the finding. None are named if it is the same for
        all laws, or if its text names them.

    Examples
    --------
    >>> few = "{} runs for {} parameters: intervals depend on the priors"
    >>> by_law = {
    ...     law: [Finding("number of runs", "caution", few.format(8, k))]
    ...     for law, k in (("a", 5), ("b", 6))
    ... }
    >>> ((laws, finding),) = merged(by_law)
    >>> finding.text
    '8 runs for 5 parameters under a; 6 parameters under b: intervals depend on the priors'
    """
    kinds: dict[tuple, dict[str, Finding]] = {}
    for law, findings in by_law.items():
        seen: Counter = Counter()
        for finding in dict.fromkeys(findings):
            about = VARIABLE.sub("", finding.text.split(":")[0])
            kind = finding.level, finding.name, finding.remedy, about
            seen[kind] += 1
            kinds.setdefault((*kind, seen[kind]), {})[law] = finding
    out = []
    for same in kinds.values():
        first, texts = next(iter(same.values())), {law: f.text for law, f in same.items()}
        if len(set(texts.values())) == 1:
            out.append(((), first) if len(same) == len(by_law) else (tuple(same), first))
        elif all(finding.rows for finding in same.values()):
            out.append(((), _by_run(same)))
        else:
            out.append(((), replace(first, text=_as_one(texts))))
    return out


def _by_run(same: Mapping[str, Finding]) -> Finding:
    """Findings about single runs as one that names each run once."""
    first = next(iter(same.values()))
    lead = first.text[: first.text.index(first.rows[0][0])]
    by_run: dict[str, dict[str, str]] = {}
    for law, finding in same.items():
        for run, detail in finding.rows:
            by_run.setdefault(run, {})[law] = detail
    rows = []
    for run, details in by_run.items():
        law, *others = details
        also = f"; also under {', '.join(others)}" if others else ""
        rows.append((run, f"under {law}: {details[law]}{also}"))
    text = "; ".join(f"{run} ({detail})" for run, detail in rows)
    return replace(first, text=f"{lead}{text}", rows=tuple(rows))


def _as_one(texts: Mapping[str, str]) -> str:
    """Sentences about several laws as one, with what differs between them by law."""
    words = [text.split() for text in texts.values()]
    shortest = min(map(len, words))
    start = next((i for i in range(shortest) if len({w[i] for w in words}) > 1), shortest)
    while start and not words[0][start - 1].endswith(BEFORE):
        start -= 1
    left = shortest - start
    end = next((i for i in range(left) if len({w[-1 - i] for w in words}) > 1), left)
    while end and not all(w[len(w) - end - 1].endswith(AFTER) for w in words):
        end -= 1
    parts = [" ".join(w[start : len(w) - end]) for w in words]
    if start + end < ALIKE * max(map(len, words)) or not all(parts):
        return "; ".join(f"under {law}: {text}" for law, text in texts.items())
    mark = ":" if all(part.endswith(":") for part in parts) else ""
    by_part: dict[str, list[str]] = {}
    for law, part in zip(texts, parts, strict=True):
        by_part.setdefault(part.removesuffix(mark), []).append(law)
    listed = [
        part if all(repr(law) in part for law in laws) else f"{part} under {', '.join(laws)}"
        for part, laws in by_part.items()
    ]
    before, after = words[0][:start], words[0][len(words[0]) - end :]
    return " ".join([*before, "; ".join(listed) + mark, *after])
