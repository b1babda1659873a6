"""Terms that are explained in half a sentence where they are printed first."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: By the pattern of a term, its explanation.
TERMS: Mapping[str, str] = {
    r"Pareto k\b": "Pareto k: the weight of the tail of the importance weights, harmless up to 0.7",
    r"R-hat": "R-hat: agreement of the chains, which agree up to 1.01",
    r"effective draws|draws are effective": "effective draws: as exact as so many independent ones",
    r"\d moves": "moves: steps of the sampler after the last weighting",
    r"log evidence": "log evidence: log probability of the runs under the law, higher is better",
    r"log predictive density": "log predictive density: how well runs that were left out are "
    "predicted, higher is better",
    r"pool less|less pooling|not pooled": "less pooling: groups share less information",
    r"e-folds": "e-fold: a factor of 2.72 in scale",
    r"prior-dominated": "prior-dominated: determined more by the prior than by the runs",
    r"elpd": "elpd: expected log predictive density of runs that were left out, higher is better",
}


class Explained:
    """Adds explanations to the first text in which each term occurs.

    Examples
    --------
    >>> explained = Explained()
    >>> explained("R-hat of E is 1.2")
    'R-hat of E is 1.2 [R-hat: agreement of the chains, which agree up to 1.01]'
    >>> explained("R-hat of A is 1.2")
    'R-hat of A is 1.2'
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, text: str) -> str:
        new = [p for p in TERMS if p not in self.seen and re.search(p, text)]
        self.seen.update(new)
        return f"{text} [{'; '.join(TERMS[p] for p in new)}]" if new else text
