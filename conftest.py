"""Settings of every test: functions of PyTensor are evaluated without compilation, and the examples
in docstrings that sample the same link share one posterior."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

# Densities that tests evaluate a few times take longer to compile than to interpret. nutpie sets
# the mode of what it samples itself.
os.environ["PYTENSOR_FLAGS"] = ",".join(
    filter(None, (os.environ.get("PYTENSOR_FLAGS"), "mode=FAST_COMPILE"))
)

LONG_EXAMPLES = ("bs.link(", "bs.breaks(", "bs.metric_test(", "bs.report(")

SHORT_CHAINS = "ignore::bayescale.errors.ConvergenceWarning"

_SAMPLED = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Examples that take most of a minute run with the slow tests."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            source = "".join(e.source for e in item.dtest.examples)
            if any(call in source for call in LONG_EXAMPLES):
                item.add_marker(pytest.mark.slow)
            if "bs.link(" in source:
                item.add_marker(pytest.mark.filterwarnings(SHORT_CHAINS))


@pytest.fixture(autouse=True)
def _links_of_examples(request, monkeypatch):
    """Sample each link of the examples once, with short chains: it takes minutes otherwise."""
    if not isinstance(request.node, pytest.DoctestItem):
        return
    if "bs.link(" not in "".join(e.source for e in request.node.dtest.examples):
        return
    from bayescale.capabilities import links
    from bayescale.inference import nuts

    def sample(target, **options):
        key = (target.shape, *sorted(options.items()))
        if key not in _SAMPLED:
            short = dict(draws=200, tune=300, target_accept=0.9)
            _SAMPLED[key] = nuts.sample(target, **{**options, **short})
        return _SAMPLED[key]

    monkeypatch.setattr(links, "nuts", SimpleNamespace(sample=sample))
