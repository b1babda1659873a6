"""A sigmoid in log compute, as of rewards in reinforcement learning.

Khatri et al. 2025 (ScaleRL), arXiv:2510.13786. The failures of a policy with a reward of at most
0.61, at a hundredth, once and a hundred times the compute in the middle:

>>> law = sigmoid.loss
>>> [round(law(x, E=0.39, A=0.3, slope=1.0, middle=1.0), 2) for x in (0.01, 1.0, 100.0)]
[0.98, 0.69, 0.4]
"""

from bayescale.laws.base import Law
from bayescale.priors import Positive


def loss(x, *, E, A, slope, middle):
    """`A` is the reducible loss at the reference scale. Far below `middle` the curve is flat; far
    above, it is a power with the exponent `slope`."""
    return E + A * (1 + middle**-slope) / (1 + (x / middle) ** slope)


def constants(x, *, E, A, slope, middle):
    return {"height": A * (1 + middle**-slope), "middle": middle * x}


sigmoid = Law(
    name="sigmoid",
    loss=loss,
    constants=constants,
    priors=dict(
        # As in `power`, in units of the typical loss: error rates, or 1 - reward.
        E=Positive(0.4, spread=2.0, between=1.1, of="loss"),
        A=Positive(0.45, spread=2.0, between=1.2, of="loss"),
        slope=Positive(0.8, spread=1.8, between=1.2),
        middle=Positive(1.0, spread=5.0, between=1.5),
    ),
    columns=("C",),
    falling=("C",),
    amplitude="A",
    floor="E",
    reference="Khatri et al. 2025 (ScaleRL), arXiv:2510.13786",
    regime="reinforcement learning",
    formula="E + A * (1 + middle**-slope) / (1 + (x / middle)**slope)",
    use="A reward that rises between two levels, as a sigmoid of log compute. It is fitted as the"
    " loss 1 - reward.",
)
