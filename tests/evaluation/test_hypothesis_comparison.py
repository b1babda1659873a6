"""Hypotheses from posteriors made by hand: exponents, probabilities, verdicts."""

import pickle
import re
import warnings
from concurrent.futures import Future
from dataclasses import replace
from html import escape
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale import FitError, LawError, laws
from bayescale.evaluation import claims
from bayescale.evaluation import hypothesis_comparison as room
from bayescale.evaluation.ensembles import evidence_weights
from bayescale.inference import Evidence
from bayescale.inference.diagnostics import Convergence
from bayescale.intervals import SAMPLE
from bayescale.model.specify import design

#: Parameters made by hand do not fit the runs, and summaries warn of it.
pytestmark = pytest.mark.filterwarnings("ignore::bayescale.ConvergenceWarning")

VALUES = dict(
    E=1.8, A=1.0, B=0.8, alpha=0.3, beta=0.2, alpha_N=0.28, alpha_D=0.25, q=1.0, sigma=0.02, nu=5.0
)
OF = {"kaplan": dict(A=2.5, B=2.5, alpha_N=0.076, alpha_D=0.103)}
DRAWS = 40


@pytest.fixture
def fit_by_hand(by_hand):
    """As `bayescale.fit`, but the parameters are drawn near `VALUES`.

    Chains of the laws in `fit_by_hand.failed` did not converge; `fit_by_hand.calls` holds the
    options by law.
    """

    def fit(runs, law, *, groups=None, **options):
        rng = np.random.default_rng(len(law.name))
        typical = {**VALUES, **OF.get(law.name, {}), "memory": 0.1, "drift": 0.2, "trend": 0.1}
        plan = design(runs, law, groups)
        values = {}
        for p in plan.parameters:
            values[p.name] = typical[p.name] * np.exp(0.01 * rng.standard_normal((4, DRAWS)))
            for e in p.effects:
                values[p.scale(e)] = 0.05
                values[p.member(e)] = values[p.name][..., None] * np.exp(
                    0.05 * np.arange(len(plan.levels[e.column]))
                )
        made = by_hand(runs, law, values, draws=DRAWS, chains=4, groups=groups)
        r_hat = 1.2 if law.name in fit.failed else 1.0
        made.__dict__["convergence"] = Convergence(r_hat, "E", 1000.0, "E", 0, 0.9)
        fit.calls[law.name] = options
        return made

    fit.failed, fit.calls = set(), {}
    return fit


@pytest.fixture
def fitted(fit_by_hand, monkeypatch):
    """`hypotheses` with fits made by hand."""
    monkeypatch.setattr(room, "fit", fit_by_hand)

    def compared(runs, *contenders, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return room.hypotheses(runs, contenders, random_seed=1, **options)

    return compared


@pytest.fixture
def c4(openlm):
    return openlm.query("dataset == 'c4'")


_made = {}


@pytest.fixture
def two(fitted, c4):
    """Kaplan's law and Hoffmann's on one corpus, compared once for all tests."""
    if not _made:
        _made["two"] = fitted(c4, "kaplan", "chinchilla")
    return _made["two"]


def test_each_law_has_its_own_exponent(fitted, c4):
    found = fitted(c4, "kaplan", "chinchilla", "skaling")
    fits = found.fits
    a = fits["chinchilla"].posterior["beta"] / (
        fits["chinchilla"].posterior["alpha"] + fits["chinchilla"].posterior["beta"]
    )
    np.testing.assert_allclose(found.exponents["chinchilla"], a, rtol=1e-6)
    ratio = fits["kaplan"].posterior["alpha_N"] / fits["kaplan"].posterior["alpha_D"]
    np.testing.assert_allclose(found.exponents["kaplan"], 1 / (1 + ratio), rtol=1e-6)
    assert set(found.exponents) == {"kaplan", "chinchilla", "skaling", "average"}


def test_the_average_mixes_exponents_by_weight(two):
    """Shares are rounded to whole draws of a chain."""
    weights = two.comparison.weights
    expected = sum(w * float(two.exponents[n].mean()) for n, w in weights.items())
    difference = abs(float(two.exponents["kaplan"].mean() - two.exponents["chinchilla"].mean()))
    average = float(two.exponents["average"].mean())
    assert average == pytest.approx(expected, abs=0.5 / DRAWS * difference + 0.003)


def test_the_average_is_that_of_an_ensemble_of_the_same_laws(two):
    assert two.average.weights == pytest.approx(evidence_weights(two.fits))
    assert two.summary()["weight"].iloc[:-1].to_dict() == pytest.approx(two.average.weights)
    assert "weights by evidence to the power 0.2" in two.verdict


def test_without_evidence_weights_are_those_of_leave_one_out(c4, fit_by_hand, monkeypatch):
    def fit(runs, law, **options):
        made = fit_by_hand(runs, law, **options)
        made.__dict__["evidence"] = Evidence(np.nan if law.name == "kaplan" else 1.0, 0.1)
        return made

    monkeypatch.setattr(room, "fit", fit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = room.hypotheses(c4, ["kaplan", "chinchilla"], random_seed=1)
    assert found.comparison.method == "loo"
    assert found.comparison.weights == found.comparison.table["weight_loo"].to_dict()
    assert any("evidence is not known under kaplan" in note for note in found.notes)


def test_a_law_without_an_optimum_is_left_out_with_a_note(fitted, c4):
    found = fitted(c4, "chinchilla", "multiplicative")
    assert set(found.exponents) == {"chinchilla", "average"}
    assert any("no exponent under multiplicative" in n and "corner" in n for n in found.notes)
    assert np.isnan(found.summary().loc["multiplicative"].get("a", np.nan))


def test_one_law_or_the_same_twice_is_refused(c4):
    with pytest.raises(FitError, match="only kaplan is given: give two or more laws"):
        room.hypotheses(c4, ["kaplan"])
    with pytest.raises(FitError, match="2 laws are called 'kaplan'"):
        room.hypotheses(c4, ["kaplan", "kaplan"])


def of_scores(**at_run):
    return SimpleNamespace(
        loo={n: SimpleNamespace(elpd_i=np.asarray(v)) for n, v in at_run.items()}
    )


def test_the_probability_of_a_floor_that_helps_all_runs_or_half_of_them():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(60)
    better = of_scores(one=noise, other=noise + 0.5)
    both = ["one", "other"]
    assert claims._floor_wins(better, ["other"], both) == 1.0
    assert claims._floor_wins(better, ["one"], both) == 0.0
    even = of_scores(one=np.zeros(60), other=np.where(np.arange(60) % 2, 1.0, -1.0))
    assert 0.4 < claims._floor_wins(even, ["other"], both) < 0.6


def test_posterior_and_prior_of_q(fitted, c4):
    found = fitted(c4, "chinchilla", "skaling")
    assert found.probabilities["q near 1"] == 1.0
    prior = laws.skaling.priors["q"]
    draws = np.exp(prior.centre + prior.width * np.random.default_rng(1).standard_normal(200_000))
    share = np.mean((draws > 1 / claims.NEAR_ONE) & (draws < claims.NEAR_ONE))
    assert found.probabilities["q near 1, before"] == pytest.approx(share, abs=0.003)
    # Posterior of log q: normal with sd 0.01 around 0.
    assert found.q_density_ratio == pytest.approx(
        (1 / 0.01) / np.exp(-0.5 * (prior.centre / prior.width) ** 2) * prior.width, rel=0.15
    )


def test_the_decisive_run_is_in_the_search_range_and_its_losses_are_forecasts(two, c4):
    frame, decides = c4.table, two.decides
    for c in "ND":
        assert frame[c].min() / 4.001 <= decides[c] <= frame[c].max() * 4.001
    assert decides["C"] <= frame["C"].max() * 4.001
    ratio = frame["D"] / frame["N"]
    assert 0.98 * ratio.min() <= decides["D"] / decides["N"] <= 1.02 * ratio.max()
    for name, fit in two.fits.items():
        ahead = bs.forecast(fit, N=decides["N"], D=decides["D"], random_seed=1)
        assert decides[name] == pytest.approx(ahead.data["loss"].median(SAMPLE).item(), rel=0.02)
    assert decides["apart"] > 1
    assert "could change it: there" in two.verdict


def test_the_verdict_is_two_sentences_in_the_repr(two):
    first, second = two.verdict.split("\n")
    assert "N* ~ C^a with a =" in first
    assert second.endswith(".")
    assert repr(two).splitlines()[0].startswith(first)
    assert second in repr(two)
    assert "P(a > 0.6)" in repr(two)


def test_the_bottom_line_gives_the_interval_asked_for_and_one_reason_for_doubt(two):
    first, second = two.verdict.split("\n")
    sound = replace(two, notes=())
    assert sound.cautions() == ()
    assert sound.bottom_line() == f"{first} {second}"
    assert repr(sound).count(second) == 1
    assert "(50 %: " in two.bottom_line(0.5)
    failed = replace(two, notes=("few runs", "kaplan failed its check: its figures are unreliable"))
    assert failed.bottom_line() == (
        f"{first} Main reason for doubt: kaplan failed its check: its figures are unreliable."
    )
    assert "  note: few runs" in repr(failed).splitlines()
    assert repr(failed).count("failed its check") == 1
    html = failed._repr_html_()
    assert html.startswith(f"<p><strong>{escape(failed.bottom_line())}</strong></p><table>")
    assert "<li>few runs</li>" in html


def test_exponents_are_given_as_tidy_tables(two):
    draws, rows = two.to_dataframe(), two.to_dataframe("summary", 0.5)
    assert list(draws) == ["chain", "draw", "law", "a"]
    assert len(draws) == sum(a.size for a in two.exponents.values())
    for law, a in two.exponents.items():
        assert draws["a"][draws["law"] == law].median() == pytest.approx(a.median().item())
        row = rows[rows["law"] == law].iloc[0]
        assert row["lower"] == pytest.approx(a.quantile(0.25).item())
        assert (row["variable"], row["ci_prob"]) == ("a", 0.5)
    with pytest.raises(bs.FitError, match="there is no table 'wide'"):
        two.to_dataframe("wide")


def test_the_printed_summary_is_at_most_100_characters_wide(two):
    lines = repr(two.summary()).splitlines()
    assert max(map(len, lines)) <= 100
    assert any(re.search(r"a \(90 %\)", line.replace("\N{NO-BREAK SPACE}", " ")) for line in lines)


@pytest.mark.parametrize("failed", [{"kaplan"}, {"chinchilla"}, {"kaplan", "chinchilla"}])
def test_no_verdict_is_drawn_from_fits_that_did_not_converge(fitted, fit_by_hand, c4, failed):
    fit_by_hand.failed = failed
    found = fitted(c4, "kaplan", "chinchilla")
    for verdict in (found.verdict, found.comparison.verdict):
        assert verdict.startswith("No verdict can be drawn, because fits did not converge: ")
        assert "favours" not in verdict
        for name in ("kaplan", "chinchilla"):
            assert (f"{name} (R-hat <= 1.200" in verdict) == (name in failed)
    assert "a =" not in found.verdict


def test_the_summary_has_a_row_per_law_and_the_average(two):
    table = two.summary(0.9, "eti")
    assert table.index[-1] == "average"
    assert set(table.index[:-1]) == {"kaplan", "chinchilla"}
    assert table["weight"].iloc[:-1].sum() == pytest.approx(1)
    low, high = table["a_eti90_lb"], table["a_eti90_ub"]
    assert ((low < table["a"]) & (table["a"] < high)).all()


def test_the_average_allocates_like_a_fit(two):
    each = [bs.allocate(f, 1e21).data["N_decision"].item() for f in two.fits.values()]
    average = bs.allocate(two.average, 1e21).data["N_decision"].item()
    # The law with nearly all of the weight decides, up to the precision of the search.
    assert min(each) * (1 - 1e-6) <= average <= max(each) * (1 + 1e-6)


def test_exponents_and_deadweight_are_those_of_the_group(fitted, openlm, monkeypatch):
    found = fitted(openlm, "kaplan", "chinchilla", groups="dataset", group="c4")
    values = found.fits["chinchilla"].parameters("c4")
    a = values["beta"] / (values["alpha"] + values["beta"])
    np.testing.assert_allclose(found.exponents["chinchilla"], a, rtol=1e-6)
    groups = []

    def best_split(fit, C, group):
        groups.append(group)
        return np.array([1e9]), np.array([1e11])

    def regret(fit, N, D, C, *, group):
        groups.append(group)
        wasted = xr.DataArray(np.full((2, 5, len(N)), 0.1), dims=("chain", "draw", "point"))
        return SimpleNamespace(data=xr.Dataset({"wasted_share": wasted}))

    monkeypatch.setattr(room, "best_split", best_split)
    monkeypatch.setattr(room, "regret", regret)
    found.deadweight(1e21)
    assert set(groups) == {"c4"}
    groups.clear()
    found.deadweight(1e21, group="refinedweb")
    assert set(groups) == {"refinedweb"}


def test_without_a_group_no_run_is_named(fitted, openlm):
    found = fitted(openlm, "kaplan", "chinchilla", groups="dataset")
    assert found.decides == {}
    assert "no single one can be named" in found.verdict


def test_invalid_options_are_refused_before_anything_is_fitted(c4, openlm, monkeypatch):
    monkeypatch.setattr(room, "fit", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(FitError, match="priors: there is no law 'chincilla'"):
        room.hypotheses(c4, priors={"chincilla": {}})
    with pytest.raises(FitError, match="there is no dataset 'c5'"):
        room.hypotheses(openlm, groups="dataset", group="c5")
    with pytest.raises(LawError, match="C"):
        room.hypotheses(c4, C="much")


def test_options_reach_every_fit_and_the_rollout(fitted, fit_by_hand, c4, monkeypatch):
    narrow, own = bs.Positive(0.4, spread=1.1), bs.Positive(2.0, spread=1.1)
    priors = {"beta": narrow, "sigma": narrow, "chinchilla": {"E": own}}
    sampling = dict(tune=60, chains=3, cores=1, target_accept=0.97)
    rolled = {}

    def rollout(*_, **options):
        rolled.update(options)

    monkeypatch.setattr(room, "rollout", rollout)
    fitted(c4, "kaplan", "chinchilla", priors=priors, above=[1e20], draws=DRAWS, **sampling)
    calls = fit_by_hand.calls
    assert calls["kaplan"]["priors"] == {"sigma": narrow}
    assert calls["chinchilla"]["priors"] == {"beta": narrow, "sigma": narrow, "E": own}
    for options in (*calls.values(), rolled):
        assert {**options, **sampling} == options
        assert (options["draws"], options["random_seed"]) == (DRAWS, 1)
    assert rolled["priors"] == priors


class Pickling:
    """An executor in this process that pickles the jobs."""

    def __init__(self):
        self.jobs = []

    def submit(self, function, job):
        self.jobs.append(pickle.loads(pickle.dumps(job)))
        future = Future()
        future.set_result(function(self.jobs[-1]))
        return future


def test_results_do_not_depend_on_the_executor(two, fitted, c4):
    executor = Pickling()
    found = fitted(c4, "kaplan", "chinchilla", executor=executor)
    assert [job.law.name for job in executor.jobs] == ["kaplan", "chinchilla"]
    pd.testing.assert_frame_equal(found.summary(), two.summary())
    assert found.verdict == two.verdict


def test_curves_have_weights_but_no_exponent(fitted):
    D = np.geomspace(1e7, 1e10, 30)
    curve = bs.Runs.from_frame(pd.DataFrame({"D": D, "loss": 1.8 + (D / 1e9) ** -0.3}))
    found = fitted(curve, "power(D)", "pure_power(D)")
    assert found.exponents == {}
    assert found.decides == {}
    assert set(found.summary().index) == {"power(D)", "pure_power(D)", "average"}


def test_laws_of_little_weight_do_not_make_the_average_exponent():
    fits = {"kaplan": None, "other": None}
    compared = SimpleNamespace(
        weights={"kaplan": 0.1, "other": 0.9},
        fits=fits,
        table=pd.DataFrame(index=["other", "kaplan"]),
    )
    draws = xr.DataArray(np.full((2, 5), 0.7), dims=("chain", "draw")).expand_dims("budget")

    def allocate(fit, C, group):
        if allocate.calls == 0:
            allocate.calls = 1
            raise LawError("a corner")
        return SimpleNamespace(data=xr.Dataset({"a": draws}))

    allocate.calls = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "allocate", allocate)
        exponents, notes = claims.exponents(compared, 1e20, None)
    assert set(exponents) == {"kaplan"}
    assert any("have 10% of the weight" in note for note in notes)


def test_a_prior_of_q_on_another_scale_is_not_read_as_its_log():
    plan = SimpleNamespace(parameter=lambda _: SimpleNamespace(prior=bs.Fraction(0.3)))
    assert not claims.has_q({"skaling": SimpleNamespace(plan=plan)})


@pytest.mark.slow
def test_following_a_law_wastes_compute_if_another_is_true(two):
    with pytest.warns(bs.ConvergenceWarning, match="chinchilla"):
        waste = two.deadweight(1e21, ci_prob=0.9).set_index(["followed", "true"])
    assert len(waste) == 9
    for name in two.fits:
        own = waste.loc[(name, name)]
        assert own["wasted_share"] < 0.05
        other = next(n for n in two.fits if n != name)
        assert waste.loc[(other, name), "wasted_share"] > own["wasted_share"]
    assert waste["wasted_share"].between(0, 1).all()


def test_a_fit_that_failed_its_check_is_named(two):
    assert any("chinchilla failed its check" in n for n in two.notes)
    with pytest.warns(bs.ConvergenceWarning, match="chinchilla"):
        two.summary()


def test_failed_checks_are_warned_of_once(c4, fit_by_hand, monkeypatch):
    monkeypatch.setattr(room, "fit", fit_by_hand)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        room.hypotheses(c4, ["kaplan", "chinchilla"], random_seed=1)
    failed = [w for w in caught if "hypotheses of fits that failed" in str(w.message)]
    assert len(failed) == 1
    assert failed[0].filename == __file__
