"""Fixtures that tests share: real fits are made once, and posteriors can be made by hand."""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import xarray as xr

import bayescale as bs
from bayescale import laws
from bayescale.model.specify import design

matplotlib.use("Agg")
os.environ.setdefault("BAYESCALE_PROGRESS", "0")

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "reference"


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


@pytest.fixture
def by_hand():
    """Make a `Fit` from parameter values, without sampling.

    ``by_hand(runs, law, values, groups=..., pool=...)``: every variable of the posterior by name,
    a scalar (the same in all draws) or an array that broadcasts to (chain, draw[, level]).
    """

    def make(runs, law, values, *, draws=10, chains=2, **options) -> bs.Fit:
        plan = design(runs, laws.get(law), **options)
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
