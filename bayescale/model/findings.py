"""The result of a check: findings in sentences, each with a level and a remedy."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from bayescale.terms import Explained

LEVELS = ("passed", "caution", "failed")


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
    """

    name: str
    level: str
    text: str
    remedy: str = ""

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
        listed = f", {cautions} caution{'s' * (cautions != 1)}" if cautions else ""
        return ("check passed" if self.passed else "CHECK FAILED") + listed

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        head = self.verdict.replace("FAILED", "FAILED: do not rely on this fit")
        explained = Explained()
        return "\n".join([head, *(f"  {explained(str(f))}" for f in self.findings)])
