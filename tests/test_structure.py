"""The house rules: who may import whom, what loads when, and what a public name must tell."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import bayescale as bs

PACKAGE = Path(bs.__file__).parent

#: From the ground up: a room may use those named before it, and none named after it.
ROOMS = (
    "errors", "units", "priors", "law", "laws", "intervals", "progress", "examples", "table",
    "sheet", "counting", "runs", "metric", "particles", "bends", "curves", "diagnostics", "drift",
    "design", "model", "linking", "compiling", "sampler", "posterior", "predictive", "check",
    "store", "fitting", "averaging", "simulation", "calibration", "allocation", "forecasting",
    "downstream", "taskcasting", "emergence", "critique", "scoring", "baselines", "holdout",
    "tasks", "rollouts", "comparison", "verdict", "landmarks", "style", "plots", "reliability",
    "forest", "panels", "tables", "reporting", "terminal", "cli",
)
FILES = sorted(PACKAGE.rglob("*.py"))
LAWS = sorted(set((PACKAGE / "laws").glob("*.py")) - {PACKAGE / "laws" / "__init__.py"})
SAMPLING = {"pymc", "pytensor", "nutpie", "numba"}
DRAWING = {"matplotlib"}
#: Loaded where they are needed, never when a room is entered.
HEAVY = {*SAMPLING, *DRAWING, "arviz", "arviz_base", "arviz_stats", "arviz_plots", "scipy",
         "jinja2", "pooch", "rich"}
LONGEST = 450

FUNCTIONS = [n for n in bs.__all__ if inspect.isfunction(getattr(bs, n))]
CLASSES = [n for n in bs.__all__ if inspect.isclass(getattr(bs, n))]
MADE_BY_HAND = ("Fraction", "Law", "Positive", "Published", "Real", "Runs")


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def room_of(file: Path) -> str:
    return name_of(file).split(".")[0]


@cache
def imports(file: Path, *, top: bool = False) -> frozenset[str]:
    """Dotted names that a file imports; with `top`, only those loaded together with it."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports are absolute"
            within = node.module == "bayescale"
            found.update(f"bayescale.{a.name}" if within else node.module for a in node.names)
        if not (top and isinstance(node, (ast.FunctionDef, ast.Lambda))):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return frozenset(found)


def packages(file: Path, *, top: bool = False) -> set[str]:
    return {name.split(".")[0] for name in imports(file, top=top)}


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in a fresh interpreter after one statement."""
    code = f"{statement}; import sys; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


# -- rooms -------------------------------------------------------------------------------------


def test_every_file_is_a_room_of_the_house():
    assert {room_of(f) for f in FILES} - {"__init__"} == set(ROOMS)


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_run_down(file):
    here = len(ROOMS) if room_of(file) == "__init__" else ROOMS.index(room_of(file))
    for name in imports(file):
        package, _, rest = name.partition(".")
        if package != "bayescale":
            continue
        assert rest, f"{name_of(file)} imports the whole house: name the room"
        room = rest.split(".")[0]
        inside = room == room_of(file) == "laws"
        assert inside or ROOMS.index(room) < here, f"{name_of(file)} imports {room}, above it"


def test_no_public_name_is_that_of_a_room():
    """Importing a room sets its name on the package, and would hide a function called alike."""
    assert not set(bs.__all__) - {"laws"} & set(ROOMS)


@pytest.mark.parametrize("file", LAWS, ids=name_of)
def test_a_law_needs_a_formula_and_priors_only(file):
    assert imports(file) <= {"bayescale.law", "bayescale.priors", "numpy"}


def test_only_the_sampling_rooms_know_the_sampler():
    knowing = {room_of(f) for f in FILES if packages(f) & SAMPLING}
    assert knowing == {"model", "linking", "compiling", "sampler"}


def test_only_the_drawing_rooms_know_matplotlib():
    knowing = {room_of(f) for f in FILES if packages(f) & DRAWING}
    assert knowing == {"style", "plots", "reliability", "reporting"}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_is_too_long_to_read(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST


# -- what loads when ---------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_heavy_libraries_wait_until_they_are_needed(file):
    assert not packages(file, top=True) & HEAVY


def test_importing_the_package_loads_nothing_heavy():
    assert not loaded_by("import bayescale") & {*HEAVY, "numpy", "pandas", "xarray"}


def test_reading_runs_loads_no_sampler_and_no_plots():
    assert not loaded_by("import bayescale as bs; bs.Runs.example('openlm')") & (SAMPLING | DRAWING)


# -- public names ------------------------------------------------------------------------------


def test_public_names_resolve_and_are_listed_once():
    assert len(set(bs.__all__)) == len(bs.__all__)
    assert dir(bs) == bs.__all__
    for name in bs.__all__:
        assert getattr(bs, name) is getattr(bs, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'forcast'"):
        _ = bs.forcast


def sections(thing) -> dict[str, str]:
    """The sections of a numpydoc docstring; its opening lines under ``""``."""
    lines = inspect.getdoc(thing).splitlines()
    out, title = {"": ""}, ""
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        if line and below == "-" * len(line):
            title = line
            out[title] = ""
        elif set(line) != {"-"}:
            out[title] += line + "\n"
    return out


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_public_names_open_with_one_sentence(name):
    thing = getattr(bs, name)
    assert thing.__doc__ is not None
    first, *rest = inspect.getdoc(thing).splitlines()
    assert first.endswith(".")
    assert not rest or rest[0] == ""


@pytest.mark.parametrize("name", FUNCTIONS)
def test_public_functions_tell_every_parameter_and_what_they_return(name):
    function, told = getattr(bs, name), sections(getattr(bs, name))
    heads = [line for line in told["Parameters"].splitlines() if line and line[0] != " "]
    named = [word.strip("*") for head in heads for word in head.split(" : ")[0].split(", ")]
    assert set(named) == set(inspect.signature(function).parameters)
    assert "Returns" in told


@pytest.mark.parametrize(
    "name", [n for n in (*FUNCTIONS, *MADE_BY_HAND) if not n.startswith("plot_")])
def test_what_users_call_has_a_runnable_example(name):
    assert ">>> " in sections(getattr(bs, name))["Examples"]


@pytest.mark.parametrize("name", CLASSES)
def test_public_methods_have_docstrings(name):
    own = {k: v for k, v in vars(getattr(bs, name)).items() if not k.startswith("_")}
    methods = {k: getattr(getattr(bs, name), k) for k, v in own.items()
               if callable(v) or isinstance(v, (property, classmethod))}
    assert not [k for k, v in methods.items() if not inspect.getdoc(v)]


def with_ci_prob():
    for file in FILES:
        if name_of(file).endswith("__init__"):
            continue
        module = import_module(f"bayescale.{name_of(file)}")
        for owner in (module, *(c for c in vars(module).values() if inspect.isclass(c))):
            for f in vars(owner).values():
                if (inspect.isfunction(f) and f.__module__ == module.__name__
                        and not f.__name__.startswith("_")
                        and "ci_prob" in inspect.signature(f).parameters):
                    yield pytest.param(f, id=f"{name_of(file)}.{f.__qualname__}")


@pytest.mark.parametrize("function", list(with_ci_prob()))
def test_intervals_are_arviz_defaults_unless_said(function):
    said = inspect.signature(function).parameters
    assert all(said[p].default is None for p in ("ci_prob", "ci_kind") if p in said)
