"""A given seed is used, and a fresh one is drawn otherwise."""

import pytest

import bayescale as bs
from bayescale.seeds import settle_seed


def test_a_given_seed_is_used():
    assert settle_seed(0) == 0
    assert settle_seed(2**31 - 1) == 2**31 - 1


def test_fresh_seeds_differ_and_can_be_given_again():
    seeds = {settle_seed(None) for _ in range(20)}
    assert len(seeds) == 20
    assert all(type(s) is int and 0 <= s < 2**31 for s in seeds)


@pytest.mark.parametrize("seed", [-1, 1.5, "1", True, 2**32])
def test_an_invalid_seed_is_an_error(seed):
    with pytest.raises(bs.FitError, match=r"random_seed is .*: give a whole number from 0"):
        settle_seed(seed)
