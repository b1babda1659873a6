"""Markers: a test marked `unit` compiles no model; tests that share a fit have one group."""

from __future__ import annotations

import pytest

import bayescale as bs


def test_a_unit_test_cannot_compile_a_model(openlm, request):
    assert request.node.get_closest_marker("unit")
    with pytest.raises(AssertionError, match="marked `unit` compiles a model"):
        bs.fit(openlm.query("dataset == 'c4'"), engine="nuts", draws=50, tune=50, random_seed=1)


def test_tests_that_share_a_long_fit_have_one_group(request):
    """Run alone, this test only checks its own group."""
    groups = {i: i.get_closest_marker("xdist_group").args[0] for i in request.session.items}
    assert groups[request.node] == "tests/test_markers.py"
    for item, group in groups.items():
        fixtures = getattr(item, "fixturenames", ())
        assert (group == "hierarchy") == ("openlm_fit" in fixtures or "[openlm_fit]" in item.name)
        assert (group == "command") == bool({"reported", "averaged"} & set(fixtures))
