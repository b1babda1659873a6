"""Names of columns: the quantity and the unit that they state, and names that only look alike."""

import numpy as np
import pandas as pd
import pytest

from bayescale import Runs, RunsError
from bayescale.data.names import recognise
from bayescale.data.numerals import parse

N = np.repeat([7e7, 1.6e8, 4.1e8, 1e9], 3)
D = np.tile([2e9, 8e9, 3e10], 4)
LOSS = np.round(1.7 + 400 * N**-0.34 + 420 * D**-0.29, 4)
FRAME = pd.DataFrame({"params": N, "tokens": D})


@pytest.mark.parametrize(
    ("name", "quantity", "factor"),
    [
        ("hyperparams.General.n_params", "N", 1),
        ("last_metrics.tokens.value", "D", 1),
        ("params (MM)", "N", 1e6),
        ("params (100M)", "N", 1e8),
        ("tokens (1,000,000)", "D", 1e6),
        ("tokens (in 1000s)", "D", 1e3),
        ("N (params, M)", "N", 1e6),
        ("Params (×10⁶)", "N", 1e6),
        ("FLOPs (×10^18)", "C", 1e18),
        ("#tok (B)", "D", 1e9),
        ("Data [B tokens]", "D", 1e9),
        ("Model size [M params]", "N", 1e6),
        ("network size", "N", 1),
        ("Training dataset size (datapoints)", "D", 1),
    ],
)
def test_names_of_counts(name, quantity, factor):
    found = recognise(name)
    assert (found.quantity, float(found.factor)) == (quantity, factor)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("D/N", "a ratio"),
        ("model size (GB)", "in bytes"),
        ("dataset size (GB)", "in bytes"),
        ("compute (USD)", "not in FLOP"),
        ("Compute (GPU-h)", "not in FLOP"),
        ("params (embedding)", "not a total"),
        ("D (steps)", "not a total"),
        ("d_k", "not a total"),
        ("excess loss", "not a mean loss"),
        ("Δ loss", "not a mean loss"),
        ("normalized loss", "not a mean loss"),
        ("loss ratio", "not a mean loss"),
        ("predicted loss", "not a mean loss"),
        ("loss_metrics/global_max_loss", "not a mean loss"),
        ("log10 loss", "a logarithm"),
        ("log(loss)", "a logarithm"),
        ("log10(L)", "a logarithm"),
    ],
)
def test_names_that_look_like_a_quantity(name, why):
    found = recognise(name)
    assert found.quantity is None
    assert found.refusal.startswith(why)


@pytest.mark.parametrize("words", ["with", "incl.", "w/", "without", "w/o", "no"])
def test_parameters_with_and_without_embeddings_are_parameters(words):
    assert recognise(f"N ({words} embeddings)").quantity == "N"


@pytest.mark.parametrize("name", ["bn", "mn", "nm", "dB", "n_heads"])
def test_short_names_are_no_quantity_with_a_unit(name):
    assert recognise(name).quantity is None


@pytest.mark.parametrize(
    ("name", "value", "unit"),
    [
        ("log_loss", LOSS, ""),
        ("log ppl", LOSS, "nats per token"),
        ("log-perplexity", LOSS, "nats per token"),
        ("log2 ppl", LOSS, "bits per token"),
        ("NLL per word", LOSS, "nats per word"),
        ("Test NLL (nats/byte)", LOSS, "nats per byte"),
        ("negative log likelihood", LOSS, "nats per token"),
        ("loss (bits)", LOSS, "bits"),
        ("word_perplexity", np.exp(LOSS), "nats per word"),
        ("byte_perplexity", np.exp(LOSS), "nats per byte"),
        ("wikitext.bits_per_byte,none", LOSS, "bits per byte"),
        ("val_loss_8_bit", LOSS, ""),
    ],
)
def test_units_of_losses(name, value, unit):
    runs = Runs.from_frame(FRAME.assign(**{name: value}))
    np.testing.assert_allclose(runs.table["loss"], LOSS)
    assert runs.loss_unit == unit


@pytest.mark.parametrize(
    ("chosen", "others"),
    [
        ("actual loss", ["predicted loss"]),
        ('loss context={"subset":"val"}', ['loss context={"subset":"train"}']),
        ("loss_metrics/global_avg_loss", ["loss_metrics/global_max_loss"]),
        ("params (non-embedding)", ["params (embedding)"]),
        ("tokens", ["dataset size"]),
    ],
)
def test_the_right_one_of_several_columns_is_read(chosen, others):
    frame = FRAME.assign(loss=LOSS)
    old = "loss" if "loss" in chosen else "params" if "params" in chosen else "tokens"
    frame = frame.rename(columns={old: chosen})
    for other in others:
        frame[other] = frame[chosen] / 3
    assert chosen in Runs.from_frame(frame).mapping.values()


def test_the_size_of_a_data_set_is_not_read_beside_compute():
    frame = pd.DataFrame({"params": N, "dataset size": D / 2, "flops": 6 * N * D, "loss": LOSS})
    np.testing.assert_allclose(Runs.from_frame(frame).table["D"], D)
    alone = Runs.from_frame(frame.drop(columns="flops"))
    np.testing.assert_allclose(alone.table["D"], D / 2)


@pytest.mark.parametrize(
    ("name", "expression"),
    [("log10 loss", "10**log10 loss"), ("ln loss", "exp(ln loss)")],
)
def test_a_logarithm_of_the_loss_is_undone_on_request(name, expression):
    log = np.log10 if "10" in name else np.log
    frame = FRAME.assign(**{name: log(LOSS)})
    with pytest.raises(RunsError, match="is its logarithm by its name") as refused:
        Runs.from_frame(frame)
    assert f"loss={expression!r}" in str(refused.value)
    np.testing.assert_allclose(Runs.from_frame(frame, loss=expression).table["loss"], LOSS)


def test_what_is_not_positive_may_be_transformed():
    frame = FRAME.assign(score=-LOSS, log10_bpb=np.log10(LOSS / 4))
    assert Runs.from_frame(frame, loss="-score").table["loss"].tolist() == LOSS.tolist()
    by_log = Runs.from_frame(frame, loss="10**log10_bpb").table["loss"]
    np.testing.assert_allclose(by_log, LOSS / 4)
    with pytest.raises(RunsError, match="'-params' is not positive and finite"):
        Runs.from_frame(frame, loss="-params")
    with pytest.raises(RunsError, match=r"'exp\(params\)' is not positive and finite"):
        Runs.from_frame(frame, loss="exp(params)")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("2^26", 2**26), ("2**30", 2**30), ("7×10^7", 7e7), ("4.1 × 10^8", 4.1e8), ("10⁷", 1e7),
        ("3x10^10", 3e10), ("1·10^9", 1e9), ("2×10⁻⁵", 2e-5), ("$7\\times 10^{7}$", 7e7),
        ("~70M", 7e7), ("≈2B", 2e9), ("2’000’000", 2e6), ("70MM", 7e7), ("10^9 params", 1e9),
    ],
)  # fmt: skip
def test_powers_and_other_ways_to_write_a_number(cell, value):
    assert parse(cell)[0] == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("cell", ["3*2^20", "8x7B", ">2B", "1/2 B", "2-3B", "3.9*", "∞", "7x107"])
def test_what_may_mean_something_else_is_no_number(cell):
    with pytest.raises(ValueError, match="is not a number"):
        parse(cell)
