"""Terms are explained where they are printed first."""

from __future__ import annotations

import pandas as pd

from bayescale.model.findings import Check, Finding
from bayescale.terms import TERMS, Explained

DIAGNOSTICS = "2000 effective draws, Pareto k 0.31, log evidence 67.07 +- 0.02"


def test_each_term_is_explained_once():
    explained = Explained()
    first, second = explained(DIAGNOSTICS), explained(DIAGNOSTICS)
    for pattern in ("Pareto k(?= |:|$)", "log evidence", "effective draws|draws are effective"):
        assert first.count(f"({TERMS[pattern]})") == 1
    assert second == DIAGNOSTICS
    assert first.index("Pareto k (the weight") < first.index(" 0.31")


def test_the_text_of_a_check_explains_its_terms():
    findings = tuple(Finding("convergence", "passed", DIAGNOSTICS) for _ in range(2))
    lines = repr(Check(findings, pd.DataFrame())).splitlines()
    assert "Pareto k (the weight of the tail" in lines[1]
    assert DIAGNOSTICS in lines[2]
