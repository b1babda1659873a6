"""Priors from published constants: the meta-analysis and the rows that it uses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import dblquad

import bayescale as bs
from bayescale.laws import get
from bayescale.model.literature_priors import MU, OMEGA, TAU, pooled
from bayescale.model.specify import design

WIDTH = 0.4


def test_without_information_the_prior_is_the_default_one():
    mean, sd, *_ = pooled(np.array([3.0]), np.array([1e4]), np.array([0]), -1.0, WIDTH)
    assert mean == pytest.approx(-1.0, abs=1e-4)
    assert sd == pytest.approx(WIDTH, rel=0.01)
    assert pytest.approx(1, abs=0.01) == MU**2 + TAU**2 + OMEGA**2


def test_many_equal_studies_give_a_narrow_prior_and_spread_ones_a_wide_one():
    y, sd, study = np.zeros(30), np.full(30, 0.01), np.arange(30)
    narrow = pooled(y, sd, study, 1.0, WIDTH)
    wide = pooled(np.linspace(-1, 1, 30), sd, study, 1.0, WIDTH)
    assert abs(narrow[0]) < 0.01
    assert narrow[1] < 0.1
    assert wide[1] > 0.5


def test_the_grid_agrees_with_numerical_integration():
    y, sd, study = np.array([0.1, 0.4, -0.3]), np.array([0.1, 0.0, 0.2]), np.array([0, 0, 1])
    same = study[:, None] == study

    def parts(tau, omega):
        covariance = tau**2 * same + np.diag(omega**2 + sd**2) + (MU * WIDTH) ** 2
        inverse = np.linalg.inv(covariance)
        density = np.exp(-0.5 * y @ inverse @ y) / np.sqrt(np.linalg.det(covariance))
        prior = np.exp(-0.5 * ((tau / TAU) ** 2 + (omega / OMEGA) ** 2) / WIDTH**2)
        share = (MU * WIDTH) ** 2 * np.ones(3)
        mean = share @ inverse @ y
        variance = (MU * WIDTH) ** 2 - share @ inverse @ share + tau**2 + omega**2
        return density * prior * np.array([1, mean, variance + mean**2])

    total, first, second = (
        dblquad(lambda a, b, i=i: parts(b, a)[i], 1e-3, 1.6, 1e-3, 0.8, epsrel=1e-3)[0]
        for i in range(3)
    )
    mean, sd, *_ = pooled(y, sd, study, 0.0, WIDTH)
    assert mean == pytest.approx(first / total, abs=2e-3)
    assert sd == pytest.approx(np.sqrt(second / total - (first / total) ** 2), rel=0.01)


@pytest.mark.slow
def test_the_interval_holds_the_value_of_a_new_study():
    """Simulated literatures: 90 % intervals hold 90 % of the values of new studies."""
    rng, inside = np.random.default_rng(7), []
    for _ in range(400):
        mu, tau, omega = WIDTH * np.array(
            [MU * rng.standard_normal(), *np.abs(rng.standard_normal(2)) * (TAU, OMEGA)]
        )
        study = np.repeat(np.arange(5), 2)
        sd = rng.choice([0.0, 0.1], 10)
        y = mu + tau * rng.standard_normal(5)[study] + np.hypot(omega, sd) * rng.standard_normal(10)
        new = mu + np.hypot(tau, omega) * rng.standard_normal()
        mean, spread, *_ = pooled(y, sd, study, 0.0, WIDTH)
        inside.append(abs(new - mean) < 1.645 * spread)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.045)  # three standard errors


def test_hoffmanns_exponents_are_those_of_the_papers():
    priors = bs.priors_from_literature("chinchilla", domain="language")
    used = priors.estimates.query("parameter == 'alpha'")
    assert set(used["study"].str.split(" et al").str[0]) == {
        "Hoffmann", "Muennighoff", "Gadre", "Krajewski", "Hu", "Sardana",
    }  # fmt: skip
    gadre = used[used["study"].str.startswith("Gadre")]
    assert sorted(gadre["value"]) == pytest.approx([0.242, 0.254, 0.272])  # alpha = 2 eta
    refit = used[used["value"] == 0.3478]
    assert refit["study"].item().startswith("Hoffmann")  # the same runs
    assert refit["sd"].item() == pytest.approx(0.02 / 0.3478)
    assert len(used[used["study"].str.startswith("Sardana")]) == 1  # not the parts of its runs


def test_a_paper_may_be_left_out():
    priors = bs.priors_from_literature("chinchilla", without=["Gadre", "Sardana"])
    assert not priors.estimates["study"].str.contains("Gadre|Sardana").any()
    with pytest.raises(bs.RunsError, match="no paper"):
        bs.priors_from_literature("chinchilla", without="Nobody et al.")


def test_only_power_laws_with_a_floor_inform_a_law_with_one():
    with_floor = bs.priors_from_literature("power(C)")
    without = bs.priors_from_literature("pure_power(C)")
    assert set(with_floor.estimates["value"]) >= {0.19, 0.14}
    assert set(without.estimates["value"]) == {0.057, 0.05, 0.048}


def test_floors_and_amplitudes_keep_their_defaults():
    assert list(bs.priors_from_literature("repeated_data")) == ["alpha", "beta", "R_D", "R_N"]
    bowl = bs.priors_from_literature("learning_rate_batch")
    assert set(bowl) == {"alpha", "beta", "lr_N", "lr_D", "batch_D"}
    assert isinstance(bowl["lr_N"], bs.Real)
    assert -0.713 < bowl["lr_N"].median < get("learning_rate_batch").priors["lr_N"].median


def test_the_mapping_gives_the_priors_of_a_fit(openlm):
    priors = bs.priors_from_literature("chinchilla")
    plan = design(openlm, get("chinchilla"), priors=priors)
    assert plan.parameter("alpha").prior == priors["alpha"]
    assert plan.parameter("E").prior.spread == get("chinchilla").priors["E"].spread
    assert repr(priors).splitlines()[1].startswith("  alpha: 0.2")
    table = priors.summary()
    assert (table["low"] < table["median"]).all()
    assert (table["median"] < table["high"]).all()


def test_a_law_without_published_values_is_an_error_that_lists_the_others():
    with pytest.raises(bs.LawError, match=r"law 'finetuning'.*chinchilla, kaplan"):
        bs.priors_from_literature("finetuning")
    with pytest.raises(bs.LawError, match="in domain 'image'"):
        bs.priors_from_literature("chinchilla", domain="image")
