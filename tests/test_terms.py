"""Terms are explained where they are printed first."""

from __future__ import annotations

import pandas as pd

from bayescale.model.findings import Check, Finding
from bayescale.terms import Explained

DIAGNOSTICS = "2000 effective draws, Pareto k 0.31, log evidence 67.07 +- 0.02"


def test_each_term_is_explained_once():
    explained = Explained()
    first, second = explained(DIAGNOSTICS), explained(DIAGNOSTICS)
    assert first.startswith(f"{DIAGNOSTICS} [")
    for term in ("Pareto k: the weight", "log evidence: log prob", "effective draws: as exact"):
        assert first.count(term) == 1
    assert second == DIAGNOSTICS
    assert (
        explained("12 moves") == "12 moves [moves: steps of the sampler after the last weighting]"
    )


def test_the_text_of_a_check_explains_its_terms():
    findings = tuple(Finding("convergence", "passed", DIAGNOSTICS) for _ in range(2))
    lines = repr(Check(findings, pd.DataFrame())).splitlines()
    assert "Pareto k: the weight of the tail of the importance weights" in lines[1]
    assert lines[2].endswith(DIAGNOSTICS)
