"""Priors that are given as medians and spreads."""

from statistics import NormalDist

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr

from bayescale import Fraction, LawError, Positive, Real
from bayescale.priors import from_link, to_link

SPOKEN = {
    "Positive": (Positive(0.35, spread=1.5, between=1.2), np.log(0.35), np.log(1.5), np.log(1.2)),
    "Fraction": (Fraction(0.2, spread=3, between=1.5), np.log(0.25), np.log(3), np.log(1.5)),
    "Real": (Real(-1, sd=2, between=0.3), -1.0, 2.0, 0.3),
}


@pytest.mark.parametrize(("prior", "centre", "width", "between"), SPOKEN.values(), ids=SPOKEN)
def test_median_and_spread_give_a_normal_on_the_link_scale(prior, centre, width, between):
    assert prior.centre == pytest.approx(centre, rel=1e-15)
    assert prior.width == pytest.approx(width, rel=1e-15)
    assert prior.between_width == pytest.approx(between, rel=1e-15)


@pytest.mark.parametrize("prior", [p for p, *_ in SPOKEN.values()], ids=SPOKEN)
def test_the_median_splits_every_interval_in_half(prior):
    assert prior.interval(0.0) == pytest.approx((prior.median, prior.median))
    for prob in (0.5, 0.9, 0.99):
        low, high = (to_link(prior.link, v) for v in prior.interval(prob))
        assert (low + high) / 2 == pytest.approx(prior.centre)
        mass = NormalDist(prior.centre, prior.width)
        assert mass.cdf(high) - mass.cdf(low) == pytest.approx(prob)


def test_one_spread_is_one_standard_deviation():
    one_sd = 2 * NormalDist().cdf(1) - 1
    assert Positive(2, spread=3).interval(one_sd) == pytest.approx((2 / 3, 6))
    low, high = Fraction(0.5, spread=3).interval(one_sd)
    assert (low / (1 - low), high / (1 - high)) == pytest.approx((1 / 3, 3))
    assert Real(1, sd=2).interval(one_sd) == pytest.approx((-1, 3))


def test_a_real_quantity_differs_between_groups_by_a_quarter_of_its_sd_by_default():
    assert Real(0, sd=2).between_width == 0.5
    assert Real(0, sd=2, between=3).between_width == 3


def test_a_share_of_the_loss_becomes_an_absolute_amount_once():
    share = Positive(0.5, spread=1.7, between=1.3, of="loss")
    assert share.in_units_of(3.0) == Positive(1.5, spread=1.7, between=1.3)
    assert Positive(0.5).in_units_of(3.0) == Positive(0.5)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: Positive(0), "the median must be positive"),
        (lambda: Positive(-1), "the median must be positive"),
        (lambda: Positive(np.nan), "the median must be positive"),
        (lambda: Positive(1, spread=1), "the spread must exceed 1"),
        (lambda: Positive(1, between=0.9), "between must exceed 1"),
        (lambda: Positive(1, of="tokens"), "of must be None or loss"),
        (lambda: Positive(-1, spread=0), "the median must be positive and the spread must exceed"),
        (lambda: Fraction(0), "the median must lie between 0 and 1"),
        (lambda: Fraction(1), "the median must lie between 0 and 1"),
        (lambda: Fraction(0.5, spread=1), "the spread must exceed 1"),
        (lambda: Fraction(0.5, between=1), "between must exceed 1"),
        (lambda: Real(0, sd=0), "the sd must be positive"),
        (lambda: Real(0, sd=1, between=-1), "between must be positive"),
    ],
)
def test_an_invalid_prior_is_refused(make, problem):
    with pytest.raises(LawError, match=problem):
        make()


def test_a_refused_prior_is_quoted_as_it_was_written():
    with pytest.raises(LawError, match=r"Positive\(median=2, spread=0.5, "):
        Positive(2, spread=0.5)


NATURAL = np.array([1e-6, 0.01, 0.3, 0.5, 0.99, 1 - 1e-9])


@pytest.mark.parametrize("link", ["log", "logit", "identity"])
def test_a_link_and_its_inverse_undo_each_other(link):
    np.testing.assert_allclose(from_link(link, to_link(link, NATURAL)), NATURAL, rtol=1e-14)


@pytest.mark.parametrize("link", ["log", "logit", "identity"])
@pytest.mark.parametrize("way", [to_link, from_link])
def test_links_agree_on_numpy_xarray_and_graphs(way, link):
    expected = way(link, NATURAL)
    np.testing.assert_array_equal(way(link, xr.DataArray(NATURAL, dims="x")).values, expected)
    x = pt.vector("x")
    graph = pytensor.function([x], way(link, x), mode="FAST_COMPILE")
    np.testing.assert_allclose(graph(NATURAL), expected, rtol=1e-14)
