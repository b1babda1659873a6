"""Terms that are explained in half a sentence where they are printed first."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: By the pattern of a term: its explanation, which is printed in brackets after it.
TERMS: Mapping[str, str] = {
    r"Pareto k(?= |:|$)": "the weight of the tail of the importance weights; harmless up to 0.7",
    r"R-hat": "agreement of the chains; up to 1.01 they agree",
    r"effective draws|draws are effective": "as exact as so many independent ones",
    r"\d+ moves": "steps of the sampler after the last weighting",
    r"log evidence": "log probability of the runs under the law; higher is better",
    r"leverage": "the share of its own fitted value that a run determines",
    r"log predictive density": "how well runs that were left out are predicted; higher is better",
    r"pool less|not pooled": "estimate groups more separately",
    r"elpd": "expected log predictive density of runs that were left out; higher is better",
}


class Explained:
    """Adds the explanation of each term after its first use in the texts that it is called with.

    Examples
    --------
    >>> explained = Explained()
    >>> explained("R-hat is 1.2")
    'R-hat (agreement of the chains; up to 1.01 they agree) is 1.2'
    >>> explained("R-hat is 1.2")
    'R-hat is 1.2'
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, text: str) -> str:
        for pattern, meaning in TERMS.items():
            if pattern not in self.seen and (found := re.search(pattern, text)):
                self.seen.add(pattern)
                text = f"{text[: found.end()]} ({meaning}){text[found.end() :]}"
        return text
