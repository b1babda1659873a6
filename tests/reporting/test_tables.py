"""Sentences beside tables."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd

from bayescale.reporting.tables import coverage_in_words


def test_held_out_runs_of_several_laws_are_those_of_their_average():
    points = pd.DataFrame(
        {
            "law": ["chinchilla", "chinchilla", "average", "average", "log-Huber"],
            "method": ["bayescale"] * 4 + ["log-Huber"],
            "inside90": [True, True, True, False, False],
        }
    )
    told = coverage_in_words(SimpleNamespace(points=points))
    assert told == "1 of 2 held-out runs lie inside their 90 % intervals."
    alone = SimpleNamespace(points=points[points["law"] == "chinchilla"])
    assert coverage_in_words(alone) == "2 of 2 held-out runs lie inside their 90 % intervals."
    several = SimpleNamespace(points=points[:3].assign(law=["a", "a", "b"]))
    assert coverage_in_words(several) == (
        "2 of 2 held-out runs (a), 1 of 1 held-out runs (b) lie inside their 90 % intervals."
    )
