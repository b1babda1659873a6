"""Shared fixtures: fits made once per session, posteriors made by hand, and the marker `unit`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale import laws
from bayescale.model.specify import design

matplotlib.use("Agg")
os.environ.setdefault("BAYESCALE_PROGRESS", "0")

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "reference"

#: Test files that never compile a model. Their tests are marked `unit`, except those that are slow
#: or use one of the `FITS`.
UNIT = (
    "data/test_arrangements.py",
    "data/test_binary_files.py",
    "data/test_broken_tables.py",
    "data/test_counting.py",
    "data/test_headers.py",
    "data/test_names.py",
    "data/test_proposals.py",
    "data/test_runs.py",
    "data/test_task_columns.py",
    "data/test_task_table.py",
    "data/test_texts.py",
    "data/test_unit_questions.py",
    "evaluation/test_scores.py",
    "inference/test_nuts.py",
    "inference/test_shears.py",
    "laws/test_gallery.py",
    "model/test_noise.py",
    "model/test_posterior.py",
    "plots/test_exponents.py",
    "reporting/test_page.py",
    "test_documents.py",
    "test_errors.py",
    "test_intervals.py",
    "test_markers.py",
    "test_priors.py",
    "test_structure.py",
    "test_units.py",
)
FITS = ("c4_fit", "openlm_fit")


def pytest_collection_modifyitems(items):
    files = [Path(__file__).parent / name for name in UNIT]
    assert all(file.is_file() for file in files), "UNIT names a file that does not exist"
    for item in items:
        sampled = set(FITS) & set(getattr(item, "fixturenames", ()))
        if item.path in files and not sampled and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.unit)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """While a test marked `unit` and its fixtures run, NUTS fails before anything is compiled.

    All but slow tests make their fits in the process of the test, because several tests run at once
    and the start of further processes takes seconds.
    """

    def refuse(target):
        raise AssertionError("a test marked `unit` compiles a model: remove its file from UNIT")

    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("unit"):
            patch.setattr("bayescale.inference.nuts.compiled", refuse)
        if not item.get_closest_marker("slow"):
            patch.setattr("bayescale.inference.execution.FEWEST_FOR_PROCESSES", 10**9)
        return (yield)


@pytest.fixture(scope="session")
def reference():
    """The folder of published tables, where it is present."""
    if not REFERENCE.is_dir():
        pytest.skip("the published tables are not beside this checkout")
    return REFERENCE


@pytest.fixture(scope="session")
def openlm() -> bs.Runs:
    return bs.Runs.example("openlm")


@pytest.fixture(scope="session")
def chinchilla240(reference) -> bs.Runs:
    """The 240 digitised runs that Besiroglu et al. fit."""
    runs = bs.Runs.read(reference / "chinchilla.csv")
    return runs[runs.table["epoch_excluded"].astype(str) != "True"]


@pytest.fixture(scope="session")
def c4_fit(openlm) -> bs.Fit:
    """One corpus, no groups."""
    return bs.fit(openlm.query("dataset == 'c4'"), "chinchilla", random_seed=1)


@pytest.fixture(scope="session")
def openlm_fit(openlm) -> bs.Fit:
    """Three corpora, every parameter pooled partially."""
    return bs.fit(openlm, "chinchilla", groups="dataset", random_seed=1)


@pytest.fixture(scope="session")
def loss_curves():
    """Make a table of curves of loss in C: ``loss_curves(name=eta)`` with the loss 0.5 + exp(eta).

    The argument of `eta` is the array ``loss_curves.S``, log(C / 1e20).
    """
    C = np.geomspace(1e18, 1e22, 18)

    def make(**etas) -> pd.DataFrame:
        rng = np.random.default_rng(4)
        noise = [np.exp(0.01 * rng.standard_normal(len(C))) for _ in etas]
        parts = [
            pd.DataFrame({"task": name, "C": C, "loss": (0.5 + np.exp(eta)) * scatter})
            for (name, eta), scatter in zip(etas.items(), noise, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    make.C, make.S = C, np.log(C / 1e20)
    return make


@pytest.fixture(scope="session")
def found_breaks(loss_curves) -> bs.Breaks:
    """Breaks of an unbroken curve, a bend at C = 1e20, and a curve of few points."""
    S = loss_curves.S
    data = loss_curves(straight=-0.2 * S, bend=-0.05 * S - 0.5 * np.maximum(S, 0), few=-0.2 * S)
    data = data[(data["task"] != "few") | (data.index % 5 == 0)]
    return bs.breaks(
        data, groups="task", max_breaks=2, particles=32, random_seed=1, progressbar=False
    )


@pytest.fixture(scope="session")
def by_hand():
    """Make a `Fit` from parameter values, without sampling.

    ``by_hand(runs, law, values, groups=..., pool=...)``: every variable of the posterior by name,
    a scalar (the same in all draws) or an array that broadcasts to (chain, draw[, level]). The
    losses of the runs do not belong to the values, so that no discrepancy is inferred from them.
    """

    def make(runs, law, values, *, draws=10, chains=2, **options) -> bs.Fit:
        plan = replace(design(runs, laws.get(law), **options), is_observed=False)
        named = {}
        for p in plan.parameters:
            if p.has_population:
                named[p.name] = ()
            for e in p.effects:
                if e.pooling == "partial":
                    named[p.scale(e)] = ()
                named[p.member(e)] = (e.column,)
        assert set(values) == set(named), f"give exactly {sorted(named)}"
        variables = {}
        for name, dims in named.items():
            shape = (chains, draws, *(len(plan.levels[d]) for d in dims))
            array = np.broadcast_to(np.asarray(values[name], float), shape).copy()
            variables[name] = (("chain", "draw", *dims), array)
        coords = {
            "chain": range(chains),
            "draw": range(draws),
            **{g: list(v) for g, v in plan.levels.items()},
        }
        coords = {
            k: v
            for k, v in coords.items()
            if k in ("chain", "draw") or any(k in d for d, _ in variables.values())
        }
        stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((chains, draws), bool))})
        return bs.Fit(plan, xr.Dataset(variables, coords=coords), stats, random_seed=0)

    return make
