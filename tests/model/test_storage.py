"""Fits kept in files: the same when read again, whole or not there, refused when not theirs."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale import laws
from bayescale.model import storage as store

VALUES = {"E": 1.7, "A": 0.4, "B": 0.4, "alpha": 0.3, "beta": 0.3, "sigma": 0.01, "nu": 5.0}


@pytest.fixture
def small(by_hand, openlm):
    """A fit without groups, its draws all different."""
    rng = np.random.default_rng(1)
    values = {k: v * np.exp(0.1 * rng.standard_normal((2, 10))) for k, v in VALUES.items()}
    return by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values)


@pytest.fixture
def crossed(by_hand, openlm):
    """Two group columns, every kind of pooling, priors of one's own."""
    rng = np.random.default_rng(1)
    runs = openlm.query("tokens_per_param == 20")
    sizes = {g: runs.table[g].nunique() for g in ("dataset", "architecture")}
    values = {k: v for k, v in VALUES.items() if k != "B"} | {"E_dataset_scale": 0.1}
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


@pytest.fixture
def saved(small, tmp_path):
    path = tmp_path / "fit.nc"
    small.save(path)
    return path


def again(fit: bs.Fit, folder) -> bs.Fit:
    fit.save(folder / "again.nc")
    return bs.Fit.load(folder / "again.nc")


def edited(path, **changes) -> None:
    """Rewrite parts of a saved fit's header."""
    with xr.open_datatree(path, engine="h5netcdf") as opened:
        tree = opened.load()
    tree.attrs[store.KEY] = json.dumps({**json.loads(tree.attrs[store.KEY]), **changes})
    tree.to_netcdf(path, engine="h5netcdf")


# -- there and back ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["small", "crossed", "openlm_fit"])
def test_what_is_read_is_what_was_written(name, request, tmp_path):
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


def test_a_loaded_fit_answers_as_before(openlm_fit, tmp_path):
    loaded = again(openlm_fit, tmp_path)
    for ask in (
        lambda fit: bs.forecast(fit, C=1e22, random_seed=1),
        lambda fit: bs.allocate(fit, 1e22),
    ):
        assert ask(loaded).data.identical(ask(openlm_fit).data)
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


# -- writing -----------------------------------------------------------------------------------


def test_a_new_fit_replaces_the_old_one(small, saved):
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


# -- reading what is no fit --------------------------------------------------------------------


def refused(path, said: str, **options) -> None:
    with pytest.raises(bs.FitError) as caught:
        bs.Fit.load(path, **options)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    refused(tmp_path / "fit.nc", "there is no such file")
    refused(tmp_path / ("x" * 300), "there is no such file")


def test_a_directory_is_refused(tmp_path):
    refused(tmp_path, "this is a directory")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"N,D,loss\n1e9,1e10,3.0\n", "this is not a netCDF file"),
        (b"\x89HDF\r\n\x1a\n", "cut short or damaged"),
        (b"CDF\x01" + bytes(60), "not a netCDF file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, content, said):
    path = tmp_path / "fit.nc"
    path.write_bytes(content)
    refused(path, said)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(share * len(whole))])
    refused(saved, "the file is cut short or damaged")


@pytest.mark.parametrize("kind", ["plain", "posterior"])
def test_netcdf_of_someone_else_is_refused(tmp_path, kind):
    path = tmp_path / "theirs.nc"
    theirs = xr.Dataset({"x": ("t", [1.0, 2.0])})
    tree = {"/": theirs} if kind == "plain" else {"posterior": theirs}
    xr.DataTree.from_dict(tree).to_netcdf(path, engine="h5netcdf")
    refused(path, "was not written by bayescale")


def test_a_law_that_is_not_known_is_refused(saved):
    edited(saved, law="gompertz")
    refused(saved, "the law 'gompertz', which is not in the gallery")


def test_a_law_other_than_the_one_that_was_fitted_is_refused(saved):
    refused(saved, "the fit was made with the law 'chinchilla', not 'kaplan'", law=laws.kaplan)
    namesake = replace(laws.kaplan, name="chinchilla")
    refused(
        saved,
        "takes A, B, alpha_N, alpha_D, but the fit was made with A, B, E, alpha, beta",
        law=namesake,
    )


def test_a_format_of_the_future_is_refused(saved):
    edited(saved, format=store.FORMAT + 1)
    refused(saved, f"has format {store.FORMAT + 1}, newer than this version reads")
