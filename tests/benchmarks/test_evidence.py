"""The benchmark of probabilities of laws: its scores, on probabilities that are known."""

import numpy as np
import pandas as pd
import pytest

TABLES = 4000


@pytest.fixture
def evidence(script):
    return script("evidence")


def cases(evidence, overstated: float) -> pd.DataFrame:
    """Log evidences of three laws, `overstated` times as far apart as they should be."""
    rng = np.random.default_rng(1)
    log = 2 * rng.standard_normal((TABLES, 3))
    p = np.exp(log) / np.exp(log).sum(axis=1, keepdims=True)
    truth = (rng.random((TABLES, 1)) > p.cumsum(axis=1)).sum(axis=1)
    table, law = np.divmod(np.arange(3 * TABLES), 3)
    return pd.DataFrame(
        {
            "table": table,
            "law": np.array(evidence.OF_SIZE)[law],
            "truth": np.array(evidence.OF_SIZE)[truth[table]],
            "log evidence": overstated * log.ravel() - 40,
            "change of units": (1 - overstated) * log.ravel(),
        }
    )


def test_calibrated_probabilities_are_reported_as_calibrated(evidence):
    each = cases(evidence, 1.0)
    rows = evidence.reliability(each).set_index("method").loc["evidence"]
    np.testing.assert_allclose(rows["observed"], rows["stated"], atol=0.05)
    line = evidence.scores(each).set_index("method").loc["evidence"]
    assert abs(line["excess"]) < 3 * line["standard error"]


def test_overconfident_probabilities_are_found_and_the_change_of_units_mends_them(evidence):
    each = cases(evidence, 3.0)
    lines = evidence.scores(each).set_index("method")
    assert lines.loc["evidence", "excess"] > 10 * lines.loc["evidence", "standard error"]
    exact = lines.loc["evidence, units of the truth"]
    assert abs(exact["excess"]) < 3 * exact["standard error"]
    assert exact["Brier score"] < lines.loc["evidence", "Brier score"]
    rows = evidence.reliability(each).set_index("method").loc["evidence"]
    assert not rows["inside"].all()


def test_probabilities_sum_to_one_and_follow_a_power_of_the_evidence(evidence):
    each = cases(evidence, 1.0)
    p, tempered = (evidence.probabilities(each, "as fitted", power) for power in (1.0, 0.3))
    assert p.sum(axis=1).to_numpy() == pytest.approx(1)
    ratio, expected = (np.log(x.iloc[:, 0] / x.iloc[:, 1]) for x in (tempered, p))
    np.testing.assert_allclose(ratio, 0.3 * expected)
