"""Labels of groups: settled for every column, and refused all at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale import laws
from bayescale.forecasting.wording import group_labels_in_words
from bayescale.keywords import for_command_line
from bayescale.model import design
from bayescale.model.labels import NEW, labels_in_points, number_of_points, settle_labels

ONE = {"corpus": ("books", "web")}
TWO = {**ONE, "recipe": ("a", "b")}


@pytest.mark.parametrize(
    ("group", "settled"),
    [
        (None, NEW),
        ("web", "web"),
        (["web", None, np.nan], ["web", NEW, NEW]),
        ({"corpus": "web"}, "web"),
        ({}, NEW),
        (pd.Series(["books", "web"]), ["books", "web"]),
    ],
)
def test_labels_of_one_column(group, settled):
    assert settle_labels(group, ONE) == {"corpus": settled}


def test_columns_that_a_mapping_leaves_out_are_new():
    assert settle_labels({"recipe": "b"}, TWO) == {"corpus": NEW, "recipe": "b"}
    assert settle_labels(None, {}) == {}


@pytest.mark.parametrize(
    ("group", "levels", "message"),
    [
        ("web", {}, "this link has no groups, but group='web' was given"),
        ("web", TWO, r"the group columns corpus, recipe.*\{'corpus': 'books', 'recipe': 'a'\}"),
        ("webb", ONE, "no corpus 'webb'. Did you mean 'web'"),
        (["web"] * 3, ONE, "3 labels of corpus for 2 points"),
        ({"corpsu": "web"}, ONE, "no group column 'corpsu'. Did you mean 'corpus'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(group, levels, message):
    with pytest.raises(bs.FitError, match=message):
        settle_labels(group, levels, 2, "link")


def test_the_command_line_names_options():
    message = "this fit has no groups, but --group web was given: fit with --groups"
    with for_command_line(), pytest.raises(bs.FitError, match=message):
        settle_labels("web", {})


def test_every_problem_is_named_at_once():
    with pytest.raises(bs.FitError) as caught:
        settle_labels({"x": 1, "corpus": "y", "recipe": ["a", "c"]}, TWO, 3)
    assert len(caught.value.problems) == 4


def test_labels_may_be_columns_of_the_points():
    points = pd.DataFrame({"corpus": ["web", "books"], "N": 1.0})
    assert labels_in_points(points, ("corpus",), None) == {"corpus": ["web", "books"]}
    assert labels_in_points(points, ("recipe",), "a") == "a"
    with pytest.raises(bs.FitError, match=r"twice: in the points \(corpus\), and by group="):
        labels_in_points(points, ("corpus",), "web")
    with pytest.raises(bs.FitError, match="column 'corpus', the link a group column 'Corpus'"):
        labels_in_points(points, ("Corpus",), None, "link")


def test_one_run_with_several_labels_is_several_points():
    assert number_of_points(1, ["a", "b"], None) == 2
    assert number_of_points(1, {"corpus": ["a", "b", "c"], "recipe": "x"}) == 3
    assert number_of_points(1, "label") == number_of_points(1) == 1
    assert number_of_points(4, ["a", "b"]) == 4  # left for `settle_labels` to refuse


def test_a_group_may_be_called_new_but_not_as_a_group_without_runs(openlm):
    """``new`` is a label like others; ``(new)`` stands for a group that was not fitted."""
    names = {"c4": "new", "redpajama": "old", "refinedweb": "(new)"}
    table = openlm.table[["N", "D", "loss"]].assign(kind=openlm.table["dataset"].map(names))
    with pytest.raises(bs.FitError, match=r"'kind' has the label '\(new\)', which stands for"):
        design(bs.Runs.from_frame(table, groups="kind"), laws.get("chinchilla"), "kind")
    assert settle_labels("new", {"kind": ("new", "old")}) == {"kind": "new"}
    assert group_labels_in_words({"kind": "new"}) == " for the kind called 'new'"
    assert group_labels_in_words({"kind": NEW}) == " for a new kind"
    assert group_labels_in_words({"kind": "newswire"}) == " for newswire"
