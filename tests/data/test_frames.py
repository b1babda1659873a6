"""Records of experiment trackers: files that the tools wrote, and their interfaces by stubs."""

import gzip
import sqlite3
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale import Runs, RunsError

FILES = Path(__file__).parent / "trackers"
SIZES = {"m19": (19e6, 4e8, 4.21), "m38": (38e6, 8e8, 3.84), "m76": (76e6, 1.6e9, 3.52),
         "m152": (152e6, 3.2e9, 3.25)}  # fmt: skip
LAST = sorted(SIZES.values())


def last_values(runs: Runs) -> list[tuple[float, ...]]:
    """N, D and loss of the last row of each run."""
    table = runs.table
    rows = table.groupby("series").tail(1) if "series" in runs else table
    return sorted(zip(rows["N"], rows["D"], rows["loss"], strict=True))


@pytest.fixture
def project(tmp_path) -> Path:
    """The database that trackio 0.43 wrote for four runs of three steps."""
    path = tmp_path / "scaling.db"
    path.write_bytes(gzip.decompress((FILES / "trackio.db.gz").read_bytes()))
    return path


# -- trackio -----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_every_step_of_a_trackio_project_is_a_checkpoint_of_its_run(project):
    runs = Runs.from_trackio(project, groups="corpus")
    assert len(runs) == 12
    assert set(runs.table["series"]) == set(SIZES)
    assert last_values(runs) == LAST
    assert runs.groups == ("corpus",)
    assert Runs.read(project).fingerprint == Runs.from_trackio(str(project)).fingerprint


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_a_trackio_project_is_found_by_its_name(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(TRACKIO_DIR=project.parent))
    assert last_values(Runs.from_trackio("scaling")) == LAST
    with pytest.raises(RunsError, match=r"scale: there is no such trackio project.*: scaling"):
        Runs.from_trackio("scale")


def test_another_database_is_refused(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as database:
        database.execute("create table metrics (a)")
    with pytest.raises(RunsError, match="not a trackio project"):
        Runs.read(path)


# -- MLflow ------------------------------------------------------------------------------------


def test_an_export_of_mlflow_is_read():
    runs = Runs.from_mlflow(FILES / "mlflow.csv", groups="params.corpus")
    assert last_values(runs) == LAST
    assert dict(runs.mapping) == {"N": "params.n_params", "D": "metrics.train_tokens",
                                  "loss": "metrics.val_loss"}  # fmt: skip
    assert Runs.read(FILES / "mlflow.csv", groups="params.corpus").fingerprint == runs.fingerprint


def test_an_experiment_of_mlflow_is_searched_by_its_name(monkeypatch):
    # MLflow gives parameters as text.
    found = pd.read_csv(FILES / "mlflow.csv", dtype={"params.n_params": str})

    def search_runs(experiment_names):
        return found if experiment_names == ["scaling"] else found.iloc[:0]

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(search_runs=search_runs))
    assert last_values(Runs.from_mlflow("scaling")) == LAST
    assert last_values(Runs.from_mlflow(found)) == LAST
    with pytest.raises(RunsError, match="scale: no runs were found in this experiment"):
        Runs.from_mlflow("scale")


# -- wandb -------------------------------------------------------------------------------------


def of_wandb(name, n, d, loss, state="finished"):
    """A run with the documented attributes of ``wandb.Api().run``."""
    config = {"model": {"n_params": n}, "corpus": "c4", "_wandb": {"t": 1}, "betas": [0.9, 0.95]}
    summary = {"val_loss": loss, "tokens": d, "_step": 300, "_runtime": 12.5, "corpus": "web"}
    return SimpleNamespace(name=name, state=state, config=config, summary=summary)


def test_runs_of_wandb_have_their_config_and_their_last_values(monkeypatch):
    project = [of_wandb(name, *values) for name, values in SIZES.items()]
    runs = Runs.from_wandb(project, groups="config.corpus")
    assert last_values(runs) == LAST
    assert dict(runs.mapping) == {"N": "model.n_params", "D": "tokens", "loss": "val_loss"}
    assert set(runs.table["corpus"]) == {"web"}
    assert not {c for c in runs.table if "_wandb" in c or "_step" in c or "betas" in c}

    def runs_of(path):
        return {"lab/scaling": project}[path]

    api = SimpleNamespace(Api=lambda: SimpleNamespace(runs=runs_of))
    monkeypatch.setitem(sys.modules, "wandb", api)
    by_name = Runs.from_wandb("lab/scaling", groups="config.corpus")
    assert by_name.fingerprint == runs.fingerprint
    assert by_name.source == "the wandb project lab/scaling"


def test_crashed_runs_of_wandb_are_named():
    project = [of_wandb(name, *values) for name, values in SIZES.items()]
    project.append(of_wandb("m300", 3e8, 6e9, 5.0, "crashed"))
    with pytest.warns(bs.RunsWarning, match=r"1 run has not finished .*\(1 \w+\) \(row 4\)"):
        Runs.from_wandb(project)


def test_an_export_of_wandb_is_read():
    path = Path(__file__).parent / "cases" / "format_wandb_config.csv"
    assert Runs.from_wandb(str(path)).fingerprint == Runs.read(path).fingerprint


@pytest.mark.parametrize(("tool", "constructor"), [
    ("wandb", Runs.from_wandb), ("mlflow", Runs.from_mlflow), ("trackio", Runs.from_trackio),
])  # fmt: skip
def test_without_the_tool_an_export_is_named(tool, constructor, monkeypatch):
    monkeypatch.setitem(sys.modules, tool, None)
    with pytest.raises(RunsError, match=f"{tool} is not installed: pip install {tool}, or export"):
        constructor("lab/scaling")


# -- files of wandb ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_the_folder_that_wandb_wrote_offline_is_read_without_wandb():
    """Five runs of three steps by wandb 0.31; the last one failed."""
    for runs in (Runs.read(FILES / "wandb"), Runs.from_wandb(str(FILES / "wandb"))):
        assert len(runs) == 5
        assert any("1 run has not finished" in note for note in runs.notes)
        finished = runs.query("state == 'finished'")
        assert last_values(finished) == LAST
        assert set(finished.table["corpus"]) == {"web"}
        assert set(finished.table["optimizer.lr"]) == {3e-4}
        assert set(finished.table["name"]) == set(SIZES)


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_every_step_in_a_file_of_wandb_is_a_checkpoint():
    """One run of 400 steps, in three blocks of the file."""
    runs = Runs.read(FILES / "curve.wandb.gz")
    assert len(runs) == 400
    assert set(runs.table["series"]) == {"curve"}
    D = 1e6 * np.arange(1, 401)
    np.testing.assert_array_equal(runs.table["D"], D)
    np.testing.assert_allclose(runs.table["loss"], 2 + 300 * D**-0.3, atol=6e-5)


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_a_file_of_wandb_that_is_still_written_is_read_to_its_end(tmp_path):
    content = gzip.decompress((FILES / "curve.wandb.gz").read_bytes())
    path = tmp_path / "run-1.wandb"
    path.write_bytes(content[: len(content) // 2])
    runs = Runs.read(path)
    assert 100 < len(runs) < 300
    assert set(runs.table["state"]) == {"running"}
    assert "not finished" not in str(runs.notes)  # losses of checkpoints are final


def test_a_damaged_file_of_wandb_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "run-1.wandb"
    path.write_bytes(b":W&B\xe1\xbe\x00" + b"\0\0\0\0\x04\0\x01" + b"\xff\xff\xff\xff")
    with pytest.raises(RunsError, match="cannot be read: export the runs to a csv file"):
        Runs.read(path)
