"""Counts of parameters and FLOP, against hand counts and published exponents."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale import RunsError
from bayescale.counting import FLOPS, PARAMETERS, local_exponent, total_of

SMALL = dict(width=64, depth=2, vocab=1000, context=128)


def by_hand(width=64, depth=2, vocab=1000, context=128):
    """Weights of q, k, v, o and of two feed-forward matrices; embedding and head."""
    layer = 4 * width * width + 2 * width * 4 * width
    return depth * layer, vocab * width, depth * context * width


def test_parameters_are_those_of_the_matrices():
    layers, head, attention = by_hand()
    counted = bs.count(**SMALL)
    assert [int(counted.parameters(p)) for p in PARAMETERS] == [
        layers, layers + head, layers + 2 * head]
    assert int(bs.count(**SMALL, tied=True).total) == layers + head
    assert int(counted.attention) == attention


def test_flop_per_token_is_three_times_the_forward_pass():
    layers, head, attention = by_hand()
    counted = bs.count(**SMALL)
    # Forward: two per weight; scores and sums over the context take four per layer and width.
    assert counted.flop_per_token("full") == 3 * (2 * (layers + head) + 4 * attention)
    assert counted.flop_per_token("deepseek") == 3 * (2 * layers + 4 * attention)
    assert counted.flop_per_token("kaplan") == 3 * (2 * layers + 2 * attention)
    assert counted.flop_per_token("6N", "non_embedding") == 6 * layers
    assert FLOPS == ("6N", "kaplan", "deepseek", "full")


def test_many_models_are_counted_at_once():
    counted = bs.count(width=[64, 128], depth=2, vocab=1000)
    assert counted.total.shape == (2,)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(RunsError) as caught:
        bs.count(width=0, depth=-1, vocab=10)
    assert len(caught.value.problems) == 2
    with pytest.raises(RunsError, match="there is no way to count FLOP 'palm'"):
        bs.count(**SMALL).flop_per_token("palm")
    with pytest.raises(RunsError, match="there is no way to count parameters 'all'"):
        bs.count(**SMALL).parameters("all")


# -- one table, two conventions ------------------------------------------------------------------


@pytest.fixture
def models():
    frame = pd.DataFrame({"width": [64, 128, 256, 512], "depth": [2, 4, 6, 8],
                          "tokens": [1e9, 2e9, 4e9, 8e9], "loss": [5.0, 4.5, 4.0, 3.5]})
    frame["params"] = bs.count(frame.width, frame.depth, 50_000).total
    return bs.Runs.from_frame(frame)


def test_a_table_is_restated_and_says_so(models):
    other = models.recount("non_embedding", vocab=50_000)
    counted = bs.count(models.table["width"], models.table["depth"], 50_000)
    np.testing.assert_allclose(other.table["N"], counted.non_embedding)
    np.testing.assert_allclose(other.table["C"], 6 * counted.non_embedding * other.table["D"])
    np.testing.assert_array_equal(other.table["D"], models.table["D"])
    assert other.convention == "N is counted without embeddings, C = 6ND"
    assert other.notes[-1].startswith("restated: ")
    assert models.convention in other.notes[-1]
    assert other.flop_factor == 6
    assert models.table["N"].iloc[0] == counted.total[0]  # the old table is as it was


def test_flop_in_full_are_those_of_the_sizes(models):
    full = models.recount("with_head", "full", vocab=50_000, context=1024)
    counted = bs.count(models.table["width"], models.table["depth"], 50_000, context=1024)
    np.testing.assert_allclose(full.table["C"], counted.flop_per_token("full") * full.table["D"])
    assert full.flop_factor > 6  # attention is not in 6N
    assert bs.Runs.from_json(full.to_json()).convention == full.convention


def test_there_and_back_is_where_it_was(models):
    back = models.recount("non_embedding", vocab=50_000).recount("total", vocab=50_000)
    np.testing.assert_allclose(back.table["N"], models.table["N"])
    np.testing.assert_allclose(back.table["C"], models.table["C"])


def test_every_problem_of_a_recount_is_named(models):
    with pytest.raises(RunsError) as caught:
        models.recount("nonsense", "palm", width="breadth")
    expected = ("'nonsense'", "'palm'", "width: there is no column 'breadth'", "vocab is needed")
    assert len(caught.value.problems) == len(expected)
    for problem, part in zip(caught.value.problems, expected, strict=True):
        assert part in problem


def test_a_column_that_is_no_count_is_refused(models):
    broken = bs.Runs.from_frame(models.table.assign(other=[1e6, -1, 3e6, np.nan]))
    with pytest.raises(RunsError, match=r"'other' is not a positive count in 2 row\(s\)"):
        broken.recount("other")


# -- Pearce and Song -----------------------------------------------------------------------------


def test_small_models_counted_without_embeddings_look_like_kaplan():
    # Embeddings are then all there is: the total grows as N^(1/3), and a' = 1 / (1/3a + 2/3).
    assert local_exponent(0.5, 1e-3) == pytest.approx(0.75, abs=1e-3)
    assert local_exponent(0.5, 1e15) == pytest.approx(0.5, abs=1e-3)


def test_the_local_exponent_is_the_slope_of_the_restated_optimum():
    a, k = 0.51, 0.1
    N = np.geomspace(1e5, 1e9, 4001)
    C = (total_of(N) / k) ** (1 / a) * N / total_of(N)
    slope = np.gradient(np.log(N), np.log(C))
    np.testing.assert_allclose(slope[1:-1], local_exponent(a, N)[1:-1], rtol=1e-5)
