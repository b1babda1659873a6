"""The table of published constants."""

import numpy as np
import pytest

import bayescale as bs


def test_the_table_is_complete_and_has_no_row_twice():
    table = bs.literature()
    assert len(table) >= 120
    assert table["paper"].nunique() >= 20
    assert np.isfinite(table["value"]).all()
    for column in ("paper", "domain", "architecture", "law", "parameter"):
        assert (table[column] != "").all(), column
    keys = ["paper", "domain", "architecture", "law", "parameter", "note"]
    assert not table.duplicated(keys).any()
    assert table["year"].between(2016, 2026).all()


@pytest.mark.parametrize("law", [*bs.laws.REGISTRY.values()], ids=lambda law: law.name)
def test_it_agrees_with_the_published_constants_of_the_laws(law):
    """Values of the same paper, law and parameter, as far as both are in original notation."""
    if law.name not in set(bs.literature()["law"]):
        pytest.skip("no row of the table is about this law")
    table = bs.literature(law=law.name)
    for point in law.published.values():
        paper = point.reference.split(":")[1][:10]
        same = table[table["paper"].str.contains(paper, regex=False)]
        for name in (
            "alpha",
            "beta",
            "R_D",
            "R_N",
            "eta",
            "gamma",
            "alpha_N",
            "alpha_D",
            "alpha_S",
        ):
            values = same.loc[same["parameter"] == name, "value"]
            if name in point.values and len(values):
                assert np.isclose(values, point.values[name], rtol=1e-3).any(), (law.name, name)


def test_rows_are_selected_by_domain_law_and_paper():
    assert set(bs.literature(domain="video")["domain"]) == {"video"}
    assert set(bs.literature(law="repeated_data")["parameter"]) == {"R_D", "R_N"}
    assert set(bs.literature(paper="henighan", law="allocation")["year"]) == {2020}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"domain": "langauge"}, "Did you mean 'language'"),
        ({"law": "chinchila"}, "Did you mean 'chinchilla'"),
        ({"paper": "Nobody"}, "no paper 'Nobody'"),
    ],
)
def test_an_unknown_selection_lists_what_there_is(options, message):
    with pytest.raises(bs.RunsError, match=message):
        bs.literature(**options)
