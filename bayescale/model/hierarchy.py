"""Group effects: parameters that vary over one or more group columns, on the link scale.

A parameter is normal on the link scale of its prior (`bayescale.priors`). Over each group column it
is pooled completely (one value), partially (a value per group, normal around a population value
with a standard deviation between groups that is inferred) or not at all. Effects of several columns
add on the link scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bayescale.priors import Prior, from_link, to_link

POOLINGS = ("complete", "partial", "none")

#: Standard deviation of the log of a between-group scale around its typical value. A log-normal
#: scale excludes zero, where a few groups that are nearly alike make a funnel that no
#: parametrisation samples well.
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
        Whether the group values themselves are sampled, or their offsets from the population in
        units of the between-group scale.
    """

    column: str
    pooling: str
    centred: bool = True


@dataclass(frozen=True)
class Parameter:
    """A parameter of the law, the noise or the drift: its prior, and how it varies over groups."""

    name: str
    prior: Prior
    effects: tuple[Effect, ...] = ()

    @property
    def has_population(self) -> bool:
        """Whether there is a population value to infer (not so where nothing is pooled)."""
        return not self.effects or any(e.pooling == "partial" for e in self.effects)

    def member(self, effect: Effect) -> str:
        """Name of the variable that holds the values per group."""
        return f"{self.name}_{effect.column}"

    def scale(self, effect: Effect) -> str:
        """Name of the standard deviation between groups, on the link scale."""
        return f"{self.name}_{effect.column}_scale"

    def value(
        self,
        variables: Mapping[str, object],
        select: Callable[[Effect, object, object], object],
    ):
        """The parameter on its natural scale, for the groups that `select` picks.

        Parameters
        ----------
        variables : mapping of str to array
            Variables of the model by name, on their natural scale.
        select : callable
            ``select(effect, members, population)``: the effect's value for the groups in question,
            given the values of all groups and the population value, on the link scale.

        Returns
        -------
        array
            Numpy arrays, xarray objects and PyTensor graphs alike.
        """
        link = self.prior.link
        if not self.effects:
            return variables[self.name]
        base = to_link(link, variables[self.name]) if self.has_population else self.prior.centre
        total = base
        for effect in self.effects:
            members = to_link(link, variables[self.member(effect)])
            total = total + select(effect, members, base) - base
        return from_link(link, total)


def new_member(population, scale, rng_normal):
    """A group that was not fitted, on the link scale: the population plus a normal deviation."""
    return population + scale * rng_normal
