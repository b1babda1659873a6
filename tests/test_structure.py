"""Rules of the code: imports between folders, what is loaded when, docstrings of public names."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import bayescale as bs

PACKAGE = Path(bs.__file__).parent

#: The folders and files of the package from the lowest to the highest, and the files of each folder
#: in the same order. A file may import files of its own folder that are listed before it, and names
#: that lower folders export (in the ``__all__`` of their ``__init__.py``).
FOLDERS = {
    "functions": (),
    "errors": (), "units": (), "priors": (), "text_tables": (), "intervals": (), "progress": (),
    "seeds": (), "keywords": (), "terms": (),
    "data": ("datasets", "literature", "remedies", "numerals", "names", "frames", "wandb_files",
             "headers", "binary_files", "texts", "formats", "arrangements", "suspicions",
             "proposals", "reading", "extras", "logs", "task_table",
             "counting", "row_notes", "unit_questions", "validation", "wording", "saving", "runs",
             "wide_tasks", "task_columns", "accepting"),
    "costs": ("hardware", "figures", "budgets", "cost"),
    "laws": ("base", "broken_power", "chance_power", "chinchilla", "bounded_chinchilla", "farseer",
             "isoflop", "kaplan", "kaplan_steps", "multiplicative", "power", "shifted_chinchilla",
             "shifted_power", "skaling", "repeated_data", "repeated_overfit",
             "overtraining", "routed_experts", "granular_experts",
             "sparse_experts", "vocabulary", "learning_rate", "schedules", "mixing", "finetuning",
             "parallel_streams", "sigmoid", "gallery", "published"),
    "testing": (),
    "inference": ("execution", "diagnostics", "pareto", "nutpie_callbacks", "nuts", "smc", "modes",
                  "mixtures", "shears", "bridge", "conditional", "importance", "hierarchies"),
    "model": ("literature_priors", "walks", "drift", "small_runs", "noise", "labels", "hierarchy",
              "design",
              "specify", "pymc_model",
              "drift_density", "density", "engines", "evidence",
              "posterior", "discrepancy", "predictive", "simulation", "findings", "regimes",
              "residual_checks",
              "checks", "files", "storage", "arviz_groups", "results", "fitting",
              "sensitivity"),
    "theory": (),
    "forecasting": ("plausibility", "mixing", "members", "cautions", "wording", "averaging",
                    "stored", "searches", "law_draws", "choices", "targets", "predictive_draws",
                    "allocation_results", "allocation", "regrets", "points", "continued",
                    "forecasts", "domains"),
    "capabilities": ("likelihoods", "laplace", "break_model", "curve_table", "break_evidence",
                     "break_wording", "break_results", "break_search", "break_forecasts",
                     "metric_comparison",
                     "emergence_priors", "emergence_models", "emergence_shapes",
                     "emergence_verdicts", "emergence_foresight", "emergence_curves",
                     "emergence", "link_forms", "link_model", "link_density", "link_pools",
                     "link_diagnostics", "link_sampling", "link_quantities", "links",
                     "link_predictive", "task_forecasts"),
    "evaluation": ("scores", "baselines", "splits", "contenders", "ensembles", "jobs",
                   "wording", "rollout_results", "rollouts",
                   "comparable", "comparison", "claims", "decisive_run", "verdicts",
                   "hypothesis_comparison", "sbc"),
    "saved": (),
    "decisions": ("paths", "speedup_results", "speedups",
                  "preregistration", "measured", "underway", "outcomes", "trajectories",
                  "beliefs", "limits", "refits", "suggestion_results", "suggestions", "designs"),
    "plots": ("style", "runs", "fits", "forecasts", "speedups", "rollouts", "coverage", "sbc",
              "exponents", "tasks", "surfaces", "emergence"),
    "reporting": ("tables", "decision_tables", "task_tables", "sections", "choices", "answers",
                  "held_out", "page"),
    "cli": ("options", "outputs", "hints", "console", "fitting", "fits", "allocations",
            "suggestions", "decisions",
            "evaluation", "tasks",
            "examples", "gallery", "documents", "command"),
}  # fmt: skip
ORDER = tuple(FOLDERS)
#: Files of the package itself, which any folder may import.
TOP_FILES = (
    "functions", "errors", "units", "priors", "text_tables", "intervals", "progress", "seeds",
    "keywords", "terms",
)  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))
LAWS = sorted(
    set((PACKAGE / "laws").glob("*.py"))
    - {PACKAGE / "laws" / f"{name}.py" for name in ("__init__", "base", "gallery", "published")}
)
SAMPLING = {"pymc", "pytensor", "nutpie", "numba"}
DRAWING = {"matplotlib"}
#: Loaded where they are needed, never when a folder is imported.
HEAVY = {
    *SAMPLING,
    *DRAWING,
    "arviz",
    "arviz_base",
    "arviz_stats",
    "arviz_plots",
    "scipy",
    "jinja2",
    "pooch",
    "rich",
}
LONGEST = 450

FUNCTIONS = [n for n in bs.__all__ if inspect.isfunction(getattr(bs, n))]
CLASSES = [n for n in bs.__all__ if inspect.isclass(getattr(bs, n))]
MADE_BY_HAND = ("Cost", "Fixed", "Fraction", "Law", "Positive", "Published", "Real", "Runs")


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def folder_of(file: Path) -> str:
    return name_of(file).split(".")[0]


def is_for_types(node: ast.AST) -> bool:
    """Whether a block is read by type checkers only."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


@cache
def imports(file: Path, *, top: bool = False, types: bool = True) -> frozenset[str]:
    """Dotted names that a file imports; with `top`, only those loaded together with it; without
    `types`, none that only type checkers read."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports are absolute"
            within = node.module.split(".")[0] == "bayescale"
            found.update(f"{node.module}.{a.name}" if within else node.module for a in node.names)
        inside_function = isinstance(node, (ast.FunctionDef, ast.Lambda))
        if not (top and inside_function) and (types or not is_for_types(node)):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(file.read_text(encoding="utf-8")))
    return frozenset(found)


def packages(file: Path, *, top: bool = False) -> set[str]:
    return {name.split(".")[0] for name in imports(file, top=top, types=False)}


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in a fresh interpreter after one statement."""
    code = f"{statement}; import sys; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


# -- folders -----------------------------------------------------------------------------------


def test_every_folder_and_file_is_listed():
    present = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if p.suffix in ("", ".py")}
    assert present - {"__init__", "__main__", "__pycache__", "_datasets", "_docs"} == set(FOLDERS)
    for folder, listed in FOLDERS.items():
        files = {f.stem for f in (PACKAGE / folder).glob("*.py")} - {"__init__"}
        assert files == set(listed), folder


@pytest.mark.parametrize(
    "file", [f for f in FILES if name_of(f) not in ("__init__", "__main__")], ids=name_of
)
def test_imports_run_down(file):
    folder, stem = folder_of(file), file.stem
    for name in imports(file):
        package, *path = name.split(".")
        if package != "bayescale":
            continue
        assert path, f"{name_of(file)} imports the whole package: name the folder"
        other = path[0]
        if other != folder:
            below = ORDER.index(other) < ORDER.index(folder)
            assert below, f"{name_of(file)} imports {other}, which is above it"
        elif stem != "__init__":
            files = FOLDERS[folder]
            assert path[1] in files, f"{name_of(file)} imports its own folder's exports"
            assert files.index(path[1]) < files.index(stem), f"{name_of(file)} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_other_folders_are_imported_by_their_exports(file):
    """The names that other folders use are listed in the ``__all__`` of a folder."""
    for name in imports(file):
        package, *path = name.split(".")
        if package == "bayescale" and path[0] != folder_of(file) and path[0] not in TOP_FILES:
            other = import_module(f"bayescale.{path[0]}")
            if len(path) > 1:
                assert len(path) == 2, f"{name_of(file)} imports {name}: import it from the folder"
                assert path[1] in other.__all__, f"{name_of(file)}: {name} is not public"


@pytest.mark.parametrize("folder", [name for name, files in FOLDERS.items() if files])
def test_a_folder_exports_only_names_that_are_used(folder):
    """No name is exported that neither another folder nor the public API uses."""
    used = {
        n.split(".")[2]
        for f in FILES
        if folder_of(f) != folder
        for n in imports(f)
        if n.startswith(f"bayescale.{folder}.")
    }
    module = import_module(f"bayescale.{folder}")
    assert module.__doc__
    extra = set(module.__all__) - used - set(bs.__all__)
    assert folder in ("laws", "cli") or not extra, (
        f"bayescale.{folder} exports {sorted(extra)}, which are not used"
    )


def test_no_folder_has_the_name_of_a_public_function():
    """Importing a folder sets its name on the package, and would hide a function of that name."""
    assert not set(bs.__all__) - {"laws", "testing", "theory"} & set(FOLDERS)


@pytest.mark.parametrize("file", LAWS, ids=name_of)
def test_a_law_needs_a_formula_and_priors_only(file):
    allowed = ("bayescale.laws.base.", "bayescale.priors.", "bayescale.functions.", "numpy")
    assert all(name.startswith(allowed) for name in imports(file))


def test_only_sampling_files_import_the_sampler():
    importing = {name_of(f) for f in FILES if packages(f) & SAMPLING}
    assert importing == {
        "testing",
        "model.pymc_model",
        "capabilities.link_model",
        "inference.nuts",
        "inference.nutpie_callbacks",
    }


def test_only_plots_import_matplotlib():
    assert {folder_of(f) for f in FILES if packages(f) & DRAWING} == {"plots"}


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_no_file_is_too_long_to_read(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST


def messages(file: Path) -> Iterator[str]:
    """The text of a file that is not in a docstring."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_messages_have_the_singular_or_the_plural(file):
    """``3 points lie``, not ``3 point(s) lie``."""
    assert not [text for text in messages(file) if re.search(r"[a-z](\(s\)|\(es\))", text)]


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
    assert dir(bs) == sorted(bs.__all__)
    for name in bs.__all__:
        assert getattr(bs, name) is getattr(bs, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="attribute forcast"):
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
def test_public_functions_document_every_parameter_and_the_result(name):
    function, documented = getattr(bs, name), sections(getattr(bs, name))
    heads = [line for line in documented["Parameters"].splitlines() if line and line[0] != " "]
    named = [word.strip("*") for head in heads for word in head.split(" : ")[0].split(", ")]
    assert set(named) == set(inspect.signature(function).parameters)
    assert "Returns" in documented


@pytest.mark.parametrize(
    "name", [n for n in (*FUNCTIONS, *MADE_BY_HAND) if not n.startswith("plot_")]
)
def test_what_users_call_has_a_runnable_example(name):
    assert ">>> " in sections(getattr(bs, name))["Examples"]


@pytest.mark.parametrize("name", CLASSES)
def test_public_methods_have_docstrings(name):
    public = {k: v for k, v in vars(getattr(bs, name)).items() if not k.startswith("_")}
    methods = {
        k: getattr(getattr(bs, name), k)
        for k, v in public.items()
        if callable(v) or isinstance(v, (property, classmethod))
    }
    assert not [k for k, v in methods.items() if not inspect.getdoc(v)]


def with_ci_prob():
    for file in FILES:
        if file.stem in ("__init__", "__main__"):
            continue
        module = import_module(f"bayescale.{name_of(file)}")
        for owner in (module, *(c for c in vars(module).values() if inspect.isclass(c))):
            for f in vars(owner).values():
                if (
                    inspect.isfunction(f)
                    and f.__module__ == module.__name__
                    and not f.__name__.startswith("_")
                    and "ci_prob" in inspect.signature(f).parameters
                ):
                    yield pytest.param(f, id=f"{name_of(file)}.{f.__qualname__}")


@pytest.mark.parametrize("function", list(with_ci_prob()))
def test_the_default_interval_is_set_in_one_place(function):
    """Every function takes None, which `bayescale.intervals.defaults` fills in."""
    parameters = inspect.signature(function).parameters
    assert all(parameters[p].default is None for p in ("ci_prob", "ci_kind") if p in parameters)
