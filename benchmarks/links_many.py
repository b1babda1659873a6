"""Time and precision of a link of the 46 tasks of Gadre et al. 2024, and its plot.

The table is not part of this repository. It has error rates without numbers of questions: the
number of a task is the smallest with which all of its error rates are shares.

    python benchmarks/links_many.py [path of the plot]
"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd
from common import keep, reference, write

import bayescale as bs

#: Tasks whose answers are generated, and tasks with two choices. All others have four.
GENERATED = {
    *("bigbench_conlang_translation", "bigbench_cs_algorithms", "bigbench_dyck_languages"),
    *("bigbench_operators", "bigbench_repeat_copy_logic", "bigbench_qa_wikidata", "coqa"),
    *("jeopardy", "lambada_openai", "pubmed_qa_labeled", "simple_arithmetic_nospaces"),
    *("simple_arithmetic_withspaces", "squad"),
}
BINARY = {
    *("bbq", "bigbench_misconceptions", "bigbench_strange_stories", "bigbench_strategy_qa"),
    *("boolq", "copa", "enterprise_pii_classification", "piqa", "siqa", "winogender_mc_female"),
    *("winogender_mc_male", "winograd", "winogrande"),
}
#: Largest number of questions, and largest distance of a count from a whole number.
MOST, EXACT = 25_000, 0.01


def questions(errors: np.ndarray) -> int:
    """Smallest number of questions of which all error rates are shares, up to their rounding."""
    n = np.arange(20, MOST)
    counts = n[:, None] * errors
    apart = np.abs(counts - np.round(counts)).max(axis=1)
    exact = apart < EXACT + 1e-8 * n
    return int(n[exact][0]) if exact.any() else int(n[np.argmin(apart)])


def table() -> pd.DataFrame:
    wide = pd.read_csv(reference("gadre_downstream.csv"))
    errors = [c for c in wide.columns if c.startswith("err_") and not c.startswith("err_avg")]
    parts = []
    for column in errors:
        task = column.removeprefix("err_")
        parts.append(
            pd.DataFrame(
                {
                    "dataset": wide["dataset"],
                    "loss": wide["loss_openlm"],
                    "C": wide["flops"],
                    "task": task,
                    "accuracy": (1 - wide[column]).clip(0, 1),
                    "n_questions": questions(wide[column].to_numpy()),
                    "chance": 0.0 if task in GENERATED else 0.5 if task in BINARY else 0.25,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def main(picture: str | None = None) -> None:
    results = table()
    started, worked = time.perf_counter(), time.process_time()
    link = bs.link(None, results, groups="dataset", engine="particles", random_seed=1)
    seconds, of_processors = time.perf_counter() - started, time.process_time() - worked
    if picture:
        bs.plot_link(link)[0].figure.savefig(picture, dpi=110)
    keep(link.summary().reset_index(), "links_many_tasks")
    row = {
        "tasks": len(link.tasks),
        "runs": int(results.groupby("task").size().max()),
        "effective draws": link.convergence.ess,
        "fewest of": link.convergence.ess_of,
        "Pareto k": link.convergence.pareto_k,
        "shift": link.convergence.shift,
        "seconds": seconds,
        "processor seconds": of_processors,
    }
    write(pd.DataFrame([row]), "links_many", "a link of many tasks")


if __name__ == "__main__":
    main(*sys.argv[1:2])
