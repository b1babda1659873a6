"""What an argument is called in Python and on the command line, for messages.

A command has the name of the function that it calls. Most options have the name of the argument,
with hyphens. `DIFFERENT` lists the others, and the hints say where else a setting is given.

Messages that may be printed by several commands name an argument with `assigned`, `option` or
`setting`. Those about the arguments of one function name these arguments, and the command replaces
them by its own options with `in_options`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps

_command_line: ContextVar[bool] = ContextVar("command_line", default=False)

#: By function: the name of an option (without dashes, with underscores) and that of its argument.
DIFFERENT: Mapping[str, Mapping[str, str]] = {
    "allocate": {"flops": "C", "target_loss": "loss"},
    "breaks": {"seed": "random_seed", "questions": "n_questions"},
    "design": {"seed": "random_seed"},
    "emergence": {"seed": "random_seed", "questions": "n_questions"},
    "fit": {"seed": "random_seed"},
    "forecast": {"flops": "C", "seed": "random_seed"},
    "hypotheses": {"seed": "random_seed"},
    "link": {"seed": "random_seed", "questions": "n_questions"},
    "preregister": {"out": "path"},
    "report": {"flops": "C", "out": "folder"},
    "rollout": {"seed": "random_seed"},
    "speedup": {"seed": "random_seed"},
    "suggest": {"seed": "random_seed"},
    "trajectory": {"seed": "random_seed"},
}

_READING = "bs.Runs.read(path, {}=...)"
_BEFORE = "fit first: bs.{}(bs.ensemble(runs, ...))"
_OF_FIT = ("law", "laws", "groups", "pool", "draws")
_TARGET = "target={'N': ..., 'D': ...}"
_TARGET_LOSS = "target={'loss': ...}"
_TARGETS = "--target-N and --target-D, --target-flops or --target-loss"
_CANDIDATES = "the second argument, a DataFrame or {'N': [...], 'D': [...]}"
_BUDGET = "C='$2M', and cost=bs.Cost('A100') for other hardware than an H100"
_REGISTERED = "bs.preregister(bs.forecast(fit, N=..., D=...), path)"

#: Options that are not arguments of a function: what to write in Python.
PYTHON: Mapping[str, Mapping[str, str]] = {
    "": {
        **{
            name: _READING.format(name)
            for name in ("columns", "drop_missing", "drop_failed", "keep_best", "loss_unit")
        },
        "ci_prob": "result.summary(ci_prob=...)",
        "hardware": "cost=bs.Cost('H100')",
        "csv": "result.summary().to_csv(path)",
        "quiet": "progressbar=False",
        "strict": "fit.check().passed",
        "seed": "random_seed= of the fit",
    },
    "allocate": dict.fromkeys(_OF_FIT, _BEFORE.format("allocate"))
    | {"seed": _BEFORE.format("allocate"), "budget": _BUDGET, "plot": "bs.plot_allocation(result)"},
    "breaks": {"plot": "bs.plot_breaks(result)", "out": "bs.plot_breaks(result)"},
    "design": {"N": _CANDIDATES, "D": _CANDIDATES, "runs": _CANDIDATES}
    | dict.fromkeys(("target_N", "target_D", "target_flops"), _TARGET)
    | {"target_loss": _TARGET_LOSS},
    "emergence": {"plot": "bs.plot_emergence(result)", "out": "bs.plot_emergence(result)"},
    "fit": {
        **{c: "bs.fit(" + _READING.format(c) + ")" for c in ("N", "D", "C", "loss")},
        "laws": "law= for one law, bs.ensemble(runs, laws) for several",
        "out": "fit.save(path)",
        "plot": "bs.plot_fit(fit)",
    },
    "forecast": {
        **dict.fromkeys(_OF_FIT, _BEFORE.format("forecast")),
        **dict.fromkeys(("params", "parameters", "n_params"), "N="),
        **dict.fromkeys(("compute", "flop", "budget"), "C="),
        "tokens": "D=",
        "at": "each column by its name, as in U='200B'",
        "below": "result.beats(loss)",
        "paired": "lists of equal length: N=[...], D=[...]",
        "plot": "bs.plot_forecast(result)",
    },
    "hypotheses": {
        "law": "laws=",
        "out": "bs.plot_exponents(result)",
        "plot": "bs.plot_exponents(result)",
    },
    "link": {
        **{c: f"bs.forecast_tasks(link, {c}=...)" for c in ("N", "D", "loss", "group")},
        "flops": "bs.forecast_tasks(link, C=...)",
        "runs": "the first argument, a fit: bs.link(bs.ensemble(runs), scores)",
        "law": "bs.link(bs.fit(runs, law), scores)",
        "out": "link.save(path)",
        "plot": "bs.plot_link(link, forecast=forecast)",
    },
    "preregister": dict.fromkeys(("N", "D", "flops", "paired", "group", "series"), _REGISTERED),
    "report": {
        **dict.fromkeys((*_OF_FIT, "seed"), _BEFORE.format("report")),
        "against": "hypotheses=bs.hypotheses(runs, laws)",
    },
    "rollout": {"law": "laws=", "plot": "bs.plot_rollout(result)"},
    "speedup": {"over_fit": "over=, with a fit", "plot": "bs.plot_speedup(result)"},
    "suggest": {"N": _CANDIDATES, "D": _CANDIDATES, "runs": _CANDIDATES}
    | dict.fromkeys(("target_N", "target_D", "target_flops"), _TARGET)
    | {"target_loss": _TARGET_LOSS, "target_optimum": "target=bs.allocate(fit, C)"},
    "trajectory": {
        "flops": "start=(2025, '1e24')",
        "scores": "bs.trajectory(bs.link(fit, results))",
        "questions": "bs.link(fit, results, n_questions=...)",
        "chance": "bs.link(fit, results, chance=...)",
        "samples": "bs.link(fit, results, samples=...)",
        "columns": "bs.link(fit, results, columns=...)",
    },
}
#: Arguments that are not options of a command: what to write on the command line.
COMMAND: Mapping[str, Mapping[str, str]] = {
    "allocate": {"at": "--unique 12B, --N or --D", "U": "--unique"},
    "": {"progressbar": "--quiet", "path": "the first argument, without a name"},
    "design": {"candidates": "--N and --D, or --runs", "target": _TARGETS},
    "fit": {"laws": "--law", "path": "--out"},
    "forecast": {"U": "--at U=200B", "points": "--N and --D, with --paired"},
    "hypotheses": {"law": "--laws"},
    "link": {"fit": "--runs", "results": "the first argument, without a name", "C": "--flops"},
    "report": {"laws": "--law", "hypotheses": "--against", "random_seed": "--seed"},
    "rollout": {"law": "--laws"},
    "suggest": {"candidates": "--N and --D, or --runs", "target": _TARGETS},
    "trajectory": {"C": "--flops"},
}

#: Options by which runs are fitted; other settings of a fit can be given in Python only.
FITTED_WITH = ("groups", "law", "pool", "draws", "seed")
#: Remedies that are no arguments: what to write on the command line.
REMEDIES: Mapping[str, str] = {
    "give price= to Cost": "give --price to `cost`, or the budget in FLOP or in hours",
    "give power= to Cost": "give --power to `cost`, or the budget in FLOP or in hours",
    "give the fit of the other recipe as over=": "give the fit of the other recipe with --over-fit",
    "name the one to compare": "name it with --group",
    "tasks= is for a link: give a Link in place of the fit": "--tasks needs a table of results, "
    "with --scores, or the file of a link",
    "the lower and upper bound of a 90 % interval": "the bounds of a 90 % interval, as in 0.3,0.5",
    "give one for each, in the order of the file, or a table": "give one for each, in the order of "
    "the file, as in 2.31,2.25, or a csv file with the column loss",
    "give one loss for each run, or a table": "give one loss for each run, as in 2.31,2.25, or a "
    "csv file with the column loss",
}


@contextmanager
def for_command_line() -> Iterator[None]:
    """Within this block, messages name options of the command line."""
    token = _command_line.set(True)
    try:
        yield
    finally:
        _command_line.reset(token)


def on_command_line() -> bool:
    """Whether messages name options of the command line."""
    return _command_line.get()


def assigned(name: str, value: object) -> str:
    """How to give a value of a column or an argument.

    Examples
    --------
    >>> assigned("C", "1e22")
    "C='1e22'"
    >>> with for_command_line():
    ...     assigned("C", "1e22"), assigned("N", "7B"), assigned("U", "4B")
    ('--flops 1e22', '--N 7B', '--at U=4B')
    """
    if not _command_line.get():
        return f"{name}={value!r}"
    option = argument(name)
    return f"{option}{'=' if option.startswith('--at ') else ' '}{value}"


def option(name: str, value: object = True) -> str:
    """How to pass an argument of a function that is an option with the same name.

    Examples
    --------
    >>> option("drop_missing"), option("group", "c4")
    ('drop_missing=True', "group='c4'")
    >>> with for_command_line():
    ...     option("drop_missing"), option("group", "c4")
    ('--drop-missing', '--group c4')
    """
    if not _command_line.get():
        return f"{name}={value!r}"
    flag = "--" + name.replace("_", "-")
    return flag if value is True else f"{flag} {value}"


def setting(name: str, value: str = "") -> str:
    """A setting of the fit, in messages that may be printed after the fit.

    Examples
    --------
    >>> setting("pool"), setting("engine", "'nuts'")
    ('pool=', "engine='nuts'")
    >>> with for_command_line():
    ...     setting("pool"), setting("priors"), setting("engine", "'nuts'")
    ('--pool', 'priors= in Python', "engine='nuts' in Python")
    """
    if not _command_line.get():
        return f"{name}={value}"
    if name in FITTED_WITH:
        return f"--{name} {value}".rstrip()
    return f"{name}={value} in Python"


def argument(name: str) -> str:
    """A column or an argument, as it is called here: ``C`` or ``--flops``."""
    if not _command_line.get():
        return name
    options = {"C": "--flops", "start": "--flops"}
    options |= {n: f"--{n}" for n in ("N", "D", "unique", "models", "serve", "at")}
    return options.get(name, f"--at {name}")


def in_python(function: str, option: str) -> str | None:
    """What to write in Python for an option of the command line; None if this is not known.

    Examples
    --------
    >>> in_python("allocate", "target_loss")
    'loss='
    """
    name = option.replace("-", "_")
    if found := DIFFERENT.get(function, {}).get(name):
        return f"{found}="
    return PYTHON.get(function, {}).get(name) or PYTHON[""].get(name)


def as_option(command: str, keyword: str) -> str | None:
    """The option of a command for an argument in Python; None if this is not known.

    Examples
    --------
    >>> as_option("allocate", "loss"), as_option("fit", "random-seed")
    ('--target-loss', '--seed')
    """
    name = keyword.replace("-", "_")
    for option, python in DIFFERENT.get(command, {}).items():
        if python == name:
            return f"--{option.replace('_', '-')}"
    return COMMAND.get(command, {}).get(name) or COMMAND[""].get(name)


def in_options(message: str, options: Collection[str]) -> str:
    """A message of the package with options of the command in place of keywords.

    Examples
    --------
    >>> in_options("N= and serve_price= exclude each other", ["--N", "--serve-price"])
    '--N and --serve-price exclude each other'
    """

    def option(found: re.Match) -> str:
        names = (f"--{found[1].replace('_', '-')}", *other_options(found[1]))
        return next((name for name in names if name in options), found[0])

    for python, command in REMEDIES.items():
        message = message.replace(python, command)
    return re.sub(r"(?<![\w-])([A-Za-z_]+)=(?![\w=\[{(+'\"-])", option, message)


def other_options(keyword: str) -> list[str]:
    """The options, of any command, that have another name than this argument.

    Examples
    --------
    >>> other_options("C"), other_options("laws")
    (['--flops'], ['--law'])
    """
    renamed = [
        f"--{option.replace('_', '-')}"
        for options in DIFFERENT.values()
        for option, python in options.items()
        if python == keyword
    ]
    given = [options[keyword] for options in COMMAND.values() if keyword in options]
    return list(dict.fromkeys(renamed + [text for text in given if text[2:].isalpha()]))


def hinted[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Name the right argument if a function is called with an option of its command.

    The call has one more frame, which counts in the ``stacklevel`` of warnings.
    """
    names = frozenset(inspect.signature(function).parameters)

    @wraps(function)
    def call(*args: P.args, **keywords: P.kwargs) -> R:
        for name in keywords.keys() - names:
            if hint := in_python(function.__name__, name):
                raise TypeError(
                    f"{function.__name__}() has no argument {name}=: in Python it is {hint}"
                )
        return function(*args, **keywords)

    return call
