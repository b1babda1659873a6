"""Links from loss to accuracy: forms, recovery, chained forecasts, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescale as bs
from bayescale.capabilities.link_forms import FORMS, floor_of, precision_of
from bayescale.capabilities.link_model import LinkPlan, walks
from bayescale.capabilities.task_forecasts import accuracies
from bayescale.functions import softplus
from bayescale.reporting import task_tables

TRUE = {
    "easy": (2.6, 3.0, 0.25, 2000),
    "hard": (2.1, 4.0, 0.0, 1000),
    "two": (2.8, 2.0, 0.5, 1500),
    "late": (2.4, 5.0, 0.25, 4000),
}  # threshold, slope per nat, chance, questions
TOP = 0.92
CORPORA = {"web": 0.0, "books": 0.15}  # nats that a corpus is worth on every task
SAMPLE, CHAINS, DRAWS = ("chain", "draw"), 2, 500
SAMPLING = dict(draws=500, chains=2, random_seed=1, progressbar=False)


def accuracy(task, loss, corpus="web"):
    threshold, slope, chance, _ = TRUE[task]
    won = 1 / (1 + np.exp(-slope * (threshold - loss + CORPORA[corpus])))
    return chance + (1 - chance) * TOP * won


@pytest.fixture(scope="module")
def runs() -> bs.Runs:
    grid = [
        (n, d, c) for n in (3e7, 1e8, 3e8, 1e9) for d in (1e9, 4e9, 16e9, 6e10) for c in CORPORA
    ]
    frame = pd.DataFrame(grid, columns=["N", "D", "corpus"])
    rng = np.random.default_rng(0)
    law = 1.7 + 400 * frame["N"] ** -0.34 + 400 * frame["D"] ** -0.28
    frame["loss"] = law * np.exp(0.004 * rng.standard_normal(len(frame)))
    return bs.Runs.from_frame(frame)


@pytest.fixture(scope="module")
def results(runs) -> pd.DataFrame:
    """Accuracies on four tasks, from known links."""
    rng = np.random.default_rng(1)
    rows = []
    for run in runs.table.itertuples():
        for task, (_, _, chance, n) in TRUE.items():
            p = rng.beta(800 * (a := accuracy(task, run.loss, run.corpus)), 800 * (1 - a))
            rows.append(
                dict(
                    N=run.N,
                    D=run.D,
                    C=6 * run.N * run.D,
                    corpus=run.corpus,
                    loss=run.loss,
                    task=task,
                    accuracy=rng.binomial(n, p) / n,
                    n_questions=n,
                    chance=chance,
                )
            )
    return pd.DataFrame(rows)


def linked(*args, **options) -> bs.Link:
    return bs.link(*args, **{**SAMPLING, **options})


@pytest.fixture(scope="module")
def sampled(results) -> bs.Link:
    """The one link that is sampled: two tasks, without a fit."""
    made = linked(None, results[results["task"].isin(["easy", "late"])], groups="corpus")
    assert made.convergence.passed, made.convergence.failures()
    return made


@pytest.fixture
def fit(by_hand, runs) -> bs.Fit:
    """The law that the losses were simulated from, with an uncertain floor."""
    values = {
        "E": 1.7 + 0.02 * np.random.default_rng(2).standard_normal((CHAINS, DRAWS)),
        "A": 400 * runs.scales["N"] ** -0.34,
        "B": 400 * runs.scales["D"] ** -0.28,
        "alpha": 0.34,
        "beta": 0.28,
        "sigma": 0.004,
        "nu": 5.0,
    }
    pool = dict.fromkeys(values, "complete")
    return by_hand(
        runs, "chinchilla", values, draws=DRAWS, chains=CHAINS, groups="corpus", pool=pool
    )


def posterior(plan: LinkPlan, spread: float = 0.03) -> xr.Dataset:
    """Draws around the true links of `plan`'s tasks, which vary by a relative `spread`."""
    rng = np.random.default_rng(3)
    threshold, slope = (np.array([TRUE[t][i] for t in plan.tasks]) for i in (0, 1))
    slope = slope * plan.spread
    # Without losses: curves are half way up about one standard deviation below the best run.
    level = (threshold + plan.best) * slope / plan.spread if plan.form.along == "loss" else slope
    sizes = {"task": len(plan.tasks), "component": 5, "member": len(plan.members)}
    sizes["cell"] = len(plan.cells)

    def draws(value, dim, by=spread):
        shape = (CHAINS, DRAWS, sizes[dim])
        return (*SAMPLE, dim), value * np.exp(by * rng.standard_normal(shape))

    named = {
        "level": level,
        "slope": slope,
        "top": TOP,
        "offset": 0.01,
        "precision": 800.0,
        "jitter": 0.01,
        "walk": 0.5,
    }
    named |= {"share": 0.6, "alpha": 0.35, "beta": 0.25} if plan.form.by_size else {}
    out = {f"{name}_task": draws(value, "task") for name, value in named.items()}
    out["top_task"] = draws(TOP, "task", spread / 10)  # below 1 in every draw
    steps = 0.05 * rng.standard_normal((CHAINS, DRAWS, len(plan.tasks), 5))
    out["walk_step"] = ((*SAMPLE, "task", "component"), steps)
    if plan.members:
        worth = np.array([CORPORA[m] for m in plan.members]) / plan.spread
        shape = (CHAINS, DRAWS, len(plan.members))
        out["move_member"] = (*SAMPLE, "member"), worth + spread / 3 * rng.standard_normal(shape)
        out["move_cell"] = draws(1e-3, "cell")
        for dim in ("member", "cell"):
            scale = 0.3 * np.exp(spread * rng.standard_normal((CHAINS, DRAWS)))
            out[f"move_{dim}_scale"] = (SAMPLE, scale)
    coords = {d: list(plan.levels[d]) for d in sizes if d in plan.levels}
    coords |= {"chain": range(CHAINS), "draw": range(DRAWS)}
    return xr.Dataset(out, coords=coords)


def made_by_hand(results, fit=None, kind="logistic") -> bs.Link:
    """A link whose posterior is known."""
    table = results.rename(columns={"accuracy": "y"}).assign(member=results["corpus"])
    plan = LinkPlan(FORMS[kind], table.reset_index(drop=True), ("corpus",))
    stats = xr.Dataset(
        {
            "diverging": (SAMPLE, np.zeros((CHAINS, DRAWS), bool)),
            "energy": (SAMPLE, np.random.default_rng(4).standard_normal((CHAINS, DRAWS))),
        }
    )
    return bs.Link(plan, posterior(plan), stats, fit, random_seed=7)


@pytest.fixture
def link(results, fit) -> bs.Link:
    return made_by_hand(results, fit)


# -- forms -------------------------------------------------------------------------------------

VALUES = dict(
    level=-0.7, slope=2.0, top=0.97, start=0.4, width=0.2, offset=0.1, precision=300.0, jitter=0.2
) | dict(share=0.6, alpha=0.35, beta=0.25)


def where(kind) -> dict[str, float]:
    """Where a run is, for the form that depends on N and D apart."""
    return dict(ratio=0.4, unit=1.1) if FORMS[kind].by_size else {}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_fast_forms_have_the_same_values_and_their_derivatives(kind, chance):
    u, h = np.linspace(-6, 2, 41), 1e-5
    mean, derivative, precision = FORMS[kind].with_derivative(u, VALUES, chance, **where(kind))
    np.testing.assert_allclose(
        [mean, precision], FORMS[kind](u, VALUES, chance, **where(kind)), rtol=1e-10
    )
    ahead, behind = (FORMS[kind](u + step, VALUES, chance, **where(kind))[0] for step in (h, -h))
    np.testing.assert_allclose(derivative, (ahead - behind) / (2 * h), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("chance", [0.0, 0.25])
def test_a_form_is_the_same_in_numpy_xarray_and_pytensor(kind, chance):
    import pytensor.tensor as pt

    u = np.linspace(-4, 1.5, 23)
    mean, precision = FORMS[kind](u, VALUES, np.full_like(u, chance), **where(kind))
    labelled = FORMS[kind](xr.DataArray(u, dims="point"), VALUES, chance, **where(kind))
    chances = pt.as_tensor(np.full_like(u, chance))
    graph = FORMS[kind](pt.as_tensor(u), VALUES, chances, **where(kind))
    for ours, array, node in zip((mean, precision), labelled, graph, strict=True):
        np.testing.assert_allclose(array.to_numpy(), ours, rtol=1e-12)
        np.testing.assert_allclose(node.eval(), ours, rtol=1e-10)


@pytest.mark.parametrize("kind", FORMS)
def test_accuracy_rises_from_the_floor_to_one_at_most(kind):
    u = np.linspace(-30, 60, 400)
    mean, precision = FORMS[kind](u, VALUES, 0.25, **where(kind))
    assert (np.diff(mean) >= 0).all()
    assert mean[0] == pytest.approx(floor_of(0.25, 0.1), abs=1e-4)
    assert mean[-1] < 1
    assert mean[-1] > {"logistic": 0.97, "compute": 0.97, "direct": 0.96}.get(kind, 0.99)
    assert ((precision > 0) & (precision <= 300 * (1 + 1e-9))).all()


def test_gadre_is_an_exponential_and_hinge_a_line_until_they_bend():
    u = np.linspace(-3, -1, 9)
    own = {**VALUES, "offset": 0.0}
    mean, _ = FORMS["gadre"](u, own, 0.25)
    np.testing.assert_allclose((mean - 0.25) / 0.75, np.exp(-0.7 + 2 * u), rtol=1e-3)
    u = np.linspace(0.8, 1.2, 5)
    mean, _ = FORMS["hinge"](u, {**own, "slope": 0.2, "width": 0.05}, 0.25)
    np.testing.assert_allclose((mean - 0.25) / 0.75, 0.2 * (u + 0.4), rtol=5e-3)


def test_softplus_holds_at_both_ends():
    np.testing.assert_allclose(softplus(np.array([-800.0, 0.0, 800.0])), [0, np.log(2), 800])


def test_floors_follow_chance_and_are_small_without_a_choice():
    assert floor_of(0.25, 0.0) == pytest.approx(0.25)
    assert floor_of(0.5, 0.2) > 0.5 > floor_of(0.5, -0.2)
    assert 0 < floor_of(0.0, 0.0) < 1e-3


def test_skill_scatters_where_there_is_some_to_win_or_lose():
    at = precision_of(np.array([0.2501, 0.6, 0.9999]), 0.25, precision=1e4, jitter=0.5)
    assert at[0] == pytest.approx(1e4, rel=1e-3)
    assert at[1] < 100
    assert at[2] > 1e3


# -- walks -------------------------------------------------------------------------------------


def test_what_was_read_is_no_reason_for_doubt(link):
    read, doubt = "read N from params", "two tasks have no row above chance"
    for notes, said in (((read,), ""), ((read, doubt), f"Main reason for doubt: {doubt}.")):
        noted = replace(link, notes=notes)
        assert bs.forecast_tasks(noted, loss=2.6, group="web").bottom_line() == said


def test_walks_leave_level_and_slope_of_the_table_to_the_form(link):
    plan = link.plan
    u = plan.fitted
    line = np.stack([np.ones_like(u), u], axis=1)
    np.testing.assert_allclose(line.T @ (np.exp(u)[:, None] * plan.walk(u)), 0, atol=1e-9)


def test_components_of_a_walk_have_the_variance_of_its_integral(link):
    plan = link.plan
    u = np.linspace(plan.fitted.min(), 0, 50)
    # Against the line through the best run, where a walk starts.
    back = plan._components(u)
    np.testing.assert_allclose((back**2).sum(axis=1), abs(u) ** 3 / 3, atol=0.01 * abs(u[0]) ** 3)


def test_walks_beyond_the_best_run_are_integrated_wiener_processes():
    from bayescale.capabilities.link_model import AHEAD
    from bayescale.capabilities.link_predictive import _beyond

    u = np.tile([0.7, -1.0, 2.0, 0.0, 0.7], (40_000, 1))
    drawn = _beyond(u, 2, np.random.default_rng(0)) / AHEAD
    assert (drawn[:, [1, 3]] == 0).all()
    assert (drawn[:, 0] == drawn[:, 4]).all()
    first, far = drawn[:, 0, 0], drawn[:, 2, 0]
    assert first.var() == pytest.approx(0.7**3 / 3, rel=0.03)
    assert far.var() == pytest.approx(2.0**3 / 3, rel=0.03)
    assert np.cov(first, far)[0, 1] == pytest.approx(0.7**2 * (3 * 2.0 - 0.7) / 6, rel=0.03)
    assert abs(np.corrcoef(drawn[:, 2].T)[0, 1]) < 0.02  # every task has its own


def test_drift_beyond_the_best_run_moves_tasks_near_their_top():
    from bayescale.capabilities.link_forms import FORMS, floor_of

    form, chance = FORMS["compute"], 0.25
    values = {"level": 4.0, "slope": 2.0, "top": 0.9, "offset": 0.0, "precision": 100.0,
              "jitter": 0.1}  # fmt: skip
    u, ahead = np.array([-3.0, 0.0, 3.0]), np.array([-0.8, 0.0, 0.8])
    mean, _ = form(u, values, chance)
    moved, precision = form.beyond(u[:, None], ahead, values, chance)
    np.testing.assert_allclose(moved[:, 1], mean, rtol=1e-6)
    assert precision.shape == moved.shape
    floor = floor_of(chance, 0.0)
    odds = lambda y: np.log((y - floor) / (1 - y))  # noqa: E731
    # The log odds of the rise move by slope times drift, also above the top of the form.
    np.testing.assert_allclose(odds(moved[:, 2]) - odds(moved[:, 1]), 2.0 * 0.8, rtol=1e-5)
    assert moved[2, 2] > floor + (1 - floor) * values["top"]
    # Far below the top this is the same as a drift of u.
    np.testing.assert_allclose(moved[0], form(u[0] + ahead, values, chance)[0], rtol=0.02)
    # A form without a top has its drift in u.
    gadre, own = FORMS["gadre"], {k: v for k, v in values.items() if k != "top"} | {"level": -1.0}
    np.testing.assert_allclose(
        gadre.beyond(u, ahead, own, chance)[0], gadre(u + ahead, own, chance)[0]
    )


def test_the_main_doubt_of_accuracies_is_the_distance_from_the_models_with_scores(link):
    lowest = float(link.plan.table["loss"].min())
    far = bs.forecast_tasks(link, loss=lowest - 0.3, group="web", random_seed=1).bottom_line()
    assert f"the run has a loss of {lowest - 0.3:.4g}, and no model with scores is below" in far
    near = bs.forecast_tasks(link, loss=lowest + 0.3, group="web", random_seed=1).bottom_line()
    assert "no model with scores is below" not in near


def test_summaries_follow_the_walk_to_where_half_is_won(link):
    found = link.drawn()
    post, plan = link.posterior.isel(chain=0, draw=7), link.plan
    for i, task in enumerate(link.tasks):
        own = {p.name: float(post[f"{p.name}_task"][i]) for p in plan.parameters}
        u = plan.u(float(found["threshold"].isel(chain=0, draw=7).sel(task=task)))
        steps = walks(post)[i].to_numpy()

        def odds(u, own=own, steps=steps):
            return own["level"] + own["slope"] * (u + plan.walk(np.array(u)) @ steps)

        assert odds(u) == pytest.approx(0, abs=0.02)
        slope = float(found["slope"].isel(chain=0, draw=7).sel(task=task)) * plan.spread
        assert (odds(u + 0.02) - odds(u - 0.02)) / 0.04 == pytest.approx(slope, rel=0.05)


@pytest.mark.slow
def test_a_task_that_leaves_its_form_walks_and_the_others_less():
    rng = np.random.default_rng(3)
    loss = np.sort(rng.uniform(2.2, 4.0, 60))[::-1]
    rows = []
    for task, bent in (("a", 0.0), ("b", 0.0), ("c", 0.0), ("bent", 4.0)):
        odds = 1.5 * (3.2 - loss) + bent * np.maximum(2.8 - loss, 0)
        share = 0.25 + 0.75 / (1 + np.exp(-odds))
        rows.append(
            pd.DataFrame(
                {
                    "loss": loss,
                    "task": task,
                    "share": share,
                    "accuracy": rng.binomial(3000, share) / 3000,
                }
            )
        )
    table = pd.concat(rows).assign(n_questions=3000, chance=0.25)
    made = linked(None, table)
    walk = made.posterior["walk_task"].median(("chain", "draw")).to_series()
    assert walk["bent"] > 1.5 * walk[["a", "b", "c"]].max()
    ahead = bs.forecast_tasks(made, loss=[3.5, 2.6, 2.3])
    low, high = ahead.data["mean"].sel(task="bent").quantile([0.005, 0.995], ("chain", "draw"))
    truth = np.interp([3.5, 2.6, 2.3], loss[::-1], rows[-1]["share"].to_numpy()[::-1])
    assert ((low < truth) & (truth < high)).all()


# -- posterior ---------------------------------------------------------------------------------


def test_known_links_are_recovered(sampled):
    found, post = sampled.drawn(), sampled.posterior
    for task in sampled.tasks:
        threshold, slope, _, _ = TRUE[task]
        low, high = found["slope"].sel(task=task).quantile([0.005, 0.995])
        assert low < slope < high, task
        for corpus, worth in CORPORA.items():
            move = post["move_member"].sel(member=corpus, drop=True) + post["move_cell"].sel(
                cell=f"{task} | {corpus}", drop=True
            )
            moved = found["threshold"].sel(task=task) + sampled.plan.spread * move
            low, high = moved.quantile([0.005, 0.995])
            assert low < threshold + worth < high, (task, corpus)


def test_forecasts_at_a_known_loss_hold_the_truth(sampled):
    ahead = bs.forecast_tasks(sampled, loss=[2.6, 2.9], group="web", random_seed=1)
    low, high = ahead.data["mean"].quantile([0.005, 0.995], SAMPLE)
    truth = np.array([[accuracy(t, x) for t in sampled.tasks] for x in (2.6, 2.9)])
    assert ((low <= truth) & (truth <= high)).all()


def test_a_certain_link_gives_the_accuracy_of_its_formula(results):
    made = made_by_hand(results)
    made = replace(
        made, posterior=posterior(made.plan, 0.0).assign(walk_step=made.posterior["walk_step"] * 0)
    )
    for corpus in CORPORA:
        ahead = bs.forecast_tasks(made, loss=[2.6, 2.9], group=corpus)
        expected = [[accuracy(t, x, corpus) for t in made.tasks] for x in (2.6, 2.9)]
        np.testing.assert_allclose(ahead.data["mean"].mean(SAMPLE), expected, atol=5e-3)


def test_summary_has_a_row_per_task_and_honours_the_interval(link):
    table = link.summary(ci_prob=0.8, ci_kind="hdi")
    assert sorted(table.index) == sorted(TRUE)
    assert (np.diff(table["slope"]) <= 0).all()  # the fastest first
    for name in ("floor", "onset", "threshold", "slope", "top", "scatter", "walk"):
        assert (table[f"{name}_hdi80_lb"] <= table[name]).all()
        assert (table[name] <= table[f"{name}_hdi80_ub"]).all()
    assert {"r_hat", "ess_bulk"} <= set(table.columns)


def test_the_probability_that_a_task_scales_faster_is_that_of_its_slope(link):
    p = link.faster()
    drawn = link.drawn()["slope"]
    assert list(p.index) == list(p.columns) == list(link.summary().index)
    expected = float((drawn.sel(task="late") > drawn.sel(task="two")).mean())
    assert p.loc["late", "two"] == pytest.approx(expected)
    assert p.loc["late", "two"] + p.loc["two", "late"] == pytest.approx(1)
    assert np.isnan(np.diag(p)).all()


def test_the_onset_comes_before_half_of_the_rise(link):
    found = link.drawn()
    assert (found["onset"] > found["threshold"]).all()  # in loss
    # Without walks the log odds of a tenth and a half of the rise differ by log 9.
    still = replace(
        link, posterior=link.posterior.assign(walk_step=0 * link.posterior["walk_step"])
    )
    found = still.drawn()
    gap = (found["onset"] - found["threshold"]) * still.posterior["slope_task"] / still.plan.spread
    np.testing.assert_allclose(gap, np.log(9), rtol=0.01)


def test_a_ranking_is_stated_only_if_it_is_probable(link):
    steps = np.array([0.0, 0.4, 0.0, 0.0])  # one task has a steeper slope than all others
    slope = link.drawn()["slope"]

    def fastest(shift, notes_of=link):
        drawn = {"slope": 0 * slope + 2.0 + 0.1 * np.random.default_rng(1).standard_normal(
            slope.shape) + xr.DataArray(shift, dims="task")}  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bs.Link, "drawn", lambda self: drawn)
            return notes_of.bottom_line()

    second = link.tasks[1]
    assert fastest(steps).startswith(f"{second} scales fastest (P = ")
    told = fastest(0 * steps)
    assert told.startswith("which task scales fastest cannot be told: P(")
    # A task that is never above chance has no place in a ranking.
    table = link.plan.table.copy()
    table.loc[table["task"] == second, "y"] = table.loc[table["task"] == second, "chance"]
    flat = replace(link, plan=replace(link.plan, table=table))
    assert second not in fastest(steps, flat)


def test_a_task_at_chance_has_no_numbers(results):
    """In the link, in its table and in forecasts of several points, which have their N and D."""
    flat = results.assign(accuracy=results["accuracy"].where(results["task"] != "hard", 0.25),
                          chance=0.25)  # fmt: skip
    made = made_by_hand(flat)
    assert made.at_chance == ["hard"]
    assert list(made.summary().index)[-1] == "hard"
    assert "hard: at chance in all rows: cannot be told" in repr(made)
    (row,) = [r for r in task_tables.links(made).rows if r[0] == "hard"]
    assert row == ("hard", "at chance: cannot be told", "", "", "")
    assert "no score exceeds chance" in task_tables.links(made).notes[0]
    ahead = repr(bs.forecast_tasks(made, loss=[2.6, 2.4], group="web"))
    assert "loss 2.6, hard: at chance in all rows: cannot be told" in ahead
    assert "loss 2.4, easy: accuracy 0." in ahead


def test_a_solved_task_has_no_numbers(results):
    made = made_by_hand(
        results.assign(accuracy=results["accuracy"].where(results["task"] != "easy", 1.0))
    )
    assert "easy: solved in all rows: cannot be told" in repr(made)
    assert made.summary().index[-1] == "easy"
    (row,) = [r for r in task_tables.links(made).rows if r[0] == "easy"]
    assert row == ("easy", "solved: cannot be told", "", "", "")


def test_a_summary_compares_each_task_with_the_next(link):
    table, pairs = link.summary(), link.faster()
    first, second = table.index[:2]
    assert table["slope"].iloc[0] >= table["slope"].iloc[1]
    assert table["P(faster than next)"].iloc[0] == pairs.loc[first, second] >= 0.5
    assert np.isnan(table["P(faster than next)"].iloc[-1])


def test_a_forecast_of_several_points_says_which(link):
    ahead = repr(bs.forecast_tasks(link, N=[3e9, 1e9], D=6e10, group="web"))
    assert "N 3B, D 60B" in ahead
    assert "N 1B, D 60B" in ahead


def test_a_link_tells_what_it_is(link):
    text = repr(link)
    assert "Link (logistic) of 4 tasks over corpus, 32 runs" in text
    assert link.bottom_line() in text
    assert "easy: threshold loss" in text
    assert link.kind == "logistic"
    assert link.groups == ("corpus",)
    assert set(link.data.children) == {"posterior", "sample_stats"}


def test_every_scalar_of_the_walks_has_a_name_of_its_own(link):
    from bayescale.inference.diagnostics import flatten

    names, values = flatten(link.posterior)
    assert len(set(names)) == len(names) == values.shape[2]
    at = names.index("walk_step[hard, 2]")
    np.testing.assert_array_equal(
        values[..., at], link.posterior["walk_step"].sel(task="hard", component=2).to_numpy()
    )


def test_chains_that_disagree_warn(results, fit, monkeypatch):
    from bayescale.capabilities import links

    good = made_by_hand(results)
    apart = good.posterior.copy()
    apart["level_task"] = apart["level_task"] + apart["chain"]
    passed = []

    def sample(target, **options):
        passed.append(options)
        found = links.convergence(apart, good.stats)
        return SimpleNamespace(posterior=apart, stats=good.stats, convergence=found)

    monkeypatch.setattr(
        links, "nuts", SimpleNamespace(sample=sample, require=lambda **settings: None)
    )
    monkeypatch.setattr(links, "target", lambda plan: None)
    with pytest.warns(bs.ConvergenceWarning, match="of this link did not converge") as caught:
        made = bs.link(fit, results, engine="nuts", draws=20, random_seed=5)
    assert caught[0].filename == __file__
    assert (passed[0]["draws"], passed[0]["seed"], made.random_seed) == (20, 5, 5)
    assert made.fit is fit
    with pytest.warns(bs.ConvergenceWarning):
        bs.forecast_tasks(made, loss=2.5).summary()


# -- forecasts ---------------------------------------------------------------------------------


def width(data):
    low, high = data.quantile([0.05, 0.95], ("chain", "draw"))
    return (high - low).to_numpy()


def test_a_forecast_loss_widens_what_a_known_one_leaves(link):
    chained = bs.forecast_tasks(link, N=3e9, D=6e10, group="web")
    median = float(chained.data["loss"].median())
    known = bs.forecast_tasks(link, loss=median, group="web")
    assert (width(chained.data["mean"]) > width(known.data["mean"])).all()
    assert (width(known.data["accuracy"]) > width(known.data["mean"])).all()
    np.testing.assert_allclose(
        chained.data["at_loss"].median(("chain", "draw")),
        known.data["mean"].median(("chain", "draw")),
        atol=0.02,
    )


def test_the_loss_that_goes_in_is_the_forecast_of_the_fit(link, fit):
    chained = bs.forecast_tasks(link, N=1e9, D=6e10, group="books", random_seed=4)
    plain = bs.forecast(fit, N=1e9, D=6e10, group="books", random_seed=4)
    np.testing.assert_allclose(
        np.sort(chained.data["loss"].to_numpy().ravel()),
        np.sort(plain.data["loss"].to_numpy().ravel()),
    )


def test_shares_of_the_width_sum_to_one_and_follow_the_question(link):
    known = bs.forecast_tasks(link, loss=2.4, group="web").decompose()
    chained = bs.forecast_tasks(link, N=3e9, D=6e10, group="web").decompose()
    for table in (known, chained):
        np.testing.assert_allclose(table[["loss", "link", "measurement"]].sum(axis=1), 1)
    assert (known["loss"] == 0).all()
    assert (chained["loss"] > 0).all()


def test_links_drift_beyond_the_best_run_only(link):
    best = -link.plan.best
    for loss, wider in ((best + 0.3, False), (best - 0.4, True)):
        plain, drifting = (
            width(
                bs.forecast_tasks(link, loss=loss, group="web", drift=d, random_seed=1).data["mean"]
            )
            for d in ("off", "auto")
        )
        assert (drifting > 1.1 * plain).all() == wider
        assert wider or np.allclose(plain, drifting)


def test_a_new_group_is_wider_than_one_that_was_fitted(link):
    there = bs.forecast_tasks(link, loss=2.6, group="web").data["mean"]
    new = bs.forecast_tasks(link, loss=2.6).data["mean"]
    assert (width(new) > width(there)).all()


def test_points_may_be_a_table(link, results):
    points = results.query("task == 'easy'")[["N", "D", "corpus", "loss"]].head(3)
    known = bs.forecast_tasks(link, points[["loss", "corpus"]], tasks=["hard", "easy"])
    chained = bs.forecast_tasks(link, points[["N", "D", "corpus"]])
    assert dict(known.data.sizes)["point"] == chained.data.sizes["point"] == 3
    assert list(known.data["task"].to_numpy()) == ["hard", "easy"]
    assert list(chained.data["corpus"].to_numpy()) == list(points["corpus"])
    table = chained.summary()
    assert len(table) == 3 * len(TRUE)
    assert {"N", "D", "C", "corpus", "task", "mean", "accuracy"} <= set(table.columns)
    assert "TaskForecast by logistic link, 3 points, 4 tasks" in repr(chained)


def test_one_point_may_be_asked_of_several_groups(link):
    ahead = bs.forecast_tasks(link, loss=2.6, group=["web", "books"])
    assert list(ahead.data["group"].to_numpy()) == ["web", "books"]
    web, books = ahead.data["mean"].mean(("chain", "draw")).to_numpy()
    assert (books > web).all()


def test_accuracies_are_shares_of_the_questions(link):
    drawn = bs.forecast_tasks(link, loss=2.6, group="web", tasks="hard").data["accuracy"]
    right = drawn.to_numpy() * TRUE["hard"][3]
    np.testing.assert_allclose(right, np.round(right), atol=1e-6)


def test_a_link_goes_from_compute(results):
    gap = (results["task"] == "late") & (results["corpus"] == "books")
    link = made_by_hand(results[~gap], kind="compute")
    assert "late | books" not in link.posterior["cell"]
    fitted, drawn_anew = (
        width(bs.forecast_tasks(link, C=1e20, group=g, tasks="late", random_seed=1).data["mean"])
        for g in ("web", "books")
    )
    assert drawn_anew > fitted
    low, high = (
        bs.forecast_tasks(link, C=c, group="web", random_seed=1).data["mean"].median(SAMPLE)
        for c in (1e18, 1e22)
    )
    assert (high > low).all()
    by_product = bs.forecast_tasks(link, N="1B", D="20B", group="web")
    assert float(by_product.data["C"][0]) == pytest.approx(1.2e20)
    assert "loss" not in by_product.data
    assert "threshold C" in repr(link)
    with pytest.raises(bs.FitError, match="a compute link has no loss"):
        bs.forecast_tasks(link, loss=2.5)
    with pytest.raises(bs.FitError, match=r"without a fit: give C=, or N= and D="):
        bs.forecast_tasks(link, N=1e9)


def test_a_direct_link_goes_from_parameters_and_tokens(results, fit):
    link = made_by_hand(results, kind="direct")
    plan, form = link.plan, FORMS["direct"]
    N, D = np.array([1e9, 1e8]), np.array([2e10, 2e11])  # the same compute
    ahead = bs.forecast_tasks(link, N=N, D=D, group="web", tasks="easy", drift="off").data
    values = {p.name: link.posterior[f"{p.name}_task"].sel(task="easy") for p in plan.parameters}
    at = np.log(6 * N * D) - plan.best
    steps = walks(link.posterior).sel(task="easy").transpose(*SAMPLE, "component").to_numpy()
    moves = link.posterior["move_member"].sel(member="web") + link.posterior["move_cell"].sel(
        cell="easy | web"
    )
    for i in range(2):
        u = at[i] / plan.spread + moves + steps @ plan.walk(at[[i]] / plan.spread)[0]
        # The law, written with N and D at the reference and shifts as factors of both.
        shift = plan.spread / 2 * (u - at[i] / plan.spread)
        best = plan.at_typical(np.exp(plan.best))
        n, d = np.log(N[i] / best["N"]) + shift, np.log(D[i] / best["D"]) + shift
        share, alpha, beta = (values[name] for name in ("share", "alpha", "beta"))
        law = share / alpha * (1 - np.exp(-alpha * n)) + (1 - share) / beta * (
            1 - np.exp(-beta * d)
        )
        odds = values["level"] + values["slope"] * law / (plan.spread / 2)
        floor = floor_of(0.25, values["offset"])
        expected = floor + (1 - floor) * values["top"] / (1 + np.exp(-odds))
        found = ahead["mean"].isel(point=i, task=0)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert abs(ahead["mean"].median(SAMPLE).diff("point").item()) > 0.01
    np.testing.assert_allclose(ahead["C"], 6 * N * D)
    of_fit = bs.forecast_tasks(replace(link, fit=fit), N=N, D=D, group="web", random_seed=1).data
    alone = bs.forecast_tasks(link, N=N, D=D, group="web", random_seed=1).data
    np.testing.assert_array_equal(of_fit["mean"], alone["mean"])
    both = bs.forecast_tasks(link, N=1e9, D=2e10, group=["web", "books"], drift="off").data
    np.testing.assert_allclose(both["mean"][:, :, 0, 0], ahead["mean"][:, :, 0, 0])
    for lacking in (dict(C=1e20), dict(points=pd.DataFrame({"C": [1e20]}))):
        with pytest.raises(bs.FitError, match="needs N and D, and N and D cannot be computed"):
            bs.forecast_tasks(link, **lacking)
    with pytest.raises(bs.RunsError, match=r"the table has no D: add them, or give kind='compute'"):
        bs.link(None, results.drop(columns="D"), kind="direct")
    with pytest.raises(bs.FitError, match=r"a trajectory has only its compute: give a link"):
        accuracies(link, np.full((4, 1), 1e20), "web", drift="off", seed=1)
    assert form.by_size
    assert not FORMS["compute"].by_size


def test_direct_links_of_earlier_versions_are_refused(results):
    with pytest.raises(bs.FitError, match=r"saved by an earlier version.* with kind='compute'"):
        made_by_hand(results.drop(columns=["N", "D"]), kind="direct")


def test_thresholds_of_direct_links_are_at_the_typical_ratio(results):
    link = made_by_hand(results, kind="direct")
    at_threshold = link.summary().loc["easy"]
    sizes = link.plan.at_typical(at_threshold["threshold"])
    for name in ("move_member", "move_cell"):
        link.posterior[name] *= 1e-6
    there = bs.forecast_tasks(link, **sizes, group="web", tasks="easy", drift="off").data["mean"]
    half = (at_threshold["floor"] + at_threshold["top"]) / 2
    assert there.median().item() == pytest.approx(half, abs=0.01)
    assert 0.3 < at_threshold["alpha"] < 0.4
    # Odds that end below the threshold never reach it.
    link.posterior["level_task"] -= 60.0
    never = link.summary()
    assert np.isinf(never["threshold"]).all()
    assert never.drop(columns=["r_hat", "P(faster than next)"]).notna().all().all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gadre", "hinge", "direct", "compute"])
def test_every_form_samples(results, kind):
    made = linked(None, results, kind=kind, groups="corpus", engine="particles")
    # The last task has none after it to compare with.
    summary = made.summary().drop(columns="r_hat")
    assert summary.drop(columns="P(faster than next)").notna().all().all()
    assert summary["P(faster than next)"].notna().tolist() == [True] * (len(summary) - 1) + [False]
    assert made.convergence.passed, made.convergence.failures()


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (dict(loss=-1.0), "give one or more positive numbers"),
        (dict(loss="low"), "give one or more positive numbers"),
        (dict(loss=2.5, N=1e9), "loss= was given together with N"),
        (dict(loss=2.5, tasks="esy"), "no task 'esy'. Did you mean 'easy'"),
        (dict(loss=2.5, group="webb"), "no corpus 'webb'. Did you mean 'web'"),
        (dict(loss=2.5, group={"corpsu": "web"}), "no group column 'corpsu'"),
        (dict(loss=[2.5, 2.6], group=["web"] * 3), "3 labels of corpus for 2 points"),
        (dict(points=[1, 2]), "points must be a DataFrame"),
        (dict(points=pd.DataFrame({"loss": [2.5]}), loss=2.5), "DataFrame or by keyword, not both"),
        (
            dict(points=pd.DataFrame({"loss": [2.5], "corpus": ["web"]}), group="web"),
            "groups are given twice",
        ),
    ],
)
def test_unclear_questions_are_refused(link, asked, said):
    with pytest.raises(bs.FitError, match=said.replace("(", r"\(")):
        bs.forecast_tasks(link, **asked)


def test_an_unknown_drift_is_refused(link):
    for wrong in (True, "on"):
        with pytest.raises(bs.FitError, match=r"no drift .* There are: auto, off\."):
            bs.forecast_tasks(link, loss=2.5, drift=wrong)


def test_a_forecast_of_tasks_follows_its_seed(link):
    first, again = (bs.forecast_tasks(link, N=1e9, D=1e10, group="web") for _ in range(2))
    assert first.random_seed == link.random_seed
    xr.testing.assert_identical(again.data, first.data)
    other = bs.forecast_tasks(link, N=1e9, D=1e10, group="web", random_seed=link.random_seed + 1)
    assert not (first.data["accuracy"] == other.data["accuracy"]).all()


def test_a_link_without_a_fit_needs_the_loss(link):
    alone = bs.Link(link.plan, link.posterior, link.stats)
    with pytest.raises(bs.FitError, match="made without a fit: give loss="):
        bs.forecast_tasks(alone, N=1e9, D=1e10)


def test_bad_links_are_refused(fit, results):
    with pytest.raises(bs.FitError, match=r"no engine 'nut'. Did you mean 'nuts'"):
        bs.link(fit, results, engine="nut")
    with pytest.raises(bs.RunsError, match=r"pass@10 has no number of samples: give samples="):
        bs.link(fit, results.rename(columns={"accuracy": "pass@10"}), y="pass@10")
    with pytest.raises(bs.FitError, match="no kind of link 'logstic'"):
        bs.link(fit, results, kind="logstic")
    with pytest.raises(bs.FitError, match="fit is str"):
        bs.link("fit", results)
    with pytest.raises(bs.RunsError, match="no column 'corpsu'"):
        bs.link(fit, results, groups="corpsu")
    with pytest.raises(bs.RunsError, match="divide by 100"):
        bs.link(fit, results.assign(accuracy=results["accuracy"] * 100))
    with pytest.raises(bs.RunsError, match="expected Runs, a DataFrame or a path"):
        bs.link(fit, None)


def test_groups_default_to_those_of_the_fit_that_the_table_has(fit, results, monkeypatch):
    from bayescale.capabilities import links

    plans = []

    def noted(plan):
        plans.append(plan)
        raise InterruptedError

    monkeypatch.setattr(links, "target", noted)
    for given, table in (
        ({}, results),
        ({}, results.drop(columns="corpus")),
        ({"groups": ()}, results),
    ):
        with pytest.raises(InterruptedError):
            bs.link(fit, table, engine="nuts", **given)
    assert [p.groups for p in plans] == [("corpus",), (), ()]
    assert plans[0].members == ("books", "web")
    assert plans[1].members == ()


def test_a_forecast_names_tasks_of_which_the_runs_say_nothing(link):
    assert bs.forecast_tasks(link, loss=3.0).bottom_line() == ""
    note = "task 'sums' never exceeds chance in these rows"
    ahead = bs.forecast_tasks(replace(link, notes=[note]), loss=3.0)
    assert ahead.bottom_line() == f"Main reason for doubt: {note}."
    assert repr(ahead).startswith(f"Main reason for doubt: {note}.\n<TaskForecast")
