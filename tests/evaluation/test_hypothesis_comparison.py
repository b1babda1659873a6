"""What hypotheses say, from posteriors made by hand: exponents, probabilities, verdicts."""

import warnings
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale import FitError, LawError, laws
from bayescale.intervals import SAMPLE
from bayescale.model.specify import design

room = import_module("bayescale.evaluation.hypothesis_comparison")
#: Parameters made by hand do not fit the runs, and summaries say so.
pytestmark = pytest.mark.filterwarnings("ignore::bayescale.ConvergenceWarning")

VALUES = dict(
    E=1.8, A=1.0, B=0.8, alpha=0.3, beta=0.2, alpha_N=0.28, alpha_D=0.25, q=1.0, sigma=0.02, nu=5.0
)
OF = {"kaplan": dict(A=2.5, B=2.5, alpha_N=0.076, alpha_D=0.103)}
C4 = "dataset == 'c4'"


@pytest.fixture
def fitted(by_hand, monkeypatch):
    """`hypotheses` with fits made by hand, whose parameters scatter a little."""

    def fit(
        runs, law, *, groups=None, priors=None, draws=0, random_seed=0, progressbar=None, **options
    ):
        rng = np.random.default_rng(len(law.name))
        known = {**VALUES, **OF.get(law.name, {})}
        plan = design(runs, law, groups)
        known |= {"memory": 0.1, "drift": 0.2, "trend": 0.1}
        values = {}
        for p in plan.parameters:
            values[p.name] = known[p.name] * np.exp(0.01 * rng.standard_normal((4, 250)))
            for e in p.effects:
                values[p.scale(e)] = 0.05
                values[p.member(e)] = values[p.name][..., None] * np.exp(
                    0.05 * np.arange(len(plan.levels[e.column]))
                )
        return by_hand(runs, law, values, draws=250, chains=4, groups=groups)

    monkeypatch.setattr(room, "fit", fit)

    def ask(runs, *contenders, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return room.hypotheses(runs, contenders, random_seed=1, **options)

    return ask


@pytest.fixture
def c4(openlm):
    return openlm.query(C4)


def test_each_law_says_its_own_exponent(fitted, c4):
    said = fitted(c4, "kaplan", "chinchilla", "skaling")
    fits = said.fits
    a = fits["chinchilla"].posterior["beta"] / (
        fits["chinchilla"].posterior["alpha"] + fits["chinchilla"].posterior["beta"]
    )
    np.testing.assert_allclose(said.exponents["chinchilla"], a, rtol=1e-6)
    ratio = fits["kaplan"].posterior["alpha_N"] / fits["kaplan"].posterior["alpha_D"]
    np.testing.assert_allclose(said.exponents["kaplan"], 1 / (1 + ratio), rtol=1e-6)
    assert set(said.exponents) == {"kaplan", "chinchilla", "skaling", "average"}


def test_the_average_mixes_exponents_by_weight(fitted, c4):
    said = fitted(c4, "kaplan", "chinchilla")
    weights = said.comparison.weights
    expected = sum(w * float(said.exponents[n].mean()) for n, w in weights.items())
    assert float(said.exponents["average"].mean()) == pytest.approx(expected, abs=0.005)


def test_a_law_without_an_optimum_is_left_out_with_a_note(fitted, c4):
    said = fitted(c4, "chinchilla", "multiplicative")
    assert set(said.exponents) == {"chinchilla", "average"}
    assert any("no exponent under multiplicative" in n and "corner" in n for n in said.notes)
    assert np.isnan(said.summary().loc["multiplicative"].get("a", np.nan))


def test_one_law_or_the_same_twice_is_refused(c4):
    for contenders in (["kaplan"], ["kaplan", "kaplan"]):
        with pytest.raises(FitError, match="laws must be two or more, each with a name of its own"):
            room.hypotheses(c4, contenders)


def of_scores(**at_run):
    return SimpleNamespace(
        loo={n: SimpleNamespace(elpd_i=np.asarray(v)) for n, v in at_run.items()}
    )


def test_a_floor_that_helps_every_run_is_certain_and_one_that_helps_half_is_not():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(60)
    better = of_scores(one=noise, other=noise + 0.5)
    both = ["one", "other"]
    assert room._floor_wins(better, ["other"], both) == 1.0
    assert room._floor_wins(better, ["one"], both) == 0.0
    even = of_scores(one=np.zeros(60), other=np.where(np.arange(60) % 2, 1.0, -1.0))
    assert 0.4 < room._floor_wins(even, ["other"], both) < 0.6


def test_q_is_weighed_against_its_prior(fitted, c4):
    said = fitted(c4, "chinchilla", "skaling")
    assert said.probabilities["q near 1"] == 1.0
    prior = laws.skaling.priors["q"]
    draws = np.exp(prior.centre + prior.width * np.random.default_rng(1).standard_normal(200_000))
    share = np.mean((draws > 1 / room.NEAR_ONE) & (draws < room.NEAR_ONE))
    assert said.probabilities["q near 1, before"] == pytest.approx(share, abs=0.003)
    # Posterior of log q: normal with sd 0.01 around 0.
    assert said.q_density_ratio == pytest.approx(
        (1 / 0.01) / np.exp(-0.5 * (prior.centre / prior.width) ** 2) * prior.width, rel=0.15
    )


def test_the_run_that_decides_is_within_reach_and_where_the_laws_differ(fitted, c4):
    said = fitted(c4, "kaplan", "chinchilla")
    frame, decides = c4.table, said.decides
    for c in "ND":
        assert frame[c].min() / 4.001 <= decides[c] <= frame[c].max() * 4.001
    assert decides["C"] <= frame["C"].max() * 4.001
    ratio = frame["D"] / frame["N"]
    assert 0.98 * ratio.min() <= decides["D"] / decides["N"] <= 1.02 * ratio.max()
    here = {
        n: float(
            bs.forecast(f, N=decides["N"], D=decides["D"], random_seed=1)
            .data["loss"]
            .median(SAMPLE)[0]
        )
        for n, f in said.fits.items()
    }
    for name, loss in here.items():
        assert decides[name] == pytest.approx(loss, rel=0.01)
    assert decides["apart"] > 1
    assert "What would change it: a run of" in said.verdict


def test_the_verdict_is_two_sentences_in_the_repr(fitted, c4):
    said = fitted(c4, "kaplan", "chinchilla")
    first, second = said.verdict.split("\n")
    assert "N* ~ C^a with a =" in first
    assert second.endswith(".")
    for line in (first, second):
        assert line in repr(said)
    assert "P(a > 0.6)" in repr(said)


def test_the_summary_has_a_row_per_law_and_the_average(fitted, c4):
    table = fitted(c4, "kaplan", "chinchilla").summary(0.9, "eti")
    assert table.index[-1] == "average"
    assert set(table.index[:-1]) == {"kaplan", "chinchilla"}
    assert table["weight"].iloc[:-1].sum() == pytest.approx(1)
    low, high = table["a_eti90_lb"], table["a_eti90_ub"]
    assert ((low < table["a"]) & (table["a"] < high)).all()


def test_the_average_allocates_like_a_fit(fitted, c4):
    said = fitted(c4, "kaplan", "chinchilla")
    split = bs.allocate(said.average, 1e21)
    assert split.data["N_decision"].item() > 0


def test_exponents_and_deadweight_are_those_of_the_group(fitted, openlm):
    one = fitted(openlm, "kaplan", "chinchilla", groups="dataset", group="c4")
    other = fitted(openlm, "kaplan", "chinchilla", groups="dataset", group="refinedweb")
    here = one.fits["chinchilla"].parameters("c4")
    a = here["beta"] / (here["alpha"] + here["beta"])
    np.testing.assert_allclose(one.exponents["chinchilla"], a, rtol=1e-6)
    assert one.deadweight(1e21)["N"].iloc[0] != other.deadweight(1e21)["N"].iloc[0]
    pd.testing.assert_frame_equal(one.deadweight(1e21), one.deadweight("1e21", group="c4"))


def test_without_a_group_no_run_is_named(fitted, openlm):
    said = fitted(openlm, "kaplan", "chinchilla", groups="dataset")
    assert said.decides == {}
    assert "which one cannot be told" in said.verdict


def test_what_makes_no_sense_is_refused_before_anything_is_fitted(c4, openlm, monkeypatch):
    monkeypatch.setattr(room, "fit", lambda *_, **__: pytest.fail("fitted"))
    with pytest.raises(FitError, match="priors: there is no law 'chincilla'"):
        room.hypotheses(c4, priors={"chincilla": {}})
    with pytest.raises(FitError, match="cannot be given together"):
        room.hypotheses(c4, priors={"kaplan": {}}, above=[1e20])
    with pytest.raises(FitError, match="there is no dataset 'c5'"):
        room.hypotheses(openlm, groups="dataset", group="c5")
    with pytest.raises(LawError, match="C"):
        room.hypotheses(c4, C="much")


def test_curves_have_evidence_but_no_exponent(fitted):
    D = np.geomspace(1e7, 1e10, 30)
    curve = bs.Runs.from_frame(pd.DataFrame({"D": D, "loss": 1.8 + (D / 1e9) ** -0.3}))
    said = fitted(curve, "power(D)", "pure_power(D)")
    assert said.exponents == {}
    assert said.decides == {}
    assert set(said.summary().index) == {"power(D)", "pure_power(D)", "average"}


def test_a_light_law_does_not_speak_for_the_average():
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
        patch.setattr(room, "allocate", allocate)
        exponents, notes = room._exponents(compared, 1e20, None)
    assert set(exponents) == {"kaplan"}
    assert any("have 10% of the weight" in note for note in notes)


def test_a_prior_of_q_on_another_scale_is_not_read_as_its_log(by_hand, c4):
    plan = SimpleNamespace(parameter=lambda _: SimpleNamespace(prior=bs.Fraction(0.3)))
    assert not room._blends({"skaling": SimpleNamespace(plan=plan)})


def test_following_a_law_wastes_compute_where_another_is_true(fitted, c4):
    said = fitted(c4, "kaplan", "chinchilla")
    waste = said.deadweight(1e21, ci_prob=0.9).set_index(["followed", "true"])
    assert len(waste) == 9
    for name in said.fits:
        own = waste.loc[(name, name)]
        assert own["wasted_share"] < 0.05
        other = next(n for n in said.fits if n != name)
        assert waste.loc[(other, name), "wasted_share"] > own["wasted_share"]
        split = bs.allocate(said.fits[name], 1e21).data
        assert own["N"] == pytest.approx(split["N_decision"].item(), rel=1e-6)
    assert waste["wasted_share"].between(0, 1).all()


def test_a_fit_that_failed_its_check_is_named_wherever_figures_are(fitted, c4):
    said = fitted(c4, "kaplan", "chinchilla")
    assert any("chinchilla failed its check" in n for n in said.notes)
    for figures in (said.summary, said.deadweight):
        with pytest.warns(bs.ConvergenceWarning, match="chinchilla"):
            figures()
