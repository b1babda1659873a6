"""Laws of other regimes: their limits, their units, and a fit from table to forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.laws import (
    chinchilla,
    finetuning,
    learning_rate_batch,
    multiplicative,
    overtraining,
    parallel_streams,
    power,
    rectified,
    repeated_bounded,
    repeated_data,
    repeated_overfit,
    routed_experts,
    sigmoid,
    sparse_experts,
    sparse_multiplicative,
    vocabulary_size,
)
from bayescale.laws.repeated_data import worth

HOFFMANN = dict(E=1.7, A=0.5, B=0.3, alpha=0.34, beta=0.28)
N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e-2, 1e2, 5), np.geomspace(1e-2, 1e2, 5)))

# -- limits --------------------------------------------------------------------------------------


def test_without_repetition_repeated_data_is_hoffmanns_law():
    """In the limit of large R_N, excess parameters count fully as well."""
    actual = repeated_data.loss(N, D, D, **HOFFMANN, R_D=15.0, R_N=1e9)
    np.testing.assert_allclose(actual, chinchilla.loss(N, D, **HOFFMANN), rtol=1e-6)


def test_repeated_tokens_are_worth_less_and_have_a_limit():
    assert worth(1.0, 15.4) == 1.0
    assert 4 * worth(4.0, 15.4) == pytest.approx(3.73, abs=0.01)  # four epochs are almost free
    assert 1e6 * worth(1e6, 15.4) == pytest.approx(16.4)  # as the paper states
    assert worth(0.5, 15.4) == 1.0


def test_constants_of_muennighoff_are_those_of_their_code():
    point = repeated_data.published["muennighoff2023"].values
    np.testing.assert_allclose(
        [np.log(point["A"]), np.log(point["B"]), np.log(point["E"])],
        [6.255414, 7.3049974, 0.6254804],
        rtol=1e-6,
    )
    alpha = point["alpha"]
    best = (point["A"] / point["B"]) ** (1 / alpha) * 1e9
    assert best / 1e9 == pytest.approx(0.051, abs=5e-4)  # parameters per unique token


def test_constants_of_muennighoff_explain_as_much_as_the_paper_states(reference):
    """The paper states an R-squared of 0.77 for its 182 runs."""
    frame = pd.read_csv(reference / "datablations_c4.csv").query("in_paper_fit")
    loss = frame["loss"]
    actual = repeated_data.at(
        "muennighoff2023", N=frame["params"], D=frame["tokens"], U=frame["unique_tokens"]
    )
    r_squared = 1 - ((loss - actual) ** 2).sum() / ((loss - loss.mean()) ** 2).sum()
    assert r_squared == pytest.approx(0.77, abs=0.005)


def test_over_fitting_can_make_the_loss_rise():
    values = dict(HOFFMANN, K=0.02, gamma=0.5, delta=1.0, zeta=0.5)
    epochs = repeated_overfit.loss(1.0, np.geomspace(0.1, 1e4, 60), 0.1, **values)
    assert epochs.argmin() not in (0, 59)
    np.testing.assert_allclose(
        repeated_overfit.loss(N, D, D, **dict(values, K=0.0)), chinchilla.loss(N, D, **HOFFMANN)
    )


def test_bounded_over_fitting_has_a_highest_loss():
    values = dict(HOFFMANN, K=0.02, gamma=0.5, delta=1.0, zeta=0.5)
    unbounded = repeated_overfit.loss(N, D, 0.1, **values)
    nearly = repeated_bounded.loss(N, D, 0.1, **values, H=1e9)
    np.testing.assert_allclose(nearly, unbounded, rtol=1e-6)
    most = repeated_bounded.loss(1e6, 1e6, 1e-6, **values, H=4.0)
    assert most == pytest.approx(1.7 + 4.0, rel=1e-3)
    paper = 1.7 + 4.0 * (h := (unbounded - 1.7) / 4.0) / (1 + h)  # E + (L0 - E) h / (1 + h)
    np.testing.assert_allclose(repeated_bounded.loss(N, D, 0.1, **values, H=4.0), paper, rtol=1e-12)


def test_over_training_is_hoffmanns_law_with_equal_exponents():
    actual = overtraining.loss(N, D, E=1.7, A=0.5, B=0.3, eta=0.15)
    expected = chinchilla.loss(N, D, E=1.7, A=0.5, B=0.3, alpha=0.3, beta=0.3)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    flop = 6 * 1.4e9 * 28e9  # the formula of the paper, in FLOP
    paper = 1.837 + (212 * 20**0.136 + 367 * 20**-0.136) * flop**-0.136
    assert overtraining.at("redpajama", N=1.4e9, D=28e9) == pytest.approx(paper, rel=1e-12)


def test_one_expert_is_a_dense_model_and_many_saturate():
    values = dict(A=2.5, alpha=0.08, beta=0.04, interaction=0.005, start=2.0, limit=300.0)
    dense = routed_experts.loss(N, 1.0, **values)
    np.testing.assert_allclose(dense, 2.5 * N**-0.08, rtol=1e-12)
    many = routed_experts.loss(1.0, np.array([1e6, 1e9]), **values)
    assert many[0] == pytest.approx(many[1], rel=1e-4)


def test_a_dense_model_has_no_sparsity():
    values = dict(E=1.0, A=0.5, B=0.3, alpha=0.34, beta=0.28)
    actual = sparse_multiplicative.loss(N, N, D, **values, rho=0.3)
    np.testing.assert_allclose(actual, chinchilla.loss(N, D, **values))
    paper = 16612.5 * 4e9**-0.5962 + 5455.67 * 1e11**-0.3954 + 0.94
    paper += 0.4598 * 0.25**0.1666 + 17.26 * 0.25**-0.1603 * 4e9**-0.1595
    actual = sparse_experts.at("abnar2025", N=1e9, N_total=4e9, D=1e11)
    assert actual == pytest.approx(paper, rel=1e-9)


def test_the_best_vocabulary_grows_with_data():
    values = dict(E=0.5, A=0.1, K=0.1, B=0.2, alpha=0.4, kappa=0.5, beta=0.45, delta=0.3)
    sizes = np.geomspace(1e-3, 1e3, 2001)
    best = [sizes[vocabulary_size.loss(1.0, sizes, d, **values).argmin()] for d in (0.1, 1, 10)]
    assert best[0] < best[1] < best[2]


def test_the_best_learning_rate_is_a_power_of_n_and_d():
    bowl = dict(narrow_lr=0.01, narrow_batch=0.01, best_lr=0.7, lr_N=-0.7, lr_D=0.3,
                lr_batch=0.4, best_batch=1.3, batch_D=0.6, skew=1.2, narrow_N=-0.3)  # fmt: skip
    lr, batch = 0.7 * N**-0.7 * D**0.3, 1.3 * D**0.6
    at_best = learning_rate_batch.loss(N, D, lr, batch, **HOFFMANN, **bowl)
    np.testing.assert_allclose(at_best, chinchilla.loss(N, D, **HOFFMANN), rtol=1e-12)
    for change in ((2.0, 1.0), (0.5, 1.0), (1.0, 2.0), (1.0, 0.5), (0.5, 0.5)):
        away = learning_rate_batch.loss(N, D, change[0] * lr, change[1] * batch, **HOFFMANN, **bowl)
        assert (away > at_best).all()
    below, above = (
        learning_rate_batch.loss(N, D, k * lr, batch, **HOFFMANN, **bowl) / at_best - 1
        for k in (0.25, 4.0)
    )
    assert (above > 2 * below).all()
    nearly_even = {**bowl, "skew": 1e-4}
    doubled = learning_rate_batch.loss(N, D, 2 * lr, batch, **HOFFMANN, **nearly_even)
    rise = 0.01 * N**-0.3 * np.log(2) ** 2
    np.testing.assert_allclose(doubled / at_best - 1, rise, rtol=1e-3)


def test_limits_of_fine_tuning_streams_and_sigmoid():
    x = np.geomspace(1e-3, 1e3, 9)
    values = dict(E=0.4, A=0.5)
    plain = power.loss(x, **values, alpha=0.3)
    np.testing.assert_allclose(rectified.loss(x, **values, beta=0.3, learned=0.0), plain)
    np.testing.assert_allclose(
        sigmoid.loss(x, **values, slope=0.3, middle=1e-60), plain, rtol=1e-12
    )
    np.testing.assert_allclose(parallel_streams.loss(x, 1.0, **values, alpha=0.3, k=0.4), plain)
    joint = dict(values, alpha=0.2, beta=0.1)
    assert (finetuning.loss(N, D, **joint) == multiplicative.loss(N, D, **joint)).all()


# -- units and settings --------------------------------------------------------------------------


def test_tied_columns_have_one_scale():
    scales = repeated_data.scales_of({"N": np.array([1.0, 4.0]), "D": np.array([9.0, 9.0]),
                                      "U": np.array([3.0, 1.0])})  # fmt: skip
    assert scales == pytest.approx({"N": 2.0, "D": 9.0, "U": 9.0})
    assert routed_experts.tied({"N": 5.0, "experts": 7.0}) == {"N": 5.0, "experts": 1.0}


def test_settings_do_not_count_as_scale():
    columns = {"N": np.array([2.0]), "D": np.array([3.0]), "lr": np.array([5.0]), "batch": [7.0]}
    assert learning_rate_batch.sizes == ("N", "D")
    assert learning_rate_batch.log_scale(columns) == pytest.approx(np.log(6))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"units": {"U": "D"}}, "units names U"),
        ({"units": {"N": "U"}}, "units names U"),
        ({"settings": ("lr",)}, "settings names lr"),
        ({"settings": ("N",)}, "all columns are settings"),
    ],
)
def test_units_and_settings_must_be_columns(options, problem):
    with pytest.raises(bs.LawError, match=problem):
        bs.Law("a", lambda N, *, A: A / N, {"A": bs.Positive(1)}, "a test", **options)


# -- from a table to a forecast ------------------------------------------------------------------


@pytest.fixture(scope="module")
def repeated() -> bs.Runs:
    n, u, epochs = (
        v.ravel() for v in np.meshgrid([1e8, 4e8, 1.6e9], [4e9, 16e9], [1, 3, 10, 30, 100])
    )
    frame = pd.DataFrame({"params": n, "tokens": u * epochs, "unique_tokens": u, "loss": 1.0})
    with pytest.warns(bs.RunsWarning):
        runs = bs.Runs.from_frame(frame)
    return bs.simulate("repeated_data", runs, "muennighoff2023", sigma=0.003, random_seed=1)


@pytest.fixture(scope="module")
def fitted(repeated) -> bs.Fit:
    return bs.fit(repeated, "repeated_data", engine="particles", draws=300, random_seed=1)


def test_a_law_of_unique_tokens_is_fitted_checked_and_forecast(fitted):
    low, high = fitted.posterior["R_D"].quantile([0.02, 0.98]).to_numpy()
    assert low < 15.39 < high
    assert high / low < 4
    assert not [f for f in fitted.check().problems if f.name in ("convergence", "regime")]
    ahead = bs.forecast(fitted, N="3.2B", D=["64B", "640B"], U="32B", random_seed=1)
    truth = repeated_data.at("muennighoff2023", N=3.2e9, D=[64e9, 640e9], U=32e9)
    low, high = np.quantile(ahead.data["mean"].stack(s=("chain", "draw")), [0.01, 0.99], axis=-1)
    assert (low < truth).all()
    assert (truth < high).all()
    assert ahead.data["U"].to_numpy().tolist() == [32e9, 32e9]


def test_points_far_outside_the_range_of_a_setting_are_reported(fitted):
    with pytest.warns(
        bs.ExtrapolationWarning, match="1 point has U far outside the range of the runs"
    ):
        bs.forecast(fitted, N="1B", D="64B", U="1M", random_seed=1)


def test_a_forecast_without_unique_tokens_names_them(fitted):
    with pytest.raises(bs.FitError, match="needs N, D, U, and U cannot be derived"):
        bs.forecast(fitted, N="1B", D="64B")


def test_laws_of_unique_tokens_in_a_rollout(repeated):
    rolled = bs.rollout(repeated, "repeated_data", above=1e21, draws=100, random_seed=1,
                        baselines=False)  # fmt: skip
    assert rolled.points["inside95"].mean() > 0.7


def test_a_fit_with_further_columns_survives_a_file(fitted, tmp_path):
    fitted.save(tmp_path / "fit.nc")
    again = bs.Fit.load(tmp_path / "fit.nc")
    assert again.law is repeated_data
    assert again.plan.scales == fitted.plan.scales
    first, second = (bs.forecast(f, N=1e9, D=6.4e10, U=8e9).data["loss"] for f in (fitted, again))
    np.testing.assert_array_equal(first, second)
