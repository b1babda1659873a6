"""Counts as people write them."""

import numpy as np
import pytest

from bayescale import LawError
from bayescale.units import as_counts, flop, format_count, format_flop, grid, parse_count


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("70B", 70e9),
        ("70b", 70e9),
        ("70G", 70e9),
        ("1.4T", 1.4e12),
        ("410M", 410e6),
        ("8.2B", 8.2e9),
        ("1.1e3k", 1.1e6),
        ("12k", 12e3),
        ("1e24", 1e24),
        ("1E+24", 1e24),
        ("5.76e23", 5.76e23),
        (".5B", 5e8),
        ("7.B", 7e9),
        ("+3", 3.0),
        ("-3", -3.0),
        ("1,400,000", 1.4e6),
        ("1,400B", 1.4e12),
        ("-1,400.5", -1400.5),
        ("1.1e-3B", 1.1e6),
        ("1_000_000", 1e6),
        ("  70 B ", 70e9),
        ("0", 0.0),
        (70, 70.0),
        (1.5, 1.5),
        (np.int64(3), 3.0),
        (np.float32(0.5), 0.5),
    ],
)
def test_counts_with_suffixes_are_numbers(text, value):
    count = parse_count(text)
    assert type(count) is float
    assert count == value


@pytest.mark.parametrize(
    "text",
    ["", "many", "70X", "70BB", "B", "1.2.3", "1,40", "1,4000", "12,34,567", "0.1,400", "1e1,400",
     "1400,000", ",400", "1,400,", "1e", "0x10", "3 4",
     "70 B params", "inf", "nan", True, np.True_, None, [1.0]],
)  # fmt: skip
def test_an_invalid_count_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="is not a count: write 70B"):
        parse_count(text)


def test_a_count_beyond_floating_point_is_infinite():
    assert parse_count("1e400") == np.inf


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        ("70B", [70e9]),
        (7e9, [7e9]),
        (0.5, [0.5]),
        (["70B", 1e9], [70e9, 1e9]),
        (np.array([1e20, 1e22]), [1e20, 1e22]),
    ],
)
def test_one_or_more_counts_are_a_vector(value, counts):
    read = as_counts(value, "N")
    assert read.dtype == float
    assert read.tolist() == counts


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("many", "C: 'many' is not a count"),
        ([1e20, None], "C: None is not a count"),
        (0, "C must be positive and finite, got 0"),
        ([1e20, -1], r"C must be positive and finite, got \[1e\+20, -1\]"),
        ("1e400", "C must be positive and finite, got '1e400'"),
        ([], r"C must be positive and finite, got \[\]"),
    ],
)
def test_counts_that_cannot_be_used_are_refused_by_name(value, message):
    with pytest.raises(LawError, match=message):
        as_counts(value, "C")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (7.2e10, "72B"),
        (1.4e12, "1.4T"),
        (1.4e15, "1400T"),
        (1.4e16, "1.4e+16"),
        (123_456_789, "123M"),
        (999_999, "1M"),
        (999.9e9, "1T"),
        (1000, "1K"),
        (999, "999"),
        (0, "0"),
        (0.25, "0.25"),
        (-2.5e9, "-2.5B"),
        (np.inf, "inf"),
        (np.nan, "nan"),
    ],
)
def test_a_count_is_written_with_a_suffix(value, text):
    assert format_count(value) == text


def test_a_count_is_written_with_as_many_digits_as_asked():
    assert [format_count(1.23456e9, digits=d) for d in (1, 2, 3, 5)] == [
        "1B", "1.2B", "1.23B", "1.2346B",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [1e3, 4.1e8, 7e10, 1.4e12, 2.5e15, 3e20])
def test_a_written_count_reads_back(value):
    assert parse_count(format_count(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.76e23, "5.76e23"),
        (1e18, "1e18"),
        (9.999e20, "1e21"),
        (123.0, "1.23e2"),
        (0.005, "5e-3"),
        (0, "0e0"),
        (np.inf, "inf"),
        (np.nan, "nan"),
    ],
)
def test_flop_is_written_in_scientific_notation(value, text):
    assert format_flop(value) == text


def test_flop_is_written_with_as_many_digits_as_asked():
    assert format_flop(5.764e23, digits=4) == "5.764e23"


def test_training_compute_is_six_times_parameters_times_tokens():
    assert flop(70e9, 1.4e12) == 5.88e23
    assert flop("70B", "1.4T") == 5.88e23
    assert flop(np.array([1.0, 2.0]), 3.0).tolist() == [18.0, 36.0]


def test_a_grid_is_even_in_the_logarithm_and_holds_both_ends():
    values = grid("1B", 1e12, 4)
    np.testing.assert_allclose(values, [1e9, 1e10, 1e11, 1e12], rtol=1e-14)
    assert (values[0], values[-1]) == (1e9, 1e12)
    assert len(grid(1, 2)) == 50
