"""Simulated runs follow their law, noise and groups."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.model.simulation import draw_prior, simulate_design
from bayescale.model.specify import design as plan_of


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
