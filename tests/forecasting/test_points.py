"""Points of a forecast: from a table or keywords, with the third of N, D and C."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.forecasting.points import check_flop, complete_counts, read_points

COLUMNS = ("N", "D", "C")
TABLE = pd.DataFrame({"N": [1e9, 2e9], "corpus": ["web", "books"], "remark": "unused"})


def test_a_table_gives_its_columns_and_groups():
    given, group = read_points(TABLE, {"D": None}, COLUMNS, ("corpus",), None)
    assert given == {"N": [1e9, 2e9]}
    assert group == {"corpus": ["web", "books"]}


def test_keywords_keep_what_was_given():
    assert read_points(None, {"N": "1B", "D": None}, COLUMNS, (), "web") == ({"N": "1B"}, "web")


@pytest.mark.parametrize(
    ("points", "keywords", "message"),
    [
        (TABLE, {"N": 1e9}, "N= was given with a DataFrame of points"),
        (TABLE.iloc[:0], {}, "the DataFrame of points has no rows"),
        ([1e9], {}, "points must be a DataFrame, got list; or give columns by keyword: N=, D=, C="),
        (None, {"epochs": 2}, r"no column 'epochs'. There are: N, D, C\."),
    ],
)
def test_unclear_points_are_refused(points, keywords, message):
    with pytest.raises(bs.FitError, match=message):
        read_points(points, keywords, COLUMNS, (), None)


@pytest.mark.parametrize("missing", "NDC")
def test_two_counts_give_the_third(missing):
    whole = {"N": 2e9, "D": 3e10, "C": 7 * 2e9 * 3e10}
    found = complete_counts({c: v for c, v in whole.items() if c != missing}, 7.0)
    assert found[missing].tolist() == pytest.approx([whole[missing]], rel=1e-12)


def test_columns_get_one_length_or_are_refused():
    found = complete_counts({"C": [1e20, 1e21], "epochs": 4}, 6.0)
    assert set(found) == {"C", "epochs"}
    assert found["epochs"].tolist() == [4.0, 4.0]
    with pytest.raises(bs.FitError, match=r"differ in length \(N: 2, D: 3\)"):
        complete_counts({"N": [1, 2], "D": [1, 2, 3]}, 6.0)


@pytest.mark.parametrize(("factor", "refused"), [(1.9, False), (2.1, True), (0.4, True)])
def test_compute_may_differ_from_its_product_by_a_factor_of_two(factor, refused):
    columns = {"N": np.array([1e9]), "D": np.array([1e10]), "C": np.array([6e19 * factor])}
    if refused:
        with pytest.raises(bs.FitError, match="differs by more than a factor of 2 from"):
            check_flop(columns, 6.0)
    else:
        check_flop(columns, 6.0)
