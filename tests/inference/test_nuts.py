"""Attempts at sampling by NUTS."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

from bayescale.inference import nuts
from bayescale.inference.diagnostics import Convergence


@pytest.fixture
def attempts(monkeypatch):
    """Sample with given divergences and effective sample sizes; the settings of each attempt."""

    def sample(*outcomes):
        made, left = [], list(outcomes)

        def run(model, target, step, *, draws, tune, target_accept, **settings):
            made.append((target_accept, draws, tune))
            shape = xr.DataArray(np.zeros((4, draws)), dims=("chain", "draw"))
            return xr.Dataset({"x": shape}), xr.Dataset({"diverging": shape > 0})

        def diagnosed(posterior, stats):
            divergences, ess = left.pop(0)
            return Convergence(1.0, "x", ess, "x", divergences, 1.0)

        monkeypatch.setattr(nuts, "compiled", lambda target: None)
        monkeypatch.setattr(nuts, "_run", run)
        monkeypatch.setattr(nuts, "convergence", diagnosed)
        target = SimpleNamespace(stages=nuts.STAGES)
        sampled = nuts.sample(target, draws=400, tune=100, chains=4, seed=1, progressbar=False)
        assert sampled.attempts == len(outcomes)
        return made

    return sample


def test_attempts_are_longer_and_have_smaller_steps(attempts):
    assert attempts((0, 90), (0, 200), (0, 900)) == [
        (0.9, 400, 100),
        (0.98, 1200, 300),
        (0.99, 4000, 1000),
    ]


def test_chains_that_converge_are_not_repeated(attempts):
    assert attempts((0, 900)) == [(0.9, 400, 100)]
