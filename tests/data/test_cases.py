"""Tables as people have them: each is read with the right values, or refused with a remedy."""

import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale import Runs, RunsError

CASES = Path(__file__).parent / "cases"


def read(name, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Runs.read(CASES / name, **keywords)


#: First values of N, D, C and the loss, and the unit of the loss.
RIGHT = {
    "curves_one_length.csv": (53.3e6, 104.4e6, None, 4.6103, ""),
    "experts_sweep.csv": (11439010, 10792610576, 1e18, 3.115, ""),
    "format_L_layers.csv": (7e7, 7e8, None, 1.235, "bits per byte"),
    "format_comment.csv": (7e7, 7e8, None, 3.7038, ""),
    "format_flop_per_s.csv": (7e7, None, None, 3.704, ""),
    "format_german.csv": (7e7, 7e8, None, 3.704, ""),
    "format_markdown.md": (7e7, 7e8, None, 3.704, ""),
    "format_pipe.csv": (7e7, 7e8, None, 3.7038, ""),
    "format_quoted_units.csv": (1.3e9, 26e9, None, 3.0, ""),
    "format_title_line.csv": (7e7, 7e8, None, 3.7038, ""),
    "format_tokens_per_sec.csv": (7e7, None, None, 3.704, ""),
    "format_units_in_header.csv": (7e7, 7e8, None, 3.704, ""),
    "format_utf16.csv": (7e7, 7e8, None, 3.7038, ""),
    "format_wandb_config.csv": (7e7, 7e8, None, 3.7038, ""),
    "gflops_throughput.csv": (190e6, 380e6, 4.332e17, 3.707832196042136, "nats per token"),
    "log.jsonl": (None, 65536000, None, 4.4726, ""),
    "perplexity.csv": (7e7, 7e8, None, np.log(40.831), "nats per token"),
    "repeated_epochs.csv": (44e6, 1e8, None, 4.693, ""),
    "resumed_series.csv": (160e6, 104.8e6, None, 4.4221, ""),
    "several_eval_sets.csv": (7e7, 7e8, None, 3.835, ""),
    "small_losses.csv": (1e6, 1e6, None, 0.023686354940520363, ""),
    "small_losses_mini.csv": (1e6, 1e6, None, 0.024, ""),
    "tasks_long.csv": (7e7, 6e10, None, 2.9044, ""),
    "tasks_wide_percent.csv": (7e7, 6e10, None, 2.9044, ""),
    "tied_checkpoints.csv": (None, 1e8, None, 4.1, ""),
    "trainer_state.json": (None, 104.8e6, None, 4.4221, ""),
    "unicode.csv": (53e6, 265e6, None, 4.1644, ""),
}
#: What the refusal must say.
REFUSED = {
    "curves_wide.csv": "if D = steps x batch_size x seq_len, pass D='step\\*512\\*2048'",
    "format_acc_pct.csv": "percentages, not losses.*loss='1-loss'",
    "format_avg_label.csv": "line 17.*'average': remove the row if it is a summary",
    "format_compute_zflop.csv": "GFLOP \\(C='compute\\*1e9'\\) or TFLOP \\(C='compute\\*1e12'\\)",
    "format_decimalcomma_3digits_billions.csv": "billions \\(D='tokens\\*1e9'\\)",
    "format_nan_runs.csv": "3 values are missing \\(lines 2, 7, 12\\).*drop_missing=True",
    "format_nll_total.csv": "looks like a sum over tokens",
    "format_params_in_thousands.csv": "thousands \\(N='params\\*1e3'\\)",
    "format_tokens_in_millions.csv": "millions \\(D='tokens\\*1e6'\\)",
    "format_steps_bs.csv": "D='steps\\*batch_size\\*seq_len'",
    "format_tensorboard.csv": "if D = steps x batch_size x seq_len, pass D='Step\\*512\\*2048'",
    "format_wandb_runs.csv": "by column 'State' \\(1 .*\\) \\(line 5\\): .* drop_failed=True$",
    "format_x.xlsx": "not an Excel workbook",
    "gflops_per_forward.csv": "loss='FID'",
}


def test_every_case_is_tested():
    assert {p.name for p in CASES.iterdir()} == {*RIGHT, *REFUSED}


@pytest.mark.parametrize("name", RIGHT)
def test_a_case_is_read_with_the_right_values(name):
    *counts, loss, unit = RIGHT[name]
    runs = read(name)
    for quantity, value in zip("NDC", counts, strict=True):
        if value is not None:
            assert runs.table[quantity].iloc[0] == pytest.approx(value, rel=1e-12)
    assert (counts[1] is None and "D" not in runs) or "D" in runs
    assert runs.table["loss"].iloc[0] == pytest.approx(loss, rel=1e-12)
    assert runs.loss_unit == unit


@pytest.mark.parametrize("name", REFUSED)
def test_a_case_is_refused_with_a_remedy(name):
    with pytest.raises(RunsError, match=f"(?s){REFUSED[name]}"):
        read(name)


@pytest.mark.parametrize(
    ("name", "keywords", "first"),
    [
        ("curves_wide.csv", dict(D="step*1e8"), (None, 1e8, 4.6103)),
        ("format_tensorboard.csv", dict(D="Step*1e6", drop_missing=True), None),
        ("format_acc_pct.csv", dict(loss="1-loss"), (7e7, 7e8, 0.696)),
        ("format_compute_zflop.csv", dict(C="compute*1e9"), (7e7, 3.5e10, 2.928)),
        ("format_params_in_thousands.csv", dict(N="params*1e3"), (7e7, 3.5e10, 2.928)),
        ("format_tokens_in_millions.csv", dict(D="tokens*1e6"), (7e7, 3.5e10, 2.928)),
        ("format_decimalcomma_3digits_billions.csv", dict(D="tokens*1e9"), (7e7, 7e8, 3.7038)),
        ("format_steps_bs.csv", dict(D="steps*batch_size*seq_len"), (7e7, 699400192, 3.704)),
        ("format_nll_total.csv", dict(loss="nll/1e6"), (7e7, 7e8, 3.703780069)),
        ("format_nan_runs.csv", dict(drop_missing=True), (7e7, 1.4e9, 3.495582384957643)),
        ("format_wandb_runs.csv", dict(drop_missing=True), (7e7, 7e8, 3.7038)),
        ("gflops_per_forward.csv", dict(loss="FID"), (33e6, None, 137.66)),
    ],
)
def test_the_remedy_leads_to_the_right_values(name, keywords, first):
    if first is None:  # the first step is 0, which is no count of tokens
        with pytest.raises(RunsError, match="not positive"):
            read(name, **keywords)
        return
    table = read(name, **keywords).table
    for quantity, value in zip(("N", "D", "loss"), first, strict=True):
        if value is None:
            assert quantity not in table
        else:
            assert table[quantity].iloc[0] == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "keywords", "note"),
    [
        ("experts_sweep.csv", {}, "N is 'active_params'"),
        ("experts_sweep.csv", {}, "(2 crashed) (lines 24, 25)"),
        ("experts_sweep.csv", {}, "far above those of similar runs (lines 24, 25), up to +22"),
        ("several_eval_sets.csv", {}, "each (N, D, C) has up to 3 rows"),
        ("several_eval_sets.csv", {}, "is 'eval_set' a group?"),
        ("repeated_epochs.csv", {}, "repeat their data, by 'unique_tokens'"),
        ("format_flop_per_s.csv", {}, "'FLOP/s' is a rate"),
        ("gflops_per_forward.csv", dict(loss="FID"), "'Gflops' is too small to be training"),
        ("gflops_throughput.csv", {}, "rows with one 'run' are read as checkpoints of one run"),
        ("format_nan_runs.csv", dict(drop_missing=True), "left out 3 rows with missing values"),
        ("trainer_state.json", {}, "the training loss 'loss' is read"),
    ],
)
def test_what_is_doubtful_is_noted(name, keywords, note):
    assert any(note in n for n in read(name, **keywords).notes)


# -- variations -----------------------------------------------------------------------------------

N, D = np.array([7e7, 1.6e8, 4.1e8, 1e9]), np.array([2e9, 4e9, 9e9, 21e9])
LOSS = np.array([4.1037, 3.7125, 3.3011, 3.0219])
UNITS_OF_COUNTS = ["k", "M", "B", "bn", "G", "T", "millions", "1e6", "1e9", "Mrd.", "Mio"]
FACTORS = dict(k=1e3, M=1e6, B=1e9, bn=1e9, G=1e9, T=1e12, millions=1e6) | {
    "1e6": 1e6, "1e9": 1e9, "Mrd.": 1e9, "Mio": 1e6}  # fmt: skip
FLOP = {"GFLOP": 1e9, "TFLOPs": 1e12, "PFLOP": 1e15, "EFLOPs": 1e18, "ZFLOP": 1e21,
        "PF-days": 8.64e19, "1e18": 1e18, "petaflop/s-days": 8.64e19}  # fmt: skip


@pytest.mark.parametrize("unit", UNITS_OF_COUNTS)
@pytest.mark.parametrize("name", ["params ({})", "n_params_{}", "Parameters [{}]", "params, {}"])
def test_units_of_parameters_in_names(name, unit):
    frame = pd.DataFrame({name.format(unit): N / FACTORS[unit], "tokens": D, "loss": LOSS})
    runs = Runs.from_frame(frame)
    np.testing.assert_allclose(runs.table["N"], N)
    assert unit.strip(".").lower() in runs.how_read.lower()


@pytest.mark.parametrize("unit", FLOP)
@pytest.mark.parametrize("name", ["compute ({})", "train_compute_{}", "flops [{}]"])
def test_units_of_compute_in_names(name, unit):
    frame = pd.DataFrame({"N": N, name.format(unit): 6 * N * D / FLOP[unit], "loss": LOSS})
    np.testing.assert_allclose(Runs.from_frame(frame).table["D"], D)


@pytest.mark.parametrize("write", ["{:g}M", "{:g} M", "{:g} million", "{:g}M params", "{:g}e6"])
def test_units_in_cells(write):
    frame = pd.DataFrame({"params": [write.format(n / 1e6) for n in N], "tokens": D, "loss": LOSS})
    np.testing.assert_allclose(Runs.from_frame(frame).table["N"], N)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("above", ["", "# exported\n", "Versuche für 2024\n"])
def test_dialects_and_encodings(tmp_path, delimiter, encoding, above):
    frame = pd.DataFrame({"params": N, "tokens": D, "loss": LOSS, "größe": list("aäbc")})
    path = tmp_path / "runs.csv"
    path.write_bytes((above + frame.to_csv(index=False, sep=delimiter)).encode(encoding))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = Runs.read(path, groups="größe")
    np.testing.assert_array_equal(runs.table["N"], N)
    assert runs.table["größe"].tolist() == list("aäbc")


@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet", "xlsx", "csv.gz", "md"])
def test_formats(tmp_path, suffix):
    frame = pd.DataFrame({"params": N, "tokens": D, "loss": LOSS})
    path = tmp_path / f"runs.{suffix}"
    if suffix == "md":
        rows = [" | ".join(map(str, row)) for row in frame.to_numpy()]
        path.write_text("\n".join(["params | tokens | loss", "---|---|---", *rows]))
    elif suffix == "xlsx":
        pytest.importorskip("openpyxl")
        frame.to_excel(path, index=False)
    elif suffix.startswith("json"):
        frame.to_json(path, orient="records", lines=suffix == "jsonl")
    else:
        frame.to_parquet(path) if suffix == "parquet" else frame.to_csv(path, index=False)
    runs = Runs.read(path)
    np.testing.assert_allclose(runs.table[["N", "D", "loss"]], np.column_stack([N, D, LOSS]))


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_frames_of_other_libraries(library):
    columns = {"params": N.tolist(), "tokens": D.tolist(), "loss": LOSS.tolist()}
    module = pytest.importorskip(library)
    frame = module.DataFrame(columns) if library == "polars" else module.table(columns)
    assert Runs.from_frame(frame).fingerprint == Runs.from_frame(pd.DataFrame(columns)).fingerprint


@pytest.mark.parametrize(("cells", "mark"), [(["1,400", "2,800"], ","), (["1,234", "9,876"], ",")])
def test_a_doubtful_comma_is_refused(cells, mark):
    frame = pd.DataFrame({"params": [*cells, cells[0]], "tokens": D[:3], "loss": LOSS[:3]})
    with pytest.raises(RunsError, match="can mark decimals or thousands"):
        Runs.from_frame(frame)


@pytest.mark.parametrize(
    "name", ["FLOP/s", "tokens_per_sec", "tok/s", "TFLOPs per GPU", "unique_tokens", "flops/token"]
)
def test_names_that_only_look_alike_are_not_taken(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runs = Runs.from_frame(pd.DataFrame({"params": N, name: D, "loss": LOSS}))
    assert set(runs.mapping) - {"U"} == {"N", "loss"}


@pytest.mark.filterwarnings("ignore::bayescale.errors.RunsWarning")
def test_cells_with_an_error_are_two_columns(tmp_path):
    losses = [3.71, 3.4, 3.15, 2.93]
    errors = [0.01, 0.02, 0.01, 0.03]
    for written, header in (
        ("{} ({})", "loss"),
        ("{}±{}", "Loss (± std)"),
        ("{}+/-{}", "val loss +/- se"),
        ("${} \\pm {}$", "loss"),
    ):
        cells = [written.format(v, e) for v, e in zip(losses, errors, strict=True)]
        path = tmp_path / "runs.csv"
        frame = pd.DataFrame({"params": [1e8, 2e8, 4e8, 8e8], "tokens": [2e9, 4e9, 8e9, 2e10]})
        frame.assign(**{header: cells}).to_csv(path, index=False)
        runs = Runs.read(path)
        assert runs.table["loss"].tolist() == losses
        assert "loss_sd" not in runs
        (note,) = runs.notes
        assert f"cells of {header!r} are numbers with an error" in note
        proposed = re.search("loss_sd='(.*?)'", note).group(1)
        assert Runs.read(path, loss_sd=proposed).table["loss_sd"].tolist() == errors
    # A table in which only some cells have an error is refused, with their lines.
    frame.assign(loss=["3.7 ± 0.1", "3.4", "3.1", "2.9"]).to_csv(path, index=False)
    with pytest.raises(RunsError, match=r"1 value is not a number \(line 2\)"):
        Runs.read(path)


@pytest.mark.filterwarnings("ignore::bayescale.errors.RunsWarning")
def test_names_of_curves_that_are_numbers_of_parameters_are_read_as_such(tmp_path):
    path = tmp_path / "curves.csv"
    text = "tokens,125M,1.3B\n1e9,3.9,3.7\n5e9,3.5,3.15\n2e10,3.25,2.8\n1e11,3.1,2.56\n"
    path.write_text(text)
    runs = Runs.read(path)
    assert set(runs.table["N"]) == {1.25e8, 1.3e9}
    assert runs.table["loss"][runs.table["N"] == 1.3e9].tolist() == [3.7, 3.15, 2.8, 2.56]
    assert "their names are read as N" in runs.notes[0]
    path.write_text(text.replace("125M", "small").replace("1.3B", "large"))
    assert "N" not in Runs.read(path)


def test_names_above_the_header_are_left_out(tmp_path):
    path = tmp_path / "runs.csv"
    body = "a,1e8,2e9,3.7,3.8\nb,2e8,4e9,3.4,3.5\nc,4e8,8e9,3.2,3.3\n"
    path.write_text(",model,,results,\nid,params,tokens,val loss,train loss\n" + body)
    runs = Runs.read(path)
    assert runs.table["N"].tolist() == [1e8, 2e8, 4e8]
    assert runs.table["loss"].tolist() == [3.7, 3.4, 3.2]
    # Columns of one name keep the name above them.
    path.write_text(",model,,train,val\nid,params,tokens,loss,loss\n" + body)
    runs = Runs.read(path)
    assert runs.table["loss"].tolist() == [3.8, 3.5, 3.3]
    assert "train loss" in runs.table


def test_a_table_of_a_database_is_read(tmp_path):
    path = tmp_path / "runs.txt"
    frame, rows = (
        "+--------+--------+------+",
        ["| 100M   | 2B     | 3.71 |", "| 200M   | 3B     | 3.4 |"],
    )
    more = ["| 400M   | 8B     | 3.15 |", "| 800M   | 16B    | 2.93 |"]
    lines = [frame, "| params | tokens | loss |", frame, *rows, *more, frame]
    path.write_text("\n".join(lines))
    runs = Runs.read(path)
    assert runs.table["N"].tolist() == [1e8, 2e8, 4e8, 8e8]
    assert runs.table["loss"].tolist() == [3.71, 3.4, 3.15, 2.93]


def test_latex_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "table.tex"
    path.write_text("\\begin{tabular}{lrr}\nN & D & L \\\\\n1e8 & 2e9 & 3 \\\\\n\\end{tabular}")
    with pytest.raises(RunsError, match="this is LaTeX, which is not read: save the table as csv"):
        Runs.read(path)


def test_logarithms_are_proposed_as_powers_of_ten():
    frame = pd.DataFrame({"log10_N": [7, 8, 9.0], "log10(D)": [9, 10, 11], "loss": [4, 3.5, 3]})
    with pytest.raises(RunsError, match="if these are logarithms") as refused:
        Runs.from_frame(frame)
    assert "N='10**log10_N', D='10**log10(D)'" in str(refused.value)
    runs = Runs.from_frame(frame, N="10**log10_N", D="10^log10(D)")
    assert runs.table["N"].tolist() == [1e7, 1e8, 1e9]
    assert runs.table["D"].tolist() == [1e9, 1e10, 1e11]


def test_hours_of_accelerators_are_not_proposed_as_a_count_but_as_compute():
    frame = pd.DataFrame({"name": list("abc"), "gpu_hours": [10, 40, 150], "loss": [4, 3.5, 3.1]})
    with pytest.raises(RunsError) as refused:
        Runs.from_frame(frame)
    message = str(refused.value)
    assert "N='COLUMN'" in message
    assert "for H100 at 40 %, pass C='gpu_hours*1.4e18'" in message
    # 989e12 FLOP per second at a utilisation of 40 %, for an hour.
    assert pytest.approx(1.4e18, rel=0.02) == 989e12 * 0.4 * 3600
