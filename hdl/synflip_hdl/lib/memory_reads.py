"""Reading a memory in two cycles."""

from amaranth.hdl import Signal


def read_late(m, port, address, compact: bool):
    """Returns the row that ``port`` reads at ``address``, two cycles after it; a row a cycle.

    The memory takes one cycle, a register the other. Block RAM answers late in its cycle, so the register
    follows the memory; on an ECP5 it is part of the block RAM. In a compact design the register is in front
    of the memory, because an address has fewer bits than a row.
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
