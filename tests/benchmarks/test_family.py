"""The defaults of the package are those of the benchmark."""

from pathlib import Path

import pandas as pd
import pytest

from bayescale.evaluation.ensembles import POWER
from bayescale.model import drift

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


@pytest.fixture
def family(script):
    return script("family")


@pytest.fixture(scope="module")
def score():
    return pd.read_csv(RESULTS / "family.csv").set_index("method")["score"]


def test_the_drift_of_one_law_has_the_best_coverage_of_equal_scores():
    family = pd.read_csv(RESULTS / "family.csv").set_index("method")
    of_one = family[family.index.str.startswith("chinchilla, drift")]
    equal = of_one[of_one["score"] <= 1.05 * of_one["score"].min()]
    off = (
        (equal[["pooled 0.80", "pooled 0.90", "pooled 0.95"]] - [0.8, 0.9, 0.95]).abs().mean(axis=1)
    )
    assert off.idxmin() == f"chinchilla, drift {drift.AHEAD.median:g}"


def test_the_power_and_the_drift_of_the_family_are_the_middle_of_the_best(score):
    chosen = pd.read_csv(RESULTS / "family_choice.csv").set_index("left out").loc["none"]
    assert (POWER, drift.AHEAD_AVERAGED.median) == (chosen["power"], chosen["drift"])
    default = f"family, evidence^{POWER:g}, drift {drift.AHEAD_AVERAGED.median:g}"
    assert score[default] <= 1.05 * score[score.index.str.startswith("family, evidence")].min()


def test_the_choice_is_the_middle_of_settings_with_nearly_the_lowest_score(family):
    scores = {(0.1, 0.01): 1.04, (0.2, 0.03): 1.03, (0.3, 0.03): 1.0, (1.0, 0.1): 1.2}
    each = {
        f"family, {family.named(*setting)}": {"table": pd.DataFrame({"score": [score]})}
        for setting, score in scores.items()
    }
    assert family.setting("family, evidence^0.3, drift 0.03") == (0.3, 0.03)
    assert family.choose(each) == "family, evidence^0.2, drift 0.03"
