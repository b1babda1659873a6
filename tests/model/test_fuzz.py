"""Small random tables through the whole path: a result or a sentence, never another exception."""

from __future__ import annotations

import os
import traceback
import warnings

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import BayescaleError
from bayescale.inference import nuts

#: Tables of the slow and of the default suite. The default ones have no groups and do not fall back
#: to NUTS, so that no model is compiled.
TABLES, FEW = int(os.environ.get("BAYESCALE_FUZZ", "60")), 3
#: Tables of one slow test; the parts can run at the same time.
PART = 20
KINDS = ("plain", "loss_sd", "series", "curve", "one group", "two groups")


def table(rng: np.random.Generator, kind: str) -> pd.DataFrame:
    """Three to twelve runs of a law, with one or two of the faults that tables have."""
    n = int(rng.integers(3, 13))
    N, D = 10 ** rng.uniform(6, 10, n), 10 ** rng.uniform(8, 12, n)
    loss = 1.7 + 400 * N**-0.34 + 420 * D**-0.29
    loss = loss * np.exp(10 ** rng.uniform(-4, -1) * rng.standard_normal(n))
    frame = pd.DataFrame({"N": N, "D": D, "loss": loss})
    for _ in range(rng.integers(1, 3)):
        fault = rng.integers(9)
        if fault == 0:
            frame["N"] = frame["N"].iloc[0]
        elif fault == 1:
            frame["D"] = frame["D"].iloc[0]
        elif fault == 2:
            frame["loss"] = frame["loss"].iloc[0]
        elif fault == 3:  # ties
            frame = frame.iloc[rng.integers(0, n, n)].reset_index(drop=True)
        elif fault == 4:
            frame["loss"] *= 10 ** rng.uniform(-6, 6)
        elif fault == 5:
            frame[["N", "D"]] *= 10 ** rng.uniform(-3, 12)
        elif fault == 6:
            frame.loc[rng.integers(n), "loss"] *= 10 ** rng.uniform(-3, 3)
        elif fault == 7:
            frame["D"] = 20 * frame["N"]
        else:
            frame["loss"] = rng.permutation(frame["loss"])
    if kind == "loss_sd":
        frame["loss_sd"] = frame["loss"] * 10 ** rng.uniform(-8, 0, n)
    if kind in ("series", "curve"):
        frame["series"] = rng.choice(["a", "b"], n) if kind == "series" else "a"
    if kind == "one group":
        frame["corpus"] = "x"
    if kind == "two groups":
        frame["corpus"] = ["x", *rng.choice(["x", "y"], n - 2), "y"]
    return frame


def whole_path(frame: pd.DataFrame, kind: str, seed: int, engine: str = "auto") -> str:
    """What becomes of a table: ``"fitted"``, or the beginning of the sentence that refuses it."""
    groups = "corpus" if "group" in kind else None
    law = "power(D)" if kind == "curve" else "chinchilla"
    try:
        runs = bs.Runs.from_frame(frame, groups=groups)
        # Without groups the default engine; with groups one short attempt of NUTS.
        accept = 0.9 if groups else None
        fit = bs.fit(
            runs,
            law,
            groups=groups,
            engine=engine,
            draws=25,
            tune=50,
            target_accept=accept,
            random_seed=seed,
        )
        assert repr(fit)
        assert np.isfinite(fit.summary()["median"]).all()
        ahead = bs.forecast(fit, N=2e10, D=1e12)
        assert (ahead.data["loss"] > 0).all()
        assert repr(ahead)
    except BayescaleError as error:
        return str(error)[:40]
    return "fitted"


@pytest.mark.parametrize(
    ("seeds", "engine"),
    [
        *(
            pytest.param(
                range(s, s + PART), "auto", marks=pytest.mark.slow, id=f"{s} to {s + PART}"
            )
            for s in range(0, TABLES, PART)
        ),
        pytest.param(
            [s for s in range(TABLES) if "group" not in KINDS[s % len(KINDS)]][:FEW],
            "particles",
            id=str(FEW),
        ),
    ],
)
def test_random_tables_give_a_result_or_a_sentence(seeds, engine, monkeypatch):
    # Short runs, once: whether they converge is not the question here.
    monkeypatch.setattr(nuts, "FEWEST_DRAWS", 100)
    monkeypatch.setattr(nuts, "STUCK", np.inf)
    ends, failures = {}, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in seeds:
            rng = np.random.default_rng(seed)
            kind = KINDS[seed % len(KINDS)]
            try:
                end = whole_path(table(rng, kind), kind, seed, engine)
            except Exception:
                failures.append(f"seed {seed} ({kind}): {traceback.format_exc(limit=-3)}")
            else:
                ends[end] = ends.get(end, 0) + 1
    assert not failures, f"{len(failures)} of {len(seeds)}:\n" + "\n".join(failures[:8])
    assert ends["fitted"] > len(seeds) / 2, ends  # most of these tables can be fitted
