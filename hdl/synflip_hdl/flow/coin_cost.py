"""What coins cost: a bank of 64 lanes in cells of an ECP5, with the contract's words and with other schemes.

Each scheme is synthesized by itself, from a row's key (or the scheme's input in its place) to coins, with the
registers that it needs. Not counted are the weight and key memories and the registers behind them, which are
part of block RAMs. The source of the keys is counted on its own.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from synflip.randomness.sources import TEXTBOOK_TAPS
from synflip.report.tables import markdown_table
from synflip.spec import lfsr
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import weight_bits
from synflip.spec.sizes import KEY_BITS
from synflip.util.programs import scratch_folder

from synflip_hdl.engine.coin_comparators import CoinComparators, below
from synflip_hdl.export.verilog import to_verilog
from synflip_hdl.flow.cell_counts import COUNTS
from synflip_hdl.flow.resources import COSTS, total
from synflip_hdl.flow.toolchain import map_to_cells
from synflip_hdl.sources.lfsr import LfsrSource, gf2_matmul

GEOMETRY = Geometry(64, 8, bits=4)


@dataclass(frozen=True)
class Cost:
    """Cells of one scheme."""

    luts: int
    flip_flops: int


@dataclass(frozen=True)
class Scheme:
    """A way to make coins.

    name: as in ``synflip coins``. what: a short description. bank: makes the component that is counted.
    source: makes the component that its keys come from; None if the bank makes its own. banks: how many banks
    one source serves.
    """

    name: str
    what: str
    bank: Callable[[], wiring.Component]
    source: Callable[[], wiring.Component] | None
    banks: int = 1


class _Compared(wiring.Component):
    """Lanes that compare words with the entry's probability words; a subclass makes the words."""

    def __init__(self, members: dict[str, Any]) -> None:
        self.geometry = GEOMETRY
        lanes = GEOMETRY.lanes
        entry = {"entry": In(weight_bits(GEOMETRY)), "coins": Out(lanes), "signs": Out(lanes)}
        super().__init__(members | entry)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        lanes, bits = self.geometry.lanes, self.geometry.bits
        *q, signs = (self.entry.word_select(plane, lanes) for plane in range(bits + 1))
        m.d.sync += [self.coins.eq(below(self.planes(m), q)), self.signs.eq(signs)]
        return m

    def planes(self, m: Module) -> list[Any]:
        """Bit by bit, the least significant first: a bit of each lane's word."""
        raise NotImplementedError


class OneWord(_Compared):
    """One word for all lanes of a row."""

    def __init__(self) -> None:
        super().__init__({"key": In(GEOMETRY.bits)})

    def planes(self, m: Module) -> list[Any]:
        """The word's bits, each for all lanes."""
        return [bit.replicate(self.geometry.lanes) for bit in self.key]


class ShiftByOne(_Compared):
    """Lane j's word is the bits of the key from j on, around its end."""

    def __init__(self) -> None:
        super().__init__({"key": In(KEY_BITS)})

    def planes(self, m: Module) -> list[Any]:
        """The key, turned by one more for each bit less significant."""
        return [self.key.rotate_right(bit) for bit in reversed(range(self.geometry.bits))]


class OwnRegister(_Compared):
    """A whole LFSR113 in every lane, so every word is independent by itself. The loading of the states is not
    counted."""

    def __init__(self) -> None:
        super().__init__({"step": In(1)})

    def planes(self, m: Module) -> list[Any]:
        """The top bits of each lane's output."""
        outputs = []
        for lane in range(self.geometry.lanes):
            state = [Signal(32, name=f"state_{lane}_{index}", init=index + 1) for index in range(4)]
            for index, component in enumerate(state):
                with m.If(self.step):
                    m.d.sync += component.eq(gf2_matmul(lfsr.power(index, 1), component))
            outputs.append(state[0] ^ state[1] ^ state[2] ^ state[3])
        bits = self.geometry.bits
        return [Cat(output[32 - bits + bit] for output in outputs) for bit in range(bits)]


class TextbookRegister(wiring.Component):
    """A 64-bit LFSR that shifts by one a row."""

    def __init__(self) -> None:
        super().__init__({"step": In(1), "key": Out(KEY_BITS)})

    def elaborate(self, platform: Any) -> Module:
        """Fibonacci's form: the new bit enters at the top."""
        m = Module()
        state = Signal(KEY_BITS, init=1)
        feedback = Signal()
        m.d.comb += [feedback.eq(Cat(state[tap] for tap in TEXTBOOK_TAPS).xor()), self.key.eq(state)]
        with m.If(self.step):
            m.d.sync += state.eq(Cat(state[1:], feedback))
        return m


SCHEMES = (
    Scheme("lfsr", "the contract's words", lambda: CoinComparators(GEOMETRY), lambda: LfsrSource(8), 8),
    Scheme("one word", "one word shared by all lanes of a row", OneWord, lambda: LfsrSource(8), 8),
    Scheme("shift by one", "one 64-bit LFSR that shifts by one", ShiftByOne, TextbookRegister),
    Scheme("own register", "an LFSR113 in each lane", OwnRegister, None),
)


def synthesize(component: wiring.Component) -> Cost:
    """Cells of this component alone, as Yosys makes it for an ECP5. Raises SynflipError."""
    with scratch_folder() as folder:
        (folder / "synflip.v").write_text(to_verilog(component))
        map_to_cells("ecp5", f"tee -q -o {COUNTS} stat -json", folder)
        found = json.loads((folder / COUNTS).read_text())["design"]["num_cells_by_type"]
    luts, flip_flops = (total(COSTS["ecp5"][resource], found) for resource in ("LUTs", "flip-flops"))
    return Cost(luts, flip_flops)


def measure(advance: Callable[[int, int, str], None]) -> list[tuple[Scheme, Cost, Cost | None]]:
    """Each scheme's cells, and those of its source for all the banks that it serves."""
    costs = []
    for number, scheme in enumerate(SCHEMES):
        advance(number, len(SCHEMES), scheme.name)
        bank = synthesize(scheme.bank())
        costs.append((scheme, bank, synthesize(scheme.source()) if scheme.source else None))
    return costs


def markdown(costs: list[tuple[Scheme, Cost, Cost | None]], command: str) -> str:
    """The costs as a table."""
    opening = (
        f"Made by `{command}`: Yosys, `synth_ecp5`, {GEOMETRY.lanes} lanes of one bank, k = {GEOMETRY.bits}."
    )
    heads = (
        *("scheme", "words", "LUT4 a bank", "flip-flops a bank"),
        *("its source, a bank: LUT4", "flip-flops"),
    )
    rows = []
    for scheme, bank, source in costs:
        beside = (
            ("in the lanes", "-")
            if source is None
            else (f"{source.luts / scheme.banks:.0f}", f"{source.flip_flops / scheme.banks:.0f}")
        )
        rows.append((scheme.name, scheme.what, f"{bank.luts:,}", f"{bank.flip_flops:,}", *beside))
    return f"{opening}\n\n{markdown_table(heads, rows)}\n"
