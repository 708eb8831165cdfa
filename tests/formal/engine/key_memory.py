"""The key memory: a key is read only after it was written, and not written over while it may be read."""

from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal
from synflip.spec.cycles import KEY_RELEASE
from synflip.spec.geometry import Geometry
from synflip.spec.sizes import MAX_SAMPLE_BITS as SAMPLE_BITS
from synflip_hdl.engine.key_memory import KeyMemory

from tests.formal.helpers import Followed, Opened, delayed, fixed, free, free_inputs
from tests.formal.runner import Proof

#: Cycles from an event's issue to its key's address: docs/explanation/architecture.md, the pipeline.
READ_DELAY = 3
COUNT = 26  # bits of this harness's own sample numbers, for every run; the design counts modulo 4


class Halves(Elaboratable):
    """A reader that works as the sequencer does, and one key of one bank that is followed.

    Each cycle the reader may issue an event, for a key that was there when it asked, or, in another cycle,
    release its sample and go on with the next; the key's address comes READ_DELAY cycles after the issue.
    """

    def __init__(self, banks: int, depth: int, halves: int) -> None:
        self.banks, self.depth, self.halves = banks, depth, halves

    def elaborate(self, platform):
        m = Module()
        halves = self.halves
        dut = KeyMemory(Geometry(16, self.banks, key_depth=self.depth, key_halves=halves))
        inside = Opened(m, dut, platform=Followed())
        asks = ("demand.sample", "demand.end", "demand.release")
        free_inputs(m, dut, "control", "reads.address", *asks)
        blocks, samples = fixed(m, 24, "blocks"), fixed(m, SAMPLE_BITS, "samples")
        end = free(m, 24, "end")
        bank = self.banks - 1
        m.d.comb += [
            Assume((blocks >= 1) & (blocks <= self.depth)),
            Assume((end >= 1) & (end <= blocks)),
            Assume(samples != 0),
            dut.control.settings["KEY_BLOCKS"].eq(blocks),
            dut.control.settings["SAMPLES"].eq(samples),
            dut.demand.end.eq(end),
        ]

        # A run starts now and then; before and between, nothing is issued.
        start = free(m, 1, "start")
        going = Signal()
        reader = Signal(COUNT)
        filler = Signal(COUNT)
        filled = Signal(len(inside["block"]))
        granted = Signal(24)  # keys of the reader's sample that are known to be there
        issue, release = free(m, 1, "issue"), free(m, 1, "release")
        block = free(m, len(inside["block"]), "block")
        m.d.comb += [
            dut.control.start.eq(start),
            dut.demand.release.eq(release),
            dut.demand.sample.eq(reader),
            Assume(~issue | (going & (block < granted) & ~release & ~start)),
            # A sample is left once its last layer's keys, so all, were there.
            Assume(~release | (going & (granted == blocks) & ~start)),
            Assume(reader < 1 << SAMPLE_BITS),
        ]
        with m.If(start):
            m.d.sync += [going.eq(1), reader.eq(0), granted.eq(0)]
        with m.Elif(release):
            m.d.sync += [reader.eq(reader + 1), granted.eq(0)]
        with m.Elif(dut.demand.ready & (end > granted)):
            m.d.sync += granted.eq(end)

        # The address comes later; a restart forgets what was under way.
        issues, readers, places = [issue], [reader], [block]
        for cycle in range(READ_DELAY):
            issues.append(Signal(name=f"issued_{cycle + 1}_ago"))
            readers.append(Signal(COUNT, name=f"reader_{cycle + 1}_ago"))
            places.append(Signal(len(block), name=f"block_{cycle + 1}_ago"))
            m.d.sync += [
                issues[-1].eq(issues[-2] & ~start),
                readers[-1].eq(readers[-2]),
                places[-1].eq(places[-2]),
            ]
        reads = issues[-1] & ~start
        address = Cat(places[-1][:-1], readers[-1][0])
        for index in range(self.banks):
            m.d.comb += dut.reads.address[index].eq(address)

        def located(block, sample):
            """Where a sample's key is in a bank's memory."""
            return Cat(block[:-1], sample[0]) if halves == 2 else block[:-1]

        # The followed key: of sample ``owner``, if it was written since the start.
        followed, row = inside[f"bank_{bank}.address"], inside[f"bank_{bank}.row"]
        written = Signal()
        owner = Signal(COUNT)
        key = Signal(64)
        transfer = dut.source.ready & dut.source.valid & ~start
        m.d.comb += Assume(~reads | dut.demand.run)
        with m.If(transfer):
            m.d.sync += filled.eq(filled + 1)
            with m.If(filled + 1 == blocks):
                m.d.sync += [filled.eq(0), filler.eq(filler + 1)]
            with m.If(located(filled, filler) == followed):
                m.d.sync += [written.eq(1), owner.eq(filler), key.eq(dut.source.payload[bank])]
        with m.If(start):
            m.d.sync += [filler.eq(0), filled.eq(0), written.eq(0)]
        # A key is written in the cycle after it was taken.
        on_its_way = inside["write_enable"]
        latest = Mux(filled == 0, blocks[: len(filled)] - 1, filled - 1)[: len(filled)]
        latest_of = (filler - (filled == 0))[:COUNT]
        landing = on_its_way & (inside["write_address"][: len(followed)] == followed)
        landing_key = inside["written"].word_select(bank, 64)
        hits = reads & (located(places[-1], readers[-1]) == followed)
        m.d.comb += [
            Assert(~hits | (written & (owner == readers[-1]))),
            Assert(~hits | ~landing),
            Cover(hits & (reader == 2)),
        ]
        # What is read is what the source gave for it.
        past_hits, past_key = delayed(m, hits, 1, "hits"), delayed(m, key, 1, "key")
        older_hits, older_key = delayed(m, past_hits, 1, "past_hits"), delayed(m, past_key, 1, "past_key")
        found = inside[f"bank_{bank}.hit_0"] & (inside[f"bank_{bank}.kept_0"] == past_key)
        m.d.comb += [
            Assert(~past_hits | found),
            Assert(~older_hits | (dut.reads.data[bank] == older_key)),
        ]

        # The same of the inside.
        oldest, delay = inside["oldest"], inside["delay"]
        released = sum(delay[1:], delay[0])
        oldest_kept = Signal(COUNT)
        m.d.comb += oldest_kept.eq(reader - released)
        place = followed[:-1] if halves == 2 else followed
        # The followed key's half is that of the sample that is being filled.
        mine = filler[0] == followed[-1] if halves == 2 else Const(1)
        with m.If(going):
            m.d.comb += [
                Assert(inside["filling"] == filler),
                Assert(inside["more"] == (filler != samples)),
                Assert(inside["room"] == ((filler != samples) & (filler - oldest_kept < halves))),
                Assert(filler <= samples),
                Assert(inside["block"] == filled),
                Assert(inside["last"] == (filled + 1 == blocks)),
                Assert(inside["last_sample"] == (filler + 1 == samples)),
                Assert(filled < blocks),
                Assert(reader >= released),
                Assert(oldest == oldest_kept[:2]),
                Assert((filler >= reader) & (filler - oldest_kept <= halves)),
                Assert((filler - oldest_kept < halves) | (filled == 0)),
                Assert((granted <= filled) | (filler > reader)),
                Assert(granted <= blocks),
                Assert(~written | (place < blocks)),
                Assert(~written | (Mux(landing, landing_key, row) == key)),
                # The key that is on its way into the memory is the last one taken, and nobody asks for it.
                Assert(
                    ~on_its_way | (inside["write_address"][: len(followed)] == located(latest, latest_of))
                ),
                Assert(~on_its_way | (filled != 0) | (filler != 0)),
                Assert(~on_its_way | (latest_of != reader) | (granted <= latest)),
                # Written: in the sample that is being filled, or in as many before it as there are halves.
                Assert(~written | Cat(owner == filler - back for back in range(halves + 1)).any()),
            ]
            with m.If(place < blocks):
                with m.If(mine):
                    m.d.comb += [
                        Assert((place >= filled) | (written & (owner == filler))),
                        Assert((place < filled) | (filler < halves) | (written & (owner == filler - halves))),
                    ]
                with m.Else():
                    m.d.comb += Assert((filler == 0) | (written & (owner == filler - 1)))
        with m.Else():
            m.d.comb += [Assert(issues[1] == 0), Assert(issues[2] == 0), Assert(issues[3] == 0)]
        # Reads under way are of the reader's sample, or of the one before if it was released after them.
        for cycle in range(1, READ_DELAY + 1):
            early = delay[:cycle]
            left = sum(early[1:], early[0])
            m.d.comb += [
                Assert(~issues[cycle] | (readers[cycle] == reader - left)),
                Assert(~issues[cycle] | (places[cycle] < blocks)),
                Assert(~issues[cycle] | (left != 0) | (places[cycle] < granted)),
            ]
        return m


PROOFS = [
    Proof(
        f"key_memory depth={depth} Q={banks} halves={halves}",
        "a key that is read is the one that the source gave for that row and sample: it was written "
        "before, and is not written over before the read, even if its sample is released in between",
        f"Q = {banks}, {halves} {'half' if halves == 1 else 'halves'} of {depth} keys, 1 to {depth} keys a "
        f"sample, the last bank; reads come {READ_DELAY} cycles after the issue (synapse_array), none is "
        f"issued with or after its sample's release (sequencer), which acts after {KEY_RELEASE} cycles, and "
        "only in a run; any pauses of the source; assumes that a layer's keys end at KEY_END, and the last "
        "layer's at KEY_BLOCKS (driver)",
        lambda banks=banks, depth=depth, halves=halves: Halves(banks, depth, halves),
        depth=2,
        induction=True,
        cover=16 if halves == 2 else 26,
        fast=depth == 4,
        slow=depth == 512,
    )
    for halves in (2, 1)
    for banks, depth in ((1, 4), (2, 16), (1, 512))
]
