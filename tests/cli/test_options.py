"""How the text of options is read."""

from __future__ import annotations

import pytest

from bayescale.cli import options
from bayescale.errors import BayescaleError
from bayescale.keywords import in_options


def test_lists_are_split_and_stripped():
    assert options.names("a, b") == ("a", "b")
    assert options.names(None) is options.names("") is None


def test_counts_have_suffixes():
    assert options.counts("7B, 1.4T,1e22", "--N") == [7e9, 1.4e12, 1e22]
    assert options.counts(None, "--N") == []


def test_a_number_may_be_a_column():
    assert options.number("0.25") == 0.25
    assert options.number("chance") == "chance"


def test_pairs_are_given_once():
    assert options.pairs("N = size,loss=val", "--columns") == {"N": "size", "loss": "val"}
    with pytest.raises(BayescaleError, match="--pool: E is given more than once"):
        options.pairs("E=none,E=complete", "--pool")


def test_keywords_in_messages_become_options():
    options_of_allocate = {"--flops", "--serve", "--serve-price", "--target-loss"}
    for message, expected in {
        "serve_price= needs serve=: give it": "--serve-price needs --serve: give it",
        "give C=, or loss=": "give --flops, or --target-loss",
        "leave out probability=": "leave out probability=",  # no option of this command
        "write name=value or serve=1": "write name=value or serve=1",
        "E >= 0": "E >= 0",
    }.items():
        assert in_options(message, options_of_allocate) == expected


def test_a_group_is_a_label_or_a_label_per_column():
    assert options.group_label("c4", ["dataset"]) == "c4"
    assert options.group_label("a=x,b=y", ["a", "b"]) == {"a": "x", "b": "y"}
    assert options.group_label(None, ["a", "b"]) is None


def test_a_comma_within_dollars_separates_thousands():
    assert options.budgets("$5,000,1e22, $12,000,000", "--flops", None)[0] == [
        "$5,000",
        1e22,
        "$12,000,000",
    ]
    assert options.budgets("$5,$700", "--flops", None)[0] == ["$5", "$700"]
