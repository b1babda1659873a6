"""Theories of exponents beside posteriors."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale.errors import FitError

VALUES = dict(E=1.7, A=1.0, B=0.7, sigma=0.01, nu=5.0)
ALPHA = np.array([[0.2, 0.3, 0.4, 0.6], [0.2, 0.3, 0.4, 0.6]])
BETA = np.array([[0.2, 0.2, 0.3, 0.3], [0.2, 0.2, 0.3, 0.3]])


@pytest.fixture
def fit(openlm, by_hand):
    return by_hand(openlm, "chinchilla", VALUES | dict(alpha=ALPHA, beta=BETA), draws=4)


def row(found, exponent, theory):
    return found.table.set_index(["exponent", "theory"]).loc[(exponent, theory)]


def test_probabilities_are_shares_of_draws(fit):
    found = bs.theory.compare(fit)
    assert row(found, "alpha", "variance-limited in N")["probability_above"] == 0.25
    assert row(found, "beta", "variance-limited in D")["probability_above"] == 0.0
    # alpha / (1 + alpha) is .167, .231, .286 and .375
    assert row(found, "beta", "quanta")["probability_above"] == 0.5


def test_the_dimension_follows_from_the_exponent(fit):
    found = bs.theory.compare(fit, ci_prob=0.5)
    implied = row(found, "alpha", "resolution-limited in N")
    assert implied["dimension"] == pytest.approx(np.median(4 / ALPHA))
    assert np.isnan(implied["predicted"])
    assert "With exponents of 4/d the data have the dimension" in found.bottom_line()


def test_a_known_dimension_is_tested(fit):
    found = bs.theory.compare(fit, dimension=11)  # 4/11 = .364
    tested = row(found, "alpha", "resolution-limited in N")
    assert tested["predicted"] == pytest.approx(4 / 11)
    assert tested["probability_above"] == 0.5
    assert "With exponents" not in found.bottom_line()


def test_the_sentence_names_what_is_contradicted_first(fit):
    line = repr(bs.theory.compare(fit)).splitlines()[0]
    assert line.startswith("The posterior contradicts variance-limited in D (beta); it is compat")


def test_one_column_and_equal_exponents(openlm, by_hand):
    values = dict(E=1.7, A=1.0, alpha=0.3, sigma=0.01, nu=5.0)
    found = bs.theory.compare(by_hand(openlm, "power(D)", values))
    assert set(found.table["theory"]) == {"variance-limited in D", "resolution-limited in D"}
    values = dict(E=1.7, A=1.0, B=1.0, eta=0.15, sigma=0.01, nu=5.0)
    found = bs.theory.compare(by_hand(openlm, "overtraining", values))
    assert found.table["median"].tolist() == pytest.approx([0.3] * 5)


def test_an_average_has_the_exponents_of_each_law(openlm, by_hand, fit):
    values = dict(E=1.7, A=1.0, alpha=0.3, sigma=0.01, nu=5.0)
    other = by_hand(openlm, "power(C)", values, draws=4)
    kaplan = dict(E=1.7, A=1.0, B=0.7, alpha_N=0.2, alpha_D=0.25, sigma=0.01, nu=5.0)
    floor = by_hand(openlm, "kaplan_floor", kaplan, draws=4)
    fits = {"chinchilla": fit, "power(C)": other, "kaplan_floor": floor}
    found = bs.theory.compare(bs.Average(fits, dict(zip(fits, (0.5, 0.3, 0.2), strict=True))))
    assert list(found.table["exponent"].unique()) == [
        "alpha (chinchilla)",
        "beta (chinchilla)",
        "alpha_N (kaplan_floor)",
        "alpha_D (kaplan_floor)",
    ]
    alone = bs.theory.compare(fit).table["probability_above"]
    assert found.table["probability_above"][: len(alone)].tolist() == pytest.approx(
        alone.tolist(), nan_ok=True
    )
    assert "(kaplan_floor)" in found.bottom_line()
    one = bs.theory.compare(bs.Average({"chinchilla": fit}, {"chinchilla": 1.0}))
    assert set(one.table["exponent"]) == {"alpha", "beta"}


def test_laws_without_such_exponents_are_refused(openlm, by_hand, fit):
    values = dict(E=1.7, A=1.0, alpha=0.3, sigma=0.01, nu=5.0)
    with pytest.raises(FitError, match="no exponent of N or of D"):
        bs.theory.compare(by_hand(openlm, "power(C)", values))
    with pytest.raises(FitError, match="give a positive number"):
        bs.theory.compare(fit, dimension=0)
    with pytest.raises(FitError, match="got str: give a Fit or an Average"):
        bs.theory.compare("fit.nc")
