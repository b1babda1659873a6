"""Losses on several domains, and mixtures of training data."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import FitError, RunsError
from bayescale.laws import mixing, mixing_law, share_columns

SHARES = ["web", "code", "books"]
TRUTH = {
    "loss_web": dict(E=2.0, B=0.4, K=0.5, beta=0.3, t_web=-2.0, t_code=0.5, t_books=-0.5),
    "loss_code": dict(E=1.0, B=0.3, K=0.7, beta=0.4, t_web=0.3, t_code=-3.0, t_books=0.5),
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    shares = rng.dirichlet([1, 1, 1], 24).round(3)
    shares[0] = [0, 0.4, 0.6]
    frame = pd.DataFrame(shares, columns=SHARES).assign(N=np.tile([1e8, 2e8, 4e8], 8))
    law = mixing_law(SHARES)
    columns = {"N": frame["N"], **share_columns(frame[SHARES])}
    scales = law.tied(dict.fromkeys(law.columns, 200000000.0))
    for name, truth in TRUTH.items():
        noise = np.exp(0.002 * rng.standard_normal(24))
        frame[name] = law(columns, scales, truth) * noise
    return frame


@pytest.fixture(scope="module")
def fitted(table) -> bs.Domains:
    return bs.fit_domains(table, losses=list(TRUTH), shares=SHARES, draws=300, random_seed=1)


def test_the_law_is_the_formula_of_the_paper():
    law = mixing_law(SHARES)
    r = np.array([0.2, 0.5, 0.3])
    t = [-2.0, 0.5, -0.5]
    values = dict(E=2.0, B=0.0, K=0.5, beta=0.3, **dict(zip(law.parameters[4:], t, strict=True)))
    k = 0.5 * np.exp(-np.mean(t))
    assert law.loss(1.0, *(1 + r), **values) == pytest.approx(2.0 + k * np.exp(r @ t))


def test_large_gamma_and_nearly_equal_weights_give_the_exponential_form():
    r = np.array([[0.2, 0.5, 0.3], [0.7, 0.0, 0.3]])
    t = np.array([-2.0, 0.5, -0.5])
    values, gamma = dict(E=2.0, B=0.4, K=0.5, beta=0.3), 1e6
    exponential = mixing_law(SHARES)
    slopes = dict(zip(exponential.parameters[4:], t, strict=True))
    expected = exponential.loss(1.0, *(1 + r.T), **values, **slopes)
    law = mixing_law(SHARES, form="transfer")
    weights = dict(zip(law.parameters[5:], 1 - t / gamma, strict=True))
    actual = law.loss(1.0, *(1 + r.T), **values, gamma=gamma, **weights)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_only_ratios_of_the_worth_of_tokens_matter(table):
    law = mixing_law(SHARES, form="transfer")
    values = dict(E=1.0, B=0.4, K=0.5, beta=0.3, gamma=0.4)
    w = dict(zip(law.parameters[5:], [2.0, 1.0, 0.1], strict=True))
    columns = share_columns(table[SHARES]).values()
    one = law.loss(1.0, *columns, **values, **w)
    np.testing.assert_allclose(
        law.loss(1.0, *columns, **values, **{k: 3 * v for k, v in w.items()}), one
    )
    own = law.loss(1.0, 1.5, 1.0, 1.5, **values, **w)
    other = law.loss(1.0, 1.0, 1.5, 1.5, **values, **w)
    assert own < other  # tokens of the first domain are worth more
    options = dict(losses="loss_web", shares=SHARES, form="transfer", draws=100, random_seed=1)
    fixed = {"gamma": bs.Fixed(2.0), "w_books": bs.Fixed(1.0)}  # a small posterior
    fit = bs.fit_domains(table, priors=fixed, **options).fits["loss_web"]
    assert float((fit.posterior["w_web"] > fit.posterior["w_code"]).mean()) > 0.99
    with pytest.raises(FitError, match="no form 'linear'"):
        bs.fit_domains(table, losses="loss_web", shares=SHARES, form="linear")


def test_each_loss_has_its_own_parameters(fitted):
    """A constant that is added to all t is equivalent to another K, so differences are compared."""
    for name, truth in TRUTH.items():
        draws = fitted.fits[name].posterior
        for a, b in (("web", "code"), ("code", "books")):
            difference = draws[f"t_{a}"] - draws[f"t_{b}"]
            low, high = difference.quantile([0.005, 0.995]).to_numpy()
            assert low < truth[f"t_{a}"] - truth[f"t_{b}"] < high, name
    web, code = (fitted.fits[n].posterior for n in TRUTH)
    assert float((web["t_code"] - web["t_web"]).median()) > 1
    assert float((code["t_code"] - code["t_web"]).median()) < -1


def test_a_new_mixture_is_forecast_for_every_loss(fitted):
    points = pd.DataFrame({"web": [0.2, 0.6], "code": [0.5, 0.2], "books": [0.3, 0.2], "N": 4e8})
    ahead = bs.forecast(fitted, points, random_seed=1)
    table = ahead.summary(0.99)
    assert table["domain"].tolist() == ["loss_web"] * 2 + ["loss_code"] * 2
    assert table["web"].tolist() == [0.2, 0.6] * 2
    law = mixing_law(SHARES)
    columns = {"N": points["N"], **share_columns(points[SHARES])}
    scales = law.tied(dict.fromkeys(law.columns, 200000000.0))
    truth = np.concatenate([law(columns, scales, t) for t in TRUTH.values()])
    low, high = table.filter(regex="^mean.*_lb$|^mean.*_ub$").to_numpy().T
    assert ((low < truth) & (truth < high)).all()
    assert repr(ahead).startswith("<Forecasts of 2 losses at 2 points>")


def test_a_law_of_other_columns_may_be_used(openlm):
    frame = openlm.table.query("dataset == 'c4'").rename(columns={"loss": "loss_c4"})
    frame = frame[["N", "D", "loss_c4"]].assign(loss_half=frame["loss_c4"] / 2)
    found = bs.fit_domains(
        frame, "overtraining", losses=["loss_c4", "loss_half"], draws=200, random_seed=1
    )
    one, half = (float(f.posterior["E"].median()) for f in found.fits.values())
    assert half == pytest.approx(one / 2, rel=0.1)
    assert {"loss_c4", "loss_half"} == set(found.summary().index.get_level_values("domain"))
    assert len(bs.forecast(found, pd.DataFrame({"N": [1e9], "D": [2e10]})).summary()) == 2


def test_shares_that_are_no_mixture_are_refused(table):
    wrong = table.assign(web=table["web"] + np.where(np.arange(24) == 3, 0.2, 0.0))
    with pytest.raises(RunsError, match=r"the shares sum to 1\.2, not 1, in row 3"):
        bs.fit_domains(wrong, losses=list(TRUTH), shares=SHARES)
    percent = table.assign(**{s: 100 * table[s] for s in SHARES})
    with pytest.raises(RunsError, match="not a number between 0 and 1"):
        bs.fit_domains(percent, losses=list(TRUTH), shares=SHARES)
    with pytest.raises(RunsError, match="no column 'law'"):
        bs.fit_domains(table, losses=list(TRUTH), shares=[*SHARES, "law"])


def test_points_must_have_the_shares(fitted):
    with pytest.raises(FitError, match="no column 'books'"):
        bs.forecast(fitted, pd.DataFrame({"web": [0.5], "code": [0.5], "N": [1e8]}))
    points = pd.DataFrame({"web": [0.5], "code": [0.5], "books": [0.5], "N": [1e8]})
    with pytest.raises(RunsError, match=r"sum to 1\.5"):
        bs.forecast(fitted, points)


def test_either_a_law_or_shares_are_given(table):
    with pytest.raises(FitError, match="either a law"):
        bs.fit_domains(table, losses=["loss_web"])
    with pytest.raises(FitError, match="either a law"):
        bs.fit_domains(table, "power(N)", losses=["loss_web"], shares=SHARES)


def test_zero_shares_are_allowed_and_rounding_is_removed():
    columns = share_columns({"a": [0.0, 0.333], "b": [1.0, 0.666]})
    assert columns["one_plus_a"].tolist() == pytest.approx([1.0, 1 + 1 / 3])
    with pytest.raises(ValueError, match="at least two"):
        mixing_law(["a"])


def test_a_law_of_a_mixture_can_be_sent_to_another_process():
    law = mixing_law(SHARES)
    again = pickle.loads(pickle.dumps(law))
    assert again.columns == law.columns
    assert again.loss(1.0, 1.2, 1.3, 1.5, **TRUTH["loss_web"]) == law.loss(
        1.0, 1.2, 1.3, 1.5, **TRUTH["loss_web"]
    )
    assert pickle.loads(pickle.dumps(mixing)) is mixing
