"""Which runs to train next, against brute force on linear models and against refits."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.decisions.suggestions import _choose, _Moments, _noise, _worthwhile
from bayescale.decisions.suggestions import _greedy as greedy
from bayescale.model.drift import Edge, ahead

SAMPLE = ("chain", "draw")
pytestmark = pytest.mark.filterwarnings("ignore::bayescale.errors.ExtrapolationWarning")


@pytest.fixture(scope="module")
def runs(openlm):
    return openlm.query("dataset == 'c4'")


@pytest.fixture
def wide(by_hand, runs):
    rng = np.random.default_rng(1)
    centre = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28, "sigma": 0.01, "nu": 5.0}
    spread = {k: v * np.exp(0.1 * rng.standard_normal((2, 1000))) for k, v in centre.items()}
    spread["sigma"], spread["nu"] = spread["sigma"] ** 0.01 * 0.01**0.99, 5.0 + spread["E"]
    return by_hand(runs, "chinchilla", spread, draws=1000)


@pytest.fixture
def linear():
    """Draws of a linear model with known covariance: log losses of six candidates and a target."""
    rng = np.random.default_rng(2)
    design = rng.standard_normal((6, 3))
    target = rng.standard_normal((3, 1))
    coefficients = rng.standard_normal((40_000, 3)) * [1.0, 0.5, 0.2]
    # Made exactly uncorrelated with the right variances, so that results are those of the formula.
    coefficients -= coefficients.mean(axis=0)
    root = np.linalg.cholesky(np.linalg.inv(np.cov(coefficients.T)))
    coefficients = coefficients @ root * [1.0, 0.5, 0.2]
    drawn = {
        "centre": coefficients @ design.T,
        "scale": np.full((40_000, 6), 0.3),
        "nu": np.full((40_000, 6), np.inf),
    }
    return drawn, coefficients @ target, design, target


def _greedy(drawn, at_target, costs, *options):
    """A greedy choice from draws."""
    return greedy(_Moments.of(drawn, at_target, len(costs)), costs, *options)


def exact(design, target, order) -> float:
    """Variance of the target after runs, in closed form."""
    precision = np.diag(1 / np.array([1.0, 0.5, 0.2]) ** 2)
    X = design[list(order)]
    return (target.T @ np.linalg.inv(precision + X.T @ X / 0.3**2) @ target).item()


def test_variances_after_each_run_are_those_of_the_linear_model(linear):
    drawn, at_target, design, target = linear
    chosen = _greedy(drawn, at_target, np.ones(6), np.inf, 4, True, True)
    assert len(chosen.order) == 4
    for i in range(5):
        assert chosen.variance[i] == pytest.approx(
            exact(design, target, chosen.order[:i]), rel=2e-3
        )


def test_the_first_run_is_the_best_of_all(linear):
    drawn, at_target, design, target = linear
    costs = np.array([1.0, 2.0, 0.5, 3.0, 1.0, 1.0])
    start = exact(design, target, [])
    removed = np.array([start - exact(design, target, [i]) for i in range(6)])
    chosen = _greedy(drawn, at_target, costs, np.inf, 1, True, True)
    assert chosen.order[0] == np.argmax(removed / costs)
    np.testing.assert_allclose(chosen.first, removed / start, atol=2e-3)
    by_size = _greedy(drawn, at_target, costs, np.inf, 1, True, False)
    assert by_size.order[0] == np.argmax(removed)


def test_the_choice_is_near_the_best_of_all_sets(linear):
    """All multisets that a budget allows, in closed form."""
    drawn, at_target, design, target = linear
    costs, budget = np.array([1.0, 2.0, 0.5, 3.0, 1.0, 1.0]), 3.0
    sets = [
        s
        for n in range(7)
        for s in itertools.combinations_with_replacement(range(6), n)
        if costs[list(s)].sum() <= budget
    ]
    best = min(exact(design, target, s) for s in sets)
    start = exact(design, target, [])
    chosen = _choose(drawn, at_target, costs, budget, 100, True)
    assert costs[chosen.order].sum() <= budget
    assert start - chosen.variance[-1] >= 0.9 * (start - best)


def _problem(seed: int):
    """Draws of twelve candidates and a target, and costs that differ by factors."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((2000, 4)) @ rng.standard_normal((4, 12))
    at_target = centre @ rng.standard_normal((12, 1))
    drawn = {"centre": centre, "scale": np.full((2000, 12), 2.0), "nu": np.full((2000, 12), 9.0)}
    return drawn, at_target, np.exp(rng.normal(0, 1.2, 12))


def _where_more_money_is_worse(seed: int) -> list[tuple[float, float]]:
    """Pairs of budgets of which the larger has the worse greedy choice under both rules."""
    drawn, at_target, costs = _problem(seed)
    budgets = np.geomspace(costs.min(), 6 * costs.max(), 40)
    left = [
        min(_greedy(drawn, at_target, costs, b, 100, True, k).variance[-1] for k in (True, False))
        for b in budgets
    ]
    worse = np.flatnonzero(np.diff(left) > 1e-6 * left[0])
    return [(budgets[i], budgets[i + 1]) for i in worse]


def test_more_money_never_gives_a_worse_plan():
    """Where the greedy choices alone do."""
    pairs = [(seed, pair) for seed in range(8) for pair in _where_more_money_is_worse(seed)[:1]]
    assert pairs
    for seed, budgets in pairs:
        drawn, at_target, costs = _problem(seed)
        less, more = (_choose(drawn, at_target, costs, b, 100, True) for b in budgets)
        assert more.variance[-1] <= less.variance[-1] * (1 + 1e-9)
        for plan, budget in zip((less, more), budgets, strict=True):
            assert costs[plan.order].sum() <= budget * (1 + 1e-9)


@pytest.mark.parametrize("number", [None, 3])
def test_the_expected_interval_does_not_widen_with_the_budget(wide, number):
    grid = {"N": ["100M", "400M", "1B", "3B"], "D": ["2B", "8B", "20B", "60B"]}
    target = {"N": "7B", "D": "140B"}
    widths = [
        bs.suggest(wide, grid, target=target, budget=b, number=number).widths()[-1]
        for b in np.geomspace(2e18, 4e21, 9)
    ]
    assert (np.diff(widths) <= 0.01 * widths[0]).all()


def test_without_repeats_every_candidate_is_chosen_once(linear):
    drawn, at_target, *_ = linear
    once = _greedy(drawn, at_target, np.ones(6), np.inf, 100, False, True)
    assert len(set(once.order)) == len(once.order)
    often = _greedy(drawn, at_target, np.ones(6), np.inf, 100, True, True)
    assert len(set(often.order)) < len(often.order)


def test_candidates_that_have_nothing_to_do_with_the_target_are_not_chosen():
    """Correlations over draws are never exactly zero, and cheap runs would profit from that."""
    rng = np.random.default_rng(3)
    centre = rng.standard_normal((2000, 51))
    at_target = centre[:, :1] + 0.1 * rng.standard_normal((2000, 1))
    drawn = {"centre": centre, "scale": np.full((2000, 51), 0.1), "nu": np.full((2000, 51), np.inf)}
    costs = np.array([1.0, *[1e-6] * 50])
    for per_cost in (True, False):
        chosen = _greedy(drawn, at_target, costs, 10.5, 100, True, per_cost)
        assert set(chosen.order) == {0}


def test_the_share_of_few_draws_is_not_overestimated():
    """The squared correlation of n draws, less what n draws of unrelated numbers would have."""
    rng = np.random.default_rng(7)
    centre = rng.standard_normal((40, 1))
    at_target = centre + 0.5 * rng.standard_normal((40, 1))
    drawn = {"centre": centre, "scale": np.full((40, 1), 0.5), "nu": np.full((40, 1), np.inf)}
    with_noise = centre.var(ddof=1) + 0.5**2
    squared = np.cov(centre[:, 0], at_target[:, 0])[0, 1] ** 2 / with_noise
    squared /= at_target.var(ddof=1)
    chosen = _greedy(drawn, at_target, np.ones(1), np.inf, 1, True, True)
    expected = squared - (1 - squared) / 39
    assert chosen.first[0] == pytest.approx(expected, rel=1e-9)


def test_the_noise_has_the_information_of_the_student_t():
    """Numerical Fisher information of the location."""
    from scipy.integrate import quad
    from scipy.stats import t

    nu, scale = 4.0, 0.2
    score = lambda x: (nu + 1) * x / (nu * scale**2 + x**2)  # noqa: E731
    information, _ = quad(lambda x: score(x) ** 2 * t.pdf(x, nu, 0, scale), -20, 20)
    drawn = {"scale": np.full((3, 1), scale), "nu": np.full((3, 1), nu)}
    assert _noise(drawn)[0] == pytest.approx(1 / information, rel=1e-4)


def test_two_targets_count_equally_whatever_their_units(wide):
    candidates = {"N": ["100M", "1B"], "D": ["2B", "60B"]}
    split = bs.allocate(wide, [1e21, 1e23], drift="off")
    logs = np.log(split.data[["N", "loss_decision"]]).to_array("quantity").isel(budget=1)
    logs = logs.transpose(*SAMPLE, "quantity")
    one = bs.suggest(wide, candidates, target=logs, number=3)
    scaled = logs * xr.DataArray([1.0, 1000.0], dims="quantity")
    other = bs.suggest(wide, candidates, target=scaled, number=3)
    assert one.runs["candidate"].tolist() == other.runs["candidate"].tolist()
    np.testing.assert_allclose(one.runs["share"], other.runs["share"], rtol=1e-6)


def test_a_suggestion_reads_what_a_forecast_reads(wide):
    candidates = pd.DataFrame({"N": ["100M", "1B", "3B"], "C": [1e19, 1e20, 1e21]})
    by_map = bs.suggest(wide, candidates, target={"N": "7B", "D": "140B"}, number=2)
    by_forecast = bs.suggest(wide, candidates, target=bs.forecast(wide, N="7B", D="140B"), number=2)
    pd.testing.assert_frame_equal(by_map.runs, by_forecast.runs)
    np.testing.assert_allclose(by_map.candidates["cost"], [1e19, 1e20, 1e21])
    ahead = bs.forecast(wide, N="7B", D="140B").data["mean"]
    assert by_map.sd == pytest.approx(float(np.log(ahead).std()), rel=0.1)
    assert by_map.runs["sd"].is_monotonic_decreasing
    np.testing.assert_allclose(by_map.runs["share"], (by_map.runs["sd"] / by_map.sd) ** 2)


def test_the_budget_and_the_column_of_costs_are_respected(wide):
    grid = {"N": ["100M", "1B", "3B"], "D": ["2B", "20B", "60B"]}
    target = {"N": "7B", "D": "140B"}
    by_flop = bs.suggest(wide, grid, target=target, budget="5e20")
    assert by_flop.runs["total_cost"].iloc[-1] <= 5e20
    frame = by_flop.candidates[["N", "D"]].assign(dollars=np.arange(1.0, 10.0))
    paid = bs.suggest(wide, frame, target=target, budget=12, cost="dollars")
    assert paid.runs["total_cost"].iloc[-1] <= 12
    assert paid.runs["cost"].tolist() == [frame["dollars"][i] for i in paid.runs["candidate"]]
    assert bs.suggest(wide, grid, target=target, repeat=False).runs["candidate"].is_unique


def test_the_optimal_size_needs_other_runs_than_its_loss(wide):
    """The loss at the optimum needs large runs; where it lies is told by runs off the balance."""
    grid = {"N": ["100M", "400M", "1B", "3B"], "D": ["2B", "8B", "20B", "60B"]}
    split = bs.allocate(wide, 1e22)
    size = bs.suggest(wide, grid, target=split, budget="2e21")
    place = {"N": split.data["N_decision"].to_numpy(), "D": split.data["D_decision"].to_numpy()}
    loss = bs.suggest(wide, grid, target=pd.DataFrame(place), budget="2e21")
    assert not size.is_loss
    assert "interval of the target" in size.bottom_line()
    assert size.runs["candidate"].iloc[0] != loss.runs["candidate"].iloc[0]


def test_an_average_pays_for_runs_that_tell_its_laws_apart(by_hand, runs):
    """Two laws without further uncertainty, which differ at large N only."""
    same = {"A": 0.7, "B": 0.5, "beta": 0.28, "sigma": 0.005, "nu": 5.0}
    rng = np.random.default_rng(6)
    fits = {}
    for name, alpha in (("a", 0.30), ("b", 0.36)):
        values = {**same, "E": 1.8, "alpha": alpha}
        values = {k: v * np.exp(1e-5 * rng.standard_normal((2, 500))) for k, v in values.items()}
        fits[name] = by_hand(runs, "chinchilla", values, draws=500)
    both = bs.Average(fits, {"a": 0.5, "b": 0.5})
    scale = runs.scales["N"]
    grid = pd.DataFrame({"N": [scale, 10 * scale], "D": [1e10, 1e10], "cost": [1.0, 1.0]})
    chosen = bs.suggest(both, grid, target={"N": 100 * scale, "D": 1e12}, number=1, drift="off")
    assert chosen.runs["candidate"].tolist() == [1]
    assert chosen.candidates["share"][0] == 0  # the laws agree there
    # Half of the squared difference of the two log losses, and the noise of one run.
    place = {"N": 10 * scale, "D": 1e10}
    between = [
        float(np.log(f.law(place, f.plan.scales, f.parameters())).mean()) for f in fits.values()
    ]
    variance = (np.diff(between)[0] / 2) ** 2
    measured = float(np.median(both.runs.table["loss_sd"] / both.runs.table["loss"]))
    noise = (0.005**2 + measured**2) * (5 + 3) / (5 + 1)
    assert chosen.runs["share"][0] == pytest.approx(noise / (noise + variance), rel=0.02)


def test_groups_are_those_of_a_forecast(by_hand, openlm):
    """Only one of two corpora is uncertain, and only its runs say anything about it."""
    pool = dict.fromkeys(("E", "A", "alpha", "beta", "sigma"), "complete")
    rng = np.random.default_rng(4)
    B = np.full((2, 500, 3), 0.5)
    B[:, :, 0] = 0.5 * np.exp(0.3 * rng.standard_normal((2, 500)))
    values = {"E": 1.8, "A": 0.5, "alpha": 0.3, "beta": 0.3, "sigma": 0.01, "nu": 5.0}
    values |= {"B": 0.5, "B_dataset_scale": 0.7}
    values = {k: v * np.exp(1e-5 * rng.standard_normal((2, 500))) for k, v in values.items()}
    B *= np.exp(1e-5 * rng.standard_normal(B.shape))
    values["B_dataset"] = B
    fit = by_hand(openlm, "chinchilla", values, draws=500, groups="dataset", pool=pool)
    first, second, _ = fit.plan.levels["dataset"]
    grid = pd.DataFrame({"N": 1e9, "D": 2e10, "dataset": [first, second]})
    target = pd.DataFrame({"N": [7e9], "D": [1.4e11], "dataset": [first]})
    chosen = bs.suggest(fit, grid, target=target, number=1, drift="off")
    assert chosen.runs["dataset"].tolist() == [first]
    assert chosen.candidates["share"].tolist()[1] == 0
    assert f", {first}" in chosen.bottom_line()
    assert chosen.bottom_line().startswith(f"For {first}, train 1 run for ")
    new = bs.suggest(fit, {"N": [1e9], "D": [2e10]}, target={"N": 7e9, "D": 1.4e11}, number=1)
    last = openlm.table["dataset"].iloc[-1]
    assert new.bottom_line().startswith("For a new dataset, ")
    assert f"for a fitted one give group='{last}'." in new.bottom_line()
    two = bs.suggest(fit, grid, target=target.assign(dataset=[second]), number=1, drift="off")
    assert f"For {second}, no candidate would reduce" in two.bottom_line()
    assert "judged by the loss at the target only; they may still" in two.bottom_line()
    assert "ask with target=bs.allocate(fit, C=...)" in two.bottom_line()


def test_without_runs_the_prior_decides():
    grid = {"N": ["100M", "1B"], "D": ["2B", "20B"]}
    chosen = bs.suggest("chinchilla", grid, target={"N": "7B", "D": "140B"}, number=3)
    assert chosen.is_prior
    assert len(chosen.runs) == 3
    assert chosen.runs["share"].iloc[-1] < 0.2
    assert "rests on the prior" in chosen.bottom_line()


@pytest.mark.slow
@pytest.mark.parametrize("drift", ["off", "auto"])
def test_the_expected_width_is_that_of_a_refit(runs, drift):
    """The reduction without refitting, against the mean over refits to simulated losses."""
    seen = runs.query("C < 1e20")
    fit = bs.fit(seen, draws=500, random_seed=1)
    plan = pd.DataFrame({"N": [1e9, 3e9], "D": [2e10, 6e10]})
    target = {"N": "7B", "D": "140B"}
    scored = bs.design(fit, plan, target=target, drift=drift, simulations=8, random_seed=1)
    grid = plan.assign(cost=1.0)
    chosen = bs.suggest(fit, grid, target=target, number=2, repeat=False, drift=drift)
    now, *_, expected = chosen.widths(0.9)
    assert len(chosen.runs) == 2
    scores = scored.summary()
    assert scores["width"][0] == pytest.approx(expected, rel=0.35)
    assert scores["width_before"][0] == pytest.approx(now, rel=0.1)
    assert chosen.runs["sd"].iloc[-1] < 0.7 * chosen.sd or drift == "auto"


@pytest.mark.parametrize("distinct", [True, False])
def test_the_drift_of_a_refit_begins_further_out(wide, distinct):
    """With a known law only the drift is left: its variance is that of the forecast, from the new
    start. Eight copies of one run count as one run."""
    law = {"E": 1.8, "A": 0.7, "B": 0.5, "alpha": 0.34, "beta": 0.28}
    exact = wide.posterior.assign({k: 0 * wide.posterior[k] + v for k, v in law.items()})
    fit = dataclasses.replace(wide, posterior=exact)
    target = {"N": "70B", "D": "1.4T"}
    N = 7e9 * (1 + 1e-6 * np.arange(8)) if distinct else np.full(8, 7e9)
    far = pd.DataFrame({"N": N, "D": 140e9})
    chosen = bs.suggest(fit, far, target=target, number=8, repeat=False)
    known = fit.plan.columns
    before = Edge.of(fit.law, known)
    after = Edge.of(fit.law, {"N": np.r_[known["N"], N], "D": np.r_[known["D"], far["D"]]})
    assert after.scale > before.scale + (1 if distinct else 0)

    def spread(edge):
        place = {"N": np.array([70e9]), "D": np.array([1.4e12])}
        near, distance = edge.before(fit.law, place)
        fall = np.log(law_of(law, **place, fit=fit) / law_of(law, **near, fit=fit))
        return float((abs(fall) * np.sqrt(1 + distance / 3))[0])

    left = chosen.runs["sd"].iloc[-1] / chosen.sd
    assert left == pytest.approx(spread(after) / spread(before), rel=0.01)
    prior = ahead(is_averaged=False, has_law_error=False)
    size = np.exp(prior.centre + prior.width**2)  # root of the mean square under the prior
    assert chosen.sd == pytest.approx(size * spread(before), rel=0.15)


def law_of(values, N, D, fit):
    """Chinchilla's law at the scales of the fit."""
    n, d = N / fit.plan.scales["N"], D / fit.plan.scales["D"]
    return values["E"] + values["A"] * n ** -values["alpha"] + values["B"] * d ** -values["beta"]


def test_a_suggestion_begins_with_its_answer(wide):
    chosen = bs.suggest(
        wide, {"N": ["1B", "3B"], "D": ["20B"]}, target={"N": "7B", "D": "140B"}, number=2
    )
    text = repr(chosen)
    assert text.startswith("Train 2 runs for ")
    assert "is expected to narrow from" in text
    assert "<Suggestion of 2 of 2 candidates>" in text
    assert chosen.to_dataframe("candidates")["times"].sum() == 2
    assert "<strong>Train 2 runs" in chosen._repr_html_()


def test_a_target_that_no_run_informs_gives_no_runs(wide):
    noise = xr.DataArray(np.random.default_rng(5).standard_normal((2, 1000)), dims=SAMPLE)
    chosen = bs.suggest(wide, {"N": ["1B"], "D": ["20B"]}, target=noise)
    assert len(chosen.runs) == 0
    assert chosen.bottom_line().startswith("No candidate would reduce")


@pytest.mark.parametrize(
    ("candidates", "options", "message"),
    [
        (
            {"N": [1e9]},
            {},
            "the table of runs has N without D, but chinchilla is a function of N, D",
        ),
        ({"size": [1e9]}, {}, "the table of runs has size, .*: give N and D of each run"),
        (
            {"N": [1e9], "D": [1e10]},
            {"target": {"N": "1B"}},
            r"the target has N without D, but .*: give N and D of the target, or its compute \(C\)",
        ),
        (
            {"N": [1e9], "D": [1e10]},
            {"target": {"loss": 2.1, "tokens": 1e9}},
            r"the target has loss, tokens, .*: give N and D of the target, or {'loss': ...} alone",
        ),
        (pd.DataFrame({"N": [], "D": []}), {}, "candidates has no rows"),
        ([1e9], {}, "candidates is a list"),
        ({"N": [1e9], "D": [1e10]}, {"budget": 1e10}, "the cheapest costs 6e19"),
        ({"N": [1e9], "D": [1e10]}, {"number": 0}, "number is 0"),
        ({"N": [1e9], "D": [1e10]}, {"drift": "on"}, "no drift 'on'"),
        ({"N": [1e9], "D": [1e10]}, {"target": xr.DataArray([1.0], dims="x")}, "has the dims"),
        (
            {"N": [1e9], "D": [1e10]},
            {"target": xr.DataArray(np.ones((1, 5)), dims=SAMPLE)},
            "the target has 5 draws, the fit 2000",
        ),
        ({"N": [1e9], "D": [1e10]}, {"group": "c4"}, "this fit has no groups"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(wide, candidates, options, message):
    options = {"target": {"N": "7B", "D": "140B"}, **options}
    with pytest.raises(bs.FitError, match=message):
        bs.suggest(wide, candidates, **options)


def test_a_target_loss_stands_for_the_best_run_that_reaches_it(wide):
    grid = {"N": ["400M", "1B"], "D": ["8B", "20B"]}
    split = bs.allocate(wide, loss=2.3, probability=0.5)
    N, D = (float(split.data[f"{c}_decision"][0]) for c in "ND")
    by_loss = bs.suggest(wide, grid, target={"loss": 2.3}, number=3)
    by_size = bs.suggest(wide, grid, target={"N": N, "D": D}, number=3)
    pd.testing.assert_frame_equal(by_loss.runs, by_size.runs)
    assert "A loss of 2.3 is reached with 50 % probability by " in by_loss.bottom_line()


def test_a_loss_is_no_target_of_a_law_without_a_best_split(by_hand, runs):
    values = {"E": 1.7, "A": 1.0, "alpha": 0.2, "sigma": 0.01, "nu": 5.0}
    fit = by_hand(runs, "power(C)", values)
    with pytest.raises(bs.FitError, match=r"does not split budgets .*: give C of the target"):
        bs.suggest(fit, {"C": [1e20, 1e21]}, target={"loss": 2.3})


def test_only_posteriors_and_laws_decide():
    with pytest.raises(bs.FitError, match="cannot decide from int"):
        bs.suggest(3, {"N": [1e9], "D": [1e10]}, target={"N": "7B", "D": "140B"})


def test_without_a_budget_no_more_is_spent_than_on_the_target_run(wide):
    grid = {"N": ["400M", "1B", "7B"], "D": ["8B", "20B", "400B"]}
    target = {"N": "1B", "D": "20B"}
    found = bs.suggest(wide, grid, target=target)
    assert found.runs["total_cost"].iloc[-1] <= 6 * 1e9 * 20e9
    assert "no budget is given: at most the target run's 1.2e20 FLOP" in found.bottom_line()
    given = bs.suggest(wide, grid, target=target, budget="1e22")
    assert "no budget" not in given.bottom_line()


def test_candidates_that_all_cost_more_than_the_target_run_are_a_caution(wide):
    found = bs.suggest(wide, {"N": ["7B"], "D": ["400B"]}, target={"N": "1B", "D": "20B"})
    assert "more than the 1.2e20 FLOP of the target run itself" in found.cautions()[0]
    assert "no budget is given" not in found.bottom_line()


def test_costs_in_other_units_are_not_compared_with_the_target_run(wide):
    dear = pd.DataFrame({"N": [7e9], "D": [4e11], "cost": [10.0]})
    found = bs.suggest(wide, dear, target={"N": "1B", "D": "20B"})
    assert len(found.runs) > 0
    assert not any("target run itself" in text for text in found.cautions())


def test_runs_after_which_a_refit_is_no_narrower_are_left_out(wide):
    def kept(*shares: float) -> tuple[list[int], bool]:
        """The runs that stay, if each multiplies the variance by its share."""
        order = np.arange(len(shares))
        left, _, ended = _worthwhile(order, lambda o: np.cumprod([1.0, *np.array(shares)[o]]))
        return left.tolist(), ended

    assert kept(0.5, 0.8, 1.1, 0.95) == ([0, 1], True)
    assert kept(0.5, 0.995) == ([0], True)  # 0.5 % less is no gain
    assert kept(0.5, 1.01, 0.8, 0.9) == ([0, 2, 3], False)  # not the one that widens
    assert kept(1.2, 0.95) == ([], True)
    grid = {"N": ["400M", "1B", "3B"], "D": ["8B", "20B", "60B"]}
    chosen = bs.suggest(wide, grid, target={"N": "70B", "D": "1.4T"}, number=12)
    widths = chosen.runs["sd"].to_numpy()
    assert (np.diff(widths**2) < -0.01 * widths[:-1] ** 2).all()
    assert chosen.ended == (len(chosen.runs) < 12)
    assert ("add nothing" in chosen.bottom_line()) == chosen.ended
    assert len(chosen.runs) == chosen.candidates["times"].sum()


def test_a_quantity_as_target_has_its_own_reasons_for_doubt(wide):
    quantity = bs.allocate(wide, 1e24)
    chosen = bs.suggest(wide, {"N": ["1B", "3B"], "D": ["20B"]}, target=quantity, number=1)
    assert "own reasons for doubt" in chosen.bottom_line()


def test_the_width_before_is_that_of_the_forecast(wide):
    """One question, one interval: from the draws of the forecast, with the noise of a run."""
    target = {"N": "7B", "D": "140B"}
    grid = {"N": ["1B", "3B"], "D": ["20B"]}
    chosen = bs.suggest(wide, grid, target=target, number=2)
    ahead = bs.forecast(wide, **target)
    for prob in (0.5, 0.9):
        q = [(1 - prob) / 2, (1 + prob) / 2]
        low, high = np.log(ahead.data["loss"].isel(point=0)).quantile(q, ("chain", "draw"))
        widths = chosen.widths(prob)
        assert widths[0] == pytest.approx(float(high - low))
        assert chosen.summary(prob)["width"].tolist() == widths[1:].tolist()
    other = bs.forecast(wide, **target, random_seed=77)
    low, high = np.log(other.data["loss"].isel(point=0)).quantile([0.05, 0.95], ("chain", "draw"))
    from_forecast = bs.suggest(wide, grid, target=other, number=2)
    assert from_forecast.widths(0.9)[0] == pytest.approx(float(high - low))
    assert f"from {100 * float(high - low):.3g} %" in from_forecast.bottom_line()


def test_the_noise_of_the_run_remains(wide):
    """Without any variance of the law left, the width is that of the noise, up to the shape."""
    chosen = bs.suggest(wide, {"N": ["3B"], "D": ["20B"]}, target={"N": "7B", "D": "140B"})
    known = dataclasses.replace(chosen, runs=chosen.runs.assign(share=0.0))
    logs = np.log(chosen.ahead)
    low, high = (logs["loss"] - logs["mean"]).quantile([0.05, 0.95]).to_numpy()
    assert known.widths(0.9)[-1] == pytest.approx(high - low, rel=0.1)
    assert known.widths(0.9)[-1] < chosen.widths(0.9)[-1] < chosen.widths(0.9)[0]


def test_the_width_of_another_quantity_is_that_of_a_normal(wide):
    plan = bs.allocate(wide, 1e23)
    chosen = bs.suggest(wide, {"N": ["1B", "3B"], "D": ["20B"]}, target=plan, number=1)
    assert chosen.ahead is None
    assert chosen.widths(0.5)[1] == pytest.approx(2 * 0.6745 * chosen.runs["sd"][0], 1e-4)


def test_chosen_runs_far_outside_the_fitted_runs_are_a_caution(wide):
    target = {"N": "7B", "D": "140B"}
    large = bs.suggest(wide, {"N": ["70B"], "D": ["20B"]}, target=target, budget="1e24", number=1)
    assert "N of 1 chosen run is 70B, far outside the fitted runs" in large.cautions()[-1]
    usual = bs.suggest(wide, {"N": ["1B"], "D": ["20B"]}, target=target, number=1)
    assert not any("far outside" in text for text in usual.cautions())


def test_a_law_that_holds_for_small_runs_is_a_caution(c4_fit, by_hand, openlm):
    grid, target = {"N": ["400M", "1B", "3B"], "D": ["20B"]}, {"N": "7B", "D": "140B"}

    def told(fit, **options):
        chosen = bs.suggest(fit, grid, target=target, number=1, **options)
        return any("law_error=True" in text for text in chosen.cautions())

    assert told(c4_fit)
    tolerant = dataclasses.replace(c4_fit.plan, law_error=True)
    assert not told(dataclasses.replace(c4_fit, plan=tolerant))
    drawn = {n: v * np.exp(0.01 * np.random.default_rng(1).standard_normal((4, 500)))
             for n, v in dict(E=1.8, A=0.7, B=0.5, alpha=0.34, beta=0.28, sigma=0.01, nu=5.0,
                              E_dataset_scale=0.1).items()}  # fmt: skip
    drawn["E_dataset"] = drawn["E"][..., None] * np.array([0.95, 1.0, 1.05])
    pool = dict.fromkeys(("A", "B", "alpha", "beta", "sigma", "nu"), "complete")
    groups = dict(groups="dataset", pool=pool | {"E": "partial"})
    grouped = by_hand(openlm, "chinchilla", drawn, draws=500, chains=4, **groups)
    assert not told(grouped, group="c4")  # groups have no such errors
    assert not told("chinchilla")


def test_the_cost_of_a_plan_is_told_as_a_share_of_that_of_the_target(wide):
    grid, target = {"N": ["1B"], "D": ["20B"]}, {"N": "7B", "D": "140B"}
    for options in ({"number": 1}, {"budget": 1.3e20}):
        chosen = bs.suggest(wide, grid, target=target, **options)
        assert "1.2e20 FLOP in all, 2 % of the cost of the target run" in chosen.bottom_line()
    both = {"N": ["400M", "3B"], "D": ["8B", "20B"]}
    of_optimum = bs.suggest(wide, both, target=bs.allocate(wide, 1e21), number=1)
    assert of_optimum.limits.target == pytest.approx(1e21)
    assert " % of the cost of the target run" in of_optimum.bottom_line()
