"""Columns that are proposed: each expression in a message gives the right values."""

import re

import numpy as np
import pandas as pd
import pytest

from bayescale import Runs, RunsError

N = np.repeat([7e7, 1.6e8, 4.1e8, 1e9], 3)
D = np.tile([2e9, 8e9, 3e10], 4)
C = 6 * N * D
LOSS = np.round(1.7 + 400 * N**-0.34 + 420 * D**-0.29, 4)


@pytest.mark.filterwarnings("ignore:.*repeat their data")
@pytest.mark.parametrize(
    ("columns", "expression"),
    [
        ({"steps": D / 512e3, "tokens per step (k)": 512}, "D='steps*tokens per step (k)*1e3'"),
        ({"steps": D / 5e5, "batch size (M tokens)": 0.5}, "D='steps*batch size (M tokens)*1e6'"),
        ({"steps": D / 5e5, "batch size (tokens)": "0.5M"}, "D='steps*batch size (tokens)'"),
        ({"steps (k)": D / 5e8, "batch_tokens": "0.5M"}, "D='steps (k)*batch_tokens*1e3'"),
        (
            {"training iterations": D / 2**19, "global batch size": 256, "sequence length": 2048},
            "D='training iterations*global batch size*sequence length'",
        ),
        ({"samples": D / 2048, "seq_len": 2048}, "D='samples*seq_len'"),
        ({"dataset tokens": D / 2, "epochs": 2}, "D='dataset tokens*epochs'"),
        ({"tokens per param": D / N}, "D='tokens per param*params'"),
        ({"D/N": D / N}, "D='D/N*params'"),
        ({"log10 D": np.log10(D)}, "D='10**log10 D'"),
        ({"ln(tokens)": np.log(D)}, "D='exp(ln(tokens))'"),
        ({"log10 FLOPs": np.log10(C)}, "C='10**log10 FLOPs'"),
        ({"log(C)": np.log(C)}, "C='exp(log(C))'"),
        ({"budget": C}, "C='budget'"),
    ],
)
def test_tokens_or_compute_are_proposed(columns, expression):
    frame = pd.DataFrame({"params": N, **columns, "loss": LOSS})
    with pytest.raises(RunsError) as refused:
        Runs.from_frame(frame)
    assert f"pass {expression}" in str(refused.value)
    quantity, text = re.fullmatch("(.)='(.*)'", expression).groups()
    runs = Runs.from_frame(frame, **{quantity: text})
    np.testing.assert_allclose(runs.table["D"], D)
    np.testing.assert_allclose(runs.table["N"], N)


def test_the_unit_of_N_is_part_of_a_product():
    frame = pd.DataFrame({"params (M)": N / 1e6, "tpp": D / N, "loss": LOSS})
    with pytest.raises(RunsError, match=re.escape("D='tpp*params (M)*1e6'")):
        Runs.from_frame(frame)
    np.testing.assert_allclose(Runs.from_frame(frame, D="tpp*params (M)*1e6").table["D"], D)


@pytest.mark.parametrize(
    ("columns", "expression"),
    [
        (
            {"d_model": np.repeat([512, 768, 1024, 2048], 3), "n_layers": 12},
            "N='12*d_model*d_model*n_layers'",
        ),
        ({"log10_N": np.log10(N)}, "N='10**log10_N'"),
        ({"log2(N)": np.log2(N)}, "N='exp(log2(N)*0.6931472)'"),
        ({"Size (B)": N / 1e9}, "N='Size (B)*1e9'"),
    ],
)
def test_parameters_are_proposed(columns, expression):
    frame = pd.DataFrame({"tokens": D, **columns, "loss": LOSS})
    with pytest.raises(RunsError) as refused:
        Runs.from_frame(frame)
    assert f"pass {expression}" in str(refused.value)
    quantity, text = re.fullmatch("(.)='(.*)'", expression).groups()
    own = 12 * 12 * frame["d_model"] ** 2 if "d_model" in frame else N
    np.testing.assert_allclose(Runs.from_frame(frame, **{quantity: text}).table["N"], own, 1e-5)


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
@pytest.mark.parametrize("columns", [{"timestamp": 1e18 + C}, {"epochs": 1, "dataset tokens": D}])
def test_what_needs_no_product_is_not_refused(columns):
    runs = Runs.from_frame(pd.DataFrame({"params": N, **columns, "loss": LOSS}))
    assert "C" not in runs.mapping


def test_an_accelerators_rate_is_not_read_as_compute():
    frame = pd.DataFrame({"tflops": np.linspace(300, 320, 12), "loss": LOSS})
    with pytest.raises(RunsError, match=r"may be a rate .* pass C='tflops\*1e12'"):
        Runs.from_frame(frame)
    large = Runs.from_frame(pd.DataFrame({"tflops": C / 1e12, "loss": LOSS}))
    np.testing.assert_allclose(large.table["C"], C)


def test_a_column_of_text_is_not_proposed():
    frame = pd.DataFrame({"model": list("abc"), "corpus": list("def"), "loss": [4, 3.5, 3.0]})
    with pytest.raises(RunsError, match="Name it: N='COLUMN'"):
        Runs.from_frame(frame)


def test_where_one_count_is_known_numbers_are_no_groups():
    frame = pd.DataFrame({"params": N, "GPU hours": D / 1e7, "loss": LOSS})
    with pytest.warns(match="they may differ in tokens, whose column D='...' names"):
        runs = Runs.from_frame(frame)
    assert not any("groups='GPU hours'" in note for note in runs.notes)
    with pytest.warns(match="groups='corpus'"):
        Runs.from_frame(frame.drop(columns="GPU hours").assign(corpus=["a", "b", "c"] * 4))
