"""Parameters that are pinned at a value."""

from __future__ import annotations

import numpy as np
import pytest

import bayescale as bs
from bayescale import laws
from bayescale.model.specify import design


@pytest.fixture(scope="module")
def c4(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture(scope="module")
def pinned(c4):
    return bs.fit(c4, priors={"E": bs.Fixed(1.6)}, draws=250, random_seed=1)


def test_a_pinned_parameter_has_its_value_in_all_draws(pinned):
    assert "E" not in pinned.posterior
    assert (pinned.parameters()["E"] == 1.6).all()
    assert pinned.parameters()["E"].dims == ("chain", "draw")
    assert pinned.parameters()["alpha"].std() > 0


def test_a_pinned_floor_equals_a_very_narrow_prior(c4, pinned):
    narrow = {"E": bs.Positive(1.6, spread=1.0001)}
    other = bs.fit(c4, priors=narrow, draws=250, random_seed=2)
    for name in ("A", "B", "alpha", "beta", "sigma"):
        one, two = (f.posterior[name] for f in (pinned, other))
        assert abs(float(one.median() - two.median())) < 0.25 * float(two.std())
        assert float(one.std()) == pytest.approx(float(two.std()), rel=0.2)
    assert pinned.evidence.log == pytest.approx(other.evidence.log, abs=0.3)


def test_a_pinned_fit_is_saved_and_forecasts(pinned, tmp_path):
    pinned.save(tmp_path / "fit.nc")
    loaded = bs.Fit.load(tmp_path / "fit.nc")
    assert loaded.plan.parameter("E").prior == bs.Fixed(1.6)
    one, two = (bs.forecast(f, N="7B", D="140B").data["loss"] for f in (pinned, loaded))
    np.testing.assert_array_equal(one, two)
    assert (bs.forecast(pinned, N="7B", D="140B", drift="off").data["mean"] > 1.6).all()


@pytest.mark.parametrize(
    ("priors", "message"),
    [
        ({"E": bs.Fixed(-1.0)}, "E is positive, but is Fixed at -1"),
        ({"sigma": bs.Fixed(0.0)}, "sigma is positive, but is Fixed at 0"),
        ({"drift": bs.Fixed(0.1)}, "drift is Fixed"),
    ],
)
def test_impossible_values_are_refused(c4, priors, message):
    with pytest.raises(bs.FitError, match=message):
        bs.fit(c4, priors=priors)


def test_a_pinned_parameter_is_equal_in_all_groups(openlm):
    plan = design(openlm, laws.get("chinchilla"), "dataset", priors={"E": bs.Fixed(1.6)})
    assert plan.parameter("E").effects == ()
    assert plan.parameter("A").effects
    with pytest.raises(bs.FitError, match="a Fixed parameter is equal in all groups"):
        design(
            openlm, laws.get("chinchilla"), "dataset", {"E": "none"}, priors={"E": bs.Fixed(1.6)}
        )


def test_the_check_does_not_count_a_pinned_parameter(pinned):
    assert not any("E" in f.text.split() for f in pinned.check().findings if f.name == "prior")


def test_a_fixed_value_must_be_finite():
    with pytest.raises(bs.LawError, match="finite"):
        bs.Fixed(float("nan"))
