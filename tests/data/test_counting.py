"""Counts of parameters and FLOP, against hand counts and published exponents."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale import RunsError
from bayescale.data.counting import FLOPS, PARAMETERS, local_exponent, total_of

SMALL = dict(width=64, depth=2, vocab=1000, context=128)


def by_hand(width=64, depth=2, vocab=1000, context=128):
    """Weights of q, k, v, o and of two feed-forward matrices; embedding and head."""
    layer = 4 * width * width + 2 * width * 4 * width
    return depth * layer, vocab * width, depth * context * width


def test_parameters_are_those_of_the_matrices():
    layers, head, attention = by_hand()
    counted = bs.count(**SMALL)
    assert [int(counted.parameters(p)) for p in PARAMETERS] == [
        layers,
        layers + head,
        layers + 2 * head,
    ]
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
    with pytest.raises(RunsError, match="there is no convention for counting FLOP 'palm'"):
        bs.count(**SMALL).flop_per_token("palm")
    with pytest.raises(RunsError, match="there is no convention for counting parameters 'all'"):
        bs.count(**SMALL).parameters("all")


# -- one table, two conventions ------------------------------------------------------------------


@pytest.fixture
def models():
    frame = pd.DataFrame(
        {
            "width": [64, 128, 256, 512],
            "depth": [2, 4, 6, 8],
            "tokens": [1e9, 2e9, 4e9, 8e9],
            "loss": [5.0, 4.5, 4.0, 3.5],
        }
    )
    frame["params"] = bs.count(frame.width, frame.depth, 50_000).total
    return bs.Runs.from_frame(frame)


def test_a_restated_table_has_a_note(models):
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


def test_recounting_twice_restores_the_counts(models):
    back = models.recount("non_embedding", vocab=50_000).recount("total", vocab=50_000)
    np.testing.assert_allclose(back.table["N"], models.table["N"])
    np.testing.assert_allclose(back.table["C"], models.table["C"])


def test_every_problem_of_a_recount_is_named(models):
    with pytest.raises(RunsError) as caught:
        models.recount("nonsense", "palm", width="breadth", heads=4)
    expected = (
        "'nonsense'",
        "'palm'",
        "there is no size 'heads'",
        "width: there is no column 'breadth'",
        "vocab is needed",
    )
    assert len(caught.value.problems) == len(expected)
    for problem, part in zip(caught.value.problems, expected, strict=True):
        assert part in problem


def test_a_count_without_embeddings_needs_no_vocabulary(models):
    counted = bs.count(models.table["width"], models.table["depth"], 1)
    np.testing.assert_allclose(models.recount("non_embedding").table["N"], counted.non_embedding)


def test_tied_embeddings_and_other_blocks_can_be_given(models):
    tied = models.recount("total", vocab=50_000, tied=True, feed_forward=100)
    by_hand = bs.count(
        models.table["width"], models.table["depth"], 50_000, tied=True, feed_forward=100
    )
    np.testing.assert_allclose(tied.table["N"], by_hand.total)


def test_runs_without_tokens_cannot_be_restated():
    frame = pd.DataFrame({"N": [1e6, 2e6, 3e6], "loss": [3.0, 2.9, 2.8], "other": [1e5, 2e5, 3e5]})
    with pytest.raises(RunsError, match=r"no column D \(tokens\)"):
        bs.Runs.from_frame(frame).recount("other")


def test_budgets_that_are_no_longer_in_proportion_are_named(models):
    note = models.recount("non_embedding", "full", vocab=50_000).notes[-1]
    assert note.startswith("C / (N D) varies from 16.")
    assert "restated" in models.recount("non_embedding").notes[-1]  # no caution there


def test_a_column_that_is_no_count_is_refused(models):
    broken = bs.Runs.from_frame(models.table.assign(other=[1e6, -1, 3e6, np.nan]))
    with pytest.raises(RunsError, match=r"'other' is not a positive count in 2 rows"):
        broken.recount("other")


# -- Pearce and Song -----------------------------------------------------------------------------

ALPHA, BETA = 0.3478, 0.3658  # Besiroglu et al. 2024


def test_the_smallest_models_look_like_kaplan_and_the_largest_like_hoffmann():
    assert local_exponent(ALPHA, BETA, 1e-3) == pytest.approx(BETA / (ALPHA / 3 + BETA), abs=1e-3)
    assert local_exponent(ALPHA, BETA, 1e15) == pytest.approx(BETA / (ALPHA + BETA), abs=1e-3)


@pytest.mark.parametrize("where", [1e4, 1e6, 1e8])
def test_the_local_exponent_is_that_of_the_best_size_at_a_budget(where):
    """Found by search: sizes and budgets without embeddings, loss of the total."""
    A, B = 482.0, 2085.0

    def best(log_C):
        log_N = np.linspace(-1, 1, 200_001) + np.log(where)
        N = np.exp(log_N)
        loss = A * total_of(N) ** -ALPHA + B * (np.exp(log_C) / (6 * N)) ** -BETA
        return log_N[loss.argmin()]

    embedding = total_of(where) - where
    s = (where + embedding / 3) / (where + embedding)
    D = (BETA * B / (ALPHA * A * total_of(where) ** -ALPHA * s)) ** (1 / BETA)
    log_C = np.log(6 * where * D)
    assert best(log_C) == pytest.approx(np.log(where), abs=1e-3)
    slope = (best(log_C + 0.05) - best(log_C - 0.05)) / 0.1
    assert local_exponent(ALPHA, BETA, where) == pytest.approx(slope, rel=0.01)


def test_over_the_sizes_of_kaplan_the_exponent_is_near_the_published_one():
    """Published: 0.74 to 0.78, by the constants (Pearce & Song 2024)."""
    N = np.geomspace(768, 1.5e9, 400)
    for alpha, beta in ((ALPHA, BETA), (0.3392, 0.2849)):
        log_C = np.cumsum(np.gradient(np.log(N)) / local_exponent(alpha, beta, N))
        assert 0.72 < np.polyfit(log_C, np.log(N), 1)[0] < 0.80
