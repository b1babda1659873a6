"""What can go wrong, said in sentences: one error names every problem it found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BayescaleError(ValueError):
    """Base of every error this package raises on purpose.

    Attributes
    ----------
    problems : tuple of str
        One sentence per problem: what came, where, what is allowed, what to do.
    """

    def __init__(self, problems: str | Sequence[str], *, where: str = ""):
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.where = where
        super().__init__(self._message())

    def _message(self) -> str:
        if len(self.problems) == 1:
            return f"{self.where}: {self.problems[0]}" if self.where else self.problems[0]
        head = f"{self.where}: " if self.where else ""
        lines = [f"{head}{len(self.problems)} problems", *(f"  - {p}" for p in self.problems)]
        return "\n".join(lines)


class RunsError(BayescaleError):
    """A table of runs that cannot be used as it is."""


class LawError(BayescaleError):
    """A law that contradicts itself, is unknown, or cannot answer what it was asked."""


class FitError(BayescaleError):
    """A fit that cannot be made, saved or loaded."""


class RunsWarning(UserWarning):
    """A table that can be used, with something about it the reader should know."""


class ConvergenceWarning(UserWarning):
    """A posterior that failed a check: its numbers are not to be relied on."""


class ExtrapolationWarning(UserWarning):
    """A question asked far beyond the runs that were fitted."""


def unknown(kind: str, name: object, valid: Iterable[object], many: int = 12) -> str:
    """Say that `name` is not a `kind`, list what is, and name the closest match."""
    options = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name).lower(), [o.lower() for o in options], 1, 0.5)
    closest = next((o for o in options if close and o.lower() == close[0]), None)
    hint = f" Did you mean {closest!r}?" if closest else ""
    shown = ", ".join(options[:many]) + (", ..." if len(options) > many else "")
    return f"there is no {kind} {str(name)!r}.{hint} There are: {shown or 'none'}."
