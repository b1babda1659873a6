"""The command run in this process, and the report and fit that tests share."""

from __future__ import annotations

import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import NamedTuple

import numpy as np
import pytest

import bayescale as bs
from bayescale import cli, reporting


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def _run(*words) -> Ended:
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", ["bayescale", *map(str, words)])
        patch.delenv("BAYESCALE_PROGRESS", raising=False)
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            cli.main()
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def run():
    """Run ``bayescale ...`` in this process; return its exit code and output."""
    return _run


@pytest.fixture(scope="session")
def refused():
    """Run a command that must end with code 2 and no output; return its error message."""

    def refuse(*words) -> str:
        ended = _run(*words)
        assert ended.code == 2
        assert ended.out == ""
        assert ended.err.startswith("error: ")
        assert "Traceback" not in ended.err
        return ended.err

    return refuse


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="session")
def table(folder, openlm):
    path = folder / "c4.csv"
    c4 = openlm.query("dataset == 'c4'").table
    c4[["N", "D", "loss", "loss_sd"]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def reported(table, folder, run):
    return run(
        "report",
        table,
        "--law",
        "chinchilla",
        "--flops",
        "1e21,1e22",
        "--out",
        folder / "it's a report",
        "--seed",
        3,
        "--draws",
        200,
    )


@pytest.fixture(scope="session")
def page(reported, folder):
    return (folder / "it's a report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def kept(reported, folder):
    """The fit that `report` saved."""
    return folder / "it's a report" / "fit.nc"


@pytest.fixture(scope="session")
def kept_fit(kept):
    """The same, loaded."""
    return bs.Fit.load(kept)


@pytest.fixture(scope="session")
def averaged(table, folder, run):
    """A report of the default laws. Half of the runs are held out from one of them only."""
    held_out_half = reporting.held_out_half
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            reporting,
            "held_out_half",
            lambda fit, **options: held_out_half(fit.fits["chinchilla"], **options),
        )
        return run("report", table, "--flops", "1e21", "--out", folder / "average",
                   "--draws", 200, "--quiet")  # fmt: skip


@pytest.fixture(scope="session")
def kept_average(averaged, folder):
    """The average that `report` saved."""
    return folder / "average" / "fit.nc"


@pytest.fixture(scope="session")
def failing(by_hand, openlm, folder):
    """A saved fit whose chains did not converge."""
    rng = np.random.default_rng(1)
    values = {
        "E": np.array([[1.6], [1.9]]),
        "A": 1.0,
        "B": 0.6,
        "alpha": 0.25,
        "beta": 0.27,
        "sigma": 0.02,
        "nu": 3.0,
    }
    values = {k: v * np.exp(1e-3 * rng.standard_normal((2, 100))) for k, v in values.items()}
    by_hand(openlm.query("dataset == 'c4'"), "chinchilla", values, draws=100).save(
        folder / "failing.nc"
    )
    return folder / "failing.nc"
