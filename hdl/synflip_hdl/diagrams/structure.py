"""The accelerator's structure, read from its gateware: blocks, their ports, and what connects them.

Amaranth 0.5 has no public way to ask a module for its submodules and statements: what is read here of it are
``Module._named_submodules`` and signals of statements. Nothing is elaborated but the top, and Amaranth is
told not to warn of that.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from synflip.spec.geometry import Geometry

from synflip_hdl.accelerator import Accelerator


@dataclass(frozen=True)
class Port:
    """A port of a block. name: as in the Verilog, such as ``reads__index``; its first part is the interface.
    bits: its width. output: whether the block drives it."""

    name: str
    bits: int
    output: bool

    @property
    def interface(self) -> str:
        """The first part of its name: ``reads``."""
        return self.name.split("__")[0]


@dataclass(frozen=True)
class Link:
    """What one block drives of another: ``bits`` signals from ``source`` to ``sink``, each a block's name and
    an interface of it, such as ``("array", "keys")``."""

    source: tuple[str, str]
    sink: tuple[str, str]
    bits: int


@dataclass(frozen=True)
class Structure:
    """top: ports of the accelerator, names and bits. blocks: by name, in the order of the gateware, the ports
    of each. links: in the order of their names."""

    geometry: Geometry
    top: tuple[tuple[str, int], ...]
    blocks: dict[str, tuple[Port, ...]]
    links: tuple[Link, ...]

    def bits(self, source: str, sink: str) -> int:
        """Width of what the interface ``source``, such as ``array.sums``, drives of ``sink``; 0: nothing."""
        ends = (tuple(source.split(".")), tuple(sink.split(".")))
        return sum(link.bits for link in self.links if (link.source, link.sink) == ends)

    def port(self, path: str) -> Port:
        """The port called ``path``, such as ``keys.reads__data``. Raises KeyError."""
        block, _, name = path.partition(".")
        found = [port for port in self.blocks[block] if port.name == name]
        if not found:
            raise KeyError(path)
        return found[0]


def structure(geometry: Geometry) -> Structure:
    """Of the accelerator of ``geometry``. Memories do not cost: nothing is synthesized."""
    accelerator = _looked_at(Accelerator(geometry))
    module = _looked_at(accelerator.elaborate(None))
    assert isinstance(module, Module)
    blocks: dict[str, tuple[Port, ...]] = {}
    drivers: dict[int, tuple[str, str]] = {}  # id of a signal -> the port that it is, if a block drives it
    inputs: list[tuple[str, str, Any]] = []
    for name, (block, _) in module._named_submodules.items():
        component = _looked_at(getattr(_looked_at(block), "_elaboratable_", block))  # inside a ResetInserter
        ports = []
        for port, signal in _ports(component):
            ports.append(port)
            if port.output:
                drivers[id(signal)] = (name, port.interface)
            else:
                inputs.append((name, port.interface, signal))
        blocks[name] = tuple(ports)
    sources = _sources(module)
    found: dict[tuple[tuple[str, str], tuple[str, str]], int] = defaultdict(int)
    for name, interface, signal in inputs:
        for source in _origins(signal, sources, drivers):
            found[source, (name, interface)] += len(signal)
    links = tuple(Link(*ends, bits) for ends, bits in sorted(found.items()))
    top = tuple((port.name, port.bits) for port, _ in _ports(accelerator))
    return Structure(geometry, top, blocks, links)


def _looked_at(elaboratable: Any) -> Any:
    elaboratable._MustUse__used = True
    return elaboratable


def _ports(component: wiring.Component) -> Iterator[tuple[Port, Value]]:
    for path, member, value in component.signature.flatten(component):
        signal = Value.cast(value)
        yield Port("__".join(map(str, path)), len(signal), member.flow == wiring.Out), signal


def _sources(module: Module) -> dict[int, list[Signal]]:
    """For each signal that a statement assigns, by its id, the signals that the statement reads."""
    sources: dict[int, list[Signal]] = defaultdict(list)
    for statement in module._statements.values():
        for lhs, rhs in _assignments(statement, ()):
            sources[id(lhs)] += rhs
    return sources


def _assignments(
    statements: Iterable[Any], tests: tuple[Signal, ...]
) -> Iterator[tuple[Signal, list[Signal]]]:
    """Signals that are assigned, and those that decide what. tests: those of the switches around."""
    for statement in statements:
        if hasattr(statement, "lhs"):
            read = [*tests, *statement.rhs._rhs_signals()]
            for signal in statement.lhs._lhs_signals():
                yield signal, read
        else:  # a Switch
            inner = (*tests, *statement.test._rhs_signals())
            for case in statement.cases:
                yield from _assignments(case[1], inner)


def _origins(
    signal: Signal, sources: dict[int, list[Signal]], drivers: dict[int, tuple[str, str]]
) -> set[tuple[str, str]]:
    """The ports that drive ``signal``, directly or through the accelerator's own wires and registers."""
    found, seen, todo = set(), set(), [signal]
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if id(one) in drivers:
            found.add(drivers[id(one)])
        else:
            todo += sources.get(id(one), [])
    return found
