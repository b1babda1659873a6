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


@pytest.mark.parametrize("law_error", [False, True])
def test_the_drift_of_one_law_has_the_best_coverage_of_equal_scores(law_error):
    family = pd.read_csv(RESULTS / "family.csv").set_index("method")
    of_one = family[family.index.str.startswith("chinchilla, drift")]
    of_one = of_one[of_one.index.str.endswith("error in small runs") == law_error]
    equal = of_one[of_one["score"] <= 1.05 * of_one["score"].min()]
    off = (
        (equal[["pooled 0.80", "pooled 0.90", "pooled 0.95"]] - [0.8, 0.9, 0.95]).abs().mean(axis=1)
    )
    size = drift.ahead(is_averaged=False, has_law_error=law_error).median
    assert off.idxmin().removesuffix(", error in small runs") == f"chinchilla, drift {size:g}"


def test_the_power_and_the_drift_of_the_family_are_the_middle_of_the_best(score):
    chosen = pd.read_csv(RESULTS / "family_choice.csv").set_index("left out").loc["none"]
    size = drift.ahead(is_averaged=True, has_law_error=True).median
    assert (POWER, size) == (chosen["power"], chosen["drift"])
    default = f"family, evidence^{POWER:g}, drift {size:g}"
    assert score[default] <= 1.05 * score[score.index.str.startswith("family, evidence")].min()


def test_the_choice_is_the_middle_of_settings_with_nearly_the_lowest_score(family):
    scores = {(0.1, 0.01): 1.04, (0.2, 0.03): 1.03, (0.3, 0.03): 1.0, (1.0, 0.1): 1.2}
    each = {
        f"family, {family.named(*setting)}": {"table": pd.DataFrame({"score": [score]})}
        for setting, score in scores.items()
    }
    assert family.setting("family, evidence^0.3, drift 0.03") == (0.3, 0.03)
    assert family.choose(each) == "family, evidence^0.2, drift 0.03"
    assert family.choose(each, power=0.1) == "family, evidence^0.1, drift 0.01"
