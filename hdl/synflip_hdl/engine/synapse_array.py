"""The array: P lanes times Q banks, from a tile's events to its sums."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, lane_position, weight_bits
from synflip.spec.sizes import address_bits, log2_ceil

from synflip_hdl.engine.coin_comparators import CoinComparators
from synflip_hdl.engine.lane import Lane
from synflip_hdl.interfaces import ONE_PORT, EventIssue, HostAccess, KeyReads, TileSums, event_layout
from synflip_hdl.lib.distance import across
from synflip_hdl.lib.entry_writer import EntryWriter
from synflip_hdl.lib.memory_reads import read_late

LANES_A_CLEAR = 16  # lanes whose accumulators one register empties


def delayed(m, value, cycles: int, name: str, reset_less: bool = True):
    """``value`` of ``cycles`` cycles ago, from as many registers."""
    for cycle in range(cycles):
        later = Signal(value.shape(), name=f"{name}_{cycle + 1}", reset_less=reset_less)
        m.d.sync += later.eq(value)
        value = later
    return value


class SynapseArray(wiring.Component):
    """A pipeline without stalls: one event of every bank a cycle, ``pipeline_depth`` cycles from issue to
    capture.

    Cycle by cycle from the issue: 0 event memory, 1 its register, 2 addresses, 3 key memory, 4 its register,
    5 rotation, 6 words, 7 coins, 8 leaves and log2(Q) levels of the tree, then the accumulator.

    Members
    -------
    host: In(HostAccess), words of the weight entries.
    issue: In(EventIssue), from the sequencer, with the event index that it gives the lists.
    events: In(stream of Q event_layout, always valid and ready), from the lists, two cycles after the issue.
    keys: Out(KeyReads), to the key memory, which answers in two cycles.
    sums: Out(TileSums), to the requantizer.

    Attributes
    ----------
    debug: after ``elaborate``, for proofs: ``banks``, (coin comparators, activation at the leaves) of each
        bank, and ``clears``, the registers that empty LANES_A_CLEAR lanes each.
    """

    def __init__(self, geometry: Geometry, compact: bool = False) -> None:
        """compact: see ``accelerator.Accelerator``. Weights are written at once."""
        self.geometry = geometry
        self.compact = compact
        events = data.ArrayLayout(event_layout(geometry), geometry.banks)
        super().__init__(
            {
                "host": In(HostAccess()),
                "issue": In(EventIssue(geometry)),
                "events": In(stream.Signature(events, always_valid=True, always_ready=True)),
                "keys": Out(KeyReads(geometry)),
                "sums": Out(TileSums(geometry)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.writer = writer = EntryWriter(weight_bits(self.geometry))
        m.d.comb += [
            writer.valid.eq(self.host.write[Region.WEIGHTS]),
            writer.offset.eq(self.host.offset),
            writer.data.eq(self.host.data),
        ]
        # A whole entry is written a cycle later: the banks' memories are far apart.
        written = across(m, writer.value, self.compact, "written")
        place = delayed(m, self.issue.place, 2, "place")
        turn = delayed(m, place.turn, 3, "turn")
        clears = self._clears(m)
        banks = [self._bank(m, bank, place, turn, writer, written) for bank in range(self.geometry.banks)]
        self.debug = SimpleNamespace(banks=banks, clears=clears)
        self._lanes(m, banks, clears)
        return m

    def _clears(self, m):
        """When a tile's sums are captured. Returns the registers that empty the accumulators then, one for
        LANES_A_CLEAR lanes."""
        depth = pipeline_depth(self.geometry.banks)
        nearly = delayed(m, self.issue.last, depth - 1, "last", reset_less=False)
        m.d.comb += self.sums.coming.eq(nearly)
        m.d.sync += self.sums.capture.eq(nearly)
        # A reset does not empty the pipeline. It keeps the accumulators at zero until the last event that was
        # under way has passed.
        flush = Signal(range(depth + 1), init=depth)
        with m.If(flush != 0):
            m.d.sync += flush.eq(flush - 1)
        clears = []
        for group in range(0, self.geometry.lanes, LANES_A_CLEAR):
            clears.append(clear := Signal(init=1, name=f"clear_{group}"))
            clear.attrs["keep"] = 1  # equal registers stay apart: each drives its lanes
            m.d.sync += clear.eq(nearly | (flush != 0))
        return clears

    def _bank(self, m, bank: int, place, turn, writer, written):
        """A bank: addresses of key and weights, the weight memory, the coins. Returns (coin comparators, the
        event's activation when its coins are there)."""
        geometry, event = self.geometry, self.events.payload[bank]
        key_address = Signal(address_bits(geometry.key_depth), name=f"key_address_{bank}", reset_less=True)
        weight_address = Signal(
            address_bits(geometry.weight_depth), name=f"weight_address_{bank}", reset_less=True
        )
        m.d.sync += [
            key_address.eq(place.key + event.block),
            weight_address.eq(place.weight + event.block),
        ]
        half = delayed(m, place.half, 1, f"half_{bank}")
        m.d.comb += self.keys.address[bank].eq(Cat(key_address, half))

        m.submodules[f"weights_{bank}"] = weights = Memory(
            shape=unsigned(weight_bits(geometry)),
            depth=geometry.weight_depth,
            init=[],
            attrs={ONE_PORT: 1},  # the host writes it while no run is busy
        )
        write, read = weights.write_port(), weights.read_port()
        entry_bits = log2_ceil(geometry.weight_depth)
        entry, chosen = writer.entry[:entry_bits], writer.commit & (writer.entry[entry_bits:] == bank)
        write_address = across(m, entry, self.compact, f"write_address_{bank}")
        write_enable = across(m, chosen, self.compact, f"write_enable_{bank}", reset_less=False)
        write_address.attrs["keep"] = 1  # each bank has its own
        asked = delayed(m, weight_address, 2, f"weight_address_{bank}")
        m.submodules[f"coins_{bank}"] = coins = CoinComparators(geometry)
        m.d.comb += [
            write.addr.eq(write_address),
            write.data.eq(written),
            write.en.eq(write_enable),
            coins.key.eq(self.keys.data[bank]),
            coins.turn.eq(turn),
            coins.entry.eq(read_late(m, read, asked, self.compact)),
        ]
        return coins, delayed(m, event.value, 6, f"x_{bank}")

    def _lanes(self, m, banks, clears):
        """The lanes: each takes its coin and sign of every bank, and all take the same activations."""
        geometry = self.geometry
        for index in range(geometry.lanes):
            m.submodules[f"lane_{index}"] = lane = Lane(
                geometry.banks, geometry.activation_bits, geometry.accumulator_bits
            )
            m.d.comb += [lane.last.eq(clears[index // LANES_A_CLEAR]), self.sums.sums[index].eq(lane.total)]
            position = lane_position(index, geometry.lanes)
            for bank, (coins, x) in enumerate(banks):
                m.d.comb += [
                    lane.coins[bank].eq(coins.coins[position]),
                    lane.signs[bank].eq(coins.signs[position]),
                    lane.x[bank].eq(x),
                ]
