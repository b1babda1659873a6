"""Fits of real and simulated runs: recovery, convergence, refusals, and agreement with PyMC."""

from __future__ import annotations

import time
import warnings
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale import laws
from bayescale.inference import Density, nuts
from bayescale.inference.diagnostics import convergence
from bayescale.model import engines
from bayescale.model.fitting import fit_design
from bayescale.model.pymc_model import target
from bayescale.model.specify import design

ROOT = Path(__file__).parents[2]


def quantiles(fit, name, *probs):
    return [float(fit.posterior[name].quantile(p)) for p in probs]


@pytest.fixture(scope="module")
def fit(chinchilla240):
    return bs.fit(chinchilla240, "chinchilla", random_seed=1)


class TestChinchilla:
    """Against the refit of Besiroglu et al. 2024 and its bootstrap."""

    def test_converges_with_default_settings(self, fit):
        assert fit.facts["engine"] == "particles"
        assert fit.convergence.ess >= 1000
        assert fit.convergence.pareto_k <= 0.7
        assert fit.evidence.error <= 0.1
        assert fit.check().passed

    @pytest.mark.parametrize(
        ("name", "low", "high"),
        [("E", 1.768, 1.872), ("alpha", 0.317, 0.371), ("beta", 0.332, 0.416)],
    )
    def test_posterior_lies_inside_the_published_bootstrap(self, fit, name, low, high):
        lower, upper = quantiles(fit, name, 0.025, 0.975)
        assert low < float(fit.posterior[name].mean()) < high
        assert low - 0.01 < lower < upper < high + 0.01

    def test_allocation_exponent_and_optimum_agree_with_the_refit(self, fit):
        best = bs.allocate(fit, C=5.76e23)
        assert float(best.data["a"].mean()) == pytest.approx(0.513, abs=0.02)
        assert 50e9 < float(best.data["N"].median()) < 111e9

    def test_amplitudes_return_to_raw_units(self, fit):
        table = fit.summary()
        assert table.loc["A (raw)", "median"] == pytest.approx(480, rel=0.25)
        assert table.loc["B (raw)", "median"] == pytest.approx(2100, rel=0.35)


class TestHierarchy:
    """OpenLM: three corpora that hardly differ, the hard case for a hierarchy."""

    def test_converges_with_default_settings(self, openlm_fit):
        assert openlm_fit.convergence.r_hat <= 1.01
        assert openlm_fit.convergence.ess >= 400
        assert openlm_fit.convergence.divergences == 0

    def test_groups_lie_around_their_population(self, openlm_fit):
        population = float(openlm_fit.posterior["alpha"].median())
        groups = openlm_fit.posterior["alpha_dataset"].median(("chain", "draw"))
        assert groups.min() <= population <= groups.max()

    def test_second_site_runs_are_among_the_surprising(self, openlm_fit):
        """Known from the published run files, which the fit does not see."""
        second_site = {
            (d, n, t)
            for d, n, ts in [
                ("c4", 154, (160, 320)),
                ("c4", 412, (80, 320)),
                ("c4", 1440, (80,)),
                ("redpajama", 412, (320, 640)),
                ("redpajama", 1440, (640,)),
                ("refinedweb", 412, (320, 640)),
                ("refinedweb", 79, (640,)),
                ("refinedweb", 1440, (320,)),
            ]
            for t in ts
        }
        surprising = openlm_fit.check().surprising
        named = openlm_fit.runs.table.loc[surprising.index[surprising.percent < 0]]
        keys = set(zip(named.dataset, (named.N / 1e6).round(), named.tokens_per_param, strict=True))
        megas = {(d, 1e3 * n if n < 2 else n, t) for d, n, t in keys}
        assert len(second_site & megas) >= 2

    @pytest.mark.slow
    def test_group_posteriors_are_narrower_than_without_pooling(self, openlm, openlm_fit):
        alone = bs.fit(
            openlm,
            groups="dataset",
            pool=dict.fromkeys("EAB", "none") | {"alpha": "none", "beta": "none"},
            random_seed=1,
        )
        pooled = openlm_fit.posterior["alpha_dataset"].std(("chain", "draw"))
        unpooled = alone.posterior["alpha_dataset"].std(("chain", "draw"))
        assert (pooled.mean() < unpooled.mean()).item()

    def test_crossed_columns_add_on_the_link_scale(self, by_hand, openlm):
        rng = np.random.default_rng(1)
        runs = openlm.query("N < 1e9")
        sizes = {g: runs.table[g].nunique() for g in ("dataset", "architecture")}
        values = {"E": 1.5, "A": 1.0, "alpha": 0.2, "sigma": 0.01, "nu": 5.0}
        for name, center in (("E", 1.5), ("A", 1.0)):
            for g, size in sizes.items():
                values[f"{name}_{g}_scale"] = 0.1
                values[f"{name}_{g}"] = center * rng.lognormal(0, 0.1, (2, 10, size))
        fit = by_hand(
            runs,
            "power(D)",
            values,
            groups=list(sizes),
            pool={"alpha": "complete", "sigma": "complete"},
        )
        E = fit.parameters({"dataset": "c4", "architecture": "d=512_l=8_h=4"})["E"]
        expected = (
            np.log(fit.posterior["E_dataset"].sel(dataset="c4"))
            + np.log(fit.posterior["E_architecture"].sel(architecture="d=512_l=8_h=4"))
            - np.log(fit.posterior["E"])
        )
        assert np.allclose(np.log(E), expected)


class TestFewRuns:
    def test_three_runs_are_fitted_and_prior_domination_is_reported(self, openlm):
        three = openlm.query("dataset == 'c4' and tokens_per_param == 20 and N < 2e8")
        assert len(three) == 3
        fit = bs.fit(three, random_seed=1)
        assert "the posterior is prior-dominated" in str(fit.check())
        assert fit.convergence.passed

    @pytest.mark.slow
    def test_intervals_of_five_small_runs_cover_the_large_ones(self, openlm):
        table = openlm.table
        rungs = openlm[
            ((table.tokens_per_param == 20) & (table.N < 5e8))
            | ((table.tokens_per_param == 320) & (table.N < 2e7))
        ]
        held = openlm.query("N > 1e9")
        fit = bs.fit(rungs, groups="dataset", random_seed=1)
        with pytest.warns(bs.ExtrapolationWarning):  # up to 392 times the largest rung
            ahead = bs.forecast(fit, held.table[["N", "D", "dataset"]], random_seed=1)
        frame = ahead.summary(0.95)
        truth = held.table["loss"].to_numpy()
        inside = (frame["loss_eti95_lb"] <= truth) & (truth <= frame["loss_eti95_ub"])
        assert inside.all()


class TestFewDraws:
    """Few draws are thinned from a run that is long enough to judge convergence."""

    @pytest.mark.parametrize(
        "corpus",
        [
            pytest.param("c4", marks=pytest.mark.slow),
            pytest.param("redpajama", marks=pytest.mark.slow),
        ],
    )
    def test_fifty_draws_pass_the_check_as_a_thousand_do(self, openlm, corpus, tmp_path):
        plan = design(openlm.query(f"dataset == '{corpus}'"), laws.chinchilla)
        few, many = (
            fit_design(plan, engine="nuts", draws=n, tune=500, cores=2, random_seed=3)
            for n in (50, 1000)
        )
        assert many.check().passed
        assert few.check().passed
        assert few.posterior.sizes["draw"] == 50
        assert not convergence(few.posterior, few.stats).passed  # 200 draws alone could not
        few.save(tmp_path / "few.nc")
        assert bs.Fit.load(tmp_path / "few.nc").check().passed


class TestStuckChains:
    """With a given acceptance target, sampling is repeated only if a chain is stuck."""

    def attempts(self, openlm, monkeypatch, apart):
        """Seeds of all attempts if a chain of the first stands `apart` from the others."""
        seeds, run = [], nuts._run

        def first_apart(*args, seed, **settings):
            posterior, stats = run(*args, seed=seed, **settings)
            seeds.append(seed)
            if len(seeds) == 1:
                moved = posterior["sigma"] * np.exp(apart * (posterior["chain"] == 0))
                posterior = posterior.assign(sigma=moved)
            return posterior, stats

        monkeypatch.setattr(nuts, "_run", first_apart)
        fit = bs.fit(
            openlm.query("dataset == 'c4'"), draws=100, tune=200, random_seed=7, target_accept=0.9
        )
        return seeds, fit

    @pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
    def test_a_stuck_chain_is_sampled_again_with_another_seed(self, openlm, monkeypatch):
        seeds, fit = self.attempts(openlm, monkeypatch, apart=50.0)
        assert seeds == [7, 8]
        assert fit.convergence.r_hat < nuts.STUCK
        assert (fit.facts["target_accept"], fit.facts["length"]) == (0.9, 400)
        assert "sampled again with target_accept 0.9, 400 draws per chain, thinned to 100" in repr(
            fit
        )

    @pytest.mark.filterwarnings("ignore::bayescale.errors.ConvergenceWarning")
    def test_chains_that_merely_disagree_are_kept(self, openlm, monkeypatch):
        seeds, fit = self.attempts(openlm, monkeypatch, apart=0.1)
        assert seeds == [7]
        assert not fit.convergence.passed


def test_cores_reach_the_sampler(openlm, c4_fit, monkeypatch):
    received = []

    def run(*args, cores, **settings):
        received.append(cores)
        return c4_fit.posterior, c4_fit.stats

    monkeypatch.setattr(nuts, "_run", run)
    bs.fit(openlm.query("dataset == 'c4'"), engine="nuts", cores=1, random_seed=1)
    assert received == [1]


class TestRefusals:
    def test_one_error_names_every_problem(self, openlm):
        with pytest.raises(bs.FitError) as caught:
            bs.fit(openlm, groups="corpus", pool={"gamma": "partial"}, priors={"zeta": 3})
        message = str(caught.value)
        assert all(f"'{name}'" in message for name in ("corpus", "gamma", "zeta"))

    def test_unknown_law_names_the_closest(self, openlm):
        with pytest.raises(bs.LawError, match="Did you mean 'chinchilla'"):
            bs.fit(openlm, "chinchila")

    def test_pooling_without_groups_is_refused(self, openlm):
        with pytest.raises(bs.FitError, match="no groups"):
            bs.fit(openlm, pool={"E": "partial"})

    def test_a_missing_column_is_named(self):
        import pandas as pd

        runs = bs.Runs.from_frame(pd.DataFrame({"C": [1e18, 1e19, 1e20], "loss": [3.5, 3, 2.7]}))
        with pytest.raises(bs.FitError, match="needs the column 'N'"):
            bs.fit(runs, "chinchilla")

    def test_a_law_that_is_not_finite_is_refused(self, openlm):
        def loss(N, D, *, E):
            return np.log(E - N)

        law = bs.Law("broken", loss, dict(E=bs.Positive(1)), "example")
        with np.errstate(invalid="ignore"), pytest.raises(bs.LawError, match="not finite"):
            bs.fit(openlm, law)


class TestOwnLaw:
    def test_is_fitted_and_forecasts(self, openlm):
        def loss(N, D, *, E, A, alpha):
            return E + A * (N * D) ** -alpha

        law = bs.Law(
            "joint",
            loss,
            dict(E=bs.Positive(1.7, spread=1.4), A=bs.Positive(1.0), alpha=bs.Positive(0.2)),
            "example",
            falling=("N", "D"),
        )
        runs = openlm.query("dataset == 'c4' and tokens_per_param > 5")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bs.ConvergenceWarning)
            fit = bs.fit(runs, law, draws=100, random_seed=1)
            ahead = bs.forecast(fit, N=1e9, D=2e10).summary()
        assert 2 < ahead["loss"][0] < 4


class TestReuse:
    """A model is compiled once for all data of its shape."""

    @pytest.fixture
    def compilations(self, monkeypatch) -> list:
        made = []

        class Compiled:
            def with_data(self, **arrays):
                return arrays

        def compile_model(model, scattered):
            made.append(model)
            return Compiled()

        monkeypatch.setattr(nuts, "_compiled", OrderedDict())
        monkeypatch.setattr(nuts, "compile_model", compile_model)
        return made

    @staticmethod
    def data_of(runs, *options, **more) -> dict:
        return nuts.compiled(target(design(runs, laws.get("chinchilla"), *options, **more)))

    def test_a_second_table_of_the_same_shape_does_not_compile(self, openlm, compilations):
        one, other = (openlm.query(f"dataset == '{d}'") for d in ("c4", "redpajama"))
        for runs in (one, other):
            data = self.data_of(runs)
            np.testing.assert_array_equal(data["observed_log_loss"], np.log(runs.table["loss"]))
        assert len(one) != len(other)
        assert len(compilations) == 1
        self.data_of(openlm, "dataset")
        assert len(compilations) == 2

    def test_other_priors_do_not_compile_either(self, openlm, compilations):
        c4 = openlm.query("dataset == 'c4'")
        default = self.data_of(c4)
        other = self.data_of(c4, priors={"E": bs.Positive(1.0, spread=1.02)})
        assert len(compilations) == 1
        assert any(not np.array_equal(default[k], other[k]) for k in default if "prior" in k)


class TestImportanceSampling:
    @pytest.fixture
    def runs_of_sampler(self, openlm, monkeypatch):
        """Fits with an importance sampler that fails `failures` times; returns the seeds."""
        sampled, seeds = engines.importance.sample, []

        def sample(density, draws, rng, report):
            seeds.append(rng.bit_generator.seed_seq.entropy)
            found = sampled(density, draws, rng, report)
            ess = 1.0 if len(seeds) <= sample.failures else 2000.0
            return replace(found, diagnostics=replace(found.diagnostics, ess=ess))

        def fit(failures):
            sample.failures = failures
            return bs.fit(openlm.query("dataset == 'c4'"), "kaplan_floor", random_seed=1), seeds

        monkeypatch.setattr(engines.importance, "sample", sample)
        return fit

    def test_a_run_that_fails_is_repeated_with_another_seed(self, runs_of_sampler):
        fit, seeds = runs_of_sampler(failures=1)
        assert seeds == [1, [1, 1]]
        assert (fit.facts["engine"], fit.facts["attempts"]) == ("particles", 2)

    def test_nuts_follows_two_runs_that_failed(self, runs_of_sampler, monkeypatch):
        class Reached(Exception):
            pass

        def refuse(*_, **__):
            raise Reached

        monkeypatch.setattr(engines.nuts, "sample", refuse)
        with pytest.raises(Reached):
            runs_of_sampler(failures=2)


class TestModel:
    def test_prior_draws_agree_with_pymc(self, openlm_fit):
        import pymc as pm

        with openlm_fit.model:
            of_pymc = pm.sample_prior_predictive(draws=1000, random_seed=1).prior
        drawn = openlm_fit.data["prior"]
        assert set(drawn.data_vars) <= set(of_pymc.data_vars)
        for name in drawn.data_vars:
            a, b = (np.log(np.ravel(x[name])) for x in (drawn, of_pymc))
            error = 4 * np.hypot(a.std() / np.sqrt(2000), b.std() / np.sqrt(1000))
            assert abs(np.median(a) - np.median(b)) < 1.3 * error, name
            assert np.std(a) == pytest.approx(np.std(b), rel=0.12), name

    def test_prior_predictive_losses_are_sane(self, openlm_fit):
        import pymc as pm

        with openlm_fit.model:
            tree = pm.sample_prior_predictive(draws=500, random_seed=1)
        loss = np.exp(tree.prior_predictive["log_loss"].to_numpy())
        assert ((loss > 0.5) & (loss < 15)).mean() > 0.9

    def test_log_likelihood_agrees_with_pymc(self, c4_fit):
        import pymc as pm
        import xarray as xr

        thinned = c4_fit.posterior.isel(draw=slice(0, 20))
        tree = xr.DataTree.from_dict({"posterior": thinned})
        with c4_fit.model:
            of_pymc = pm.compute_log_likelihood(tree, progressbar=False).log_likelihood["log_loss"]
        stored = c4_fit.data["log_likelihood"]["log_loss"].isel(draw=slice(0, 20))
        assert np.allclose(stored.to_numpy(), of_pymc.to_numpy(), rtol=1e-8)

    def test_arviz_reads_the_data(self, c4_fit):
        import arviz as az

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the runs that stand far off
            elpd = az.loo(c4_fit.data)
        assert np.isfinite(elpd.elpd)
        assert elpd.pareto_k.sizes == {"run": len(c4_fit.runs)}

    @pytest.mark.parametrize("law", ["chinchilla", "kaplan", "kaplan_floor", "power(D)"])
    def test_few_and_many_runs_choose_their_parametrisation(self, openlm, law):
        from bayescale.model.specify import design

        def centred(runs):
            plan = design(runs, laws.get(law), "dataset")
            return sum(e.centred for p in plan.parameters for e in p.effects)

        assert centred(openlm) > centred(
            openlm.query(
                "N < 1e8 and tokens_per_param == 20 or tokens_per_param == 320 and N < 1e8"
            )
        )


def test_the_expected_time_is_that_of_evaluations(monkeypatch):
    """A density that takes 50 ms for all positions, whatever their number, and at first longer."""
    called = []

    def slow(z):
        time.sleep(0.05 if called else 0.3)
        called.append(len(z))
        return np.zeros(len(z))

    monkeypatch.setattr(engines, "density", lambda plan: Density(3, slow))
    for law, (few, many) in (
        ("chinchilla", engines.EVALUATIONS),
        ("skaling", engines.EVALUATIONS_CURVED),
    ):
        called.clear()
        least, most = engines.expected_seconds(SimpleNamespace(law=laws.get(law)))
        assert least == pytest.approx(few * 0.05 / engines.TIMED, rel=0.3)
        assert most / least == pytest.approx(many / few)


def test_the_expected_evaluations_are_those_of_the_benchmark():
    """The least and the most of one run, rounded outward by at most a factor of two."""
    table = pd.read_csv(ROOT / "benchmarks" / "results" / "checkpoints.csv")
    found = table["evaluations"]
    assert found.min() / 2 < engines.EVALUATIONS[0] <= found.min()
    few = table["law"].map(lambda name: len(laws.get(name).parameters)) <= engines.FEW
    assert engines.EVALUATIONS_CURVED[0] <= found[~few].min()
    for chosen, (_, most) in ((few, engines.EVALUATIONS), (~few, engines.EVALUATIONS_CURVED)):
        assert found[chosen].max() <= most < 2 * found[chosen].max()


@pytest.mark.parametrize("law", ["chinchilla", "skaling"])
def test_checkpoints_of_three_runs_need_neither_moves_nor_chains(law):
    rng = np.random.default_rng(1)
    N, D = np.repeat([1e8, 3e8, 1e9], 15), np.tile(np.geomspace(2e9, 4e10, 15), 3)
    loss = 1.7 + 406 * N**-0.34 + 411 * D**-0.28
    table = pd.DataFrame({"N": N, "D": D, "series": np.repeat(list("abc"), 15)})
    runs = bs.Runs.from_frame(table.assign(loss=loss * np.exp(0.005 * rng.standard_normal(45))))
    fit = bs.fit(runs, law, random_seed=1)
    assert (fit.facts["engine"], fit.facts["attempts"]) == ("particles", 1)
    assert fit.convergence.passed
    assert fit.convergence.moves == 0
    assert fit.convergence.ess > 1500


@pytest.mark.slow
def test_the_memory_of_checkpoints_is_inferred(openlm):
    c4 = openlm.query("dataset == 'c4'").table
    marked = c4.assign(series=c4.N.astype(int).astype(str)).drop(columns=["C", "dataset"])
    runs = bs.Runs.from_frame(marked, N="N", D="D", loss="loss", loss_sd="loss_sd")
    fit = bs.fit(runs, drift="off", random_seed=1)
    assert 0.01 < float(fit.posterior["memory"].median()) < 10
