"""Group effects: variation of parameters over one or more group columns, on the link scale.

The prior of a parameter is normal on its link scale (`bayescale.priors`). For each group column the
parameter is pooled completely, partially or not at all. Complete pooling: all groups share one
value. Partial pooling: the values of the groups are normal around a population value, with an
inferred standard deviation. No pooling: the values of the groups are independent. The effects of
several columns add on the link scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from bayescale.priors import Fixed, Prior, from_link, to_link

POOLINGS = ("complete", "partial", "none")

#: Prior standard deviation of the log of a between-group scale. A log-normal prior excludes zero.
#: Near zero, the posterior of a few similar groups has the shape of a funnel, which is difficult to
#: sample in any parametrisation.
SCALE_SPREAD = 0.5


@dataclass(frozen=True)
class Effect:
    """How a parameter varies over one group column.

    Attributes
    ----------
    column : str
        The group column.
    pooling : {"partial", "none"}
    centred : bool
        Centred form: the sampler uses the group values. Non-centred form: it uses their offsets
        from the population value in units of the between-group scale.
    """

    column: str
    pooling: str
    centred: bool = True


@dataclass(frozen=True)
class Parameter:
    """A parameter of the law, the noise or the drift: its name, prior and group effects."""

    name: str
    prior: Prior
    effects: tuple[Effect, ...] = ()

    @property
    def is_fixed(self) -> bool:
        """Whether the parameter is pinned at a value; it is then no variable of the model."""
        return isinstance(self.prior, Fixed)

    @property
    def has_population(self) -> bool:
        """Whether the model has a population value, which it has unless pooling is ``"none"``."""
        return not self.is_fixed and (
            not self.effects or any(e.pooling == "partial" for e in self.effects)
        )

    def member(self, effect: Effect) -> str:
        """Name of the variable that holds the values per group."""
        return f"{self.name}_{effect.column}"

    def scale(self, effect: Effect) -> str:
        """Name of the standard deviation between groups, which is on the link scale."""
        return f"{self.name}_{effect.column}_scale"

    def value(
        self,
        variables: Mapping[str, object],
        select: Callable[[Effect, object, object], object],
    ):
        """The parameter on its natural scale, for the groups that `select` returns.

        Parameters
        ----------
        variables : mapping of str to array
            Variables of the model by name, on their natural scale.
        select : callable
            ``select(effect, members, population)`` returns the values for the selected groups, from
            the values of all groups and the population value, all on the link scale.

        Returns
        -------
        array
            Of the type of the variables: numpy array, xarray object or PyTensor graph.
        """
        link = self.prior.link
        if self.is_fixed:
            return np.float64(self.prior.median)
        if not self.effects:
            return variables[self.name]
        population = self.prior.centre
        if self.has_population:
            population = to_link(link, variables[self.name])
        total = population
        for effect in self.effects:
            members = to_link(link, variables[self.member(effect)])
            total = total + select(effect, members, population) - population
        return from_link(link, total)


def new_member(population, scale, rng_normal):
    """The value of a new group on the link scale, from a standard normal draw."""
    return population + scale * rng_normal
