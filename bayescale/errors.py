"""Errors and warnings of the package. One error lists all problems that were found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class BayescaleError(ValueError):
    """Base class of the errors of this package.

    Attributes
    ----------
    problems : tuple of str
        One sentence per problem: what was given, where, what is allowed, what to do.
    where : str
        The file, call or law that the problems are about.
    remedy : str
        One sentence on what mends all problems together; may be empty.

    Examples
    --------
    >>> str(RunsError("the file is empty", where="runs.csv"))
    'runs.csv: the file is empty'
    """

    def __init__(self, problems: str | Sequence[str], *, where: str = "", remedy: str = ""):
        self.problems = (problems,) if isinstance(problems, str) else tuple(problems)
        self.where, self.remedy = where, remedy
        super().__init__(self._message())

    def _message(self) -> str:
        head = f"{self.where}: " if self.where else ""
        if len(self.problems) == 1:
            lines = [f"{head}{self.problems[0]}"]
        else:
            lines = [f"{head}{len(self.problems)} problems", *(f"  - {p}" for p in self.problems)]
        return "\n".join([*lines, self.remedy] if self.remedy else lines)


class RunsError(BayescaleError):
    """A table of runs or task results that cannot be used."""


class LawError(BayescaleError):
    """A law that is inconsistent or unknown, or for which a quantity is not defined."""


class FitError(BayescaleError):
    """A fit that cannot be made, saved or loaded."""


class RunsWarning(UserWarning):
    """A finding about a table of runs that does not prevent its use."""


class ConvergenceWarning(UserWarning):
    """A posterior that failed a convergence check; its numbers are unreliable."""


class ExtrapolationWarning(UserWarning):
    """A forecast far beyond the runs that were fitted."""


def unknown(kind: str, name: object, valid: Iterable[object], many: int = 12) -> str:
    """The error message for an unknown name, with the closest match and the valid names.

    Parameters
    ----------
    kind : str
        The kind of thing that is named, such as ``"law"``.
    name : object
        The unknown name.
    valid : iterable
        The valid names.
    many : int
        Largest number of names to list.

    Examples
    --------
    >>> unknown("law", "chinchila", ["chinchilla", "kaplan"])
    "there is no law 'chinchila'. Did you mean 'chinchilla'? There are: chinchilla, kaplan."
    """
    options = [str(v) for v in valid]
    close = difflib.get_close_matches(str(name).lower(), [o.lower() for o in options], 1, 0.5)
    closest = next((o for o in options if close and o.lower() == close[0]), None)
    hint = f" Did you mean {closest!r}?" if closest else ""
    more = len(options) - many
    shown = ", ".join(options[:many]) + (f" and {more} more" if more > 0 else "")
    return f"there is no {kind} {str(name)!r}.{hint} There are: {shown or 'none'}."
