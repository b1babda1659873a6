"""What training compute costs on given hardware, and budgets in units other than FLOP."""

from bayescale.costs.budgets import hardware_in
from bayescale.costs.cost import Bill, Cost, as_flops, read_budgets

__all__ = ["Bill", "Cost", "as_flops", "hardware_in", "read_budgets"]
