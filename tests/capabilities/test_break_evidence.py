"""Evidence for each number of breaks, the share of curves that break, kinds, and words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from bayescale.capabilities import break_evidence as evidence
from bayescale.capabilities import break_wording
from bayescale.capabilities.break_model import BreakModel, Curve
from bayescale.capabilities.likelihoods import Loss

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
S = np.linspace(-3, 3, 16)
CURVE = Curve(S, Loss(np.exp(-0.3 * S), np.zeros(16)), np.full(16, -1))


def samples_of(*log_evidence: float, error: float = 0.0) -> dict:
    """Samples with drift of 0, 1, ... breaks, only with their evidence."""
    return {
        (k, True): SimpleNamespace(log_evidence=z, error=error) for k, z in enumerate(log_evidence)
    }


def probability(*log_evidence: float, others: tuple[float, ...] = ()) -> float:
    """P(break) of a curve, in a table with other curves of the given log Bayes factors."""
    own = evidence.log_evidences(samples_of(*log_evidence))
    table = [own, *(evidence.log_evidences(samples_of(0.0, z)) for z in others)]
    weight = evidence.share_posterior(table)
    return 1 - evidence.number_posterior(*own, evidence.GRID, weight)[0]


def test_a_curve_without_information_keeps_the_prior_probability_of_a_break():
    """One in ten, as often as public learning curves break."""
    assert probability(-7.0, -7.0) == pytest.approx(0.1, abs=1e-3)


def test_each_further_break_has_a_third_of_the_prior_probability():
    broken, unbroken = evidence.log_evidences(samples_of(0.0, 0.0, 0.0, 0.0))
    assert unbroken == 0
    assert np.exp(broken) == pytest.approx(np.array([9, 3, 1]) / 13)


def test_the_posterior_odds_are_prior_odds_times_the_bayes_factor():
    share = np.array([0.2])
    out = evidence.number_posterior(
        *evidence.log_evidences(samples_of(0.0, np.log(6.0))), share, np.ones(1)
    )
    assert out == pytest.approx([0.4, 0.6, 0, 0])


def test_the_share_of_broken_curves_is_inferred_from_all_curves():
    """The same evidence counts for less among unbroken curves and for more among broken ones."""
    assert (
        probability(0.0, 1.0, others=(-3.0,) * 9)
        < probability(0.0, 1.0)
        < probability(0.0, 1.0, others=(6.0,) * 9)
    )


def test_where_no_break_can_be_identified_nothing_is_said_of_its_probability():
    few = samples_of(0.0)
    few[0, False] = few[0, True]
    own = evidence.log_evidences(few)
    assert np.isnan(evidence.number_posterior(*own, evidence.GRID, evidence.GRID)).all()
    assert np.isnan(evidence.log_bayes_factor_error(few))
    factors = evidence.bayes_factors(few)
    assert factors.pop("drift_over_law") == 0
    assert np.isnan(list(factors.values())).all()
    prior = evidence.share_posterior([])
    assert evidence.share_posterior([own]) == pytest.approx(prior)


def test_errors_of_both_evidences_add_in_quadrature():
    assert evidence.log_bayes_factor_error(samples_of(0, 5, error=0.3)) == pytest.approx(
        0.3 * np.sqrt(2)
    )


@pytest.mark.parametrize(
    ("log_evidence", "tried"),
    [
        ((0.0, -9.0, -9.1, -9.2), 2),
        ((0.0, -1.0, -2.9, -3.5), 3),
        ((0.0, 4.0, 0.9, 0.0), 2),
        ((0.0, 4.0, 1.1, 0.0), 3),
    ],
)
def test_more_breaks_are_tried_until_the_evidence_falls(monkeypatch, log_evidence, tried):
    """One and two breaks always; three only if two lost at most 3 in log evidence."""

    def sample(self, rng, particles):
        return SimpleNamespace(log_evidence=log_evidence[self.n_breaks], error=0.0)

    monkeypatch.setattr(BreakModel, "sample", sample)
    samples = evidence.sample_curve(CURVE, 3, 16, [1])
    assert max(k for k, drift in samples if drift) == tried
    assert {k for k, drift in samples if not drift} == {0, 1}
    assert max(k for k, _ in evidence.sample_curve(CURVE, 1, 16, [1])) == 1


@pytest.mark.parametrize(
    ("first_slope", "change", "kind"),
    [(0.05, -0.8, "start"), (-1.0, -1.0, "bend"), (-1.0, 0.9, "bend")],
)
def test_one_break_is_a_start_or_a_bend(first_slope, change, kind):
    model = BreakModel(CURVE, 1, drift=False)
    positions = np.zeros((1, model.dimension))
    positions[:, -2:] = 0.5, -3.0
    slope = model.hyperparameters(positions)["slope"][0, 0]
    coefficients = np.array([[0.0, first_slope + 1, change]])
    before, changes = model.slopes(positions, coefficients)
    assert before / slope == pytest.approx(first_slope)
    row = evidence.largest_break(model, positions, coefficients).iloc[0]
    assert row["kind"] == kind
    assert row["x"] == pytest.approx(1.0)
    assert row["after"] == pytest.approx((before + changes[:, 0])[0])


def test_two_near_breaks_are_a_step_and_the_larger_one_is_reported():
    model = BreakModel(CURVE, 2, drift=False)
    positions = np.zeros((1, model.dimension))
    positions[:, -4:] = 0.4, 0.6, -4.0, -4.0
    coefficients = np.array([[0.0, 0.95, -9.0, 8.9]])
    row = evidence.largest_break(model, positions, coefficients).iloc[0]
    assert row["kind"] == "step"
    low, high = CURVE.window
    assert row["x"] == pytest.approx(np.exp(low + 0.4 * (high - low)))


def test_rates_of_false_alarms_are_those_of_the_benchmark():
    kept = pd.read_csv(RESULTS / "breaks_alarms.csv").query("drift > 0")
    kept["count"] = (kept["alarms"] * kept["curves"]).round().astype(int)
    for (metric, points), rows in kept.groupby(["metric", "points"]):
        assert break_wording.FALSE_ALARMS[metric][points] == (
            rows["count"].sum(),
            rows["curves"].sum(),
        )
    assert break_wording.false_alarms("brier", 30) == (*break_wording.FALSE_ALARMS["loss"][20], 20)
    assert break_wording.false_alarms("accuracy", 5) == (
        *break_wording.FALSE_ALARMS["accuracy"][8],
        8,
    )


def test_words_include_a_numerical_error_that_could_change_the_answer():
    draws = pd.DataFrame(
        {"x": [1e20, 2e20, 3e20], "before": -0.1, "after": -0.4, "kind": ["bend", "bend", "step"]}
    )
    unclear, clear = (
        break_wording.describe("a", "C", 0.55, bounds, draws)
        for bounds in ((0.4, 0.7), (0.52, 0.6))
    )
    assert "0.40 to 0.70; use more particles" in unclear
    assert clear.startswith("  a: P(break) 0.55, a bend at C 2e+20")
    assert "slope -0.1 before and -0.4 after" in clear
    assert break_wording.describe("a", "C", np.nan, (np.nan, np.nan), draws) == (
        "  a: P(break) - (fewer than 6 different C)"
    )


@pytest.mark.parametrize(("p", "words"), [(0.1, "are not found by this test"), (0.9, "0 had P")])
def test_the_error_that_matters_is_named(p, words):
    """Without a break the doubt is about power, with one about false alarms."""
    (doubt,) = break_wording.doubts({"a": p}, {"a": (p, p)}, (), (), (0, 28, 40))
    assert words in doubt
