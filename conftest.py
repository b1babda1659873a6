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

#: Tests that run in one process because they share a long fit, a report of the command line, or the
#: fits of examples: beginnings of their paths.
GROUPS = {
    "hierarchy": (
        "tests/model/test_storage.py",
        "tests/model/test_fitting.py",
        "tests/plots/test_fits.py",
        "tests/forecasting/test_forecasts.py",
        "tests/inference/test_nutpie_callbacks.py",
    ),
    "command": ("tests/cli/",),
    "breaks": ("tests/capabilities/test_break_search.py", "tests/plots/test_tasks.py"),
    "examples": ("bayescale/",),
}

#: The groups and files of tests that take longest, in the order in which they start, so that no
#: process waits for another in the end.
LONGEST = (
    "hierarchy",
    "command",
    "examples",
    "tests/capabilities/test_emergence.py",
    "tests/evaluation/test_rollouts.py",
    "breaks",
    "tests/model/test_drift.py",
)


def group_of(nodeid: str) -> str:
    """The name of the tests that run in one process with this one: a group, or its file."""
    file = nodeid.split("::")[0]
    return next((name for name, starts in GROUPS.items() if file.startswith(starts)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Distribute tests by group.

    The marker `xdist_group` has no effect with pytest 9.2 and pytest-xdist 3.8: tests are
    distributed one by one, and every process makes every fit.
    """
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return group_of(nodeid)

    return ByGroup(config, log)


def source_of(example: pytest.DoctestItem) -> str:
    return "".join(e.source for e in example.dtest.examples)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Long examples get a marker; the longest groups come first."""
    rank = {group: place for place, group in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(group_of(item.nodeid), len(rank)))
    for item in items:
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
