"""Registered forecasts: round trip, tampering, missing runs, other laws, scores."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import bayescale as bs
from bayescale.decisions.outcomes import _scored
from bayescale.model import Check

VALUES = dict(E=1.7, A=0.5, B=0.5, alpha=0.34, beta=0.34, sigma=0.01, nu=30.0)


@pytest.fixture(scope="module")
def fit(by_hand, openlm):
    return made(by_hand, openlm.query("dataset == 'c4'"))


def made(by_hand, runs, law="chinchilla", draws=500, **options):
    values = {**VALUES, **({"A": 3.0, "alpha": 0.05} if law == "power" else {})}
    names = ("E", "A", "alpha", "sigma", "nu") if law == "power" else tuple(VALUES)
    fit = by_hand(runs, law, {n: values[n] for n in names}, draws=draws, **options)
    fit.__dict__["_check"] = Check((), None)
    return fit


@pytest.fixture
def ahead(fit):
    return bs.forecast(fit, N=["1B", "7B"], D=["20B", "140B"], random_seed=2)


@pytest.fixture
def file(ahead, tmp_path):
    return bs.preregister(ahead, tmp_path / "run.json")


def test_a_registered_forecast_is_read_again(ahead, file, fit):
    assert file.points["N"].tolist() == [1e9, 7e9]
    expected = ahead.summary()["loss"].to_numpy()
    np.testing.assert_allclose(file.points["median"], expected, rtol=1e-3)
    content = json.loads(Path(file.path).read_text())
    assert content["runs"]["fingerprint"] == fit.runs.fingerprint
    assert content["law"] == "chinchilla"
    assert content["random_seed"] == 2
    assert content["time"].endswith("+00:00")
    assert "alpha" in content["laws"]["chinchilla"]["priors"]
    assert "registered at" in repr(file)
    result = bs.outcome(file.path, expected, fit=fit)
    assert result.preregistration.sha256 == file.sha256
    assert result.table["inside"].tolist() == ["50 %", "50 %"]
    assert (result.table["tail_probability"] > 0.9).all()


def test_a_registered_forecast_is_not_replaced(ahead, file):
    with pytest.raises(bs.FitError, match="a registered forecast is not replaced"):
        bs.preregister(ahead, file.path)


@pytest.mark.parametrize("where", ["quantile", "time", "point", "law"])
def test_a_changed_file_is_noticed(file, where):
    content = json.loads(Path(file.path).read_text())
    if where == "quantile":
        content["points"][0]["quantiles"][5] += 1e-6
    elif where == "point":
        content["points"][0]["at"]["N"] = 2e9
    else:
        content[where] = "2020-01-01T00:00:00+00:00"
    Path(file.path).write_text(json.dumps(content))
    with pytest.raises(bs.FitError, match="was changed after it was written"):
        bs.outcome(file.path, [2.5, 2.5])


def test_the_layout_of_the_file_does_not_matter(file):
    content = json.loads(Path(file.path).read_text())
    Path(file.path).write_text(json.dumps(content, sort_keys=True))
    assert bs.outcome(file.path, [2.7, 2.5]).preregistration.sha256 == file.sha256


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not a JSON file"), ("{}", "not written by preregister"), ("[1]", "not written by")],
)
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(bs.FitError, match=message):
        bs.outcome(tmp_path / "other.json", 2.0)
    with pytest.raises(bs.FitError, match="no such file"):
        bs.outcome(tmp_path / "nothing.json", 2.0)


def test_a_file_of_a_newer_version_is_refused(file):
    content = json.loads(Path(file.path).read_text())
    content["bayescale preregistration"] = 2
    Path(file.path).write_text(json.dumps(content))
    with pytest.raises(bs.FitError, match="format 2, and this version reads 1"):
        bs.outcome(file.path, [2.5, 2.5])


def test_runs_are_found_in_a_table(file):
    table = pd.DataFrame({"N": [7e9, 5e8, 1.001e9], "D": [1.4e11, 1e10, 2e10]})
    result = bs.outcome(file.path, table.assign(loss=[2.3, 3.0, 2.6]))
    assert result.table["measured"].tolist() == [2.6, 2.3]
    with pytest.raises(
        bs.FitError, match="1B parameters, 20B tokens: this registered run is missing"
    ):
        bs.outcome(file.path, table.iloc[:2].assign(loss=[2.3, 3.0]))
    twice = pd.concat([table, table]).assign(loss=2.5)
    with pytest.raises(bs.FitError, match="2 measured runs fit this registered one"):
        bs.outcome(file.path, twice)
    with pytest.raises(bs.FitError, match="no column 'loss'"):
        bs.outcome(file.path, table)
    with pytest.raises(bs.FitError, match="none of the columns of the runs"):
        bs.outcome(file.path, pd.DataFrame({"loss": [2.0]}))


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (2.5, r"2 runs were registered, but 1 loss is given"),
        ([2.5, -1.0], "it must be positive and finite"),
        ([2.5, np.nan], "it must be positive and finite"),
        ("low", "give one loss for each run"),
    ],
)
def test_unusable_losses_are_named(file, measured, message):
    with pytest.raises(bs.FitError, match=message):
        bs.outcome(file.path, measured)


def test_another_law_or_other_runs_are_named(by_hand, openlm, file):
    runs = openlm.query("dataset == 'c4'")
    with pytest.raises(bs.FitError, match="the fit is of power, but the forecast is by chinchilla"):
        bs.outcome(file.path, [2.6, 2.4], fit=made(by_hand, runs, "power"))
    with pytest.raises(bs.FitError, match="runs were added, removed or changed"):
        bs.outcome(file.path, [2.6, 2.4], fit=made(by_hand, runs.query("N < 1e9")))
    other = made(by_hand, runs, priors={"alpha": bs.Positive(0.3, spread=1.2)})
    with pytest.raises(bs.FitError, match="priors or the drift of chinchilla are not those"):
        bs.outcome(file.path, [2.6, 2.4], fit=other)


def test_groups_are_part_of_a_registered_run(by_hand, openlm, tmp_path):
    pool = dict.fromkeys(VALUES, "complete")
    fit = by_hand(openlm, "chinchilla", VALUES, groups="dataset", pool=pool)
    fit.__dict__["_check"] = Check((), None)
    ahead = bs.forecast(fit, N="1B", D="20B", group=["c4", "redpajama"])
    file = bs.preregister(ahead, tmp_path / "two.json")
    table = pd.DataFrame({"dataset": ["redpajama", "c4"], "loss": [2.7, 2.6]})
    assert bs.outcome(file.path, table).table["measured"].tolist() == [2.6, 2.7]


def test_an_average_is_registered_with_its_weights(fit, by_hand, openlm, tmp_path):
    other = made(by_hand, openlm.query("dataset == 'c4'"))
    average = bs.Average({"one": fit, "two": other}, {"one": 0.7, "two": 0.3})
    file = bs.preregister(bs.forecast(average, N="1B", D="20B"), tmp_path / "average.json")
    assert file.content["weights"] == {"one": 0.7, "two": 0.3}
    bs.outcome(file.path, 2.6, fit=average)


def test_only_forecasts_of_losses_are_registered(fit, tmp_path):
    with pytest.raises(bs.FitError, match="cannot register Fit"):
        bs.preregister(fit, tmp_path / "fit.json")
    assert not list(tmp_path.iterdir())


def test_the_scores_of_a_normal_distribution():
    q = norm.ppf((np.arange(999) + 0.5) / 999, 2.0, 0.1)
    for z in (-2.2, 0.0, 0.3, 1.7):
        found = _scored(q, 2.0 + 0.1 * z)
        assert found["below"] == pytest.approx(norm.cdf(z), abs=1e-3)
        assert found["tail_probability"] == pytest.approx(2 * norm.sf(abs(z)), abs=2e-3)
        crps = 0.1 * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
        assert found["crps"] == pytest.approx(crps, abs=1e-4)
    places = {0.5: "50 %", 1.0: "80 %", 1.5: "90 %", 1.8: "95 %", 2.3: "99 %", 3.0: "outside 99 %"}
    assert {z: _scored(q, 2.0 + 0.1 * z)["inside"] for z in places} == places


def test_the_answer_says_how_surprising_a_run_is(fit, tmp_path):
    file = bs.preregister(bs.forecast(fit, N="1B", D="20B"), tmp_path / "one.json")
    result = bs.outcome(file.path, 4.0)
    assert result.bottom_line() == (
        "The run of 1B parameters, 20B tokens reached 4, outside the 99 % interval around "
        f"{result.table['median'][0]:.4g}: a loss as far from the forecast had a probability of "
        "less than 0.1 %."
        f" It lies {result.table['widths_outside'][0]:.2g} widths of the 90 % interval above it."
    )
    low, high = np.log(result.table[["lower", "upper"]].to_numpy()[0])
    assert result.table["widths_outside"][0] == pytest.approx((np.log(4) - high) / (high - low))
    assert repr(result).startswith(result.bottom_line())
    assert "<table" in result._repr_html_()


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (1 / np.log(2), "perhaps it is in bits, and the forecast in nats."),
        (np.log(2), "below it."),  # the fitted losses are in nats
        (1.6, "above it."),
    ],
)
def test_bits_and_nats_are_told_apart(fit, tmp_path, times, said):
    file = bs.preregister(bs.forecast(fit, N="1B", D="20B"), tmp_path / "one.json")
    median = bs.outcome(file.path, 3.0).table["median"][0]
    assert bs.outcome(file.path, times * median).bottom_line().endswith(said)


@pytest.mark.parametrize(("times", "said"), [(100, "It is 100 times"), (1 / 50, "It is 1/50 of")])
def test_a_loss_in_another_unit_is_recognised(fit, tmp_path, times, said):
    file = bs.preregister(bs.forecast(fit, N="1B", D="20B"), tmp_path / "one.json")
    median = float(file.points["median"].iloc[0])
    text = bs.outcome(file.path, times * median).bottom_line()
    assert f"{said} the median, so that it probably is in another unit: the forecast is in" in text
    assert "another unit" not in bs.outcome(file.path, 1.5 * median).bottom_line()
    assert "widths" not in bs.outcome(file.path, median).bottom_line()


def test_the_answer_about_several_runs(file):
    low = file.points["median"].to_numpy()
    result = bs.outcome(file.path, [low[0], 1.2 * low[1]])
    assert result.bottom_line().startswith("1 of 2 runs lie inside their 90 % interval; the most ")
    assert "7B parameters" in result.bottom_line()


def test_the_hash_is_that_of_the_content(file):
    content = json.loads(Path(file.path).read_text())
    del content["sha256"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest() == file.sha256


def test_registered_bounds_are_those_of_the_forecast():
    """Quantiles at the middles of equal shares give back the quantiles of a normal distribution."""
    from scipy.stats import norm

    from bayescale.decisions.preregistration import QUANTILES, quantiles_of

    registered = norm.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES)
    np.testing.assert_allclose(quantiles_of(registered), norm.ppf([0.05, 0.5, 0.95]), atol=2e-5)
