"""Ensembles: weights from the evidence, families by column, one answer to one question."""

from __future__ import annotations

import os
import re
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.evaluation import ensembles
from bayescale.evaluation.ensembles import POWER, evidence_weights, family
from bayescale.inference import Evidence


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    return bs.Runs.example("openlm").query("dataset == 'c4' and N < 2e9")


@pytest.fixture(scope="module")
def best(runs) -> bs.Average:
    return bs.ensemble(runs, draws=200, random_seed=1)


def test_weights_are_a_power_of_the_evidence():
    logs = {"a": -1000.0, "b": -1005.0, "c": -2000.0}
    fits = {n: SimpleNamespace(evidence=Evidence(log, 0.1)) for n, log in logs.items()}
    weights = evidence_weights(fits, 0.2)
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["a"] / weights["b"] == pytest.approx(np.e)
    assert weights["c"] < 1e-80
    assert list(evidence_weights(fits, 0.0).values()) == pytest.approx([1 / 3] * 3)


def test_the_default_family_is_weighed_by_its_evidence(best):
    assert list(best.fits) == list(ensembles.FLAT)
    logs = {name: fit.evidence.log for name, fit in best.fits.items()}
    for one, other in (("skaling", "chinchilla"), ("kaplan_floor", "chinchilla")):
        ratio = np.exp(POWER * (logs[one] - logs[other]))
        assert best.weights[one] / best.weights[other] == pytest.approx(ratio)


def test_members_are_the_fits_of_single_laws(best, runs):
    alone = bs.fit(runs, "chinchilla", law_error=True, draws=200, random_seed=1)
    np.testing.assert_array_equal(alone.posterior["E"], best.fits["chinchilla"].posterior["E"])


@pytest.mark.parametrize(
    ("laws", "given", "fails"),
    [
        (["chinchilla", "skaling"], None, True),
        (["chinchilla", "power(D)"], None, False),
        (["chinchilla"], None, False),
        (["chinchilla"], True, True),
        (["chinchilla"], False, False),
    ],
)
def test_laws_of_n_and_d_may_fail_in_small_runs(runs, laws, given, fails):
    made = bs.ensemble(runs, laws, law_error=given, draws=200, random_seed=1)
    assert {fit.plan.has_law_error for fit in made.fits.values()} == {fails}


def test_the_check_of_an_average_does_not_propose_an_average():
    frame = pd.DataFrame({"N": np.tile(np.geomspace(1e7, 1e9, 8), 4)})
    frame["D"] = frame["N"] * np.repeat([5.0, 20.0, 80.0, 320.0], 8)
    bent = 3 * (frame["N"] / 1e8) ** -0.1 * np.exp(0.05 * np.cos(2 * np.log(frame["N"] / 1e7)))
    runs = bs.Runs.from_frame(frame.assign(loss=bent * (frame["D"] / 1e9) ** -0.05))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = bs.ensemble(runs, ["chinchilla", "kaplan_floor"], draws=200, random_seed=1)
    alone = found.fits["chinchilla"].check().problems
    assert any("or the average of several" in f.remedy for f in alone)
    remedies = [f.remedy for f in found.check().problems]
    assert any("another law may describe them better" in remedy for remedy in remedies)
    assert not any("average of several" in remedy for remedy in remedies)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ("NDC", ensembles.FLAT),
        ("C", ("power(C)", "shifted_power(C)")),
        ("D", ("power(D)", "shifted_power(D)")),
    ],
)
def test_the_family_follows_the_columns(columns, expected):
    frame = pd.DataFrame(
        {c: np.geomspace(1e18, 1e20, 5) for c in columns if c != "C" or columns == "C"}
    )
    made = bs.Runs.from_frame(frame.assign(loss=[5.0, 4.0, 3.5, 3.2, 3.0]))
    assert family(made) == list(expected)


def test_with_groups_and_along_curves_the_family_has_three_laws():
    frame = pd.DataFrame(
        {"N": [1e8, 1e8, 2e8, 2e8], "D": [1e9, 2e9, 4e9, 8e9], "loss": [4.0, 3.6, 3.3, 3.1]}
    )
    made = bs.Runs.from_frame(frame.assign(recipe=["a", "a", "b", "b"]))
    assert family(made, ("recipe",)) == list(ensembles.OF_SIZE)
    curves = bs.Runs.from_frame(frame.assign(series=["a", "a", "b", "b"]))
    assert family(curves) == list(ensembles.OF_SIZE)


def test_an_executor_gives_the_same_result(best, runs):
    with ThreadPoolExecutor(2) as executor:
        other = bs.ensemble(runs, draws=200, random_seed=1, executor=executor)
    assert other.weights == best.weights


def test_a_law_without_enough_effective_draws_is_fitted_by_nuts_after_the_others(runs, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    def fitted(member):
        law, engine = member.plan.law.name, member.sampling["engine"]
        calls.append((law, engine, threading.current_thread() is threading.main_thread()))
        passed = engine == "nuts" or law != "skaling"
        return SimpleNamespace(
            law=law, convergence=SimpleNamespace(passed=passed), evidence=Evidence(1.0, 0.1)
        )

    monkeypatch.setattr(ensembles, "_fitted", fitted)
    monkeypatch.setattr(ensembles, "Average", lambda fits, weights: SimpleNamespace(
        fits=fits, warn_if_failed=lambda stacklevel: None
    ))  # fmt: skip
    made = bs.ensemble(runs, ["chinchilla", "skaling", "kaplan_floor"], random_seed=1)
    assert list(made.fits) == ["chinchilla", "skaling", "kaplan_floor"]
    assert all(fit.convergence.passed for fit in made.fits.values())
    assert {call[:2] for call in calls[:3]} == {(law, "particles") for law in made.fits}
    assert not any(main for *_, main in calls[:3])  # at the same time, in threads
    assert calls[3:] == [("skaling", "nuts", True)]
    # NUTS, if it is asked for, and fits of groups do not run in threads.
    for options in ({"engine": "nuts"}, {"target_accept": 0.9}):
        calls.clear()
        bs.ensemble(runs, ["chinchilla", "kaplan_floor"], random_seed=1, **options)
        assert [main for *_, main in calls] == [True, True]


def test_problems_of_all_laws_are_named_at_once(runs):
    with pytest.raises(bs.FitError) as caught:
        bs.ensemble(
            runs, ["chinchila", "kaplan", "kaplan"], priors={"nolaw": {"E": bs.Positive(1)}}
        )
    message = str(caught.value)
    assert "chinchila" in message
    assert "2 laws are called 'kaplan'" in message
    assert "nolaw" in message


def test_priors_of_one_law_reach_it_alone(runs):
    prior = bs.Positive(0.2, spread=1.3)
    both = bs.ensemble(
        runs,
        ["chinchilla", "skaling"],
        draws=50,
        random_seed=1,
        priors={"skaling": {"alpha": prior}},
    )
    assert both.fits["skaling"].plan.parameter("alpha").prior == prior
    assert both.fits["chinchilla"].plan.parameter("alpha").prior != prior


def test_the_check_names_each_law_and_shared_findings_once(best):
    check = best.check()
    convergence = [f.text for f in check.findings if f.name == "convergence"]
    assert [text.split(":")[0] for text in convergence] == list(best.used)
    design = [f.text for f in check.findings if f.name == "design"]
    assert design == ["the columns vary enough, and independently enough"]
    assert sum(f.name == "surprise" for f in check.findings) == 1
    assert check.passed == all(fit.check().passed for fit in best.fits.values())


def test_the_summary_has_the_rows_of_every_law(best):
    table = best.summary()
    for name, fit in best.fits.items():
        pd.testing.assert_frame_equal(
            pd.DataFrame(table.loc[name]), pd.DataFrame(fit.summary()), check_names=False
        )
    assert list(dict.fromkeys(table.index.get_level_values("law"))) == list(best.used)


def test_the_sentence_states_what_each_law_forecasts(best):
    place, _, draws = best._ahead
    medians = []
    for name in best.used:
        ahead = bs.forecast(best.fits[name], N=place["N"], D=place["D"])
        # Of one law, more drift is added beyond the runs; it has median zero.
        medians.append(float(ahead.data["loss"].median()))
        stated = float(re.search(rf"([\d.]+) \({name}\)", best.difference)[1])
        assert stated == pytest.approx(medians[-1], rel=3e-3)
    assert min(medians) * 0.997 < float(draws["loss"].median()) < max(medians) * 1.003
    assert best.difference in repr(best)


def test_drift_through_the_runs_is_part_of_what_each_law_says():
    """Checkpoints that fall slower and slower in the end: the laws alone miss the drift."""
    D = 1e8 * 2.0 ** np.arange(10)
    loss = [4.10, 3.81, 3.52, 3.30, 3.08, 2.92, 2.81, 2.60, 2.35, 2.05]
    runs = bs.Runs.from_frame(pd.DataFrame(dict(series="a", D=D, loss=loss)))
    fitted = bs.ensemble(runs, random_seed=1)
    stated = [float(v) for v in re.findall(r"([\d.]+) \((?:delayed_)?power", fitted.difference)]
    forecast = float(fitted.bottom_line().split("a loss of ")[1].split(",")[0])
    assert len(stated) == 2
    assert min(stated) * 0.995 < forecast < max(stated) * 1.005


def test_an_ensemble_is_saved_with_its_evidence(best, tmp_path):
    best.save(tmp_path / "best.nc")
    again = bs.Average.load(tmp_path / "best.nc")
    assert again.weights == best.weights
    assert evidence_weights(again.fits) == pytest.approx(best.weights)
    one, other = (bs.forecast(a, N="7B", D="140B").data["loss"] for a in (best, again))
    np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_bridge_sampling_of_chains_agrees_with_importance_sampling(runs):
    """Two ways to the evidence of one posterior."""
    small = runs.query("N < 5e8")
    chains = bs.fit(small, "kaplan_floor", engine="nuts", random_seed=1)
    particles = bs.fit(small, "kaplan_floor", engine="particles", random_seed=1)
    assert chains.evidence.log == pytest.approx(particles.evidence.log, abs=0.15)
    for name in ("E", "alpha_N", "sigma"):
        one, other = (f.posterior[name] for f in (chains, particles))
        assert abs(float(one.median() - other.median())) < 0.2 * float(one.std())
        assert float(other.std() / one.std()) == pytest.approx(1, abs=0.12)
