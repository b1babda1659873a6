"""A fit or an average is read from a file, whichever it contains."""

from __future__ import annotations

import pytest

import bayescale as bs
from bayescale.forecasting import load_posterior


@pytest.fixture
def fit(by_hand, openlm) -> bs.Fit:
    values = {"E": 1.7, "A": 1.7, "alpha": 0.16, "sigma": 0.02, "nu": 5.0}
    return by_hand(openlm.query("dataset == 'c4'"), "power", values)


def test_the_kind_is_read_from_the_file(fit, tmp_path):
    average = bs.Average({"power": fit}, {"power": 1.0})
    for result in (fit, average):
        result.save(tmp_path / "fit.nc")
        loaded = load_posterior(tmp_path / "fit.nc")
        assert type(loaded) is type(result)
        assert loaded.runs.fingerprint == fit.runs.fingerprint


def test_other_results_are_refused_in_one_sentence(fit, tmp_path):
    bs.forecast(fit, C=1e20).save(tmp_path / "ahead.nc")
    with pytest.raises(bs.FitError) as caught:
        load_posterior(tmp_path / "ahead.nc")
    assert str(caught.value) == (
        f"{tmp_path / 'ahead.nc'}: the file holds a result of the class Forecast, not Fit or "
        "Average: give a file that `bayescale fit` or `bayescale report` wrote"
    )
