"""What the harnesses share: free inputs, a look inside a component, memories of which one row is followed."""

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Array, Const, Fragment, Module, Shape, Signal
from amaranth.lib import data


def free(m, shape, name: str):
    """A signal that may be anything in any cycle."""
    signal = Signal(shape, name=name)
    m.d.comb += _bits(signal).eq(AnySeq(Shape.cast(shape).width))
    return signal


def fixed(m, shape, name: str):
    """A signal that may be anything, but the same in every cycle: what is proved holds for each value."""
    signal = Signal(shape, name=name)
    m.d.comb += _bits(signal).eq(AnyConst(Shape.cast(shape).width))
    return signal


def _bits(signal):
    return signal if isinstance(signal, Signal) else signal.as_value()


def free_inputs(m, component, *but: str) -> None:
    """Every input of ``component`` may be anything in any cycle, except ``but``: a port (``"lists.open"``),
    or all ports of an interface (``"lists"``)."""
    for path, member, value in component.signature.flatten(component):
        names = {".".join(map(str, path[:length])) for length in range(1, len(path) + 1)}
        if member.flow.value == "In" and names.isdisjoint(but) and not isinstance(value, Const):
            value = _bits(value)
            m.d.comb += value.eq(AnySeq(len(value)))


def delayed(m, value, cycles: int, name: str):
    """``value`` of ``cycles`` cycles ago, 0 at first."""
    for cycle in range(cycles):
        later = Signal(value.shape(), name=f"{name}_{cycle + 1}_ago")
        m.d.sync += later.eq(value)
        value = later
    return value


class Opened:
    """A component as a submodule, and the signals inside it by name: ``opened["tiles.produce"]``.

    Proofs by induction need them: the claim alone says too little about the state that it starts from. A name
    is that of a signal which the component assigns, after those of the submodules that it is in. What cannot
    be found so, such as a memory's port or a list of signals, a component keeps in its attribute ``debug``.
    """

    def __init__(self, m, component, name: str = "dut", platform=None) -> None:
        self._fragment = Fragment.get(component, platform)
        m.submodules[name] = self._fragment

    def __getitem__(self, path: str) -> Signal:
        *outer, name = path.split(".")
        fragment = self._fragment
        for part in outer:
            fragment = fragment.find_subfragment(part)
        found = {
            id(signal): signal
            for statements in fragment.statements.values()
            for signal in statements._lhs_signals()
            if signal.name == name
        }
        if len(found) != 1:
            raise KeyError(f"{len(found)} signals are called {path!r}")
        return next(iter(found.values()))

    def view(self, path: str, layout: data.Layout) -> data.View:
        """The signal as ``layout``."""
        return data.View(layout, self[path])


class Followed:
    """A platform on which a memory has one row, at an ``address`` that may be any; other rows read as
    anything. Like a real memory, it is not reset.

    It allows all that a real memory does and more, so what is proved on it holds for the real one. The
    state is one row instead of all. Inside are ``address``, ``row``, and for read port n what it was asked
    and answers: ``hit_n`` is 1 if the port's answer is the row's.
    """

    def get_memory(self, memory):
        m = Module()
        (write,) = memory.write_ports
        width = Shape.cast(memory.shape).width
        address = fixed(m, len(write.addr), "address")
        row = Signal(width, name="row", reset_less=True)
        with m.If(write.en.any() & (write.addr == address)):
            m.d.sync += row.eq(_value(write.data))
        for index, read in enumerate(memory.read_ports):
            hit = Signal(name=f"hit_{index}", reset_less=True)
            here = read.addr == address
            if read.domain == "comb":
                m.d.comb += hit.eq(here)
                kept = row
            else:
                kept = Signal(width, name=f"kept_{index}", reset_less=True)
                m.d.sync += [hit.eq(here), kept.eq(row)]
            m.d.comb += _value(read.data).eq(AnySeq(width))
            with m.If(hit):
                m.d.comb += _value(read.data).eq(kept)
        return m


class Spread(Followed):
    """A platform on which memories of ``depth`` rows are as many registers, ``row_0`` and so on, and what
    read port n answers is ``kept_n``; others are followed."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def get_memory(self, memory):
        if memory.depth != self.depth:
            return super().get_memory(memory)
        m = Module()
        (write,) = memory.write_ports
        width = Shape.cast(memory.shape).width
        rows = [Signal(width, name=f"row_{index}", reset_less=True) for index in range(memory.depth)]
        for index, row in enumerate(rows):
            with m.If(write.en & (write.addr == index)):
                m.d.sync += row.eq(_value(write.data))
        for index, read in enumerate(memory.read_ports):
            kept = Signal(width, name=f"kept_{index}")
            m.d.sync += kept.eq(Array(rows)[read.addr])
            m.d.comb += _value(read.data).eq(kept)
        return m


def _value(item):
    return item.as_value() if hasattr(item, "as_value") else item
