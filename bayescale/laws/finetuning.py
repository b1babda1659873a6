"""Fine-tuning: laws of the number of examples and of the model.

Lin et al. 2024, arXiv:2402.02314, and Zhang et al. 2024, arXiv:2402.17193. With `learned` the curve
of a fine-tuned model is flat at first:

>>> import numpy as np
>>> examples = np.array([0.01, 0.1, 1.0, 10.0])
>>> rectified.loss(examples, E=1.0, A=1.0, beta=0.5, learned=1.0).round(2).tolist()
[2.82, 2.52, 2.0, 1.48]
"""

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(x, *, E, A, beta, learned):
    """`A` is the reducible loss at the reference scale. `learned` acts as examples that the model
    has seen before fine-tuning, so that the curve is flat at first."""
    return E + A * (1 + learned) / (x**beta + learned)


def constants(x, *, E, A, beta, learned):
    return {"B": A * (1 + learned) * x**beta, "D_l": learned * x**beta}


def joint(N, finetune, *, E, A, alpha, beta):
    return E + A * N**-alpha * finetune**-beta


def joint_constants(N, finetune, *, E, A, alpha, beta):
    return {"A": A * N**alpha * finetune**beta}


rectified = Law(
    name="rectified",
    loss=loss,
    constants=constants,
    priors=dict(
        # As in `power`; fine-tuning also has small floors.
        E=Positive(0.4, spread=2.0, between=1.2, of="loss"),
        A=Positive(0.45, spread=2.0, between=1.2, of="loss"),
        beta=Positive(0.35, spread=2.0, between=1.2),
        # In units of the examples at the centre to the power of beta.
        learned=Positive(0.3, spread=3.5, between=1.5),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    reference="Lin et al. 2024, arXiv:2402.02314",
    regime="fine-tuning",
    formula="E + A * (1 + learned) / (x**beta + learned)",
    use="Fine-tuning of one model: the loss is flat for few examples and falls as a power of "
    'their number for many. `"rectified(finetune)"` fits the column of the number of '
    "examples.",
)

finetuning = Law(
    name="finetuning",
    loss=joint,
    constants=joint_constants,
    priors=dict(
        E=Positive(0.4, spread=2.0, between=1.1, of="loss"),
        A=Positive(0.45, spread=2.0, between=1.2, of="loss"),
        alpha=Positive(0.15, spread=2.0, between=1.2),
        beta=Positive(0.1, spread=2.0, between=1.2),
    ),
    falling=("N", "finetune"),
    reference="Zhang et al. 2024, arXiv:2402.17193",
    regime="fine-tuning",
    formula="E + A * N**-alpha * finetune**-beta",
    use="Fine-tuning of models of several sizes N on several amounts of data.",
)
