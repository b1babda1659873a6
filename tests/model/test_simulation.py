"""Simulated runs are what they claim, and posteriors find what was simulated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.evaluation.sbc import envelope, envelope_level, extremeness
from bayescale.model.design import design as plan_of
from bayescale.model.simulation import draw_prior, simulate_design

ONE_CORPUS = "dataset == 'redpajama'"


class TestSimulate:
    def test_without_noise_the_losses_are_the_law(self, openlm):
        fake = bs.simulate("chinchilla", openlm, "hoffmann2022", sigma=1e-12, random_seed=1)
        exact = bs.laws.chinchilla.at("hoffmann2022", N=openlm.table.N, D=openlm.table.D)
        assert np.allclose(fake.table["loss"], exact, rtol=1e-9)
        assert "loss_sd" not in fake

    def test_noise_is_student_t_on_the_logarithm(self, openlm):
        design = openlm.table.loc[openlm.table.index.repeat(50), ["N", "D", "loss"]]
        design = design.reset_index(drop=True).assign(D=lambda t: t.D * (1 + t.index / 1e9))
        many = bs.Runs.from_frame(design)
        fake = bs.simulate("kaplan", many, "kaplan2020", sigma=0.02, nu=4, random_seed=1)
        exact = bs.laws.kaplan.at("kaplan2020", N=many.table.N, D=many.table.D)
        residual = np.log(fake.table["loss"] / exact) / 0.02
        from scipy.stats import kstest

        assert kstest(residual, "t", args=(4,)).pvalue > 0.001

    def test_the_same_seed_gives_the_same_runs(self, openlm):
        a, b, c = (
            bs.simulate("chinchilla", openlm, "besiroglu2024", random_seed=s).fingerprint
            for s in (1, 1, 2)
        )
        assert a == b != c

    def test_mistakes_are_named(self, openlm):
        with pytest.raises(bs.FitError, match="Did you mean 'hoffmann2022'"):
            bs.simulate("chinchilla", openlm, "hofmann2022")
        with pytest.raises(bs.FitError, match="takes exactly E, A, B, alpha, beta"):
            bs.simulate("chinchilla", openlm, {"E": 1.7})

    def test_a_hierarchy_is_simulated_group_by_group(self, openlm):
        plan = plan_of(openlm, bs.laws.chinchilla, "dataset")
        rng = np.random.default_rng(1)
        truth = {k: v[0] for k, v in draw_prior(plan, 1, rng).items()}
        truth["sigma_dataset"] = np.full(3, 1e-12)
        plan = plan_of(
            bs.Runs(openlm.table.drop(columns="loss_sd"), openlm.groups),
            bs.laws.chinchilla,
            "dataset",
        )
        fake = simulate_design(plan, truth, rng)
        for i, level in enumerate(plan.levels["dataset"]):
            here = (openlm.table["dataset"] == level).to_numpy()
            group = {p: truth[f"{p}_dataset"][i] for p in bs.laws.chinchilla.parameters}
            exact = plan.law({c: v[here] for c, v in plan.columns.items()}, plan.scales, group)
            assert np.allclose(fake.runs.table["loss"][here], exact, rtol=1e-6)


class TestRecovery:
    @pytest.mark.parametrize("law", ["chinchilla", "kaplan", "kaplan_floor", "power"])
    def test_intervals_cover_the_truth_in_twenty_tables(self, openlm, law):
        """Pooled over the law's parameters; each by itself, with 200 tables, in the slow suite."""
        result = bs.calibrate(openlm.query(ONE_CORPUS), law, n=20, random_seed=11)
        parameters = list(bs.laws.get(law).parameters)
        covered = result.coverage(0.9)[parameters].mean()
        assert 0.80 <= covered <= 0.97


class TestRanks:
    def test_uniform_ranks_stay_inside_their_envelope_as_often_as_said(self):
        rng = np.random.default_rng(5)
        limit = envelope_level(100)
        inside = np.mean([extremeness(rng.random(100)) >= limit for _ in range(400)])
        assert 0.92 < inside < 0.98

    @pytest.mark.parametrize("bent", [lambda u: u**1.5, lambda u: 0.5 + (u - 0.5) * 0.7])
    def test_biased_or_too_wide_posteriors_leave_it(self, bent):
        u = np.random.default_rng(5).random(200)
        assert extremeness(bent(u)) < envelope_level(200)

    def test_envelope_narrows_at_the_ends(self):
        at, lower, upper = envelope(200)
        width = upper - lower
        assert width[100] > 2 * width[1]
        assert (lower <= at).all()
        assert (at <= upper).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "groups"),
    [
        ("chinchilla", None),
        ("kaplan", None),
        ("power", None),
        ("kaplan_floor", None),
        ("chinchilla", "dataset"),
    ],
)
def test_ranks_of_the_truth_are_uniform(openlm, law, groups):
    """Simulation-based calibration; the envelope is simultaneous over all scalars (Bonferroni)."""
    runs = openlm if groups else openlm.query(ONE_CORPUS)
    result = bs.calibrate(runs, law, groups=groups, n=200, random_seed=3)
    assert result.unconverged <= 4
    limit = envelope_level(200, 1 - 0.05 / result.pit.shape[1])
    outside = [c for c in result.pit if extremeness(result.pit[c].to_numpy()) < limit]
    assert not outside, result.summary().loc[outside]
    coverage = result.coverage(0.9)
    assert coverage.between(0.80, 0.97).all(), coverage


@pytest.mark.slow
def test_ranks_of_the_truth_are_uniform_with_drift_through_a_curve():
    """Forty checkpoints over three decades, with correlated noise."""
    frame = pd.DataFrame({"D": np.geomspace(1e7, 1e10, 40), "loss": 1.0, "series": "one"})
    result = bs.calibrate(bs.Runs.from_frame(frame), "power(D)", n=200, random_seed=3)
    assert result.unconverged <= 4
    limit = envelope_level(200, 1 - 0.05 / result.pit.shape[1])
    outside = [c for c in result.pit if extremeness(result.pit[c].to_numpy()) < limit]
    assert not outside, result.summary().loc[outside]
    assert result.coverage(0.9).between(0.80, 0.97).all()
