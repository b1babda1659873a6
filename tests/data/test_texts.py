"""Tables in HTML, and the lines of logs."""

import pytest

from bayescale import Runs, RunsError, RunsWarning

NANOGPT = "tokens per iteration will be: 491,520\n" + "\n".join(
    f"step {i * 250}: train loss {5 - 0.1 * i:.4f}, val loss {5.01 - 0.1 * i:.4f}\n"
    f"iter {i * 250}: loss {5 - 0.1 * i:.4f}, time 512.1ms, mfu 35.1%\n"
    f"iter {i * 250 + 10}: loss {5 - 0.1 * i:.4f}, time 512.1ms, mfu 35.1%"
    for i in range(1, 9)
)
MEGATRON = "\n".join(
    f" iteration {i * 100:8d}/  500000 | consumed samples: {i * 51200:12d} | elapsed time per "
    f"iteration (ms): 3000.1 | learning rate: 1.5E-04 | global batch size:   512 | "
    f"lm loss: {8 - 0.3 * i:.6E} | loss scale: 1.0 | grad norm: 1.0 |"
    for i in range(1, 9)
)
HTML = """<html><body><p>Runs</p><table><tr><th rowspan=2>Corpus</th><th rowspan=2>Params (M)</th>
<th rowspan=2>Tokens (B)</th><th colspan=2>Loss</th></tr><tr><th>train</th><th>val</th></tr>
<tr><td rowspan=2>web</td><td>70</td><td>2</td><td>3.8</td><td>3.9</td></tr>
<tr><td>160</td><td>8</td><td>3.4</td><td>3.5</td></tr>
<tr><td>code</td><td>410</td><td>30</td><td>3.0</td><td>3.1</td></tr></table></body></html>"""


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_the_evaluations_in_a_log_of_nanogpt_are_read(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(NANOGPT)
    with pytest.raises(RunsError, match=r"pass D='step\*512\*2048' with the sizes"):
        Runs.read(path)
    runs = Runs.read(path, D="step*491520")
    assert runs.table["loss"].tolist() == [round(5.01 - 0.1 * i, 4) for i in range(1, 9)]
    assert runs.table["D"].iloc[0] == 250 * 491520
    assert "series" in runs
    assert "a log: 8 lines with a step and a loss are read" in runs.notes


def test_thousands_in_steps_are_separated(tmp_path):
    path = tmp_path / "train.log"
    path.write_text("\n".join(f"step {i},000 | tokens {i}e9 | loss 3.{9 - i}" for i in range(1, 6)))
    with pytest.warns(RunsWarning):
        runs = Runs.read(path)
    assert runs.table["step"].tolist() == [1000, 2000, 3000, 4000, 5000]
    assert runs.table["D"].tolist() == [1e9, 2e9, 3e9, 4e9, 5e9]
    assert runs.table["loss"].tolist() == [3.8, 3.7, 3.6, 3.5, 3.4]


@pytest.mark.filterwarnings("ignore::bayescale.RunsWarning")
def test_a_log_of_megatron_is_read(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(MEGATRON)
    runs = Runs.read(path, D="consumed samples*2048")
    assert runs.table["loss"].tolist() == pytest.approx([8 - 0.3 * i for i in range(1, 9)])
    assert runs.table["D"].iloc[0] == 51200 * 2048
    assert runs.table["lr"].iloc[0] == 1.5e-4


def test_a_text_about_steps_is_no_log(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("note,N,D,loss\nstep 3,1e8,2e9,3.9\nstep 4,2e8,2e9,3.7\nstep 5,3e8,2e9,3.5\n")
    assert Runs.read(path).table["N"].tolist() == [1e8, 2e8, 3e8]


def test_a_table_of_html_is_read(tmp_path):
    path = tmp_path / "runs.html"
    path.write_text(HTML)
    with pytest.warns(RunsWarning, match="single run"):
        runs = Runs.read(path, groups="Corpus")
    assert runs.table["N"].tolist() == [7e7, 1.6e8, 4.1e8]
    assert runs.table["D"].tolist() == [2e9, 8e9, 3e10]
    assert runs.table["loss"].tolist() == [3.9, 3.5, 3.1]
    assert runs.mapping["loss"] == "Loss val"
    assert runs.table["Corpus"].tolist() == ["web", "web", "code"]
    path.write_text("<html><body>no runs</body></html>")
    with pytest.raises(RunsError, match="this page of HTML holds no table"):
        Runs.read(path)
