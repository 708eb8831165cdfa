"""The key source against LFSR113 written out, one step at a time."""

from amaranth.hdl import Assert, Const, Elaboratable, Module, Mux, Signal
from synflip.spec.memory_map import Region
from synflip_hdl.sources.lfsr import STATE, LfsrSource

from tests.formal.helpers import Opened, free_inputs
from tests.formal.runner import Proof

# q, s, r and the mask of each component, as L'Ecuyer prints them; not the project's table.
COMPONENTS = (
    (6, 18, 13, 4294967294),
    (2, 2, 27, 4294967288),
    (13, 7, 21, 4294967280),
    (3, 13, 12, 4294967168),
)


def step(m, state, name: str):
    """One step of each of the four components: b = ((z << q) ^ z) >> r; z = ((z & mask) << s) ^ b."""
    after = []
    for index, (z, (q, s, r, mask)) in enumerate(zip(state, COMPONENTS, strict=True)):
        b, new = Signal(32, name=f"{name}_b{index}"), Signal(32, name=f"{name}_z{index}")
        left = Signal(32, name=f"{name}_left{index}")
        m.d.comb += [
            left.eq(z << q),
            b.eq((left ^ z) >> r),
            new.eq(((z & Const(mask, 32)) << s) ^ b),
        ]
        after.append(new)
    return after


class Source(Elaboratable):
    """Any state, any load, any ready, in every cycle."""

    def __init__(self, banks: int) -> None:
        self.banks = banks

    def elaborate(self, platform):
        m = Module()
        dut = LfsrSource(self.banks)
        inside = Opened(m, dut)
        free_inputs(m, dut)
        started = Signal()
        host = dut.host
        m.d.sync += started.eq(1)
        for bank in range(self.banks):
            state = inside.view(f"state_{bank}", STATE)
            now = [state[index] for index in range(4)]

            # A key is the output of the state and the output of the next one, the first one low.
            following = step(m, now, f"next_{bank}")
            low, high = (z[0] ^ z[1] ^ z[2] ^ z[3] for z in (now, following))
            key = dut.keys.payload[bank]
            m.d.comb += [Assert(key[:32] == low), Assert(key[32:] == high)]

            stepped = now
            for number in range(2 * self.banks):
                stepped = step(m, stepped, f"step_{bank}_{number}")
            for index in range(4):
                loaded = host.write[Region.SEEDS] & (host.offset[:5] == 4 * bank + index)
                expected = Signal(32, name=f"expected_{bank}_{index}")
                m.d.sync += expected.eq(
                    Mux(loaded, host.data, Mux(dut.keys.ready, stepped[index], now[index]))
                )
                m.d.comb += Assert(~started | (now[index] == expected))
        return m


PROOFS = [
    Proof(
        f"lfsr Q={banks}",
        f"a transfer steps a bank's state 2Q = {2 * banks} times, else it stays; a key is two successive "
        "outputs, the first one low; a load writes its component alone",
        f"Q = {banks}, all states",
        lambda banks=banks: Source(banks),
        depth=1,
        induction=True,
        sweep=True,
        fast=banks == 1,
        slow=banks >= 4,
    )
    for banks in (1, 2, 4, 8)
]
