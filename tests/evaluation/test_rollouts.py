"""Rollouts: splits, scores, averages, and equal results under every executor."""

from __future__ import annotations

import multiprocessing
import pickle
import re
import warnings
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import make_dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import logsumexp

import bayescale as bs
from bayescale import laws
from bayescale.data.runs import Runs
from bayescale.errors import BayescaleError, ConvergenceWarning, FitError
from bayescale.evaluation import jobs
from bayescale.evaluation.ensembles import FLAT, POWER
from bayescale.evaluation.rollout_results import DISTANCES, Rollout
from bayescale.evaluation.rollouts import rollout
from bayescale.inference import execution
from bayescale.laws.base import Law
from bayescale.model import small_runs
from bayescale.priors import Positive

HUBER = "log-Huber bootstrap (chinchilla)"


def line(C, *, A, alpha):
    return A * C**-alpha


#: A law defined by a user at the top level of a module.
OWN = Law("own", line, dict(A=Positive(3), alpha=Positive(0.1)), "test")


class Inline:
    """An executor in this process that pickles jobs and results."""

    def __init__(self):
        self.sent = []

    def submit(self, function, *arguments):
        self.sent.append(pickle.dumps((function, arguments)))
        function, arguments = pickle.loads(self.sent[-1])
        future = Future()
        try:
            future.set_result(pickle.loads(pickle.dumps(function(*arguments))))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def fitted(monkeypatch):
    """Replace fits and forecasts by ones that sample nothing; returns the recorded calls."""
    return replaced_fits(monkeypatch)


def replaced_fits(patch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The recorded calls of fits and forecasts that sample nothing.

    The median forecast of a law is 3 nats plus a third of a percent per letter of its name.
    """
    calls = SimpleNamespace(
        fits=[],
        points=[],
        converged=lambda runs, law: True,
        evidence=lambda runs, law: float(len(law.name)),
    )

    def design(runs, law, groups, **options):
        values = dict(runs=runs, law=law, groups=groups, law_error=False, has_law_error=False)
        return make_dataclass("Plan", (values | options).keys())(**values | options)

    def fit_design(plan, *, random_seed, progressbar, **sampling):
        calls.fits.append(SimpleNamespace(**vars(plan), seed=random_seed, **sampling))
        passed = bool(calls.converged(plan.runs, plan.law))
        return SimpleNamespace(
            law=plan.law,
            convergence=SimpleNamespace(passed=passed),
            evidence=SimpleNamespace(log=calls.evidence(plan.runs, plan.law)),
        )

    def forecast(fit, points, *, random_seed):
        calls.points.append(points)
        rng = np.random.default_rng(random_seed)
        centre = np.log(3) + len(fit.law.name) / 300
        noise = 0.05 * rng.standard_normal((4, 500, len(points)))
        loss = xr.DataArray(np.exp(centre + noise), dims=("chain", "draw", "point"))

        def log_density(y):
            z = (np.log(y) - centre) / 0.05
            return -0.5 * z**2 - np.log(0.05 * np.sqrt(2 * np.pi) * np.asarray(y))

        return SimpleNamespace(data=xr.Dataset({"loss": loss}), log_density=log_density)

    patch.setattr(jobs, "design", design)
    patch.setattr(jobs, "fit_design", fit_design)
    patch.setattr(jobs, "forecast", forecast)
    return calls


#: Log-Huber baselines where their precision does not matter.
QUICK_BASELINE = partial(jobs.huber_bootstrap, resamples=20)


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(jobs, "huber_bootstrap", QUICK_BASELINE)


@pytest.fixture(scope="module")
def curves() -> Runs:
    """Three learning curves in D, each to be continued."""
    D = np.geomspace(1e6, 1e9, 30)
    parts = [
        pd.DataFrame(dict(D=D, loss=1 + k * (D / 1e6) ** -0.3, curve=name, is_train=D < 1e8))
        for k, name in enumerate("abc", 1)
    ]
    return Runs.from_frame(pd.concat(parts, ignore_index=True), D="D", loss="loss", series="curve")


# -- splits ------------------------------------------------------------------------------------


def test_runs_below_a_threshold_are_fitted_and_the_others_predicted(openlm, fitted):
    rolled = rollout(openlm, "chinchilla", above=["1e20", 1e21], baselines=False, random_seed=1)
    C = openlm.table["C"]
    assert [len(f.runs) for f in fitted.fits] == [(C < 1e20).sum(), (C < 1e21).sum()]
    assert rolled.points["problem"].unique().tolist() == ["C >= 1e20", "C >= 1e21"]
    first = rolled.points[rolled.points["threshold"] == 1e20]
    held_out = openlm.table.loc[first["run"]]
    assert sorted(first["run"]) == sorted(openlm.table.index[C >= 1e20])
    for column in ("N", "D", "C", "loss", "dataset"):
        assert (held_out[column].to_numpy() == first[column].to_numpy()).all()
    assert first["extrapolation"].to_numpy() == pytest.approx(first["C"] / C[C < 1e20].max())
    assert (first["low95"] < first["low50"]).all()
    assert (first["low50"] < first["median"]).all()
    assert (first["median"] < first["high50"]).all()
    inside = (first["low90"] <= first["loss"]) & (first["loss"] <= first["high90"])
    assert (inside == first["inside90"]).all()


def test_thresholds_may_be_text_in_any_column(openlm, fitted):
    rolled = rollout(openlm, "chinchilla", above="1B", column="N", baselines=False)
    assert (rolled.points["N"] >= 1e9).all()
    assert len(rolled.points) == (openlm.table["N"] >= 1e9).sum()
    assert rolled.points["extrapolation"].max() == pytest.approx(
        openlm.table["N"].max() / fitted.fits[0].runs.table["N"].max()
    )


def test_every_label_of_each_is_a_problem(openlm, fitted):
    rolled = rollout(openlm, "chinchilla", above=1e21, each="dataset", baselines=False)
    assert [f.runs.table["dataset"].unique().tolist() for f in fitted.fits] == [
        [name] for name in openlm.table["dataset"].unique()
    ]
    assert set(rolled.points["problem"]) == {
        f"{name}, C >= 1e21" for name in ("c4", "redpajama", "refinedweb")
    }
    assert rolled.summary()["n_series"].tolist() == [3]
    assert len(rolled.summary("dataset")) == 3


@pytest.mark.parametrize("write", [bool, str, int, lambda v: str(v).lower()])
def test_a_split_column_may_be_written_in_several_ways(curves, fitted, write):
    table = curves.table.assign(mine=[write(v) for v in curves.table["D"] < 1e8])
    rolled = rollout(bs.Runs(table), "power(D)", split="mine", baselines=False)
    assert len(fitted.fits[0].runs) == (curves.table["D"] < 1e8).sum()
    assert rolled.points["threshold"].isna().all()
    assert rolled.points["extrapolation"].to_numpy() == pytest.approx(
        rolled.points["D"] / curves.table["D"][curves.table["D"] < 1e8].max()
    )


def test_forecasts_get_columns_groups_and_series(openlm, curves, fitted):
    rollout(openlm, "chinchilla", above=1e21, groups="dataset", baselines=False)
    assert list(fitted.points[0]) == ["N", "D", "C", "dataset"]
    assert fitted.fits[0].groups == ("dataset",)
    rollout(curves, "power(D)", split="is_train", each="series", baselines=False)
    assert list(fitted.points[1]) == ["D", "series"]
    assert fitted.fits[1].groups == ()


def test_an_unseen_group_is_predicted_as_a_new_one_with_a_note(openlm, fitted):
    large = openlm.table["C"] >= 1e21
    runs = openlm[large | (openlm.table["dataset"] != "c4")]
    rolled = rollout(runs, "chinchilla", above=1e21, groups="dataset", baselines=False)
    new = (rolled.points["dataset"] == "c4").to_numpy()
    labels = fitted.points[0]["dataset"]
    assert labels[new].isna().all()
    assert (labels[~new] == rolled.points["dataset"][~new].to_numpy()).all()
    assert rolled.notes == (
        "C >= 1e21: no run of dataset 'c4' is fitted; predicted as a new group",
    )


def test_an_unseen_series_is_predicted_as_a_new_run_with_a_note(curves, fitted):
    D = curves.table["D"]
    runs = curves[(curves.table["series"] != "b") | (D >= 1e8)]
    rolled = rollout(runs, "power(D)", above=1e8, column="D", baselines=False)
    new = (rolled.points["series"] == "b").to_numpy()
    assert fitted.points[0]["series"][new].isna().all()
    assert set(fitted.points[0]["series"][~new]) == {"a", "c"}
    assert rolled.notes == ("D >= 1e8: no run of series 'b' is fitted; predicted as a new run",)


def test_options_of_a_parameter_reach_the_laws_that_have_it(openlm, fitted):
    narrow = Positive(0.4, spread=1.1)
    rollout(
        openlm,
        ["chinchilla", "power"],
        above=1e21,
        baselines=False,
        groups="dataset",
        priors=dict(beta=narrow, alpha=narrow, sigma=narrow),
        pool=dict(beta="none"),
        drift="off",
        noise="by_loss",
        draws=70,
        tune=80,
        chains=3,
        cores=2,
        target_accept=0.97,
    )
    first, second = fitted.fits
    assert first.priors == dict(beta=narrow, alpha=narrow, sigma=narrow)
    assert second.priors == dict(alpha=narrow, sigma=narrow)
    assert (first.pool, second.pool) == (dict(beta="none"), None)
    assert (first.drift, first.noise, first.draws, first.tune) == ("off", "by_loss", 70, 80)
    assert (first.chains, first.cores, first.target_accept) == (3, 2, 0.97)


def test_priors_by_name_of_a_law_reach_this_law_only(openlm, fitted):
    narrow, own = Positive(0.4, spread=1.1), Positive(0.3, spread=1.2)
    rollout(
        openlm,
        ["chinchilla", "power"],
        above=1e21,
        baselines=False,
        priors=dict(alpha=narrow, sigma=narrow, power=dict(alpha=own)),
    )
    first, second = fitted.fits
    assert first.priors == dict(alpha=narrow, sigma=narrow)
    assert second.priors == dict(alpha=own, sigma=narrow)
    with pytest.raises(FitError, match=r"priors: there is no law 'powr'\. Did you mean 'power'"):
        rollout(openlm, ["chinchilla", "power"], above=1e21, priors=dict(powr=dict(alpha=own)))


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "problems"), [
    (dict(), ["give either above="]),
    (dict(above=1e20, split="dataset"), ["give either above="]),
    (dict(above=1e20, column="Q"), ["no column 'Q'"]),
    (dict(above="many"), ["'many' is not a count"]),
    (dict(above=[1e10, 1e20]), ["C >= 1e10: 0 run"]),
    (dict(above=1e30), ["C >= 1e30: there is no run to predict"]),
    (dict(split="dataset"), [r"104 values that are neither true nor false"]),
    (dict(split="nothing"), ["no split column 'nothing'"]),
    (dict(above=1e20, each="data"), ["no each column 'data'. Did you mean 'dataset'"]),
    (dict(above=1e20, groups=["loss", "x"]), ["'loss' has the name", "no group column 'x'"]),
    (dict(above=1e20, laws=["chinchila", "power", "power"]), ["no law", "2 laws are called"]),
    (dict(above=1e20, laws="power(U)"), ["needs the column 'U'"]),
    (dict(above=1e20, laws=[]), ["there is no law"]),
    (dict(above=["1e30", "x"], laws="y", each="z"), ["no law 'y'", "column 'z'", "'x' is not"]),
])  # fmt: skip
def test_all_problems_are_in_one_error(openlm, fitted, options, problems):
    options = dict(options)
    with pytest.raises(FitError) as caught:
        rollout(openlm, options.pop("laws", "chinchilla"), **options)
    assert len(caught.value.problems) == len(problems)
    for pattern in problems:
        assert any(re.search(pattern, sentence) for sentence in caught.value.problems), pattern
    assert not fitted.fits


def test_a_dataframe_is_read_and_other_data_are_refused(openlm, fitted):
    frame = openlm.query("dataset == 'c4'").table[["N", "D", "loss"]]
    options = dict(above=1e21, baselines=False, random_seed=1)
    read = rollout(bs.Runs.from_frame(frame), "chinchilla", **options)
    pd.testing.assert_frame_equal(
        rollout(frame, "chinchilla", **options).points.drop(columns="seconds"),
        read.points.drop(columns="seconds"),
    )
    with pytest.raises(bs.RunsError, match=r"Runs.read"):
        rollout(3, "chinchilla", above=1e20)


# -- baselines ---------------------------------------------------------------------------------


def test_scores_are_divided_by_those_of_the_log_huber_baseline(openlm, fitted, few_resamples):
    rolled = rollout(openlm, "chinchilla", above=1e21, random_seed=1)
    assert rolled.points.groupby("law", sort=False)["method"].first().to_dict() == {
        "chinchilla": "bayescale",
        HUBER: "baseline",
    }
    summary = rolled.summary().set_index("law")
    ratio = summary["interval_score"] / summary.loc[HUBER, "interval_score"]
    assert summary["interval_score_ratio"].tolist() == pytest.approx(ratio.tolist())
    assert summary.loc[HUBER, "crps_ratio"] == 1
    assert rolled.laws == ("chinchilla",)
    assert set(rolled.draws) == {("chinchilla", "C >= 1e21")}
    alone = rollout(openlm, "chinchilla", above=1e21, random_seed=1, baselines=False)
    assert "crps_ratio" not in alone.summary()
    same = rolled.points[rolled.points["method"] == "bayescale"].drop(columns="seconds")
    pd.testing.assert_frame_equal(same, alone.points.drop(columns="seconds"))


def test_each_group_has_its_own_log_huber_fit(openlm, fitted):
    grouped = rollout(openlm, "chinchilla", above=1e21, groups="dataset", random_seed=1)
    c4 = openlm.query("dataset == 'c4'")
    alone = rollout(c4, "chinchilla", above=1e21, random_seed=2)
    both = [
        r.points[(r.points["law"] == HUBER) & (r.points["dataset"] == "c4")]
        for r in (grouped, alone)
    ]
    assert both[0]["run"].tolist() == both[1]["run"].tolist()
    assert both[0]["median"].to_numpy() == pytest.approx(both[1]["median"], rel=2e-3)
    pooled = rollout(openlm, "chinchilla", above=1e21, random_seed=1).points
    pooled = pooled[(pooled["law"] == HUBER) & (pooled["dataset"] == "c4")]
    assert np.abs(np.log(pooled["median"].to_numpy() / both[0]["median"].to_numpy())).max() > 0.01


def test_an_unseen_group_has_the_log_huber_fit_of_all_runs(openlm, fitted):
    large = openlm.table["C"] >= 1e21
    runs = openlm[large | (openlm.table["dataset"] != "c4")]
    grouped, pooled = (
        rollout(runs, "chinchilla", above=1e21, groups=g, random_seed=1).points
        for g in ("dataset", None)
    )
    both = [p[(p["law"] == HUBER) & (p["dataset"] == "c4")]["median"] for p in (grouped, pooled)]
    assert both[0].to_numpy() == pytest.approx(both[1].to_numpy(), rel=2e-3)


def test_learning_curves_have_the_persistence_baseline(curves, fitted, few_resamples):
    rolled = rollout(curves, ["power(D)", "pure_power(D)"], split="is_train", each="series")
    last = rolled.points[rolled.points["law"] == "persistence"]
    assert len(last) == (curves.table["D"] >= 1e8).sum()
    for name, part in last.groupby("series"):
        own = curves.table[(curves.table["series"] == name) & (curves.table["D"] < 1e8)]
        assert part["median"].to_numpy() == pytest.approx(own["loss"].iloc[-1], rel=0.02)
    summary = rolled.summary().set_index("law")
    huber = summary.loc[[f"log-Huber bootstrap ({law})" for law in rolled.laws], "interval_score"]
    assert summary.loc["persistence", "interval_score_ratio"] == pytest.approx(
        summary.loc["persistence", "interval_score"] / huber.mean()
    )


def test_tables_of_runs_have_no_persistence_baseline(openlm, fitted, few_resamples):
    rolled = rollout(openlm, "chinchilla", above=1e21, each="dataset")
    assert "persistence" not in set(rolled.points["law"])


def test_a_baseline_that_cannot_be_made_leaves_a_note(openlm, fitted, monkeypatch):
    def fails(*_):
        raise FitError("no start")

    monkeypatch.setattr(jobs, "huber_bootstrap", fails)
    rolled = rollout(openlm, "chinchilla", above=1e21)
    assert rolled.notes == (f"no {HUBER} for C >= 1e21: no start",)
    assert "crps_ratio" not in rolled.summary()


# -- summaries ---------------------------------------------------------------------------------


def test_summaries_by_law_threshold_group_and_distance(openlm, fitted, few_resamples):
    rolled = rollout(openlm, ["chinchilla", "power"], above=[1e19, 1e21], groups="dataset")
    by = rolled.summary(by=("law", "threshold"))
    assert len(by) == 4 * 2
    assert rolled.summary(by=["law", "dataset"])["n"].sum() == len(rolled.points)
    by = rolled.summary(by=("law", "distance"))
    assert set(by["distance"]) <= set(DISTANCES)
    near = rolled.points[(rolled.points["law"] == "power") & (rolled.points["extrapolation"] <= 2)]
    row = by[(by["law"] == "power") & (by["distance"] == "<=2x")].iloc[0]
    assert row["n"] == len(near)
    assert {"coverage95", "msce", "crps_se", "log_score", "rmsle", "width95"} <= set(by)
    with pytest.raises(BayescaleError, match="Did you mean 'threshold'"):
        rolled.summary(by="treshold")


def test_the_repr_has_coverage_and_relative_score(openlm, fitted, few_resamples):
    rolled = rollout(openlm, "chinchilla", above=1e21)
    answer, first, second, third, *notes = repr(rolled).splitlines()
    assert answer == rolled.bottom_line()
    assert notes == [f"  note: {n}" for n in rolled.notes]
    assert first == f"<Rollout of chinchilla: {len(rolled.points) // 2} held-out runs in 1 problem>"
    assert second.startswith("  chinchilla: coverage of 95/90/80/50 % intervals ")
    assert third.endswith("(1.00 of log-Huber)")


def held_out(inside: int, n: int, **columns) -> Rollout:
    """A rollout of one law, with `inside` of `n` losses inside the 90 % interval, by hand."""
    loss = np.where(np.arange(n) < inside, 2.0, 3.0)
    places = pd.DataFrame({"problem": "C >= 1e20", "threshold": 1e20, "run": np.arange(n),
                           "loss": loss, "extrapolation": np.linspace(1, 8, n)})  # fmt: skip
    draws = 2 * np.exp(0.02 * np.linspace(-2, 2, 101))[:, None] * np.ones(n)
    points = jobs.scored("power", "bayescale", places, draws, np.zeros(n), converged=True,
                         seconds=1.0)  # fmt: skip
    return Rollout(points.assign(**columns), {("power", "C >= 1e20"): draws}, 1)


def test_the_bottom_line_counts_runs_inside_and_names_the_main_reason_for_doubt():
    good = held_out(90, 100)
    assert good.bottom_line() == (
        "90 of 100 held-out runs, up to 8 times the largest fitted run, lie inside their 90 % "
        "intervals by power; half of its medians are within 0 % of the measured loss. No reason "
        "for doubt was found."
    )
    assert "inside their 50 % intervals" in good.bottom_line(0.5)
    narrow, wide, few = held_out(70, 100), held_out(100, 100), held_out(4, 5)
    assert narrow.cautions() == (
        "the 90 % intervals are too narrow here: they contain 70 % of the runs",
    )
    assert wide.cautions() == (
        "the 90 % intervals are too wide here: they contain 100 % of the runs",
    )
    assert few.cautions() == (
        "5 held-out runs cannot show whether 90 % intervals hold as often as they should: by "
        "chance alone 60 to 100 % would lie inside",
    )
    failed = held_out(90, 100, converged=False)
    assert failed.bottom_line().endswith("Main reason for doubt: 1 of 1 fits did not converge.")
    for rolled in (good, few):
        assert repr(rolled).splitlines()[0] == rolled.bottom_line()
        assert rolled._repr_html_().startswith("<p><strong>")
        assert max(map(len, repr(rolled.summary()).splitlines())) <= 100
    with pytest.raises(BayescaleError, match=r"scored at 0\.5, 0\.8"):
        good.bottom_line(0.7)


def test_forecasts_of_held_out_runs_are_given_as_tidy_tables():
    rolled = held_out(4, 5)
    draws, rows = rolled.to_dataframe(), rolled.to_dataframe("summary", 0.8)
    assert list(draws) == ["law", "problem", "run", "draw", "loss"]
    assert len(draws) == 5 * 101
    assert draws["loss"][draws["run"] == 2].to_numpy() == pytest.approx(
        rolled.draws["power", "C >= 1e20"][:, 2]
    )
    assert rows["lower"].tolist() == rolled.points["low80"].tolist()
    assert rows["upper"].tolist() == rolled.points["high80"].tolist()
    assert set(rows["ci_prob"]) == {0.8}
    with pytest.raises(FitError, match="there is no table 'wide'"):
        rolled.to_dataframe("wide")


def test_fits_that_did_not_converge_are_warned_of_once(openlm, fitted):
    fitted.converged = lambda runs, law: len(runs) > 90
    message = r"1 of 2 fits did not converge \(chinchilla on C >= 1e20\)"
    with pytest.warns(ConvergenceWarning, match=message) as w:
        rolled = rollout(openlm, "chinchilla", above=[1e20, 5e21], baselines=False)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert not rolled.points["converged"][rolled.points["threshold"] == 1e20].any()
    assert rolled.points["converged"][rolled.points["threshold"] == 5e21].all()


def test_warnings_inside_jobs_are_suppressed_and_filters_restored(openlm, fitted, monkeypatch):
    fit = jobs.fit_design

    def warning_fit(*args, **options):
        warnings.warn("chains", ConvergenceWarning)
        return fit(*args, **options)

    monkeypatch.setattr(jobs, "fit_design", warning_fit)
    before = list(warnings.filters)
    with ThreadPoolExecutor(3) as pool:
        rollout(
            openlm, "chinchilla", above=[1e18, 1e19, 1e20, 1e21], executor=pool, baselines=False
        )
    assert warnings.filters == before


def test_draws_are_thinned_and_in_the_order_of_the_points(openlm, fitted):
    rolled = rollout(openlm, "chinchilla", above=1e21, baselines=False)
    draws = rolled.draws["chinchilla", "C >= 1e21"]
    assert (draws.dtype, draws.shape) == (np.float32, (1000, len(rolled.points)))
    assert np.median(draws, axis=0) == pytest.approx(rolled.points["median"].to_numpy(), rel=0.01)


# -- the average -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(openlm) -> Rollout:
    with pytest.MonkeyPatch.context() as patch:
        replaced_fits(patch)
        patch.setattr(jobs, "huber_bootstrap", QUICK_BASELINE)
        return rollout(openlm, ["chinchilla", "kaplan"], above=[1e20, 1e21], random_seed=3)


def test_the_average_mixes_draws_and_densities(two):
    mixed = two.mixed(dict(chinchilla=0.25, kaplan=0.75))
    points = mixed.points.groupby("law")
    a, b, both = (points.get_group(name) for name in ("chinchilla", "kaplan", "average"))
    log_score = logsumexp([a["log_score"], b["log_score"]], axis=0, b=[[0.25], [0.75]])
    assert both["log_score"].to_numpy() == pytest.approx(log_score)
    for column in ("problem", "threshold", "run", "dataset", "loss", "extrapolation"):
        assert (both[column].to_numpy() == a[column].to_numpy()).all()
    draws = mixed.draws["average", "C >= 1e21"]
    of_law = [
        np.isin(draws[:, 0], mixed.draws[law, "C >= 1e21"][:, 0])
        for law in ("chinchilla", "kaplan")
    ]
    assert [o.sum() for o in of_law] == [250, 750]
    assert [o[:250].sum() for o in of_law] == pytest.approx([62, 188], abs=2)
    assert (both["method"] == "bayescale").all()
    assert mixed.laws == two.laws
    assert mixed.summary().set_index("law").loc["average", "crps_ratio"] > 0
    assert "average" not in set(two.points["law"])


def test_the_average_of_one_law_is_that_law(two):
    mixed = two.mixed(dict(chinchilla=1.0, kaplan=0.0)).points.groupby("law")
    one, average = mixed.get_group("chinchilla"), mixed.get_group("average")
    assert average["log_score"].to_numpy() == pytest.approx(one["log_score"].to_numpy())
    assert average["crps"].to_numpy() == pytest.approx(one["crps"].to_numpy(), rel=0.05)


def test_without_weights_each_problem_has_those_of_the_ensemble(openlm, fitted):
    fitted.evidence = lambda runs, law: len(runs) * (law.name == "kaplan") / 10
    rolled = rollout(openlm, ["chinchilla", "kaplan"], above=[1e20, 1e21], baselines=False)
    mixed = rolled.mixed()
    for name in rolled.points["problem"].unique():
        part = rolled.points[rolled.points["problem"] == name]
        fitted_runs = len(openlm) - len(part) // 2
        odds = np.exp(POWER * fitted_runs / 10)
        expected = rolled.mixed(dict(chinchilla=1 / (1 + odds), kaplan=odds / (1 + odds)))
        found, other = (
            r.points.set_index(["law", "problem"]).loc[("average", name), "log_score"].to_numpy()
            for r in (mixed, expected)
        )
        assert found == pytest.approx(other)


def test_the_default_is_the_family_and_its_average(openlm, fitted):
    rolled = rollout(openlm, above=1e21, baselines=False)
    assert rolled.laws == FLAT
    assert set(rolled.points["law"]) == {*FLAT, "average"}


def test_weights_are_needed_if_the_evidence_is_not_known(openlm, fitted):
    one = rollout(openlm, "chinchilla", above=1e21, baselines=False)
    with pytest.raises(BayescaleError, match="evidence of the laws is not known"):
        one.mixed()


def test_another_average_replaces_the_first(two):
    again = two.mixed(dict(chinchilla=1.0)).mixed(dict(kaplan=1.0))
    once = two.mixed(dict(kaplan=1.0))
    pd.testing.assert_frame_equal(again.points, once.points)


@pytest.mark.parametrize(("weights", "message"), [
    ({"chinchilla": 0.5, "power": 0.5}, "no law in this rollout 'power'"),
    ({HUBER: 1.0}, "no law in this rollout"),
    ({"chinchilla": 0.5, "kaplan": 0.6}, "sum to 1"),
    ({"chinchilla": 1.5, "kaplan": -0.5}, "numbers >= 0"),
    ({}, "sum to 1"),
])  # fmt: skip
def test_invalid_weights_are_refused(two, weights, message):
    with pytest.raises(BayescaleError, match=message):
        two.mixed(weights)


# -- executors ---------------------------------------------------------------------------------


@pytest.mark.parametrize("executor", [Inline, lambda: ThreadPoolExecutor(3)])
def test_results_do_not_depend_on_the_executor(openlm, fitted, few_resamples, executor):
    runs = openlm.query("dataset != 'redpajama' and N < 1e9")
    options = dict(above=[3e19, 1e20], groups="dataset", random_seed=5)
    local = rollout(runs, ["chinchilla", "power"], **options)
    remote = rollout(runs, ["chinchilla", "power"], executor=executor(), **options)
    pd.testing.assert_frame_equal(
        local.points.drop(columns="seconds"), remote.points.drop(columns="seconds")
    )
    assert local.notes == remote.notes
    assert local.draws.keys() == remote.draws.keys()
    assert all((local.draws[k] == remote.draws[k]).all() for k in local.draws)


def test_every_job_has_its_own_seed(openlm, fitted):
    rollout(openlm, ["chinchilla", "kaplan"], above=[1e20, 1e21], random_seed=5, baselines=False)
    assert len({f.seed for f in fitted.fits}) == 4
    again = rollout(openlm, "kaplan", above=1e20, baselines=False)
    assert again.random_seed != rollout(openlm, "kaplan", above=1e20, baselines=False).random_seed


@pytest.mark.parametrize("executor", [None, Inline()])
def test_an_error_in_a_job_names_problem_and_law(openlm, monkeypatch, executor):
    def fails(*_, **__):
        raise FitError("draws is 1")

    monkeypatch.setattr(jobs, "fit_design", fails)
    with pytest.raises(FitError, match="draws is 1") as caught:
        rollout(openlm, "chinchilla", above=1e21, executor=executor)
    assert caught.value.__notes__ == ["while predicting C >= 1e21 with chinchilla"]


def test_a_law_that_cannot_be_sent_is_named(openlm, fitted):
    local = Law("local", lambda C, *, A: A * C**-0.1, dict(A=Positive(3)), "test")
    with pytest.raises(FitError, match="law 'local' cannot be sent to another process"):
        rollout(openlm, [local, "power"], above=1e21, executor=Inline(), baselines=False)
    assert len(rollout(openlm, local, above=1e21, baselines=False).points)


def test_other_failures_of_an_executor_are_raised_unchanged(openlm, fitted):
    class Dead(Inline):
        def submit(self, function, *arguments):
            raise BrokenExecutor("out of memory")

    with pytest.raises(BrokenExecutor, match="out of memory"):
        rollout(openlm, "chinchilla", above=1e21, executor=Dead())


def test_the_progress_bar_counts_problems(openlm, fitted, monkeypatch):
    from contextlib import contextmanager

    shown = []

    @contextmanager
    def bar(_):
        yield lambda text, done=0, total=None: shown.append((text, done, total))

    monkeypatch.setattr(execution, "bar", bar)
    rollout(openlm, "chinchilla", above=[1e20, 1e21], baselines=False)
    assert shown == [("chinchilla, problem 1 of 2", 0, 2), ("chinchilla, problem 2 of 2", 1, 2)]


# -- pickles -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*laws.REGISTRY, "power(D)", "broken_power(N)"])
def test_unpickling_a_law_of_the_gallery_gives_the_same_object(name):
    law = laws.get(name)
    assert pickle.loads(pickle.dumps(law)) is law
    assert laws.get(name) is law
    assert b"loss" not in pickle.dumps(law)


def test_a_law_of_one_column_is_one_object():
    assert laws.get("power(D)") is laws.power.on("D")
    assert OWN.on("D") is OWN.on("D")
    assert OWN.on("D") is not OWN.on("N")


@pytest.mark.parametrize("law", [OWN, laws.chinchilla.with_priors(alpha=Positive(0.3))])
def test_unpickling_a_users_law_gives_the_same_object(law):
    assert pickle.loads(pickle.dumps(law)) is law


def test_another_process_has_one_object_per_law(monkeypatch):
    from bayescale.laws import base

    sent = [pickle.dumps(OWN), pickle.dumps(OWN)]
    monkeypatch.setattr(base, "_pickled", base.WeakValueDictionary())
    first, second = map(pickle.loads, sent)
    assert first is second
    assert first is not OWN
    assert (first.loss, first.priors, first.columns) == (OWN.loss, OWN.priors, OWN.columns)
    with pytest.raises(TypeError):
        first.priors["A"] = Positive(1)


def test_pickled_runs_are_equal(openlm):
    runs = pickle.loads(pickle.dumps(openlm))
    pd.testing.assert_frame_equal(runs.table, openlm.table)
    for attribute in ("groups", "mapping", "convention", "source", "notes", "fingerprint"):
        assert getattr(runs, attribute) == getattr(openlm, attribute)
    with pytest.raises(TypeError):
        runs.mapping["N"] = "x"


# -- sampled -----------------------------------------------------------------------------------

OPTIONS = dict(above="1e20", draws=400, random_seed=1, progressbar=False)


@pytest.fixture(scope="module")
def c4(openlm) -> Runs:
    return openlm.query("dataset == 'c4'")


@pytest.fixture(scope="module")
def sampled(c4) -> Rollout:
    return rollout(c4, ["chinchilla", "power(D)"], **OPTIONS)


def test_a_rollout_of_openlm(sampled):
    summary = sampled.summary().set_index("law")
    assert sampled.points["converged"].all()
    assert summary.loc["chinchilla", "rmsle"] < 0.05
    assert summary.loc["chinchilla", "log_score"] > 0
    numbers = sampled.points.select_dtypes("number").drop(columns=["threshold", "log_evidence"])
    assert np.isfinite(numbers).all(axis=None)
    # Baselines have no evidence.
    fitted = sampled.points["method"] == "bayescale"
    assert (np.isfinite(sampled.points["log_evidence"]) == fitted).all()


def test_laws_drift_less_in_the_average_than_alone(c4):
    """The average of a rollout is that of `bayescale.average`, within Monte Carlo error."""
    weights = {"chinchilla": 0.5, "kaplan_floor": 0.5}
    sampled = rollout(c4, list(weights), **OPTIONS)
    [alone], [member] = (
        [v for k, v in of.items() if k[0] == "chinchilla"]
        for of in (sampled.draws, sampled.members)
    )
    assert np.log(member).std(axis=0).max() < np.log(alone).std(axis=0).max()

    mixed = sampled.mixed(weights).points.groupby("law").get_group("average")
    later = c4.table.loc[mixed["run"], ["N", "D"]]
    seen = c4[~c4.table.index.isin(later.index)]
    fits = {
        law: [bs.fit(seen, law, law_error=e, draws=400, random_seed=2) for e in (False, True)]
        for law in weights
    }
    both = bs.average([tolerant for _, tolerant in fits.values()])
    ahead = bs.forecast(both, later)
    summary = ahead.summary(ci_prob=0.9)
    widths = np.log(summary["loss_eti90_ub"] / summary["loss_eti90_lb"]).to_numpy()
    assert np.log(mixed["high90"] / mixed["low90"]).to_numpy() == pytest.approx(widths, rel=0.25)
    density = ahead.log_density(mixed["loss"])
    assert mixed["log_score"].to_numpy() == pytest.approx(density, abs=0.2)

    # Alone, the law is taken to hold for all runs. The nearest runs have the smallest Monte Carlo
    # error.
    exact, tolerant = (
        np.log(bs.forecast(f, later).data["loss"]).median(("chain", "draw")).to_numpy()[:2]
        for f in fits["chinchilla"]
    )
    for of_law, like, other in ((alone, exact, tolerant), (member, tolerant, exact)):
        middle = np.median(np.log(of_law), axis=0)[:2]
        assert (abs(middle - like) < abs(middle - other) / 2).all()


def test_laws_of_other_regimes_hold_for_all_runs_in_an_average_too(c4, sampled):
    """Their members are the same fits, with another drift beyond the runs."""
    assert not small_runs.by_default([laws.get("chinchilla"), laws.get("power(D)")])
    [alone], [member] = (
        [v for k, v in of.items() if k[0] == "chinchilla"]
        for of in (sampled.draws, sampled.members)
    )
    assert np.median(np.log(member), axis=0) == pytest.approx(
        np.median(np.log(alone), axis=0), abs=0.0025
    )


@pytest.mark.slow
def test_a_process_pool_gives_the_same(c4, sampled):
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        remote = rollout(c4, ["chinchilla", "power(D)"], executor=pool, **OPTIONS)
        own = rollout(c4, OWN, executor=pool, **OPTIONS)
    assert_equal(sampled, remote)
    assert own.laws == ("own",)


@pytest.mark.slow
def test_a_process_pool_names_a_law_that_it_cannot_find(c4):
    local = Law("local", lambda C, *, A: A * C**-0.1, dict(A=Positive(3)), "test")
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.raises(FitError, match="law 'local' cannot be sent"),
    ):
        rollout(c4, local, executor=pool, **OPTIONS)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("processes", [True, False])
def test_a_dask_cluster_gives_the_same(c4, sampled, processes):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            1, processes=processes, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        executor = client.get_executor()
        remote = rollout(c4, ["chinchilla", "power(D)"], executor=executor, **OPTIONS)
        local = Law(
            "local",
            lambda C, *, A, alpha: A * C**-alpha,
            dict(A=Positive(3), alpha=Positive(0.1)),
            "test",
        )
        own = rollout(c4, local, executor=executor, **OPTIONS)
    assert_equal(sampled, remote)
    assert own.laws == ("local",)


def assert_equal(a: Rollout, b: Rollout) -> None:
    """Baselines are equal, posteriors within what another compilation may change."""
    baselines = [r.points[r.points["method"] == "baseline"].drop(columns="seconds") for r in (a, b)]
    pd.testing.assert_frame_equal(*baselines)
    forecasts = [r.points[r.points["method"] == "bayescale"] for r in (a, b)]
    np.testing.assert_allclose(forecasts[0]["median"], forecasts[1]["median"], rtol=0.005)
    assert (forecasts[0]["run"] == forecasts[1]["run"]).all()
