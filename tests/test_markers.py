"""Markers: a test marked `unit` compiles no model; tests that share a fit run in one process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import bayescale as bs


def test_a_unit_test_cannot_compile_a_model(openlm, request):
    assert request.node.get_closest_marker("unit")
    with pytest.raises(AssertionError, match="marked `unit` compiles a model"):
        bs.fit(openlm.query("dataset == 'c4'"), engine="nuts", draws=50, tune=50, random_seed=1)


def test_tests_that_share_a_long_fit_run_in_one_process(request):
    """Run alone, this test only checks its own group."""
    root = request.config.pluginmanager.get_plugin(str(request.config.rootpath / "conftest.py"))
    values = {"dist": "loadgroup", "tx": ["popen"] * 2}
    options = SimpleNamespace(getvalue=values.get, option=SimpleNamespace(**values))
    group_of = root.pytest_xdist_make_scheduler(options, None)._split_scope
    assert group_of(request.node.nodeid) == "tests/test_markers.py"
    for item in request.session.items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "openlm_fit" in fixtures or "[openlm_fit]" in item.name:
            assert group_of(item.nodeid) == "hierarchy"
        if "found_breaks" in fixtures:
            assert group_of(item.nodeid) == "breaks"
        if fixtures & {"reported", "averaged"} and "tests/cli/" in item.nodeid:
            assert group_of(item.nodeid) == "command"
