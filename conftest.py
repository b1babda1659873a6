"""Settings of every test: PyTensor interprets graphs, and long examples run with slow tests."""

from __future__ import annotations

import os

import pytest

# Densities that tests evaluate a few times take longer to compile than to interpret. nutpie sets
# the mode of what it samples itself.
os.environ["PYTENSOR_FLAGS"] = ",".join(
    filter(None, (os.environ.get("PYTENSOR_FLAGS"), "mode=FAST_COMPILE"))
)

LONG_EXAMPLES = ("bs.breaks(", "bs.metric_test(", "bs.report(")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Examples that take most of a minute run with the slow tests."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            source = "".join(e.source for e in item.dtest.examples)
            if "bs.link(" in source:
                reason = "a link takes minutes; the slow test of docs/tasks.md makes the same calls"
                item.add_marker(pytest.mark.skip(reason=reason))
            elif any(call in source for call in LONG_EXAMPLES):
                item.add_marker(pytest.mark.slow)
