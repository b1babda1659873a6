"""The benchmark of laws of other regimes, on a table of scores that is known."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.model import small_runs


@pytest.fixture
def gallery(script):
    return script("gallery")


@pytest.fixture
def known(gallery, monkeypatch):
    """Scores of three tables of one law each; errors help under the first two."""
    laws = {"a": "sparse_experts", "b": "learning_rate_batch", "c": "finetuning"}
    made = [gallery.Table(name, None, None, (law,), law, {}) for name, law in laws.items()]
    monkeypatch.setattr(gallery, "tables", lambda: made)
    with_errors = {"a": 0.5, "b": 0.8, "c": 1.2}
    rows = [
        dict(table=t, law=law, law_error=e, coverage90=90.0, r_squared=0.5, held_back=4, fitted=9,
             width90=1.0, interval_score=with_errors[t] if e else 1.0)
        for t, law in laws.items()
        for e in (False, True)
    ]  # fmt: skip
    squares = [{**rows[0], "table": t, "law": gallery.SQUARES} for t in laws]
    return pd.DataFrame(rows + squares)


def test_a_rule_is_scored_on_tables_that_did_not_choose_it(gallery, known):
    found = gallery.rules(known).set_index("laws with errors")
    sizes, every = "laws whose sizes are N and D", "all laws"
    assert found.loc["no law", "score"] == 0
    assert found.loc[sizes, "score"] == pytest.approx(100 * (0.4 ** (1 / 3) - 1))
    # Without table c all laws do as well, and the first rule of equal ones is chosen.
    assert found.loc[sizes, "tables that choose it"] == 3
    assert found.loc[every, "score"] == pytest.approx(100 * (0.48 ** (1 / 3) - 1))
    assert found.loc["chosen on the other tables", "score"] == found.loc[sizes, "score"]


def test_the_row_of_all_tables_has_the_errors_that_are_the_default(gallery, known, monkeypatch):
    def score():
        of_all = gallery.with_all(known).set_index(["table", "law"]).loc[gallery.ALL]
        return of_all.loc[gallery.OF_REGIME, "interval_score"]

    assert score() == pytest.approx(1.0)
    monkeypatch.setattr(small_runs, "by_default", gallery.RULES["laws whose sizes are N and D"])
    assert score() == pytest.approx(np.mean([0.5, 0.8, 1.0]))


def test_the_default_is_the_rule_under_which_most_runs_lie_inside(gallery):
    found = pd.read_csv(gallery.RESULTS / "gallery_rules.csv").set_index("laws with errors")
    rule = found["coverage90"].idxmax()
    for law in ("sparse_experts", "learning_rate_batch", "routed_experts", "mixing", "finetuning"):
        of_law = [bs.laws.get(law)]
        assert gallery.RULES[rule](of_law) == small_runs.by_default(of_law)
