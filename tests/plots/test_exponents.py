"""Plots of exponents: estimates, published values, and errors."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.errors import BayescaleError
from bayescale.forecasting import percent
from bayescale.laws.published import CLAIMS, STAIRCASE


def draws(median, sd=0.02):
    rng = np.random.default_rng(1)
    return xr.DataArray(median + sd * rng.standard_normal((4, 500)), dims=("chain", "draw"))


def test_every_exponent_has_a_row_with_its_interval():
    estimates = {"kaplan": draws(0.7), "average": draws(0.5)}
    ax = bs.plot_exponents(estimates)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == ["kaplan", "average", *(c.name for c in CLAIMS)]
    low, high = ax.lines[0].get_xdata()
    np.testing.assert_allclose([low, high], np.quantile(estimates["kaplan"], [0.05, 0.95]))
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # first row on top
    assert "90 %" in ax.get_title()


def test_claims_can_be_left_out_and_their_own_intervals_are_drawn():
    ax = bs.plot_exponents({"x": draws(0.5)}, claims=())
    assert [t.get_text() for t in ax.get_yticklabels()] == ["x"]
    ax = bs.plot_exponents({"x": draws(0.5)}, claims=[c for c in CLAIMS if c.low is not None][:1])
    spans = [tuple(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert (0.488, 0.502) in spans


def test_a_small_weight_is_not_shown_as_zero():
    assert percent(0.002) == "<1 %"
    assert percent(0.0) == "0 %"
    assert percent(0.62) == "62 %"


def test_no_exponents_are_refused():
    with pytest.raises(BayescaleError, match="none of the laws has a compute-optimal N and D"):
        bs.plot_exponents({})


def test_published_claims_are_exponents_with_a_source():
    for claim in (*CLAIMS, *(c for steps in STAIRCASE.values() for c in steps)):
        assert 0 < claim.a < 1
        assert "arXiv" in claim.reference
        if claim.low is not None:
            assert claim.low < claim.high
            assert 0 < claim.prob < 1


def steps(corpora=("RefinedWeb", "OpenWebText2")):
    rows = [
        {
            "corpus": corpus,
            "step": claim.name,
            "a": claim.a + 0.01,
            "low": claim.a - 0.02,
            "high": claim.a + 0.03,
        }
        for corpus in corpora
        for claim in STAIRCASE[corpus]
    ]
    return pd.DataFrame(rows)


def test_a_staircase_has_a_panel_per_corpus_with_its_steps():
    axes = bs.plot_staircase(steps())
    assert [ax.get_title() for ax in axes] == ["RefinedWeb", "OpenWebText2"]
    labels = [t.get_text() for t in axes[0].get_xticklabels()]
    assert labels == [c.name for c in STAIRCASE["RefinedWeb"]]
    estimated = axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(estimated, [c.a + 0.01 for c in STAIRCASE["RefinedWeb"]])
    assert "as published" in axes[0].get_legend_handles_labels()[1]


def test_steps_without_published_values_are_drawn_alone():
    without = steps(("RefinedWeb",)).assign(corpus="mine")
    axes = bs.plot_staircase(without)
    assert axes[0].get_legend_handles_labels()[1] == ["estimated"]


def test_missing_columns_are_named():
    with pytest.raises(BayescaleError, match="there is no column 'low'"):
        bs.plot_staircase(steps().drop(columns="low"))
