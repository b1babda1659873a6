"""Binary formats, compressed files, archives and folders."""

import json
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest

from bayescale import Runs, RunsError

N = np.array([7e7, 1.6e8, 4.1e8, 1e9])
FRAME = pd.DataFrame({"params": N, "tokens": 20 * N, "loss": [3.9, 3.5, 3.1, 2.9]})


def read(path, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Runs.read(path, **keywords)


def test_every_format_gives_the_same_runs(tmp_path):
    for ending in ("csv.bz2", "csv.xz", "csv.zip", "csv.gz"):
        FRAME.to_csv(tmp_path / f"runs.{ending}", index=False)
    FRAME.to_feather(tmp_path / "runs.feather")
    FRAME.to_feather(tmp_path / "runs.arrow")
    np.savez(tmp_path / "runs.npz", **{c: FRAME[c].to_numpy() for c in FRAME})
    np.save(tmp_path / "runs.npy", FRAME.to_records(index=False))
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 8
    for path in paths:
        assert read(path).fingerprint == Runs.from_frame(FRAME).fingerprint


def test_an_archive_of_one_table_is_read(tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "runs")
        archive.writestr("data/runs.csv", FRAME.to_csv(index=False))
        archive.writestr("__MACOSX/data/._runs.csv", "-")
    assert read(path).table["N"].tolist() == N.tolist()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data/more.csv", FRAME.to_csv(index=False))
    with pytest.raises(RunsError, match="this archive holds 2 tables: unpack it and name one"):
        read(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x05\x95pickle", "this is a pickle, which could run code: save the table as csv"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "this is HDF5 or netCDF: save the table as csv"),
        (b"%PDF-1.7 ...", "this is a PDF"),
        (b"\xd0\xcf\x11\xe0" + bytes(50), "this is the old Excel format .xls"),
        (b"BZh91AY&SY", "this is not a complete bzip2 file"),
        (b"\xfd7zXZ\x00\x00", "this is not a complete xz file"),
        (b"PK\x03\x04", "this is not a complete zip file"),
        (b"\x93NUMPY\x01\x00", "these arrays of numpy cannot be read"),
        (b"ARROW1\x00\x00", "this is not a feather file"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, content, message):
    path = tmp_path / "runs.dat"
    path.write_bytes(content)
    with pytest.raises(RunsError, match=message):
        read(path)


def test_arrays_without_names_or_of_other_shapes_are_refused(tmp_path):
    np.save(tmp_path / "runs.npy", FRAME.to_numpy())
    with pytest.raises(RunsError, match=r"with names are read, not no names: np\.savez"):
        read(tmp_path / "runs.npy")
    np.savez(tmp_path / "runs.npz", N=N, loss=N[:3])
    with pytest.raises(RunsError, match=r"not N \(4,\), loss \(3,\): np\.savez"):
        read(tmp_path / "runs.npz")


# -- Excel ------------------------------------------------------------------------------------


def test_the_sheet_with_runs_is_read_though_another_is_longer(tmp_path):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "runs.xlsx") as book:
        pd.DataFrame({"note": ["text"] * 30}).to_excel(book, sheet_name="README", index=False)
        FRAME.to_excel(book, sheet_name="runs", index=False)
    runs = read(tmp_path / "runs.xlsx")
    assert runs.table["N"].tolist() == N.tolist()
    assert runs.notes == ("read sheet 'runs'; not read: 'README'",)


def test_sheets_of_the_same_columns_are_read_together(tmp_path):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "runs.xlsx") as book:
        FRAME.to_excel(book, sheet_name="c4", index=False)
        FRAME.assign(loss=FRAME["loss"] - 0.2).to_excel(book, sheet_name="pile", index=False)
    runs = read(tmp_path / "runs.xlsx", groups="sheet")
    assert runs.table["sheet"].tolist() == ["c4"] * 4 + ["pile"] * 4
    assert runs.table["loss"].iloc[-1] == pytest.approx(2.7)
    assert "pass groups='sheet'" in runs.notes[0]
    assert runs.table.index[4] == "pile!2"


def test_cells_that_are_merged_downwards_hold_one_value(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [["results", "", ""], ["params", "tokens", "loss"], ["70M", "2B", 3.9],
                ["", "8B", 3.5], ["160M", "2B", 3.7], ["", "8B", 3.3]]:  # fmt: skip
        book.active.append(row)
    book.active.merge_cells("A1:C1")
    book.active.merge_cells("A3:A4")
    book.active.merge_cells("A5:A6")
    book.save(tmp_path / "runs.xlsx")
    assert read(tmp_path / "runs.xlsx").table["N"].tolist() == [7e7, 7e7, 1.6e8, 1.6e8]
    # In a csv file such cells are empty.
    text = "params,tokens,loss\n70M,2B,3.9\n,8B,3.5\n160M,2B,3.7\n,8B,3.3\n"
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(RunsError, match="as of merged cells, fill it in"):
        read(tmp_path / "runs.csv")


# -- folders and nested objects ---------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
def test_a_folder_of_objects_is_one_row_for_each(tmp_path, nested):
    for i, row in enumerate(FRAME.to_dict("records")):
        path = tmp_path / (f"run{i}/summary.json" if nested else f"run{i}.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"config": {"n_params": row.pop("params")}, **row}))
    runs = read(tmp_path)
    assert runs.table["N"].tolist() == N.tolist()
    assert runs.table.index.tolist() == ["run0", "run1", "run2", "run3"]


def test_a_folder_of_tables_with_the_same_columns_is_read(tmp_path):
    for name in ("a", "b"):
        FRAME.to_csv(tmp_path / f"{name}.csv", index=False)
    runs = read(tmp_path, groups="run")
    assert runs.table["run"].tolist() == ["a"] * 4 + ["b"] * 4
    (tmp_path / "c.csv").write_text("x,y\n1,2\n3,4\n")
    with pytest.raises(RunsError, match="name a csv or parquet file in it"):
        read(tmp_path)


@pytest.mark.parametrize("named", [False, True])
def test_lists_of_checkpoints_are_one_row_for_each(tmp_path, named):
    curves = [
        {"n_params": n, "tokens": [1e9, 2e9, 4e9], "loss": [x + 1, x + 0.5, x]}
        for n, x in zip(N, FRAME["loss"], strict=True)
    ]
    content = {f"r{i}": curve for i, curve in enumerate(curves)} if named else curves
    (tmp_path / "runs.json").write_text(json.dumps(content))
    runs = read(tmp_path / "runs.json", series="name" if named else "run")
    assert len(runs) == 12
    assert runs.table["D"].tolist()[:3] == [1e9, 2e9, 4e9]
    assert runs.table["loss"].tolist()[:3] == [4.9, 4.4, 3.9]
    assert runs.table["series"].nunique() == 4


def test_other_objects(tmp_path):
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"meta": {"by": "us"}, "data": {"runs": FRAME.to_dict("records")}}))
    assert read(path).table["N"].tolist() == N.tolist()
    path.write_text("\n".join(map(str, FRAME.to_dict("records"))))  # as Python prints them
    assert read(path).table["N"].tolist() == N.tolist()
    by_name = {f"run {i}": row for i, row in enumerate(FRAME.to_dict("records"))}
    path.write_text(json.dumps(by_name))
    assert read(path).table["N"].tolist() == N.tolist()
    path.write_text(json.dumps({"results": {"piqa": {"acc,none": 0.7}}, "config": {}}))
    with pytest.raises(RunsError, match="these are scores of one model"):
        read(path)


def test_results_of_the_trainer_of_hugging_face(tmp_path):
    results = [
        {"eval_loss": x, "perplexity": np.exp(x), "train_loss": x + 1, "total_flos": 1e10 * n,
         "train_samples": 12345, "train_runtime": 100.0, "train_samples_per_second": 3.0}
        for n, x in zip(N, FRAME["loss"], strict=True)
    ]  # fmt: skip
    (tmp_path / "all_results.json").write_text(json.dumps(results))
    runs = read(tmp_path / "all_results.json")
    assert dict(runs.mapping) == {"C": "total_flos", "loss": "eval_loss"}
