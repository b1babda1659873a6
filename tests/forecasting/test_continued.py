"""Runs that go on, and sizes that all runs share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.evaluation import family
from bayescale.forecasting import beyond_largest, follows_from_budget
from bayescale.reporting.answers import findings

pytestmark = pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")
CURVE = dict(E=1.7, A=0.5, alpha=0.34, sigma=0.01, drift=0.5, memory=1.0)
FINISHED = dict(E=1.7, A=0.5, alpha=0.34, sigma=0.01, nu=10.0)


def table(labels: str = "") -> pd.DataFrame:
    """Twelve runs of 100M parameters; with labels, checkpoints of a run for each."""
    D = np.geomspace(1e9, 2e10, 12)
    frame = pd.DataFrame({"N": 1e8, "D": D, "loss": 2 + 3 * (D / 1e9) ** -0.4})
    if not labels:
        return frame
    return pd.concat([frame.assign(series=label) for label in labels], ignore_index=True)


@pytest.fixture
def finished(by_hand):
    return by_hand(bs.Runs.from_frame(table()), "power(D)", FINISHED, draws=50)


@pytest.mark.parametrize(
    ("labels", "asked", "series"),
    [
        ("a", {"D": 4e10}, ["a"]),
        ("a", {"C": 2.4e19}, ["a"]),
        ("a", {"D": 4e10, "N": 1e8}, None),
        ("a", {"D": 4e10, "series": "(new)"}, [""]),
        ("ab", {"D": 4e10}, None),
        ("ab", {"D": 4e10, "series": "b"}, ["b"]),
    ],
)
def test_the_only_run_is_continued_unless_another_is_described(by_hand, labels, asked, series):
    fit = by_hand(bs.Runs.from_frame(table(labels)), "power(D)", CURVE, draws=50)
    data = bs.forecast(fit, **asked).data
    found = data["series"].to_numpy().tolist() if "series" in data.coords else None
    assert found == series
    assert data["D"].item() == pytest.approx(4e10)


def test_the_size_that_all_runs_share_is_that_of_a_forecast(finished):
    data = bs.forecast(finished, C=[2.4e19, 6e19]).data
    np.testing.assert_allclose(data["N"], 1e8)
    np.testing.assert_allclose(data["D"], [4e10, 1e11])
    assert follows_from_budget(finished)
    assert bs.forecast(finished, D=4e10, N="100M").data["loss"].shape[-1] == 1
    with pytest.raises(bs.FitError, match="all runs have N = 100M, so that laws of D alone"):
        bs.forecast(finished, D=4e10, N="1B")
    with pytest.raises(bs.LawError, match="all runs have N = 100M, and say nothing about others"):
        bs.allocate(finished, C=1e20)


def test_a_report_of_one_size_forecasts_budgets(finished):
    found = findings(finished, None)
    assert list(found.forecasts.header[:3]) == ["C", "N", "D"]
    assert [row[1] for row in found.forecasts.rows] == ["100M"] * 3
    assert not found.allocations


def test_a_curve_of_one_size_has_laws_of_the_other_column():
    assert family(bs.Runs.from_frame(table("a"))) == ["power(D)", "delayed_power(D)"]
    assert family(bs.Runs.from_frame(table("ab"))) == ["power(D)", "shifted_power(D)"]
    assert "chinchilla" in family(bs.Runs.from_frame(table()))
    varied = table("ab").assign(N=np.repeat([1e8, 2e8], 12))
    assert "chinchilla" in family(bs.Runs.from_frame(varied))


def test_laws_of_n_and_d_forecast_budgets_at_the_n_that_all_runs_share(by_hand):
    values = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.3, sigma=0.01, nu=10.0)
    fit = by_hand(bs.Runs.from_frame(table()), "chinchilla", values, draws=50)
    data = bs.forecast(fit, C=[2.4e19, 6e19]).data
    np.testing.assert_allclose(data["N"], 1e8)
    np.testing.assert_allclose(bs.forecast(fit, D=4e10).data["N"], 1e8)
    assert bs.forecast(fit, N=1e9, D=4e10).data["N"].item() == 1e9
    assert not findings(fit, None).allocations
    assert len(bs.allocate(fit, C=1e20).data["N"]) > 0
    several = table().assign(N=np.geomspace(1e7, 1e9, 12))
    fit = by_hand(bs.Runs.from_frame(several), "chinchilla", values, draws=50)
    assert bs.forecast(fit, C=2.4e19).data["N"].item() != pytest.approx(1e8)
    assert findings(fit, None).allocations


def test_of_equal_budgets_the_run_of_lowest_loss_is_the_largest(by_hand):
    N = np.array([1e7, 1e8, 5e7, 2e8, 4e8, 1e9, 2e9])
    D = np.r_[1e9, 2e9, 5e9, 6e20 / (6 * N[3:])]
    runs = bs.Runs.from_frame(
        pd.DataFrame({"N": N, "D": D, "loss": [4, 3.6, 3.5, 3.2, 3.0, 2.9, 3.1]})
    )
    values = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.3, sigma=0.01, nu=10.0)
    place, _ = beyond_largest(by_hand(runs, "chinchilla", values))
    assert place["N"] == pytest.approx(1e9 * np.sqrt(10))


def test_a_budget_for_repeats_of_one_run_has_their_n(by_hand):
    repeats = pd.DataFrame({"N": 1e8, "D": 2e9, "loss": [3.0, 3.01, 2.99, 3.02]})
    values = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.3, sigma=0.01, nu=10.0)
    fit = by_hand(bs.Runs.from_frame(repeats, N="N*1"), "chinchilla", values)
    data = bs.forecast(fit, C=2.4e19).data
    assert data["N"].item() == pytest.approx(1e8)
    assert data["D"].item() == pytest.approx(4e10)
