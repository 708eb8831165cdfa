"""The array: P lanes times Q banks, from a tile's events to its sums."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.cycles import pipeline_depth
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import Region, lane_position, weight_bits

from synflip_hdl.engine.coin_comparators import CoinComparators
from synflip_hdl.engine.lane import Lane
from synflip_hdl.interfaces import ONE_PORT, EventIssue, HostAccess, KeyReads, TileSums, event_layout, log2
from synflip_hdl.lib.distance import across
from synflip_hdl.lib.entry_writer import EntryWriter
from synflip_hdl.lib.memory_reads import read_late

LANES_A_CLEAR = 16  # lanes whose accumulators one register empties


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
        geometry = self.geometry
        m.submodules.writer = writer = EntryWriter(weight_bits(geometry))
        entry_bits = (geometry.weight_depth - 1).bit_length()
        m.d.comb += [
            writer.valid.eq(self.host.write[Region.WEIGHTS]),
            writer.offset.eq(self.host.offset),
            writer.data.eq(self.host.data),
        ]
        # A whole entry is written a cycle later: the banks' memories are far apart.
        written = across(m, writer.value, self.compact, "written")

        def delayed(value, cycles: int, name: str, reset_less: bool = True):
            for cycle in range(cycles):
                later = Signal(value.shape(), name=f"{name}_{cycle + 1}", reset_less=reset_less)
                m.d.sync += later.eq(value)
                value = later
            return value

        depth = pipeline_depth(geometry.banks)
        place = delayed(self.issue.place, 2, "place")
        turn = delayed(place.turn, 3, "turn")
        nearly = delayed(self.issue.last, depth - 1, "last", reset_less=False)
        m.d.comb += self.sums.coming.eq(nearly)
        m.d.sync += self.sums.capture.eq(nearly)
        # A reset does not empty the pipeline. It keeps the accumulators at zero until the last event that was
        # under way has passed.
        flush = Signal(range(depth + 1), init=depth)
        with m.If(flush != 0):
            m.d.sync += flush.eq(flush - 1)
        clears = []
        for group in range(0, geometry.lanes, LANES_A_CLEAR):
            clears.append(clear := Signal(init=1, name=f"clear_{group}"))
            clear.attrs["keep"] = 1  # equal registers stay apart: each drives its lanes
            m.d.sync += clear.eq(nearly | (flush != 0))

        banks = []
        for bank in range(geometry.banks):
            event = self.events.payload[bank]
            key_address = Signal(log2(geometry.key_depth), name=f"key_address_{bank}", reset_less=True)
            weight_address = Signal(
                log2(geometry.weight_depth), name=f"weight_address_{bank}", reset_less=True
            )
            m.d.sync += [
                key_address.eq(place.key + event.block),
                weight_address.eq(place.weight + event.block),
            ]
            m.d.comb += self.keys.address[bank].eq(Cat(key_address, delayed(place.half, 1, f"half_{bank}")))

            m.submodules[f"weights_{bank}"] = weights = Memory(
                shape=unsigned(weight_bits(geometry)),
                depth=geometry.weight_depth,
                init=[],
                attrs={ONE_PORT: 1},  # the host writes it while no run is busy
            )
            write, read = weights.write_port(), weights.read_port()
            entry, chosen = writer.entry[:entry_bits], writer.commit & (writer.entry[entry_bits:] == bank)
            write_address = across(m, entry, self.compact, f"write_address_{bank}")
            write_enable = across(m, chosen, self.compact, f"write_enable_{bank}", reset_less=False)
            write_address.attrs["keep"] = 1  # each bank has its own
            asked = delayed(weight_address, 2, f"weight_address_{bank}")
            m.submodules[f"coins_{bank}"] = coins = CoinComparators(geometry)
            m.d.comb += [
                write.addr.eq(write_address),
                write.data.eq(written),
                write.en.eq(write_enable),
                coins.key.eq(self.keys.data[bank]),
                coins.turn.eq(turn),
                coins.entry.eq(read_late(m, read, asked, self.compact)),
            ]
            banks.append((coins, delayed(event.value, 6, f"x_{bank}")))
        self.debug = SimpleNamespace(banks=banks, clears=clears)

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
        return m
