"""Cautions where runs are outside the regime of the law."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.keywords import for_command_line
from bayescale.laws import get
from bayescale.model.regimes import regime_findings
from bayescale.model.specify import design

TRUTH = bs.laws.chinchilla.published["besiroglu2024"].values


def grid(**more):
    N, D = (v.ravel() for v in np.meshgrid([1e8, 4e8, 1.6e9], [2e9, 8e9, 32e9, 128e9]))
    loss = bs.laws.chinchilla.at("besiroglu2024", N=N, D=D)
    return pd.DataFrame({"N": N, "D": D, "loss": loss, **{k: v(N, D) for k, v in more.items()}})


def texts(frame, law="chinchilla", sigma=0.01, **options):
    return [f.text for f in regime_findings(design(bs.Runs.from_frame(frame), get(law)), sigma)]


def test_nothing_is_found_in_runs_of_the_regime():
    assert texts(grid()) == []
    assert texts(grid(U=lambda N, D: D, lr=lambda N, D: N**-0.3, N_total=lambda N, D: N)) == []


def test_openlm_is_in_the_regime(openlm):
    assert not regime_findings(design(openlm, get("chinchilla"), "dataset"), 0.02)


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_repeated_data_need_a_law_of_unique_tokens():
    frame = grid(U=lambda N, D: np.minimum(D, 1e10))
    (text,) = texts(frame)
    assert text.startswith("6 runs repeat their data, up to 12.8 epochs")
    assert texts(frame, "repeated_data") == []
    assert "repeat their data" in texts(grid(epochs=lambda N, D: D / 1e10))[0]


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_several_learning_rates_at_a_point_are_reported():
    frame = pd.concat([grid().assign(lr=x) for x in (1e-3, 2e-3)], ignore_index=True)
    (text,) = texts(frame)
    assert text.startswith("12 of 12 points have runs with several learning rates (up to 2)")
    with for_command_line():
        runs = bs.Runs.from_frame(frame)
        (finding,) = regime_findings(design(runs, get("chinchilla")), 0.01)
    assert finding.remedy.endswith("(--keep-best)")  # the law needs a column that is not there


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_a_law_is_suggested_if_the_table_has_its_columns():
    frame = pd.concat([grid().assign(lr=x, batch=2**18) for x in (1e-3, 2e-3)], ignore_index=True)
    (finding,) = regime_findings(design(bs.Runs.from_frame(frame), get("chinchilla")), 0.01)
    assert finding.remedy.endswith("or fit a law with this column: 'learning_rate_batch'")


def test_mixtures_of_experts_under_a_dense_law_are_reported():
    frame = grid(N_total=lambda N, D: N * np.where(D > 1e10, 8, 1))
    (text,) = texts(frame)
    assert "in total are not in proportion to N (a ratio of 1 to 8)" in text
    assert texts(frame, "sparse_multiplicative") == []
    # A constant ratio is one kind of model, whose parameters are counted in two ways.
    assert texts(grid(N_total=lambda N, D: 8 * N)) == []


@pytest.mark.parametrize("column", ["D", "N"])
def test_losses_that_rise_are_reported(column):
    frame = grid()
    worse = {"D": frame["D"] == 128e9, "N": frame["N"] == 1.6e9}[column]
    frame.loc[worse, "loss"] *= 2
    (text,) = texts(frame)
    assert text.startswith(f"the loss rises with {column} between")
    assert texts(frame, sigma=1.0) == []  # within the noise


def test_a_check_reports_the_regime(by_hand):
    frame = grid(epochs=lambda N, D: D / 1e9)
    with pytest.warns(bs.RunsWarning, match="repeat their data"):
        runs = bs.Runs.from_frame(frame)
    scales = runs.scales
    values = dict(
        TRUTH,
        A=TRUTH["A"] * scales["N"] ** -TRUTH["alpha"],
        B=TRUTH["B"] * scales["D"] ** -TRUTH["beta"],
        sigma=0.01,
        nu=30.0,
    )
    jitter = np.exp(1e-3 * np.random.default_rng(1).standard_normal((2, 50)))
    fit = by_hand(runs, "chinchilla", {k: v * jitter for k, v in values.items()}, draws=50)
    assert [f.name for f in fit.check().problems].count("regime") == 1


def test_a_setting_that_does_not_vary_is_reported():
    from bayescale.model.checks import _identified

    runs = bs.Runs.from_frame(grid(experts=lambda N, D: 8 + 0 * N))
    (finding,) = _identified(design(runs, get("routed_experts")))
    assert finding.text == "all runs have the same experts: only the prior determines its effect"
    varied = bs.Runs.from_frame(grid(experts=lambda N, D: np.where(D > 1e10, 8, 1)))
    assert [f.level for f in _identified(design(varied, get("routed_experts")))] == ["passed"]


def test_groups_that_the_fit_does_not_distinguish_are_named(openlm):
    (finding,) = regime_findings(design(openlm, get("chinchilla")), 0.02)
    assert finding.name == "groups"
    assert "dataset (3 labels)" in finding.text
    assert "groups='dataset'" in finding.remedy
    one = openlm.query("dataset == 'c4'")
    assert not regime_findings(design(one, get("chinchilla")), 0.02)
