"""Many groups are sampled without compilation, and have the posterior of NUTS."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.inference import flatten
from bayescale.model import engines
from bayescale.model.specify import design


def curves(groups: int, points: int = 6) -> bs.Runs:
    """Curves of a few runs each, with different floors, amplitudes and exponents."""
    rng, D = np.random.default_rng(1), np.geomspace(2e8, 5e10, points)
    parts = []
    for i in range(groups):
        E, A, alpha = np.array([1.5, 1.0, 0.3]) * np.exp(0.15 * rng.standard_normal(3))
        loss = (E + A * (D / 3e9) ** -alpha) * np.exp(0.005 * rng.standard_normal(points))
        parts.append(pd.DataFrame({"D": D, "loss": loss, "curve": f"c{i}"}))
    return bs.Runs.from_frame(pd.concat(parts, ignore_index=True), groups="curve")


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    return curves(8)


@pytest.fixture(scope="module")
def fit(runs) -> bs.Fit:
    return bs.fit(runs, "power(D)", groups="curve", random_seed=1)


def test_the_posterior_of_many_groups_is_that_of_nuts(runs, fit):
    """Within the Monte Carlo error of both, in means and in standard deviations."""
    assert fit.facts["engine"] == "gibbs"
    other = bs.fit(runs, "power(D)", groups="curve", engine="nuts", cores=2, random_seed=2)
    assert list(fit.posterior.data_vars)[:5] == ["E", "A", "alpha", "sigma", "nu"]
    of_sampler = [n for n in other.posterior.data_vars if n.endswith("_offset")]
    assert set(fit.posterior.data_vars) == set(other.posterior.data_vars) - set(of_sampler)
    names, draws = flatten(fit.posterior)
    by_nuts = dict(zip(*(flatten(other.posterior)[0], flatten(other.posterior)[1].T), strict=True))
    one = np.log(draws.reshape(-1, len(names)))
    two = np.log(np.stack([by_nuts[n].T.ravel() for n in names], axis=1))
    error = 4 * np.sqrt(1 / fit.convergence.ess + 1 / other.convergence.ess)
    apart = abs(one.mean(axis=0) - two.mean(axis=0)) / two.std(axis=0)
    np.testing.assert_array_less(apart, error)
    np.testing.assert_array_less(abs(np.log(one.std(axis=0) / two.std(axis=0))), error)


def test_a_fit_of_many_groups_is_judged_stored_and_forecast_as_others(fit, tmp_path):
    assert fit.convergence.passed
    assert fit.convergence.r_hat <= 1.01
    assert fit.posterior.sizes == {"chain": 4, "draw": 1000, "curve": 8}
    assert (fit.summary()["ess_bulk"].dropna() > 200).all()
    fit.save(tmp_path / "fit.nc")
    again = bs.load(tmp_path / "fit.nc")
    assert str(again.convergence) == str(fit.convergence)
    one, two = (bs.forecast(f, D="1T", group="c3", random_seed=1).summary() for f in (fit, again))
    pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize(
    ("groups", "options", "is_many"),
    [
        (8, {}, True),
        (7, {}, False),
        (8, dict(drift="through"), False),
        (8, dict(pool=dict.fromkeys(("E", "A", "alpha", "sigma"), "none")), False),
    ],
)
def test_the_rule_is_the_number_of_groups(groups, options, is_many):
    plan = design(curves(groups), bs.laws.get("power(D)"), "curve", **options)
    assert engines.has_many_groups(plan) == is_many


def test_crossed_groups_are_left_to_nuts(runs):
    table = runs.table.assign(half=np.where(np.arange(len(runs)) % 2, "a", "b"))
    plan = design(replace(runs, table=table), bs.laws.get("power(D)"), ["curve", "half"])
    assert not engines.has_many_groups(plan)
    with pytest.raises(bs.FitError, match="engine 'gibbs' samples models with one column"):
        engines.sample_design(plan, engine="gibbs", draws=100, tune=100, seed=1)


@pytest.mark.parametrize("options", [{}, dict(target_accept=0.9)])
def test_nuts_follows_if_groups_do_not_converge_or_if_it_is_asked_for(runs, monkeypatch, options):
    class Reached(Exception):
        pass

    def refuse(*_, **__):
        raise Reached

    def unconverged(*arguments, **settings):
        made.append(settings["seed"])
        found = sampled(*arguments, **settings)
        return found._replace(convergence=replace(found.convergence, r_hat=1.5))

    sampled, made = engines.hierarchies.sample, []
    monkeypatch.setattr(engines.hierarchies, "STAGES", (25, 200))
    monkeypatch.setattr(engines.hierarchies, "sample", unconverged)
    monkeypatch.setattr(engines.nuts, "sample", refuse)
    with pytest.raises(Reached):
        bs.fit(runs, "power(D)", groups="curve", random_seed=1, **options)
    assert made == ([] if options else [1])
