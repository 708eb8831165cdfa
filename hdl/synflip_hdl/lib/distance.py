"""Registers that only bridge distance on the die."""

from amaranth.hdl import Signal


def across(m, value, compact: bool, name: str, reset_less: bool = True):
    """``value`` at the other end of the die: a cycle later, from a register of its own.

    In a compact design distances are short and clocks are slow: it is there at once, and there is no
    register. All of the design that depends on ``compact`` in this way says so here. Whoever uses it makes
    sure that the cycle does not matter.
    """
    there = Signal(value.shape(), name=name, reset_less=reset_less)
    domain = m.d.comb if compact else m.d.sync
    domain += there.eq(value)
    return there
