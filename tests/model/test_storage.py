"""Saved results: equal after loading, written completely or not at all, refused if damaged."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale import laws
from bayescale import saved as saved_results
from bayescale.capabilities.link_forms import FORMS
from bayescale.capabilities.link_model import COMPONENTS, LinkPlan
from bayescale.data import task_table
from bayescale.evaluation.scores import score
from bayescale.inference import Convergence
from bayescale.keywords import for_command_line
from bayescale.model import storage
from bayescale.priors import Positive, from_link

VALUES = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": 0.01, "nu": 5.0}


@pytest.fixture(scope="module")
def plain_fit(by_hand, openlm):
    """A fit without groups whose draws all differ."""
    rng = np.random.default_rng(1)
    values = {k: v * np.exp(0.1 * rng.standard_normal((2, 50))) for k, v in VALUES.items()}
    return by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values, draws=50)


@pytest.fixture
def small(plain_fit):
    """The same, with nothing computed and kept by another test."""
    return replace(plain_fit)


@pytest.fixture
def crossed(crossed_fit):
    return replace(crossed_fit)


@pytest.fixture(scope="module")
def crossed_fit(by_hand, openlm):
    """Two group columns, every kind of pooling, one prior that is not the default."""
    rng = np.random.default_rng(1)
    runs = openlm.query("tokens_per_param == 20")
    sizes = {g: runs.table[g].nunique() for g in ("dataset", "architecture")}
    values = {k: v for k, v in VALUES.items() if k != "B"} | {"E_dataset_scale": 0.1}
    values = {k: v * np.exp(0.1 * rng.standard_normal((2, 10))) for k, v in values.items()}
    for name in ("E_dataset", "B_dataset", "B_architecture"):
        values[name] = rng.lognormal(size=(2, 10, sizes[name.split("_")[1]]))
    pool = dict.fromkeys(VALUES, "complete") | {
        "E": {"dataset": "partial", "architecture": "complete"},
        "B": "none",
    }
    return by_hand(
        runs,
        "chinchilla",
        values,
        groups=list(sizes),
        pool=pool,
        priors={"alpha": bs.Positive(0.3, spread=1.7, between=1.3)},
    )


@pytest.fixture(scope="module")
def file(plain_fit, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "fit.nc"
    replace(plain_fit).save(path)
    return path


@pytest.fixture
def saved(file, tmp_path):
    """A saved fit that a test may change."""
    return Path(shutil.copy(file, tmp_path / "fit.nc"))


def again(result, folder):
    """The result after it was saved and loaded."""
    result.save(folder / "again.nc")
    return type(result).load(folder / "again.nc")


def header_of(path) -> dict:
    with h5py.File(path) as file:
        return json.loads(file.attrs[storage.KEY])


def rewritten(path, header: str) -> None:
    """Replace the header of a file."""
    with h5py.File(path, "r+") as file:
        file.attrs[storage.KEY] = header


# -- fits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "crossed", "openlm_fit"])
def test_a_loaded_fit_equals_the_saved_one(name, request, tmp_path):
    fit = request.getfixturevalue(name)
    loaded = again(fit, tmp_path)
    assert loaded.posterior.equals(fit.posterior)
    assert loaded.stats.equals(fit.stats)
    assert loaded.stats.dtypes == fit.stats.dtypes
    assert loaded.law is fit.law
    assert (loaded.random_seed, loaded.facts) == (fit.random_seed, fit.facts)
    for what in ("groups", "parameters", "scales", "levels", "shape"):
        assert getattr(loaded.plan, what) == getattr(fit.plan, what), what
    for what in ("groups", "mapping", "convention", "source", "notes", "fingerprint"):
        assert getattr(loaded.runs, what) == getattr(fit.runs, what), what
    pd.testing.assert_frame_equal(loaded.runs.table, fit.runs.table, check_exact=True)


def test_a_loaded_fit_gives_the_same_forecasts_and_tables(openlm_fit, tmp_path):
    loaded = again(openlm_fit, tmp_path)
    for verb in (
        lambda fit: bs.forecast(fit, C=1e22, random_seed=1),
        lambda fit: bs.allocate(fit, 1e22),
    ):
        assert verb(loaded).data.identical(verb(openlm_fit).data)
    assert repr(loaded) == repr(openlm_fit)
    pd.testing.assert_frame_equal(loaded.summary(), openlm_fit.summary(), check_exact=True)


@pytest.mark.parametrize("name", ["small", "crossed", "openlm_fit"])
def test_a_loaded_fit_has_the_same_model(name, request, tmp_path):
    from pymc.testing import assert_equivalent_model

    fit = request.getfixturevalue(name)
    assert_equivalent_model(again(fit, tmp_path).model, fit.model)


def test_every_kind_of_prior_survives(by_hand, openlm, tmp_path):
    def loss(D, *, a, f, k):
        return a + f * D**-0.1 + 0 * k

    priors = {
        "a": bs.Positive(0.5, spread=1.1, between=1.01, of="loss"),
        "f": bs.Fraction(1 / 3, spread=1.7),
        "k": bs.Real(-0.1, sd=0.3, between=0.07),
    }
    law = bs.Law("mine", loss, priors, "an example")
    fit = by_hand(openlm, law, {"a": 1.0, "f": 0.5, "k": 0.0, "sigma": 0.01, "nu": 5.0})
    fit.save(tmp_path / "mine.nc")
    assert bs.Fit.load(tmp_path / "mine.nc", law=law).plan.parameters == fit.plan.parameters
    with pytest.raises(bs.FitError, match="law 'mine', which is not in the gallery: pass it"):
        bs.Fit.load(tmp_path / "mine.nc")


# -- convergence -------------------------------------------------------------------------------


GOOD = Convergence(1.002, "E", 900.0, "A", 0, 0.9)


def test_the_verdict_on_few_kept_draws_survives(by_hand, openlm, tmp_path):
    """Twenty draws have an effective sample size below 400: only the whole run can pass."""
    rng = np.random.default_rng(1)
    values = {k: v * np.exp(0.01 * rng.standard_normal((2, 10))) for k, v in VALUES.items()}
    fit = by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values)
    fit.__dict__["convergence"] = GOOD
    assert again(fit, tmp_path).convergence == GOOD
    fresh = replace(fit)
    assert not fresh.convergence.passed
    assert repr(again(fresh, tmp_path).convergence) == repr(fresh.convergence)  # BFMI is nan


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (dict(attempts=1, draws=500, length=500, target_accept=0.9), ""),
        (
            dict(attempts=2, draws=500, length=3000, target_accept=0.98),
            "sampled again with target_accept 0.98, 3000 draws per chain, thinned to 500",
        ),
        (
            dict(attempts=2, draws=500, length=500, target_accept=0.9),
            "sampled again with target_accept 0.9, 500 draws per chain",
        ),
        (
            dict(attempts=2, engine="particles"),
            "importance sampling was repeated with other random numbers",
        ),
        ({}, ""),
    ],
)
def test_a_repeated_run_is_described(small, tmp_path, facts, text):
    fit = replace(small, facts=facts)
    fit.__dict__["convergence"] = GOOD
    for one in (fit, again(fit, tmp_path)):
        lines = repr(one).splitlines()
        assert lines[1] == f"  {text}" if text else not any("sampled" in line for line in lines)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bs.ConvergenceWarning)
            assert one.summary().attrs.get("sampling", "") == text


# -- what ArviZ reads --------------------------------------------------------------------------


@pytest.fixture
def arviz_tree(saved):
    import arviz as az

    tree = az.from_netcdf(saved)
    yield tree
    tree.close()


def test_arviz_finds_its_groups_in_the_file(arviz_tree, small):
    expected = ["constant_data", "log_likelihood", "observed_data", "posterior"]
    expected += ["posterior_predictive", "prior", "sample_stats"]
    assert sorted(arviz_tree.children) == expected == sorted(small.data.children)
    table = small.runs.table
    constants = arviz_tree["constant_data"]
    assert list(constants["run"].to_numpy()) == [str(i) for i in table.index]
    for column in ("N", "D", "C", "loss_sd"):
        assert np.array_equal(constants[column], table[column])
    assert np.array_equal(arviz_tree["observed_data"]["log_loss"], np.log(table["loss"]))


def test_the_file_holds_group_labels(crossed, tmp_path):
    crossed.save(tmp_path / "crossed.nc")
    with xr.open_datatree(tmp_path / "crossed.nc", engine="h5netcdf") as tree:
        for column in ("dataset", "architecture"):
            labels = tree["constant_data"][column].to_numpy()
            assert list(labels) == list(crossed.runs.table[column].astype(str))


def test_loo_of_the_file_is_loo_of_the_fit(arviz_tree, small):
    import arviz as az

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pareto k of draws that are far too wide
        from_file, from_fit = az.loo(arviz_tree), az.loo(small.data)
    assert from_file.elpd == pytest.approx(from_fit.elpd, rel=1e-5)
    assert from_file.pareto_k.sizes == {"run": len(small.runs)}


@pytest.mark.parametrize("backend", ["none", "matplotlib"])
def test_the_posterior_predictive_of_the_file_is_plotted(arviz_tree, backend):
    import arviz as az
    from matplotlib import pyplot as plt

    drawn = az.plot_ppc_dist(arviz_tree, backend=backend, num_samples=5)
    lines = drawn.viz["predictive_dist"]["log_loss"]
    assert lines.size == 5
    plt.close("all")


def test_the_posterior_predictive_repeats_the_runs(by_hand, openlm):
    """Around a known law with known noise: its mean and scatter, run by run."""
    runs = openlm.query("dataset == 'c4'").table.drop(columns="loss_sd")
    runs = bs.Runs(runs)
    fit = by_hand(runs, "chinchilla", {**VALUES, "nu": 50.0}, draws=50, chains=200)
    drawn = fit.data["posterior_predictive"]["log_loss"]
    columns = {c: runs.table[c].to_numpy(float) for c in "ND"}
    law = np.log(fit.law(columns, fit.plan.scales, VALUES))
    sd = VALUES["sigma"] * np.sqrt(50 / 48)
    error = 5 * sd / np.sqrt(10_000)
    assert np.abs(drawn.mean(("chain", "draw")) - law).max() < error
    assert np.abs(drawn.std(("chain", "draw")) - sd).max() < error


def test_large_groups_are_thinned_and_say_so(small, tmp_path, monkeypatch):
    from bayescale.model import arviz_groups, results

    size = small.posterior.sizes["chain"] * len(small.runs)
    monkeypatch.setattr(results, "SAVED_VALUES", 5 * size)
    monkeypatch.setattr(arviz_groups, "PREDICTIVE_DRAWS", 4)
    small.save(tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc", engine="h5netcdf") as tree:
        for name, kept in (("log_likelihood", 5), ("posterior_predictive", 4)):
            assert tree[name].sizes["draw"] == kept
            assert tree[name].attrs["thinned"] == f"{kept} of 50 draws per chain, evenly spaced"
        assert tree["posterior"].sizes["draw"] == 50
        every = small.data["log_likelihood"]["log_loss"].isel(draw=slice(None, None, 10))
        assert np.allclose(tree["log_likelihood"]["log_loss"], every, rtol=1e-6)


# -- other results -----------------------------------------------------------------------------


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


@pytest.fixture
def average(by_hand, small) -> bs.Average:
    rng = np.random.default_rng(2)
    values = {"A": 1.0, "alpha": 0.1, "E": 1.9, "sigma": 0.02, "nu": 5.0}
    values = {k: v * np.exp(0.1 * rng.standard_normal((2, 50))) for k, v in values.items()}
    power = by_hand(small.runs, "power(D)", values, draws=50)
    return bs.Average({"chinchilla": small, "a/b": power}, {"chinchilla": 0.7, "a/b": 0.3})


@pytest.fixture
def link(small) -> bs.Link:
    """A link to a fit, from posterior draws that were not sampled."""
    rng = np.random.default_rng(3)
    rows = [
        dict(task=t, loss=loss, corpus=c, accuracy=0.3 + 0.1 * (3.5 - loss), n_questions=500)
        for t in ("piqa", "arc")
        for c in ("web", "books")
        for loss in (2.5, 3.0, 3.5)
    ]
    table, notes = task_table(pd.DataFrame(rows), chance=0.25, keep=("corpus",))
    plan = LinkPlan(FORMS["logistic"], table.assign(member=table["corpus"]), ("corpus",))
    sizes = {dim: len(labels) for dim, labels in plan.levels.items()}

    def draws(*dims, centre=0.0, link="identity"):
        shape = (2, 10, *(sizes[d] for d in dims))
        on_link = centre + 0.1 * rng.standard_normal(shape)
        return (("chain", "draw", *dims), from_link(link, on_link))

    variables = {
        f"{p.name}_task": draws("task", centre=p.prior.centre, link=p.prior.link)
        for p in plan.parameters
    }
    variables["walk_step"] = draws("task", "component")
    for dim in ("member", "cell"):
        variables |= {f"move_{dim}": draws(dim), f"move_{dim}_scale": draws(link="log")}
    coords = {dim: list(labels) for dim, labels in plan.levels.items()}
    posterior = xr.Dataset(variables, coords={"chain": [0, 1], "draw": range(10), **coords})
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 10), bool))})
    made = bs.Link(plan, posterior, stats, small, (*notes, "a note"), 4)
    made.__dict__["convergence"] = GOOD
    assert sizes["component"] == COMPONENTS
    return made


@pytest.fixture(scope="module")
def breaks() -> bs.Breaks:
    """Two accuracy curves with families, with one break at most."""
    x = np.geomspace(1e18, 1e21, 9)
    rng = np.random.default_rng(1)
    rise = [0.25 + 0.6 * (x > 3e19), 0.3 + 0.05 * np.log10(x / 1e18)]
    frame = pd.concat(
        pd.DataFrame(
            {
                "C": x,
                "accuracy": rng.binomial(400, y) / 400,
                "task": task,
                "maker": ["one", "two", "three"] * 3,
            }
        )
        for task, y in zip(("sudden", "slow"), rise, strict=True)
    )
    return bs.breaks(
        frame,
        y="accuracy",
        groups="task",
        family="maker",
        n_questions=400,
        chance=0.25,
        max_breaks=1,
        particles=32,
    )


@pytest.fixture
def rollout() -> bs.Rollout:
    rng = np.random.default_rng(5)
    draws = {
        (law, p): rng.lognormal(1.0, 0.05, (50, n)).astype(np.float32)
        for law in ("chinchilla", "log-Huber bootstrap (chinchilla)")
        for p, n in (("C >= 1e20", 3), ("a", 2))
    }
    parts = []
    for (law, problem), own in draws.items():
        losses = rng.lognormal(1.0, 0.05, own.shape[1])
        scores = score(losses, own.astype(float), np.log(losses))
        place = dict(
            law=law,
            method="bayescale" if law == "chinchilla" else "baseline",
            problem=problem,
            threshold=np.nan,
            dataset="c4",
            series=None,
            run=range(own.shape[1]),
            loss=losses,
            extrapolation=[1.5, 20.0, 3.0][: own.shape[1]],
            converged=True,
            seconds=0.1,
        )
        parts.append(
            pd.concat([pd.DataFrame(place), scores.drop(columns="loss", errors="ignore")], axis=1)
        )
    points = pd.concat(parts, ignore_index=True)
    kept = {k: v for k, v in draws.items() if k[0] == "chinchilla"}
    return bs.Rollout(points, kept, 3, ("a note",), None, kept)


def test_an_average_survives(average, tmp_path):
    loaded = again(average, tmp_path)
    assert (loaded.weights, list(loaded.fits)) == (average.weights, list(average.fits))
    assert loaded.law == average.law
    assert repr(loaded) == repr(average)
    at = dict(N=1e9, D=2e10, random_seed=1)
    assert bs.forecast(loaded, **at).data.identical(bs.forecast(average, **at).data)


@pytest.mark.parametrize("of", ["small", "crossed", "average"])
def test_a_forecast_survives(of, request, tmp_path):
    fit = request.getfixturevalue(of)
    group = {"dataset": ["c4", None]} if of == "crossed" else None
    points = dict(N=[1e9, 7e9], D=[2e10, 1.4e11], group=group, random_seed=1)
    forecast = bs.forecast(fit, **points)
    loaded = again(forecast, tmp_path)
    assert loaded.data.identical(forecast.data)
    assert (loaded.law, loaded.group, loaded.random_seed) == (
        forecast.law,
        forecast.group,
        forecast.random_seed,
    )
    same(loaded.decompose(), forecast.decompose())
    assert np.array_equal(loaded.beats(2.8), forecast.beats(2.8))
    assert np.array_equal(loaded.log_density(2.8), forecast.log_density(2.8))
    with pytest.warns(bs.ConvergenceWarning) as before:
        expected = forecast.summary()
    with pytest.warns(bs.ConvergenceWarning) as after:
        same(loaded.summary(), expected)
    assert str(after[0].message) == str(before[0].message)


def test_a_link_survives(link, tmp_path):
    loaded = again(link, tmp_path)
    same(loaded.summary(), link.summary())
    same(loaded.plan.table, link.plan.table)
    assert loaded.plan.form is link.plan.form
    assert (loaded.notes, loaded.random_seed, loaded.groups) == (link.notes, 4, ("corpus",))
    assert loaded.convergence == GOOD
    assert repr(loaded) == repr(link)
    at = dict(N=1e9, D=2e10, group="web", random_seed=1)
    ahead, ahead_again = bs.forecast_tasks(link, **at), bs.forecast_tasks(loaded, **at)
    assert ahead_again.data.identical(ahead.data)


def test_a_link_without_a_fit_survives(link, tmp_path):
    assert again(replace(link, fit=None), tmp_path).fit is None


def test_a_task_forecast_survives(link, tmp_path):
    forecast = bs.forecast_tasks(link, N=[1e9, 1e9], D=2e10, group=["web", None], random_seed=1)
    loaded = again(forecast, tmp_path)
    assert loaded.data.identical(forecast.data)
    same(loaded.summary(), forecast.summary())
    same(loaded.decompose(), forecast.decompose())
    assert repr(loaded) == repr(forecast)
    assert loaded.link.fit.runs.fingerprint == link.fit.runs.fingerprint


def test_breaks_survive(breaks, tmp_path):
    loaded = again(breaks, tmp_path)
    same(loaded.summary(), breaks.summary())
    assert repr(loaded) == repr(breaks)
    for task in ("sudden", "slow"):
        assert loaded.probability(task) == breaks.probability(task)
        same(loaded.places(task), breaks.places(task))
        ahead = [
            bs.forecast(b, x=[1e20, 1e22], group=task, family="two", random_seed=1)
            for b in (breaks, loaded)
        ]
        assert ahead[1].data.identical(ahead[0].data)
    assert np.array_equal(loaded.beyond(1e22), breaks.beyond(1e22))


def test_breaks_of_losses_survive(tmp_path):
    x = np.geomspace(1e18, 1e21, 8)
    table = pd.DataFrame({"C": x, "loss": 2 + (x / 1e18) ** -0.2, "loss_sd": 0.01})
    found = bs.breaks(table, max_breaks=1, particles=32)
    same(again(found, tmp_path).summary(), found.summary())


def test_a_rollout_survives(rollout, tmp_path):
    loaded = again(rollout, tmp_path)
    same(loaded.points, rollout.points)
    for by in ("law", ["law", "distance"]):  # sums in another order differ in the last digit
        pd.testing.assert_frame_equal(loaded.summary(by), rollout.summary(by), rtol=1e-13)
    for mapping in ("draws", "members"):
        one, other = getattr(loaded, mapping), getattr(rollout, mapping)
        assert list(one) == list(other)
        assert all(np.array_equal(one[k], other[k]) for k in other)
        assert all(one[k].dtype == other[k].dtype for k in other)
    assert (loaded.random_seed, loaded.notes, loaded.each) == (3, ("a note",), None)
    assert repr(loaded) == repr(rollout)
    same(loaded.mixed({"chinchilla": 1.0}).points, rollout.mixed({"chinchilla": 1.0}).points)


def test_a_class_refuses_files_of_another_class(average, tmp_path):
    path = tmp_path / "average.nc"
    average.save(path)
    with pytest.raises(bs.FitError) as caught:
        bs.Fit.load(path)
    assert str(caught.value) == (
        f"{path}: the file holds a result of the class Average, not Fit: read it with bs.load(path)"
    )


def test_one_function_reads_results_of_every_class(average, tmp_path):
    path = tmp_path / "result.nc"
    ahead = bs.forecast(average, N="7B", D="140B")
    for result in (average, next(iter(average.fits.values())), ahead):
        result.save(path)
        loaded = bs.load(path)
        assert type(loaded) is type(result)
    np.testing.assert_array_equal(loaded.data["loss"], ahead.data["loss"])
    every = storage.KINDS.values()
    of_package = {c.__name__ for c in every if c.__module__.startswith("bayescale.")}
    assert of_package - {"PredictiveDraws"} == {cls.__name__ for cls in saved_results.KINDS}


# -- laws that are not in the gallery ----------------------------------------------------------


def own_law(name="mine", power=-0.1) -> bs.Law:
    def loss(D, *, a):
        return a * D**power

    return bs.Law(name, loss, {"a": bs.Positive(3.0)}, "an example")


def own_average(by_hand, runs, *own) -> bs.Average:
    values = {"a": 3.0, "sigma": 0.01, "nu": 5.0}
    fits = {f"fit {i}": by_hand(runs, law, values) for i, law in enumerate(own)}
    return bs.Average(fits, dict.fromkeys(fits, 1 / len(fits)))


def test_laws_of_an_average_are_given_by_name(by_hand, openlm, tmp_path):
    mine, yours = own_law(), own_law("yours", -0.2)
    own_average(by_hand, openlm, mine, yours).save(tmp_path / "two.nc")
    given = {"mine": mine, "yours": yours}
    loaded = bs.Average.load(tmp_path / "two.nc", law=given)
    assert [fit.law for fit in loaded.fits.values()] == [mine, yours]
    with pytest.raises(bs.FitError, match="law 'yours', which is not in the gallery: pass it"):
        bs.Average.load(tmp_path / "two.nc", law=mine)


def test_two_laws_of_one_name_are_not_saved(by_hand, openlm, tmp_path):
    average = own_average(by_hand, openlm, own_law(), own_law(power=-0.2))
    with pytest.raises(bs.FitError, match="different laws are called 'mine'"):
        average.save(tmp_path / "two.nc")
    assert not list(tmp_path.iterdir())


def test_a_law_with_the_name_of_the_gallery_is_not_replaced_by_it(by_hand, openlm, tmp_path):
    def loss(D, *, E, A, alpha):
        return E + A * (1 + D) ** -alpha

    namesake = bs.Law("power", loss, dict(laws.power.priors), "an example", columns=("C",))
    values = {"E": 1.0, "A": 1.0, "alpha": 0.1, "sigma": 0.01, "nu": 5.0}
    path = tmp_path / "power.nc"
    by_hand(openlm, namesake, values).save(path)
    refused(path, "the law 'power', a formula that is not the gallery's: pass it")
    assert bs.Fit.load(path, law=namesake).law is namesake


def test_other_priors_do_not_make_another_law(by_hand, openlm, tmp_path):
    law = laws.power.with_priors(alpha=bs.Positive(0.2))
    values = {"E": 1.0, "A": 1.0, "alpha": 0.1, "sigma": 0.01, "nu": 5.0}
    fit = by_hand(openlm, law, values)
    assert again(fit, tmp_path).plan.parameters == fit.plan.parameters


# -- files of earlier formats ------------------------------------------------------------------


OWN_DRIFT = bs.Positive(0.2, spread=1.4)


def as_earlier_format(fit: bs.Fit, path, format: int, ahead: bs.Positive = OWN_DRIFT) -> None:
    """Write a fit as formats 1 and 2 did."""
    header = dict(
        format=format,
        law=fit.law.name,
        parameters=[
            dict(
                name=p.name,
                prior=[type(p.prior).__name__, asdict(p.prior)],
                effects=[asdict(e) for e in p.effects],
            )
            for p in fit.plan.parameters
        ],
        groups=fit.groups,
        scales={c: float(v).hex() for c, v in fit.plan.scales.items()},
        facts={"draws": 10, "versions": {"numpy": "2.1"}, "random_seed": 7},
        runs=fit.runs.to_json(),
    )
    if format == 2:
        header |= dict(drift="off", ahead=asdict(ahead))
    tree = xr.DataTree.from_dict({"posterior": fit.posterior, "sample_stats": fit.stats})
    tree.attrs = {"bayescale": json.dumps(header)}
    tree.to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize("format", [1, 2])
@pytest.mark.parametrize("name", ["small", "crossed"])
def test_fits_of_earlier_formats_are_read(name, format, request, tmp_path):
    fit = request.getfixturevalue(name)
    as_earlier_format(fit, tmp_path / "old.nc", format)
    loaded = bs.Fit.load(tmp_path / "old.nc")
    assert loaded.posterior.equals(fit.posterior)
    assert loaded.stats.equals(fit.stats)
    assert loaded.plan.parameters == fit.plan.parameters
    assert loaded.random_seed == 7
    assert loaded.facts == {"draws": 10, "versions": {"numpy": "2.1"}}
    assert loaded.plan.drift == ("ahead" if format == 1 else "off")
    if format == 2:
        assert loaded.plan.ahead == OWN_DRIFT
    with pytest.raises(bs.FitError, match="class Fit, not Average"):
        bs.Average.load(tmp_path / "old.nc")


def test_the_default_drift_of_an_earlier_format_is_not_taken_for_the_users_own(small, tmp_path):
    as_earlier_format(small, tmp_path / "old.nc", 2, ahead=Positive(0.1, spread=1.5))
    assert bs.Fit.load(tmp_path / "old.nc").plan.ahead is None


# -- writing -----------------------------------------------------------------------------------


def test_saving_replaces_an_older_file(small, saved):
    replace(small, random_seed=7).save(saved)
    assert bs.Fit.load(saved).random_seed == 7
    assert os.listdir(saved.parent) == ["fit.nc"]


def test_folders_are_made_and_names_may_be_text(small, tmp_path):
    small.save(str(tmp_path / "a" / "b" / "fit.nc"))
    assert bs.Fit.load(str(tmp_path / "a" / "b" / "fit.nc")).posterior.equals(small.posterior)


def test_the_file_is_as_readable_as_any_other(saved):
    plain = saved.with_name("plain")
    plain.touch()
    assert saved.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize(
    ("crash", "raised"),
    [
        (OSError(28, "No space left on device"), bs.FitError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
@pytest.mark.parametrize("there", [True, False], ids=["replacing", "new"])
def test_a_crash_while_writing_leaves_what_was_there(
    small, tmp_path, monkeypatch, crash, raised, there
):
    path = tmp_path / "fit.nc"
    if there:
        small.save(path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}

    def half(tree, target, **options):
        target.write_bytes(b"\x89HDF half of it")
        raise crash

    monkeypatch.setattr(xr.DataTree, "to_netcdf", half)
    with pytest.raises(raised) as caught:
        replace(small, random_seed=7).save(path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    if raised is bs.FitError:
        assert str(caught.value) == f"{path}: cannot be written (No space left on device)"


def test_saving_into_a_place_that_cannot_be_is_refused(small, saved, monkeypatch):
    with pytest.raises(bs.FitError, match="this is a directory"):
        small.save(saved.parent)
    for path in (saved / "fit.nc", saved.with_name("x" * 300)):
        with pytest.raises(bs.FitError, match="cannot be written"):
            small.save(path)

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(bs.FitError, match=r"fit\.nc: cannot be written \(Permission denied\)"):
        small.save(saved)
    assert os.listdir(saved.parent) == ["fit.nc"]


# -- reading damaged and foreign files ---------------------------------------------------------


def refused(path, text: str, **options) -> None:
    with pytest.raises(bs.FitError) as caught:
        bs.Fit.load(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert text in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "fit.nc", "there is no such file")
    refused(tmp_path / ("x" * 300), "there is no such file")


def test_a_directory_is_refused(tmp_path):
    refused(tmp_path, "this is a directory: name a .nc file that save() wrote")
    with for_command_line():
        refused(tmp_path, "this is a directory: name a .nc file that 'bayescale fit' wrote")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the file is empty"),
        (b"N,D,loss\n1e9,1e10,3.0\n", "this is not a netCDF file"),
        (b"\x89HDF\r\n\x1a\n", "truncated or damaged"),
        (b"CDF\x01" + bytes(60), "not a netCDF file"),
    ],
)
def test_a_file_that_is_not_netcdf_is_refused(tmp_path, content, text):
    path = tmp_path / "fit.nc"
    path.write_bytes(content)
    refused(path, text)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    refused(saved, "the file is truncated or damaged")


@pytest.mark.parametrize("kind", ["plain", "posterior"])
def test_netcdf_of_another_program_is_refused(tmp_path, kind):
    path = tmp_path / "foreign.nc"
    data = xr.Dataset({"x": ("t", [1.0, 2.0])})
    tree = {"/": data} if kind == "plain" else {"posterior": data}
    xr.DataTree.from_dict(tree).to_netcdf(path, engine="h5netcdf")
    refused(path, "was not written by bayescale")


def test_an_unknown_law_is_refused(saved):
    header = header_of(saved)
    header["fields"]["plan"]["design"]["law"] = "gompertz"
    rewritten(saved, json.dumps(header))
    refused(saved, "the law 'gompertz', which is not in the gallery")


def test_a_law_that_was_not_fitted_is_refused(saved):
    refused(saved, "the result was made with 'chinchilla', not with 'kaplan'", law=laws.kaplan)
    namesake = replace(laws.kaplan, name="chinchilla")
    refused(
        saved,
        "has the parameters A, B, alpha_N, alpha_D, but the fit was made with A, B, E, alpha, beta",
        law=namesake,
    )


def test_a_newer_format_is_refused(saved):
    rewritten(saved, json.dumps(header_of(saved) | {"format": storage.FORMAT + 1}))
    refused(saved, f"has format {storage.FORMAT + 1}, but this version reads formats up to")


@pytest.mark.parametrize(
    "damage",
    [
        dict(fields={}),
        dict(fields={"plan": {"design": {}}}),
        dict(fields={"plan": {"call": "os.system"}}),
        dict(fields={"posterior": {"dataset": ["elsewhere"]}}),
        dict(fields={"posterior": {"part": ["Popen", {"map": [["args", "true"]]}]}}),
        dict(format="new"),
        dict(kept=3),
    ],
    ids=str,
)
def test_a_damaged_header_is_refused(saved, damage):
    header = header_of(saved)
    if set(damage) == {"fields"} and damage["fields"]:
        damage = {"fields": header["fields"] | damage["fields"]}
    rewritten(saved, json.dumps(header | damage))
    refused(saved, "damaged")


def test_a_header_that_is_not_json_is_refused(saved):
    rewritten(saved, "{")
    refused(saved, "is damaged")


def test_a_value_of_a_type_that_is_not_registered_is_not_saved(small, tmp_path):
    with pytest.raises(bs.FitError, match="a object cannot be saved"):
        replace(small, facts={"x": object()}).save(tmp_path / "fit.nc")
    assert not list(tmp_path.iterdir())
