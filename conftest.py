"""Settings of every test: PyTensor interprets graphs, long examples run with slow tests, and tests
that share a fit run in one process."""

from __future__ import annotations

import os

import pytest

# Densities that tests evaluate a few times take longer to compile than to interpret. nutpie sets
# the mode of what it samples itself.
os.environ["PYTENSOR_FLAGS"] = ",".join(
    filter(None, (os.environ.get("PYTENSOR_FLAGS"), "mode=FAST_COMPILE"))
)
# Tests run in as many processes as there are cores. Threads of linear algebra would only wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

LONG_EXAMPLES = ("bs.breaks(", "bs.metric_test(", "bs.report(", 'groups="dataset", random_seed=1)')

#: Session fixtures that take most of a minute, and the group of the tests that use them.
SHARED = {"openlm_fit": "hierarchy", "reported": "command", "averaged": "command"}


#: The groups of tests that take longest, in the order in which they start, so that no process waits
#: for another in the end.
LONGEST = (
    "hierarchy",
    "command",
    "examples",
    "tests/model/test_fitting.py",
    "tests/evaluation/test_rollouts.py",
    "tests/model/test_storage.py",
    "tests/model/test_drift.py",
    "tests/test_docs_site.py",
)


def group_of(item) -> str:
    """The name of the tests that run in one process with `item`: those of its file, those that use
    the same long fixture, or the examples that make a fit."""
    for fixture, group in SHARED.items():
        if fixture in getattr(item, "fixturenames", ()) or f"[{fixture}]" in item.name:
            return group
    if isinstance(item, pytest.DoctestItem) and "bs.fit(" in source_of(item):
        return "examples"
    return item.nodeid.split("::")[0]


def source_of(example: pytest.DoctestItem) -> str:
    return "".join(e.source for e in example.dtest.examples)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Long examples get a marker, and every test a group; the longest groups come first."""
    groups = {item: group_of(item) for item in items}
    rank = {group: place for place, group in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(groups[item], len(rank)))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups[item]))
        if isinstance(item, pytest.DoctestItem):
            source = source_of(item)
            if "bs.link(" in source:
                reason = "a link takes minutes; the slow test of docs/tasks.md makes the same calls"
                item.add_marker(pytest.mark.skip(reason=reason))
            elif any(call in source for call in LONG_EXAMPLES):
                item.add_marker(pytest.mark.slow)


_fits: dict = {}


@pytest.fixture(autouse=True)
def _examples_share_fits(request, monkeypatch):
    """Examples that make the same fit with the same seed share it."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    import bayescale as bs

    fit = bs.fit

    def shared(runs, law="chinchilla", **options):
        if not isinstance(runs, bs.Runs) or not isinstance(law, str):
            return fit(runs, law, **options)
        key = (runs.fingerprint, law, repr(sorted(options.items())))
        if key not in _fits:
            _fits[key] = fit(runs, law, **options)
        return _fits[key]

    monkeypatch.setattr(bs, "fit", shared)
