"""Comparisons: leave-one-out as ArviZ computes it, scores of rollouts, and errors."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.evaluation.comparison import average, compare
from bayescale.evaluation.ensembles import evidence_weights
from bayescale.evaluation.rollout_results import Rollout
from bayescale.forecasting import Average, stacking
from bayescale.inference.diagnostics import Convergence
from bayescale.model.specify import design

VALUES = {
    "E": 1.8,
    "A": 1.0,
    "B": 0.8,
    "alpha": 0.28,
    "beta": 0.25,
    "alpha_N": 0.28,
    "alpha_D": 0.25,
    "sigma": 0.02,
    "nu": 5.0,
    "memory": 0.1,
    "drift": 0.1,
}


@pytest.fixture(scope="module")
def real(c4_fit) -> dict[str, bs.Fit]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)  # of few draws
        floor = bs.fit(c4_fit.runs, "kaplan_floor", draws=300, chains=4, random_seed=1)
    return {"chinchilla": c4_fit, "kaplan_floor": floor}


@pytest.fixture(scope="module")
def by_loo(real):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compare(real)


@pytest.fixture
def draws(by_hand):
    """A fit with some spread, so that leave-one-out has something to reweight."""

    def make(runs, law="chinchilla", seed=0, **options) -> bs.Fit:
        names = [p.name for p in design(runs, bs.laws.get(law), **options).parameters]
        rng = np.random.default_rng(seed)
        values = {n: VALUES[n] * np.exp(0.002 * rng.standard_normal((4, 100))) for n in names}
        return by_hand(runs, law, values, draws=100, chains=4, **options)

    return make


@pytest.fixture
def checkpoints() -> bs.Runs:
    frame = pd.DataFrame(
        {
            "N": np.repeat([1e8, 1e9, 1e10], 40),
            "series": np.repeat([1, 2, 3], 40),
            "D": np.tile(np.geomspace(1e9, 1e11, 40), 3),
        }
    )
    loss = 1.8 + (frame["N"] / 1e9) ** -0.28 + (frame["D"] / 1e10) ** -0.25
    return bs.Runs.from_frame(frame.assign(loss=loss))


def fake_rollout(scores: dict, method="bayescale", run="run", **more) -> Rollout:
    """``scores[law][problem]``: log scores of the held-out runs of a problem."""
    points = [
        {
            "law": law,
            "method": method,
            "problem": problem,
            run: str(i),
            "log_score": score,
            **{k: v[law] for k, v in more.items()},
        }
        for law, problems in scores.items()
        for problem, each in enumerate(problems)
        for i, score in enumerate(each)
    ]
    return Rollout(pd.DataFrame(points), {}, random_seed=1)


SCORES = {"chinchilla": [[1.0, 2.0], [0.5], [1.0]], "kaplan_floor": [[1.5, 3.0], [1.5], [0.5]]}


# -- leave-one-out -----------------------------------------------------------------------------


def test_leave_one_out_is_that_of_arviz(real, by_loo):
    import arviz as az

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        reference = az.compare({k: f.data for k, f in real.items()}, round_to="none")
    table = by_loo.table
    assert list(table.index) == list(reference.index)
    for name, called in dict(
        elpd_loo="elpd", se="se", p_loo="p", elpd_diff="elpd_diff", diff_se="dse"
    ).items():
        assert table[name].to_numpy(float) == pytest.approx(reference[called].to_numpy(float)), name


def test_the_weights_are_those_of_stacking_over_runs(real, by_loo):
    at_run = np.stack([by_loo.loo[name].elpd_i for name in real], axis=1)
    assert by_loo.method == "loo"
    assert [by_loo.weights[name] for name in real] == pytest.approx(stacking(at_run))
    assert by_loo.table["weight"].equals(by_loo.table["weight_loo"].rename("weight"))
    assert sum(by_loo.weights.values()) == pytest.approx(1, abs=1e-12)


def test_weights_by_evidence_are_those_of_the_ensemble(real):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # leave-one-out does not make the weights
        compared = compare(real, method="evidence")
    assert compared.weights == pytest.approx(evidence_weights(real))
    assert compared.table["elpd_loo"].is_monotonic_decreasing
    assert "weights by evidence to the power 0.2" in repr(compared)


def test_bad_pareto_k_is_counted(by_loo):
    for name, row in by_loo.table.iterrows():
        assert row["k_above_0.7"] == int((by_loo.loo[name].pareto_k > 0.7).sum())


def test_the_summary_has_a_row_per_law_best_first(by_loo):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)
        frame = by_loo.summary()
    assert list(frame.columns) == [
        "elpd_loo",
        "se",
        "elpd_diff",
        "diff_se",
        "p_loo",
        "k_above_0.7",
        "weight_loo",
        "weight",
    ]
    assert frame["elpd_loo"].is_monotonic_decreasing
    assert frame["elpd_diff"].iloc[0] == frame["diff_se"].iloc[0] == 0
    frame["weight"] = 0.0
    assert by_loo.table["weight"].sum() == pytest.approx(1)


def test_few_runs_are_warned_of(real):
    with pytest.warns() as caught:
        compared = compare(real)
    messages = [str(w.message) for w in caught]
    assert set(compared.notes) == set(messages)
    assert any("with 34 runs, fewer than 100" in m for m in messages)
    assert all(w.filename == __file__ for w in caught)


def test_unreliable_laws_are_named(real, by_loo):
    bad = by_loo.table["k_above_0.7"]
    unreliable = [n for n in by_loo.notes if "LOO is unreliable" in n]
    assert bool(unreliable) == bool(bad.any())
    for name in bad.index[bad > 0]:
        assert f"{name}: {bad[name]}" in unreliable[0]


def test_enough_runs_and_a_good_fit_need_no_caution(openlm, draws):
    compared = compare([draws(openlm), draws(openlm, "kaplan_floor")])
    assert compared.notes == ()


def test_the_repr_has_laws_verdict_and_notes(by_loo):
    lines = repr(by_loo).splitlines()
    assert lines[0] == "<Comparison of 2 laws on 34 runs, weights by LOO>"
    assert f"{by_loo.table.index[0]}: log predictive density" in lines[1]
    assert "against the highest" in lines[2]
    assert lines[3].strip() == by_loo.verdict
    assert all(line.startswith("  note: ") for line in lines[4:])


def test_one_law_has_no_comparison(openlm, draws):
    compared = compare([draws(openlm)])
    assert compared.weights == {"chinchilla": 1.0}
    assert "nothing to compare" in compared.verdict


NOISE = "a difference of less than 4, or of less than twice its error, is noise"
LOO, IN_DENSITY = "Leave-one-out (LOO)", "the difference in log predictive density is"


# -- verdicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("difference", "se", "sentence"),
    [
        (
            1.0,
            0.1,
            f"{LOO} cannot tell a from b: {IN_DENSITY} 1 ± 0.1; {NOISE}.",
        ),
        (
            8.0,
            6.0,
            f"{LOO} cannot tell a from b: {IN_DENSITY} 8 ± 6; {NOISE}.",
        ),
        (
            8.0,
            3.0,
            f"{LOO} favours a over b: {IN_DENSITY} 8 ± 3",
        ),
        (
            30.0,
            3.0,
            f"{LOO} clearly favours a over b: {IN_DENSITY} 30 ± 3",
        ),
    ],
)
def test_the_verdict_states_the_strength_of_the_evidence(difference, se, sentence):
    from bayescale.evaluation.comparison import _verdict

    table = pd.DataFrame({"elpd_diff": [0.0, -difference], "diff_se": [0.0, se]}, index=["a", "b"])
    assert _verdict(table, "loo", {}).startswith(sentence)


@pytest.fixture
def one_did_not_converge(draws, openlm):
    """Three fits and one name; its chains did not converge, those of the others did."""

    def make(failed):
        fits = {law: draws(openlm, law) for law in ("chinchilla", "kaplan_floor", "multiplicative")}
        for name, fit in fits.items():
            r_hat = 1.3 if name in failed else 1.0
            fit.__dict__["convergence"] = Convergence(r_hat, "E", 1000.0, "E", 0, 0.9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compare(fits)

    return make


def test_no_verdict_on_the_two_best_if_one_did_not_converge(one_did_not_converge):
    best, second, third = one_did_not_converge(()).table.index
    for failed in ({best}, {second}, {best, second}):
        verdict = one_did_not_converge(failed).verdict
        assert verdict.startswith("No verdict can be drawn, because fits did not converge: ")
        assert "tell" not in verdict
        assert "favours" not in verdict
        for name in (best, second, third):
            assert (f"{name} (R-hat <= 1.300" in verdict) == (name in failed)


def test_a_third_fit_that_did_not_converge_is_named_in_the_verdict(one_did_not_converge):
    converged = one_did_not_converge(())
    third = converged.table.index[2]
    verdict = one_did_not_converge({third}).verdict
    assert verdict.startswith(converged.verdict)
    assert f"Other ranks are unreliable, because fits did not converge: {third} (" in verdict
    assert "did not converge" not in converged.verdict


# -- rollouts ----------------------------------------------------------------------------------


def test_weights_come_from_a_rollout_by_default(real):
    compared = compare(real, fake_rollout(SCORES))
    points = np.array([[1.0, 1.5], [2.0, 3.0], [0.5, 1.5], [1.0, 0.5]])
    expected = stacking(points, [0, 0, 1, 2])
    assert compared.method == "rollout"
    assert [compared.weights[n] for n in SCORES] == pytest.approx(expected)
    assert compared.table["weight"].equals(compared.table["weight_rollout"].rename("weight"))


def test_weights_come_from_the_scores_as_members_of_an_average(real):
    rolled = fake_rollout(SCORES)
    turned = {name: [[-x for x in problem] for problem in of] for name, of in SCORES.items()}
    members = fake_rollout(turned).points["log_score"]
    rolled = replace(rolled, points=rolled.points.assign(log_score_averaged=members))
    compared = compare(real, rolled)
    assert compared.weights == pytest.approx(compare(real, fake_rollout(turned)).weights)
    assert compared.table["log_score"].max() > 0, "scores are those of laws alone"


def test_scores_are_means_over_problems(real):
    more = dict(
        crps={"chinchilla": 0.1, "kaplan_floor": 0.2},
        interval_score={"chinchilla": 1.0, "kaplan_floor": 2.0},
        inside90={"chinchilla": True, "kaplan_floor": False},
    )
    table = compare(real, fake_rollout(SCORES, **more)).table
    assert list(table.index) == ["kaplan_floor", "chinchilla"], "best first"
    assert table["log_score"].tolist() == pytest.approx([(2.25 + 1.5 + 0.5) / 3, 1.0])
    below = np.array([1.5 - 2.25, 0.5 - 1.5, 1.0 - 0.5])
    assert table["log_score_diff"].tolist() == pytest.approx([0, below.mean()])
    assert table["log_score_diff_se"].tolist() == pytest.approx([0, below.std(ddof=1) / np.sqrt(3)])
    assert table["crps"].tolist() == pytest.approx([0.2, 0.1])
    assert table["interval_score"].tolist() == pytest.approx([2.0, 1.0])
    assert table["coverage90"].tolist() == [0.0, 1.0]


def test_with_a_rollout_leave_one_out_is_only_noted(real):
    compared = compare(real, fake_rollout(SCORES))  # warnings are errors here
    assert any("fewer than 100" in n for n in compared.notes)
    with pytest.warns() as caught:
        by_loo = compare(real, fake_rollout(SCORES), method="loo")
    assert {str(w.message) for w in caught} == set(by_loo.notes) == set(compared.notes)
    assert by_loo.method == "loo"
    assert "weight_rollout" in by_loo.table


def test_baselines_of_a_rollout_are_left_out(real):
    laws, baseline = fake_rollout(SCORES), fake_rollout({"huber": [[9.0]]}, method="baseline")
    points = pd.concat([laws.points, baseline.points], ignore_index=True)
    both = Rollout(points, {}, random_seed=1)
    assert compare(real, both).table.equals(compare(real, laws).table)


def test_laws_of_a_rollout_that_were_not_fitted_are_left_out(real):
    more = {**SCORES, "power": [[0.0, 0.0], [0.0], [0.0]]}
    assert compare(real, fake_rollout(more)).table.equals(compare(real, fake_rollout(SCORES)).table)


def test_fits_are_found_in_the_rollout_by_the_names_of_their_laws(real):
    mine = {"mine": real["chinchilla"], "other": real["kaplan_floor"]}
    compared, plain = compare(mine, fake_rollout(SCORES)), compare(real, fake_rollout(SCORES))
    assert compared.weights["mine"] == plain.weights["chinchilla"]
    assert compare(real, fake_rollout(SCORES, run="row")).weights == plain.weights


def test_the_verdict_on_a_single_problem_has_no_standard_error(real):
    one = {"chinchilla": [[1.0, 1.0]], "kaplan_floor": [[0.0, 0.0]]}
    compared = compare(real, fake_rollout(one))
    assert "on a single problem" in compared.verdict
    assert "prefers chinchilla to kaplan_floor by 1 in log score" in compared.verdict
    many = compare(real, fake_rollout({k: v * 30 for k, v in one.items()}))
    assert many.weights["chinchilla"] > compared.weights["chinchilla"] > 0.5
    assert "rollout clearly favours chinchilla" in many.verdict
    assert "rollout log score 1.000" in repr(many)


def test_no_verdict_from_a_rollout_whose_fits_did_not_converge(real):
    many = {"chinchilla": [[1.0, 1.0]] * 30, "kaplan_floor": [[0.0, 0.0]] * 30}
    converged = {"chinchilla": True, "kaplan_floor": True}
    assert "clearly favours" in compare(real, fake_rollout(many, converged=converged)).verdict
    rolled = fake_rollout(many, converged={**converged, "kaplan_floor": False})
    verdict = compare(real, rolled).verdict
    assert verdict.startswith("No verdict can be drawn")
    assert "kaplan_floor (in 30 of 30 problems)" in verdict
    assert "chinchilla" not in verdict


# -- errors ------------------------------------------------------------------------------------


def test_fits_of_other_runs_are_refused_with_every_other_problem(c4_fit, draws, openlm):
    fits = {"chinchilla": c4_fit, "kaplan_floor": draws(openlm, "kaplan_floor")}
    with pytest.raises(bs.FitError) as caught:
        compare(fits, fake_rollout({"kaplan": [[0.0]]}), method="waic")
    runs, method, one, two = caught.value.problems
    assert "and kaplan_floor were fitted to different runs" in runs
    assert "no method 'waic'" in method
    assert "the rollout: there is no law 'chinchilla'" in one
    assert "'kaplan_floor'. Did you mean 'kaplan'?" in two


def test_reordered_runs_are_other_runs(draws, openlm):
    backwards = replace(openlm, table=openlm.table[::-1])
    with pytest.raises(bs.FitError, match="rows in the same order"):
        compare({"a": draws(openlm), "b": draws(backwards)})


def test_a_rollout_is_needed_for_its_method(draws, openlm):
    with pytest.raises(bs.FitError, match="method='rollout' needs rollout="):
        compare([draws(openlm)], method="rollout")


def test_all_laws_must_forecast_the_same_runs(real):
    uneven = {"chinchilla": [[1.0, 2.0], [1.0]], "kaplan_floor": [[1.5], [1.0]]}
    with pytest.raises(bs.FitError, match=r"lacks log scores of kaplan_floor \(1\)"):
        compare(real, fake_rollout(uneven))


def test_two_fits_of_one_name_in_the_rollout_are_refused(real):
    twice = {"wide": real["chinchilla"], "narrow": real["chinchilla"]}
    with pytest.raises(bs.FitError, match="several fits correspond to one law"):
        compare(twice, fake_rollout(SCORES))


def test_drift_through_checkpoints_must_be_the_same(draws, checkpoints):
    fits = {d: draws(checkpoints, drift=d) for d in ("ahead", "off", "through")}
    with pytest.raises(bs.FitError, match=r"ahead: 'ahead', through: 'through'.*same drift="):
        compare({d: fits[d] for d in ("ahead", "through")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(compare({d: fits[d] for d in ("ahead", "off")}).fits) == 2


def test_laws_that_may_fail_in_small_runs_are_not_compared_with_others(draws, c4_fit):
    fits = [draws(c4_fit.runs, "chinchilla"), draws(c4_fit.runs, "kaplan_floor", law_error=True)]
    fits = [replace(fit, plan=replace(fit.plan, is_observed=True)) for fit in fits]
    message = "kaplan_floor may fail in small runs and chinchilla may not.*law_error=False"
    with pytest.raises(bs.FitError, match=message):
        compare(fits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.RunsWarning)  # of few runs
        compare(fits, fake_rollout(SCORES))  # whose scores are those of forecasts


def test_leave_one_out_of_checkpoints_is_cautioned(draws, checkpoints):
    fits = [draws(checkpoints, drift="off"), draws(checkpoints, "kaplan_floor", drift="off")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bs.ConvergenceWarning)
        with pytest.warns(bs.RunsWarning, match="LOO measures interpolation, not forecasts"):
            compare(fits)


# -- averages ----------------------------------------------------------------------------------


def test_an_average_takes_the_weights_of_a_comparison(by_loo, real):
    both = average(by_loo)
    assert isinstance(both, Average)
    assert both.weights == {name: by_loo.weights[name] for name in real}


def test_weights_can_be_given_and_are_equal_otherwise(by_loo, real):
    given = {"chinchilla": 0.9, "kaplan_floor": 0.1}
    assert average(by_loo, given).weights == average(real, given).weights == given
    assert average(list(real.values())).weights == {"chinchilla": 0.5, "kaplan_floor": 0.5}
    with pytest.raises(bs.FitError, match="kaplan_floor has no weight"):
        average(real, {"chinchilla": 1.0})


def test_a_real_average_allocates_between_its_laws(by_loo, real):
    both, *each = (
        float(bs.allocate(f, 1e23).data["N_decision"][0]) for f in (average(by_loo), *real.values())
    )
    assert min(each) <= both <= max(each)
