"""Power-scaling of priors and likelihood."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import FitError
from bayescale.model.sensitivity import STRONG, THRESHOLD, WEAK

PRIORS = {name: bs.laws.chinchilla.priors[name] for name in ("alpha", "beta")}
WEIGHTS = {"chinchilla": 0.6, "kaplan_floor": 0.4}
OPTIONS = dict(draws=2000, engine="particles", random_seed=1)


@pytest.fixture(scope="module")
def few(openlm):
    runs = openlm.query("dataset == 'c4'")
    chosen = runs.table.sort_values("C").index[[0, 3, 6, 9, 12, 15, 18, 21]]
    return runs[runs.table.index.isin(chosen)]


@pytest.fixture(scope="module")
def fitted(few):
    return bs.fit(few, "chinchilla", **OPTIONS)


def scaled(power):
    return {
        name: bs.Positive(prior.median, spread=float(prior.spread ** (power**-0.5)))
        for name, prior in {n: p for n, p in PRIORS.items() if n == "alpha"}.items()
    }


def test_medians_are_those_of_fits_with_the_scaled_prior(few, fitted):
    """The prior of alpha alone is scaled, and the model is fitted again."""
    row = bs.sensitivity(fitted, priors="alpha").table.loc["alpha"]
    sd = float(fitted.posterior["alpha"].std())
    found = []
    for column, power in (("weak_prior", WEAK), ("strong_prior", STRONG)):
        again = bs.fit(few, "chinchilla", priors=scaled(power), **OPTIONS)
        expected = float(again.posterior["alpha"].median())
        found.append(expected)
        # Medians of two sets of 2000 draws differ by 0.04 sd (one standard error).
        assert row[column] == pytest.approx(expected, abs=0.1 * sd)
    assert abs(found[0] - found[1]) > 0.2 * sd  # the effect of scaling is larger than the error


def test_values_are_those_of_arviz(fitted):
    import arviz_stats
    import xarray as xr

    from bayescale.model.density import coordinates, density

    values = {k: v.to_numpy().ravel() for k, v in fitted.posterior.data_vars.items()}
    z = coordinates(fitted.plan, values)
    shape = (fitted.posterior.sizes["chain"], fitted.posterior.sizes["draw"])
    dims = ("chain", "draw")
    tree = xr.DataTree.from_dict(
        {
            "posterior": fitted.posterior,
            "log_prior": xr.Dataset({"p": (dims, (-0.5 * z**2).sum(axis=1).reshape(shape))}),
            "log_likelihood": xr.Dataset(
                {"l": (dims, density(fitted.plan).log_likelihood(z).reshape(shape))}
            ),
        }
    )
    found = bs.sensitivity(fitted).table
    for group in ("prior", "likelihood"):
        expected = arviz_stats.psense(tree, group=group)
        for name in found.index:
            assert found.loc[name, group] == pytest.approx(float(expected[name]), abs=5e-3)


def test_a_narrow_prior_dominates_and_is_named_first(few):
    narrow = {"alpha": bs.Positive(0.6, spread=1.02)}
    fit = bs.fit(few, "chinchilla", priors=narrow, draws=500, random_seed=1)
    found = bs.sensitivity(fit, priors=["alpha"])
    assert found.table.loc["alpha", "prior"] > THRESHOLD
    assert repr(found).splitlines()[0].startswith(found.bottom_line()[:40])
    assert "depend on the priors" in found.bottom_line()
    assert "alpha" in found._repr_html_()


def test_a_prior_that_is_not_scaled_has_no_effect(fitted):
    everything = bs.sensitivity(fitted)
    of_nu = bs.sensitivity(fitted, priors="nu")
    assert of_nu.table.loc["nu", "prior"] > of_nu.table.loc["alpha", "prior"]
    assert everything.priors == (*fitted.law.parameters, "sigma", "nu")
    assert list(everything.summary().index[-2:]) in (["nu", "sigma"], ["sigma", "nu"])


def test_the_loss_at_a_point_is_that_of_the_law(fitted):
    row = bs.sensitivity(fitted, at={"N": "7B", "D": 1e12}).table.loc["loss"]
    values = {p: fitted.posterior[p] for p in fitted.law.parameters}
    loss = fitted.law({"N": 7e9, "D": 1e12}, fitted.plan.scales, values)
    assert row["median"] == pytest.approx(float(loss.median()))
    with pytest.raises(FitError, match="give one value for each of N, D"):
        bs.sensitivity(fitted, at={"N": 7e9})


def test_many_runs_leave_little_to_the_priors():
    """Of a simulated table of many runs with little noise nothing depends on the priors."""
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e7, 1e10, 8), np.geomspace(1e9, 1e12, 8)))
    loss = bs.laws.chinchilla.at("besiroglu2024", N=N, D=D)
    loss = loss * np.exp(0.002 * np.random.default_rng(1).standard_normal(64))
    runs = bs.Runs.from_frame(pd.DataFrame({"N": N, "D": D, "loss": loss}))
    fit = bs.fit(runs, "chinchilla", draws=500, random_seed=1)
    found = bs.sensitivity(fit, priors=list(fit.law.parameters))
    assert found.table["prior"].max() < THRESHOLD
    assert found.bottom_line().startswith("No quantity depends noticeably on the priors")


def test_populations_of_groups_are_scaled_and_the_groups_are_not(openlm, by_hand):
    level = {"E": 1.7, "A": 1.0, "B": 0.7, "alpha": 0.3, "beta": 0.25, "sigma": 0.01, "nu": 5.0}
    plan_of = {"pool": dict.fromkeys(("A", "B", "beta", "sigma", "nu", "E"), "complete")}
    rng = np.random.default_rng(1)
    values = {k: v * np.exp(0.02 * rng.standard_normal((2, 300))) for k, v in level.items()}
    values |= {
        "alpha_dataset": 0.3 * np.exp(0.02 * rng.standard_normal((2, 300, 3))),
        "alpha_dataset_scale": 0.1 * np.exp(0.1 * rng.standard_normal((2, 300))),
    }
    fit = by_hand(openlm, "chinchilla", values, groups="dataset", draws=300, **plan_of)
    found = bs.sensitivity(fit, at={"N": 7e9, "D": 1e12})
    assert {"alpha_dataset[c4]", "loss[c4]", "alpha_dataset_scale"} <= set(found.table.index)
    before = found.table["prior"]
    moved = values | {"alpha_dataset": values["alpha_dataset"][..., ::-1]}
    again = by_hand(openlm, "chinchilla", moved, groups="dataset", draws=300, **plan_of)
    # The values of groups do not enter the prior that is scaled.
    assert bs.sensitivity(again).table.loc["alpha", "prior"] == pytest.approx(before["alpha"])


def test_an_average_has_the_quantities_of_each_law(few, fitted):
    other = bs.fit(few, "kaplan_floor", draws=100, random_seed=1)
    average = bs.Average({"chinchilla": fitted, "kaplan_floor": other}, WEIGHTS)
    found = bs.sensitivity(average, at={"N": "7B", "D": "1T"})
    for law, fit in average.used.items():
        alone = bs.sensitivity(fit, at={"N": "7B", "D": "1T"}).table
        part = found.table[found.table.index.str.endswith(f" ({law})")]
        assert list(part.index) == [f"{name} ({law})" for name in alone.index]
        assert part["prior"].to_numpy() == pytest.approx(alone["prior"].to_numpy())
    assert any(f" ({law})" in found.bottom_line() for law in average.used)
    assert set(bs.sensitivity(average, priors="beta").table.index.str.split().str[-1]) == {
        "(chinchilla)"
    }


def test_what_is_not_a_fit_or_a_parameter_is_refused(fitted):
    with pytest.raises(FitError, match="got str: give a Fit or an Average"):
        bs.sensitivity("fit.nc")
    with pytest.raises(FitError, match="no parameter 'gamma'"):
        bs.sensitivity(fitted, priors=["gamma"])
