"""Diagnostics of the draws of a link that were sampled task by task."""

from __future__ import annotations

from dataclasses import dataclass

#: Least effective draws, and largest tail of the weights and shift between halves.
ESS_ABOVE, PARETO_K_BELOW, SHIFT_BELOW = 400, 0.7, 0.3


@dataclass(frozen=True)
class LinkConvergence:
    """How exact the draws of a link are.

    Attributes
    ----------
    ess : float
        Smallest effective number of independent draws, of a task or of the population values.
    ess_of : str
        ``population``, or the name of the task.
    pareto_k, pareto_k_of
        Largest shape of the tail of the importance weights (Vehtari et al. 2024, arXiv:1507.02646).
    shift : float
        Largest difference between the posterior means of a population value from two halves of the
        pools, in posterior standard deviations.
    """

    ess: float
    ess_of: str
    pareto_k: float
    pareto_k_of: str
    shift: float

    @property
    def passed(self) -> bool:
        """Whether every figure is within its threshold."""
        return not self.failures()

    def failures(self) -> tuple[str, ...]:
        """Each diagnostic that failed, in words, with its value and its threshold."""
        failed = []
        if not self.ess >= ESS_ABOVE:
            failed.append(
                f"the effective sample size of {self.ess_of} is {self.ess:.0f} "
                f"(at least {ESS_ABOVE})"
            )
        if self.pareto_k > PARETO_K_BELOW:
            failed.append(
                f"Pareto k of {self.pareto_k_of} is {self.pareto_k:.2f} (at most {PARETO_K_BELOW})"
            )
        if not self.shift <= SHIFT_BELOW:
            failed.append(
                f"halves of the draws differ by {self.shift:.2f} standard deviations in a "
                f"population value (at most {SHIFT_BELOW})"
            )
        return tuple(failed)

    def __str__(self) -> str:
        return f"{self.ess:.0f} effective draws, Pareto k <= {self.pareto_k:.2f}"
