"""Reading a memory in two cycles."""

from amaranth.hdl import Signal


def read_late(m, port, address, compact: bool):
    """What ``port`` reads at ``address``, two cycles later, a row a cycle.

    Block RAM answers late in its cycle, so a register follows, which on an ECP5 is part of the block RAM. In
    a compact design it is in front of the memory: an address has fewer bits.
    """
    if compact:
        asked = Signal(port.addr.shape(), reset_less=True)
        m.d.sync += asked.eq(address)
        m.d.comb += port.addr.eq(asked)
        return port.data
    answer = Signal(port.data.shape(), reset_less=True)
    m.d.comb += port.addr.eq(address)
    m.d.sync += answer.eq(port.data)
    return answer
