"""Figures of a cost as priors: utilisation, price, power and carbon intensity."""

from __future__ import annotations

import numpy as np

from bayescale.errors import BayescaleError
from bayescale.priors import Fixed, Fraction, Positive, Prior, from_link

#: Model FLOP utilisation: published figures of large runs range from 20 % (GPT-3, Llama 4) to 56 %
#: (Megatron), with 38 to 43 % for Llama 3. 90 % of the prior lies between 24 and 52 %.
MFU = Fraction(0.373, spread=1.455)
MFU_SOURCE = "published utilisation of large runs, 2020 to 2025: 21 % (GPT-3) to 56 % (Megatron)"
#: Power of the data centre for one accelerator, relative to its thermal design power: 1.3 to
#: 1.5 kW for an H100 of 700 W with server, network and cooling; more, if nodes are idle.
OVERHEAD = Positive(1.95, spread=1.12)
#: Carbon intensities of a country differ between its grids and between years.
CARBON_SPREAD = 1.15
DRAWS = 4000


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_prior(name: str, value, default: Prior | None) -> Prior | None:
    """A figure as a prior: a number is exact, a pair the bounds of a 90 % interval."""
    if value is None:
        return default
    upper = 1.0 if name == "mfu" else np.inf
    if isinstance(value, Prior):
        return value
    try:
        numbers = np.atleast_1d(np.asarray(value, float))
    except (TypeError, ValueError):
        numbers = np.array([])
    allowed = "between 0 and 1" if name == "mfu" else "positive"
    if not (
        numbers.size in (1, 2)
        and (np.isfinite(numbers) & (numbers > 0) & (numbers < upper)).all()
        and (np.diff(numbers) > 0).all()
    ):
        raise BayescaleError(
            f"{name} is {value!r}: give a number that is {allowed}, or the lower and upper bound "
            "of a 90 % interval"
        )
    if numbers.size == 1:
        return Fixed(float(numbers[0]))
    return (Fraction if name == "mfu" else Positive).from_interval(*numbers)


def drawn(prior: Prior | None, rng: np.random.Generator) -> np.ndarray | None:
    """Draws of a figure; the same random numbers are used whether or not it is known."""
    normal = rng.standard_normal(DRAWS)
    return None if prior is None else from_link(prior.link, prior.centre + prior.width * normal)
