"""The right option, where a command is given the name of an argument in Python."""

from __future__ import annotations

import inspect
from importlib import import_module

from typer.core import TyperCommand

from bayescale.errors import BayescaleError
from bayescale.keywords import as_option

#: Options that take a list, of which the shell makes several words if it is written with spaces.
LISTS = ("--tasks",)


def joined(args: list[str]) -> list[str]:
    """The words, with those after an option of a list joined by commas, up to the next option.

    Only behind the file, which is the first word: otherwise the file could be one of them.
    """
    out: list[str] = []
    for word in args:
        is_value = not word.startswith("-") and not args[0].startswith("-")
        if is_value and len(out) >= 3 and out[-2] in LISTS:
            out[-1] = f"{out[-1].rstrip(',')},{word}"
        else:
            out.append(word)
    return [w.rstrip(",") if i and out[i - 1] in LISTS else w for i, w in enumerate(out)]


class HintingCommand(TyperCommand):
    """A command whose error for an unknown option names the right one, if it is known."""

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        """Parse the words after the name of the command."""
        options = {name for p in self.params for name in (*p.opts, *p.secondary_opts)}
        options |= {"--help"}
        args = joined(args)
        for word in args:
            name = word.partition("=")[0]
            if word == "--":
                break
            if (
                word.startswith("--")
                and name not in options
                and (text := self._hint(name, options))
            ):
                raise BayescaleError(f"no such option {name}: {text}", where=self.name or "")
        self._refuse_repeated(args)
        return super().parse_args(ctx, args)

    def _refuse_repeated(self, args: list[str]) -> None:
        """Of an option that is given twice, only the last value would count."""
        valued = {name for p in self.params if not getattr(p, "is_flag", True) for name in p.opts}
        asked = args[: args.index("--")] if "--" in args else args
        given = [word.partition("=")[0] for word in asked if word.startswith("--")]
        if twice := [name for name in dict.fromkeys(given) if given.count(name) > 1]:
            problems = [
                f"{name} is given {given.count(name)} times: give it once, and several values "
                "with commas"
                for name in twice
                if name in valued
            ]
            if problems:
                raise BayescaleError(problems, where=self.name or "")

    def _hint(self, name: str, options: set[str]) -> str | None:
        hyphens = name.replace("_", "-")
        if hyphens in options:
            return f"did you mean {hyphens}?"
        keyword = name[2:].replace("-", "_")
        if option := as_option(self.name or "", keyword):
            return f"did you mean {option}?"
        package = import_module("bayescale")
        for called in (self.name or "", "fit"):
            function = getattr(package, called, None)
            if function is not None and keyword in inspect.signature(function).parameters:
                return f"this can be set only in Python, by bs.{called}(..., {keyword}=...)"
        return None
