"""The documentation: pages that are made from the package, examples, figures, and the site."""

from __future__ import annotations

import importlib.util
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.capabilities import emergence_priors as kinds
from bayescale.evaluation.ensembles import FLAT

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
RESULTS = ROOT / "benchmarks" / "results"
KINDS = ("pooled", "mean")
README = (ROOT / "README.md").read_text(encoding="utf-8")
MATHS = {name: getattr(math, name) for name in ("exp", "log")}


def script(name: str):
    """A script in ``docs/scripts`` as a module."""
    path = DOCS / "scripts" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"docs_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages, examples = script("pages"), script("examples")


# -- pages made from the package ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["laws", "api"])
def test_pages_made_from_the_package_are_current(name):
    written = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    assert written == getattr(pages, f"{name}_page")(), "run python docs/scripts/pages.py"


def test_the_gallery_has_every_law():
    assert all(law.formula and law.use and law.regime for law in bs.laws.REGISTRY.values())


def loss_by_text(text: str, values: dict[str, float]) -> float:
    """The loss by a formula of the gallery: ``formula with a = ..., b = ...``, or with a share s
    that solves an equation."""
    if "  where s solves  " in text:
        text, equation = text.split("  where s solves  ")
        left, right = (compile(side.strip(), "law", "eval") for side in equation.split(" = "))
        low, high = 0.0, 1 - 1e-15
        for _ in range(200):
            s = (low + high) / 2
            below = eval(left, MATHS, values | {"s": s}) < eval(right, MATHS, values)
            low, high = (s, high) if below else (low, s)
        return eval(text, MATHS, values | {"s": low})
    formula, _, definitions = text.partition("  with  ")
    for definition in filter(None, definitions.split(",  ")):
        name, _, value = definition.partition(" = ")
        values = values | {name.strip(): eval(value.strip(), MATHS, values)}
    return eval(formula, MATHS, values)


@pytest.mark.parametrize("name", bs.laws.REGISTRY)
def test_formulas_of_the_gallery_are_those_of_the_code(name):
    law, rng = bs.laws.REGISTRY[name], np.random.default_rng(1)
    for _ in range(5):
        columns = {c: float(np.exp(rng.normal())) for c in law.columns}
        columns |= {c: 1 + float(rng.random()) for c in columns if c.startswith("one_plus_")}
        parameters = {
            p: float(np.median(prior.interval(0.5)) * np.exp(0.2 * rng.normal()))
            for p, prior in law.priors.items()
        }
        values = columns | parameters
        if len(law.columns) == 1:
            values["x"] = columns[law.columns[0]]
        by_code = float(law(columns, dict.fromkeys(law.columns, 1.0), parameters))
        assert loss_by_text(law.formula, values) == pytest.approx(by_code, rel=1e-9)


def test_the_reference_has_every_public_name():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    listed = {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", text, re.M)}
    assert set(bs.__all__) - {"__version__", "NEW", "laws"} == listed
    assert "bayescale.NEW" in text


# -- README and its figures --------------------------------------------------------------------


def test_readme_is_short():
    assert len(README.splitlines()) <= 150
    table = README.split("| question | result |\n")[1].split("\n\n")[0]
    assert len(table.splitlines()) - 1 <= 8


def row(name: str) -> str:
    """The row of README's table that links a results file."""
    (line,) = [x for x in README.splitlines() if f"results/{name}.csv)" in x and x.startswith("|")]
    return line


def percentages(values) -> str:
    """Shares as README writes them: ``49/79/89/95``."""
    return "/".join(f"{100 * v + 1e-9:.0f}" for v in values)  # halves are rounded up


def results(name: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / f"{name}.csv")


def test_readme_coverage_of_larger_runs():
    frame, tables = results("family"), results("family_tables")
    (chosen,) = frame[frame["method"].str.contains("other studies")].to_dict("records")
    text = row("family")
    assert percentages(chosen[f"pooled {p}"] for p in ("0.50", "0.80", "0.90", "0.95")) in text
    assert f"cover {100 * chosen['worst 0.95']:.0f} % |" in text
    assert f"{tables['runs'].sum()} runs of {len(tables)} splits" in text


def test_readme_coverage_of_curves_and_simulations():
    curves = results("curves").query("domain == 'IC'").set_index("method")
    levels = [f"coverage{p}" for p in (50, 80, 90, 95)]
    text = row("curves")
    assert f"{curves.loc['average', 'n_series']:.0f} curves" in text
    assert percentages(curves.loc["average", levels]) in text
    assert percentages(curves.loc["log-Huber bootstrap (delayed_power(D))", levels]) in text
    simulated = results("simulated").set_index("case")
    for case in ("tables", "curves"):
        assert percentages(simulated.loc[case, levels]) in row("simulated")
        assert simulated.loc[case, "n_series"] == 200


def test_readme_calibration_and_known_values():
    laws = [f"{law}_with_error" for law in FLAT]
    frame = results("calibration").set_index("case").loc[laws]
    text = row("calibration")
    inside, scalars = frame["inside 95 % envelope"].sum(), frame["scalars"].sum()
    assert f"{inside} of {scalars} quantities" in text
    covered = (frame["90 % covers"] * frame["scalars"]).sum() / scalars
    assert f"cover {100 * covered:.1f} %" in text
    known = results("known").set_index("quantity").loc["a in N* ~ C^a"]
    shown = f"{known['posterior mean']:.3f} ± {known['sd']:.3f} (refit: {known['published']:.3f})"
    assert shown in row("known")


def test_readme_laws_breaks_and_tasks():
    right = results("hypotheses").set_index("truth")["right"]
    assert f"{right['chinchilla']} of 20 (Chinchilla)" in row("hypotheses")
    assert f"{right['kaplan']} of 20 (Kaplan)" in row("hypotheses")
    alarms = results("breaks_alarms_pooled")
    counts = (alarms["alarms"] * alarms["curves"]).round().astype(int)
    off = alarms["drift"] == 0
    text = row("breaks_alarms_pooled")
    assert f"{alarms['curves'].sum()} simulated curves" in text
    assert f"{counts[off].sum()} of {alarms['curves'][off].sum()} without drift" in text
    assert f"{counts[~off].sum()} of {alarms['curves'][~off].sum()} with drift" in text
    links = results("links")
    target = links["problem"].str.startswith("target") | (links["n"] == 90)
    (ahead,) = links[target & (links["kind"] == "logistic") & (links["known"] == "N and D")][
        ["n", "inside 90 %"]
    ].to_dict("records")
    assert f"{100 * ahead['inside 90 %']:.0f} % of {ahead['n']:.0f} accuracies" in row("links")


def test_figures_of_emergence():
    text = (DOCS / "tested.md").read_text(encoding="utf-8")
    power = results("emergence_power")
    bent = power[power["change"] > 0].groupby("metric")["departure"]
    assert bent.size().to_dict() == {"accuracy": 2, "loss": 4}
    for _, pair in power[power["change"] > 0].groupby(["metric", "points"]):
        assert "{:.0f} and {:.0f} %".format(*(100 * pair["departure"])) in text
    falls = power[power["change"] < 0].sort_values("change", ascending=False)
    row = next(x for x in text.splitlines() if "the same if the slope becomes 0.4 and 0.25" in x)
    for _, pair in falls.groupby(["metric", "points"]):
        assert "{:.0f} and {:.0f} %".format(*(100 * pair["departure"])) in row
    laws = results("emergence_loss_laws")
    assert f"{laws['curves'].sum()} accuracies whose log odds are linear in a loss" in text
    assert laws["stated"].sum() == laws["abrupt"].sum() == 0
    above = 100 * (laws["departure"] * laws["curves"]).sum() / laws["curves"].sum()
    assert f"stated for none; P > .5 for {above:.1f} % of them" in text
    drift = power[power["drift"] > 0]
    called = (drift["abrupt"] * drift["curves"]).sum()
    assert f"curves that drift, {drift['curves'].sum()} (" in text
    assert f"abrupt stated for {called:.0f} |" in text
    alarms = results("emergence_alarms")
    row = next(x for x in text.splitlines() if "P > .5 on straight curves" in x)
    counts = alarms.groupby("metric")["curves"].sum()
    above, stated = (
        100 * (alarms[c] * alarms["curves"]).groupby(alarms["metric"]).sum() / counts
        for c in ("departure", "stated")
    )
    assert f"{above['accuracy']:.1f} % of {counts['accuracy']} accuracies" in row
    assert f"{above['loss']:.1f} % of {counts['loss']} losses" in row
    worst = alarms.set_index(["metric", "points", "noise"])["departure"]
    few, many = (100 * worst["accuracy", 40, n] for n in (200, 2000))
    assert f"{few:.1f} and {many:.1f} % with 40 models and 200 or 2000 questions" in row
    each = results("emergence_alarms_each")
    for place, seen, said in (
        (("accuracy", 40, 200), 75, "{:.1f} % of 75 curves, and {:.1f} % of 225 further ones"),
        (("loss", 20, 0.1), 20, "{:.0f} of 20, and {:.0f} of 80 further ones"),
    ):
        of = each[(each[["metric", "points", "noise"]] == list(place)).all(axis=1)]
        prior = kinds.KINDS if place[0] == "accuracy" else kinds.LOSS_KINDS
        logs = pd.DataFrame({k: of[f"log evidence {k}"] + np.log(p) for k, p in prior.items()})
        odds = np.exp(logs.sub(logs.max(axis=1), axis=0))
        smooth = odds[[k for k in prior if k in kinds.SMOOTH_KINDS]].sum(axis=1) / odds.sum(axis=1)
        first, further = ((smooth < 0.5)[m] for m in (of["curve"] < seen, of["curve"] >= seen))
        shares = [100 * found.mean() if "%" in said else found.sum() for found in (first, further)]
        assert said.format(*shares) in row
    settings = alarms[alarms["metric"] == "loss"]
    worst = settings.loc[settings["departure"].idxmax()]
    called = round(worst["departure"] * worst["curves"])
    assert f"at most {called} of {worst['curves']} in one of {len(settings)} settings" in row
    told = f"{stated['accuracy']:.1f} % of the accuracies and {stated['loss']:.1f} % of the losses"
    assert f"stated for {told}, abrupt for none" in row
    assert alarms["abrupt"].sum() == 0
    given = results("emergence_confusion").set_index(["metric", "kind"])
    (n,) = set(given.sum(axis=1))
    changes = ["late start", "abrupt change", "gradual change", "abrupt or gradual change"]
    unbroken = given[given.index.get_level_values("kind").isin(["unbroken", "flattening", "line"])]
    assert f"of {unbroken.to_numpy().sum()} unbroken curves none is called a change" in text
    assert unbroken[changes].to_numpy().sum() == 0
    abrupt, gradual = given["abrupt change"], given["gradual change"]
    assert f"late starts: {given['late start']['accuracy', 'late']} of {n}" in text
    smooth, wrong = given["smooth"]["loss", "break"], gradual["loss", "break"]
    called = f"{abrupt['loss', 'break']} of {n} breaks are called abrupt, {smooth} smooth"
    assert f"{called} and {['none', 'one'][wrong]} gradual" in text
    assert f"{gradual['loss', 'drift']} of {n} drifts gradual and none abrupt" in text
    assert abrupt["loss", "drift"] == 0
    pair = f"{abrupt['accuracy', 'break']} of {n} breaks and {gradual['accuracy', 'drift']} of {n}"
    assert pair in text
    held = results("emergence_intervals").set_index("90 % interval")
    names = {"holds onset": "onset", "holds half_rise": "half-rise", "holds sharpness": "sharpness"}
    names["holds slope_ratio"] = "slope ratio"
    for metric, word in (("accuracy", "accuracies"), ("loss", "losses")):
        shares = held[f"coverage, {metric}"].dropna()
        listed = ", ".join(f"{names[n]} {100 * v:.0f} %" for n, v in shares.items())
        assert f"{word}: {listed}" in text
    ratio = results("emergence_slope_ratio").set_index(["metric", "kind"])
    of_break, of_drift = ratio.loc[("accuracy", "break")], ratio.loc[("accuracy", "drift")]
    shown = of_break["shown"] + of_drift["shown"]
    assert f"shown for {shown:.0f} of {of_break['curves'] + of_drift['curves']:.0f} changes" in text
    assert f"{100 * of_break['held']:.0f} % of breaks and {100 * of_drift['held']:.0f} %" in text
    further = results("emergence_slope_ratio_losses").set_index("kind")
    shown, held = further.loc["break", ["shown", "held"]]
    assert f"breaks shown for {shown:.0f}, and {100 * held:.0f} % held" in text
    assert f"shown for {further['shown']['drift']} of {further['curves']['drift']} losses" in text
    told = 100 * results("emergence_oracle").set_index(["by", "kind"])["told"]
    for by, word in {
        "emergence": "by `emergence`",
        "noise and top known": "the top of the curve",
        "nothing known, long computation": "computation of the evidence",
        "all but the change known": "level and slope tells",
    }.items():
        assert f"{word} {told[by, 'break']:.0f} and {told[by, 'drift']:.0f} %" in text
    public = results("emergence_public").set_index("set")
    assert public["abrupt change"]["addition"] == 1
    tuned = public[public.index.str.startswith("fine-tuning")]
    assert public["smooth"]["BIG-Bench"] == 0
    listed = f"none of 10 BIG-Bench curves and {tuned['smooth'].sum()} of {tuned['curves'].sum()}"
    assert listed in text
    worlds = results("emergence_metric").set_index(["change", "verdict"])["curves"]
    said = worlds.groupby(level=[0, 1]).sum()
    fine = said[0].filter(like="smooth").sum()
    measured, wrong = said[0]["emergent as measured"], said[0].get("abrupt change", 0)
    assert f"underneath: {fine}, emergent as measured: {measured}, abrupt: {wrong}; with" in text
    assert f"with a change: all {said[2]['abrupt change']} abrupt" in text
    assert len(said[2]) == 1
    published = results("emergence_published").set_index("set")
    emergent, wu = published["P(emergent as measured)"], published.loc["Wu"]
    is_emergent = wu["published"] == "emergence"
    least, most = emergent["Wu"][is_emergent].min(), emergent["Wu"][~is_emergent].max()
    assert is_emergent.sum() == 6
    assert f"with P of at least {least:.2f}, the three others with at most {most:.2f}" in text
    assert f"all seven with P of at least {emergent['Ruan'].min():.2f}" in text
    arithmetic = published.loc["Ruan"].set_index("task").loc[["arithmetic_3da", "arithmetic_3ds"]]
    assert ((arithmetic["onset_low"] < 2.3e22) & (arithmetic["onset_high"] > 2.3e22)).all()
    brier = published.loc["Wu, Brier"].set_index("published")["verdict"]
    assert brier["emergence"].isin(["abrupt change", "abrupt or gradual change"]).all()
    others = ["abrupt or gradual change", "cannot be told", "smooth"]
    assert sorted(brier["no_emergence"]) == others
    foresight = results("emergence_foresight").set_index("task")
    mean = foresight.loc["mean, chosen from the other tasks"]
    held = "hold {:.0f} % of later scores ({:.0f} % within a point of accuracy)"
    assert held.format(100 * mean["held"], 100 * mean["within_a_point"]) in text
    assert f"cover {100 * mean['width']:.0f} % of the range" in text
    default = foresight.loc[f"mean, {kinds.AHEAD.complete:g}", "held"]
    assert f"with the default they hold {100 * default:.0f} %" in text


def test_figures_of_how_it_was_tested():
    text = (DOCS / "tested.md").read_text(encoding="utf-8")
    levels = ("0.50", "0.80", "0.90", "0.95")
    family = results("family").set_index("method")
    for method in family.index[
        family.index.str.contains(
            r"other studies|other tables|^chinchilla, drift 0\.0[36]|Huber"
            r"|without errors, evidence\^0\.2, drift 0\.03"
        )
    ]:
        line = family.loc[method]
        pooled, mean = (percentages(line[f"{kind} {p}"] for p in levels) for kind in KINDS)
        score = f"{line['score']:.3f}".removeprefix("0")
        assert f"| {pooled} | {mean} | {score} | {100 * line['worst 0.95']:.0f} % |" in text, method
    near, *beyond = results("family_distances")["0.90"]
    assert f"cover {100 * near:.0f} % inside the fitted compute" in text
    shares = "{:.0f} % up to 3 times beyond it, {:.0f} % up to 10 times, {:.0f} % beyond"
    assert shares.format(*(100 * share for share in beyond)) in text
    sizes = results("allocation_coverage").set_index(["method", "quantity"])["holds"]
    for method in ("family", "chinchilla", "log-Huber bootstrap (chinchilla)"):
        inside = (percentages(sizes.loc[method, name]) for name in ("log N*", "a"))
        assert "| {} % | {} % |".format(*inside) in text, method
    curves = results("curves").query("method == 'delayed_power(D)'").set_index("domain")
    for domain, line in curves.iterrows():
        covered = percentages(line[f"coverage{p}"] for p in (50, 80, 90, 95))
        error = f"{line['rmsle']:.4f}".removeprefix("0")
        assert f"| {covered} | {error} |" in text, domain
    known = results("known").set_index("quantity")
    for name in ("E", "alpha", "beta"):
        line = known.loc[name]
        value = f"{line['posterior mean']:.3f} ± {line['sd']:.3f}"
        assert f"| {name} | {value} | {line['published']:.3f} |" in text, name


# -- examples and the site ---------------------------------------------------------------------

NUMBER = re.compile(r"(?<![A-Za-z_])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def words(text: str) -> list[str]:
    """The words of an output, without its numbers and its layout."""
    return re.findall(r"[A-Za-z_]{2,}", NUMBER.sub(" ", text))


def test_documents_with_examples_are_found():
    names = {page.name for page in examples.documents()}
    assert {"README.md", "index.md", "forecast.md", "allocate.md", "compare.md"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("page", examples.documents(), ids=lambda page: page.name)
def test_examples_print_what_documents_show(page):
    ran = list(examples.run(page))
    assert ran
    for example in ran:
        hint = f"{page.name} is out of date: run python docs/scripts/examples.py"
        assert words(example.shown) == words(example.printed), hint
        shown, printed = (
            np.array([float(x) for x in NUMBER.findall(text)])
            for text in (example.shown, example.printed)
        )
        # Computers differ in the last bits of a density, and hence in some draws.
        np.testing.assert_allclose(printed, shown, rtol=0.2, atol=0.1, err_msg=hint)


@pytest.mark.slow
def test_the_site_is_built_without_warnings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "api.html").read_text(encoding="utf-8")
    assert ":::" not in reference
    for name in ("fit", "forecast", "Average", "plot_allocation", "ExtrapolationWarning"):
        assert re.search(rf'id="bayescale\.[\w.]+\.{name}"', reference), name
    for page in DOCS.glob("*.md"):
        assert (tmp_path / page.with_suffix(".html").name).is_file()
    notebook = (tmp_path / "notebooks" / "01_forecast_with_error_bars.html").read_text("utf-8")
    assert "data:image/png;base64," in notebook
    assert 'href="02_do_the_intervals_hold.html"' in notebook


def test_every_part_of_the_reference_has_an_introduction():
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    parts = text.split("\n## ")[1:]
    bare = [part.splitlines()[0] for part in parts if part.split("\n\n")[1].startswith(":::")]
    assert bare == []
