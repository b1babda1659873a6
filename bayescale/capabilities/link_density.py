"""The likelihood of one task in a link, with its random walk and shifts of groups proposed in
closed form.

Given the parameters of a task, accuracy depends on ``v = u + walk + shift of the group``, and walk
and shifts have normal priors. With many questions, the likelihood is nearly normal in them. Fisher
scoring with the mean and variance of the beta-binomial distribution gives its approximation. Draws
from it are weighted by the exact density, so that results do not depend on the approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from bayescale.capabilities.link_model import COMPONENTS, LinkPlan
from bayescale.priors import from_link

#: Steps of Fisher scoring, and the largest change of v in one step.
STEPS, LONGEST = 7, 2.0
#: Bounds of the exact curvature of a row, in units of that of Fisher scoring.
CURVATURE = 0.2, 5.0
#: Step of the finite differences in v of the log likelihood.
DIFFERENCE = 1e-3
#: Degrees of freedom of the proposals of walk and shifts, and the factor on their covariance.
NU, WIDER = 10.0, 1.1
#: Ridge penalty of the regression of residuals, in units of a draw.
RIDGE = 20.0
#: Number of positions that are evaluated at once, so that arrays fit the cache of a processor.
BATCH = 256
#: Largest number of multiplications in one matrix product, see `bayescale.inference.mixtures`.
PRODUCT = 200_000


class Shifts(NamedTuple):
    """Normal prior of the shifts along u of the groups of a task; each (group,)."""

    mean: np.ndarray
    sd: np.ndarray


class Residuals(NamedTuple):
    """Distribution of walk and shifts around their modes, in standard deviations by the Hessian.

    It is standard normal if the likelihood is normal. Near chance it is skewed, and its mean and
    covariance are estimated from earlier draws.

    Attributes
    ----------
    mean : (latent,)
    slope : (parameter, latent)
        Change of the mean with the standardised parameters.
    root : (latent, latent)
        Cholesky root of the covariance.
    """

    mean: np.ndarray
    slope: np.ndarray
    root: np.ndarray

    @classmethod
    def normal(cls, parameters: int, latent: int) -> Residuals:
        return cls(np.zeros(latent), np.zeros((parameters, latent)), np.eye(latent))

    @classmethod
    def fitted(cls, z: np.ndarray, residual: np.ndarray) -> Residuals:
        """From equally weighted draws, (draw, parameter) and (draw, latent)."""
        x = np.concatenate([np.ones((len(z), 1)), z], axis=1)
        line = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ residual)
        apart = residual - x @ line
        covariance = apart.T @ apart / len(z) + RIDGE / len(z) * np.eye(residual.shape[1])
        return cls(line[0], line[1:], np.linalg.cholesky(covariance))


class Proposed(NamedTuple):
    """Draws of walk and shifts for positions of the parameters.

    Attributes
    ----------
    walk : (draw, component)
        Components of the walk, in units of u.
    shift : (draw, group)
    residual : (draw, latent)
        Distance of walk and shifts from their modes, see `Residuals`.
    log_density : (draw,)
        Log likelihood, plus log prior density of the walk, minus log density of the proposal.
    """

    walk: np.ndarray
    shift: np.ndarray
    residual: np.ndarray
    log_density: np.ndarray


@dataclass(frozen=True, eq=False)
class TaskDensity:
    """The rows of one task.

    Attributes
    ----------
    plan : LinkPlan
    task : str

    Notes
    -----
    Positions are (draw, parameter), in the order of `LinkPlan.parameters`. They are standardised
    by the prior of a task whose population value is unknown: `centre` and `width` on the link
    scale.
    """

    plan: LinkPlan
    task: str

    @cached_property
    def _rows(self) -> np.ndarray:
        return np.flatnonzero((self.plan.table["task"] == self.task).to_numpy())

    @cached_property
    def u(self) -> np.ndarray:
        return self.plan.fitted[self._rows]

    @cached_property
    def chance(self) -> float:
        return float(self.plan.facts.loc[self.task, "chance"])

    @cached_property
    def questions(self) -> np.ndarray:
        return self.plan.table["n_questions"].to_numpy(float)[self._rows]

    @cached_property
    def right(self) -> np.ndarray:
        return np.round(self.plan.table["y"].to_numpy(float)[self._rows] * self.questions)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Labels of the groups that have rows."""
        if not self.plan.members:
            return ()
        return tuple(sorted(set(self.plan.table["member"].iloc[self._rows])))

    @cached_property
    def basis(self) -> np.ndarray:
        """Contribution of each component of the walk and of each shift to v; (row, latent)."""
        of_rows = self.plan.table["member"].to_numpy()[self._rows]
        groups = np.stack([of_rows == m for m in self.members], axis=1) if self.members else None
        walk = self.plan.walk(self.u)
        return walk if groups is None else np.concatenate([walk, groups], axis=1)

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Indices of the pairs of latent variables, and their products by row, (row, pair)."""
        i, j = np.triu_indices(self.basis.shape[1])
        return i, j, self.basis[:, i] * self.basis[:, j]

    @cached_property
    def centre(self) -> np.ndarray:
        return np.array([p.prior.centre for p in self.plan.parameters])

    @cached_property
    def width(self) -> np.ndarray:
        return np.array(
            [np.hypot(p.prior.width, p.prior.between_width) for p in self.plan.parameters]
        )

    def values(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Parameters by name, (draw, 1), at standardised positions."""
        on_link = np.clip(self.centre + self.width * z, -300, 300)
        return {
            p.name: from_link(p.prior.link, on_link[:, i, None])
            for i, p in enumerate(self.plan.parameters)
        }

    def log_accuracy(self, v: np.ndarray, values) -> np.ndarray:
        """Log density of the numbers of correct answers, without the binomial coefficients; (draw,)
        for `v` of dims (draw, row)."""
        with np.errstate(all="ignore"):  # parameters so extreme that a mean equals 0 or 1
            total = self._log_rows(v, values).sum(axis=1)
        return np.where(np.isfinite(total), total, -np.inf)

    def log_joint(self, z: np.ndarray, walk: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """Log density of the numbers of correct answers at parameters, walk and shifts; (draw,)."""
        latent = np.concatenate([walk, shift], axis=1)

        def of(part):
            return self.log_accuracy(self.u + latent[part] @ self.basis.T, self.values(z[part]))

        return np.concatenate([of(slice(i, i + BATCH)) for i in range(0, len(z), BATCH)])

    @cached_property
    def _where(self) -> dict[str, object]:
        """Further arguments of the form, see `LinkPlan.where`."""
        return {
            name: value[self._rows] if np.ndim(value) else value
            for name, value in self.plan.rows.items()
        }

    def _of_form(self, v, values):
        return self.plan.form.with_derivative(v, values, self.chance, **self._where)

    def _log_rows(self, v, values):
        from scipy.special import gammaln

        mean, _, total = self._of_form(v, values)
        a, b, k, n = mean * total, (1 - mean) * total, self.right, self.questions
        terms = gammaln(k + a) - gammaln(a) + gammaln(n - k + b) - gammaln(b)
        return terms + gammaln(total) - gammaln(n + total)

    def approximate(self, z: np.ndarray, shifts: Shifts) -> np.ndarray:
        """Laplace's approximation of the log likelihood without walk and shifts; (draw,)."""

        def of(batch):
            values = self.values(batch)
            latent, root, precision, prior = self._scored(values, shifts, exact=False)
            value = self.log_accuracy(self.u + latent @ self.basis.T, values)
            value += 0.5 * np.log(precision).sum(axis=1)
            value -= 0.5 * (precision * (latent - prior) ** 2).sum(axis=1)
            return value - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)

        return np.concatenate([of(z[i : i + BATCH]) for i in range(0, len(z), BATCH)])

    def propose(
        self,
        z: np.ndarray,
        shifts: Shifts,
        rng: np.random.Generator,
        residuals: Residuals | None = None,
    ) -> Proposed:
        """Draw walk and shifts for each position."""
        if residuals is None:
            residuals = Residuals.normal(z.shape[1], self.basis.shape[1])
        batches = (z[i : i + BATCH] for i in range(0, len(z), BATCH))
        parts = [self._propose(batch, shifts, rng, residuals) for batch in batches]
        return Proposed(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _propose(self, z, shifts: Shifts, rng, residuals: Residuals) -> Proposed:
        from scipy.special import gammaln

        values = self.values(z)
        mode, root, precision, _ = self._scored(values, shifts, exact=True)
        n, d = mode.shape
        stretch = np.sqrt(WIDER * NU / rng.chisquare(NU, n))
        normal = rng.standard_normal((n, d))
        residual = residuals.mean + z @ residuals.slope
        residual += stretch[:, None] * normal @ residuals.root.T
        step = np.linalg.solve(root.transpose(0, 2, 1), residual[..., None])[..., 0]
        latent = mode + step
        square = (stretch[:, None] ** 2 * normal**2).sum(axis=1) / WIDER
        log_proposal = (
            gammaln((NU + d) / 2)
            - gammaln(NU / 2)
            - 0.5 * d * np.log(NU * np.pi * WIDER)
            + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
            - np.log(np.diagonal(residuals.root)).sum()
            - 0.5 * (NU + d) * np.log1p(square / NU)
        )
        walk, shift = latent[:, :COMPONENTS], latent[:, COMPONENTS:]
        of_walk = precision[:, :COMPONENTS]
        log_walk = 0.5 * (np.log(of_walk / (2 * np.pi)) - of_walk * walk**2).sum(axis=1)
        exact = self.log_accuracy(self.u + latent @ self.basis.T, values)
        return Proposed(walk, shift, residual, exact + log_walk - log_proposal)

    def _scored(self, values, shifts: Shifts, exact: bool):
        """Mode of walk and shifts, Cholesky root of the precision there, and precision and mean of
        the prior. With `exact`, the last step uses the exact derivatives of the likelihood."""
        n, d = len(values["walk"]), self.basis.shape[1]
        prior = np.concatenate([np.zeros(COMPONENTS), shifts.mean])
        precision = np.empty((n, d))
        precision[:, :COMPONENTS] = values["walk"] ** -2
        precision[:, COMPONENTS:] = shifts.sd**-2.0
        first, second, products = self._pairs
        latent = np.tile(prior, (n, 1))
        scores = [*STEPS * [self._scores], *exact * [self._exact_scores]]
        for score in scores:
            v = self.u + latent @ self.basis.T
            residual, information = score(v, values)
            curvature = np.empty((n, d, d))
            curvature[:, first, second] = curvature[:, second, first] = _product(
                information, products
            )
            curvature[:, np.arange(d), np.arange(d)] += precision
            gradient = residual @ self.basis - precision * (latent - prior)
            change = np.linalg.solve(curvature, gradient[..., None])[..., 0]
            longest = np.abs(change @ self.basis.T).max(axis=1, keepdims=True)
            latent = latent + change * np.minimum(1, LONGEST / np.maximum(longest, 1e-300))
        return latent, np.linalg.cholesky(curvature), precision, prior

    def _scores(self, v, values):
        """First derivative of the quasi-likelihood of every row in v, and its information."""
        mean, derivative, total = self._of_form(v, values)
        n = self.questions
        per_variance = derivative * n / (mean * (1 - mean) * (1 + (n - 1) / (total + 1)))
        return (self.right / n - mean) * per_variance, derivative * per_variance

    def _exact_scores(self, v, values):
        """First derivative of the log likelihood of every row in v, and minus the second."""
        _, expected = self._scores(v, values)
        h = DIFFERENCE
        below, middle, above = (self._log_rows(v + step, values) for step in (-h, 0.0, h))
        low, high = (factor * expected for factor in CURVATURE)
        return (above - below) / (2 * h), np.clip((2 * middle - above - below) / h**2, low, high)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a` @ `b`, in parts that the linear algebra library does not spread over threads."""
    rows = max(1, PRODUCT // b.size)
    return np.concatenate([a[i : i + rows] @ b for i in range(0, len(a), rows)])
