"""The marker `unit`: a test with this marker cannot compile a model."""

from __future__ import annotations

import pytest

import bayescale as bs


def test_a_unit_test_cannot_compile_a_model(openlm, request):
    assert request.node.get_closest_marker("unit")
    with pytest.raises(AssertionError, match="marked `unit` compiles a model"):
        bs.fit(openlm.query("dataset == 'c4'"), engine="nuts", draws=50, tune=50, random_seed=1)
