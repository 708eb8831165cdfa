"""cocotb benches of the AXI front end: what tests/hdl/axi/test_top.py runs in the simulator."""

import json
import logging
import os
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp, AxiStreamBus, AxiStreamSink, AxiStreamSource
from synflip.spec import memory_map
from synflip.spec.axi_map import NOWHERE, axi_register
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import CONTROL_ABORT, CONTROL_START, Region, address, register
from synflip.spec.sizes import MAX_OUTPUTS

from synflip_sim.testbenches.ports import begin_reset

STREAMED = (Region.WEIGHTS, Region.BIASES, Region.IMAGES, Region.SOFT)
#: Of an accelerator with soft votes and without tunnel junctions: the version of its map, its registers.
SOFT = Geometry(soft_classes=1)
HERE = {name: item for name, item in memory_map.REGISTERS.items() if memory_map.present(name, SOFT)}
TIMEOUT_MS = 2  # of simulated time, at 10 ns a cycle

#: Channels as the accelerator's outputs: valid, ready, payload.
OUTPUTS = {
    "b": ("s_axi_bvalid", "s_axi_bready", ("s_axi_bresp",)),
    "r": ("s_axi_rvalid", "s_axi_rready", ("s_axi_rdata", "s_axi_rresp")),
    "logits": ("m_axis_tvalid", "m_axis_tready", ("m_axis_tdata", "m_axis_tlast")),
}
#: An answer of the first needs a handshake of each of the others.
CAUSES = {
    "b": (("s_axi_awvalid", "s_axi_awready"), ("s_axi_wvalid", "s_axi_wready")),
    "r": (("s_axi_arvalid", "s_axi_arready"),),
}


class Bench:
    """The accelerator under cocotbext-axi's masters, and a watch on the rules of the bus."""

    def __init__(self, dut: Any) -> None:
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.WARNING)
        logging.getLogger("py.warnings").setLevel(logging.ERROR)  # cocotbext-axi's, about cocotb 2
        self.dut = dut
        self.resets = begin_reset(dut.aresetn, 0)
        Clock(dut.aclk, 10, unit="ns").start()
        args = (dut.aclk, dut.aresetn, False)
        self.lite = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), *args)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), *args)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), *args)
        write, read = self.lite.write_if, self.lite.read_if
        self.channels = {
            "aw": write.aw_channel,
            "w": write.w_channel,
            "b": write.b_channel,
            "ar": read.ar_channel,
            "r": read.r_channel,
            "words": self.source,
            "logits": self.sink,
        }
        cocotb.start_soon(self._watch())

    async def start(self, pauses: bool = True) -> "Bench":
        """Reset, if the environment wants one (``begin_reset``); from then on every channel pauses at random,
        each with its own chance."""
        await ClockCycles(self.dut.aclk, 4)
        if self.resets:
            self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, 4)
        if pauses:
            for name in self.channels:
                self.pause(name, random.choice([0.1, 0.5, 0.8]))
        return self

    def pause(self, channel: str, chance: float) -> None:
        """Idle cycles at random on one channel."""
        chances = random.Random(random.random())
        self.channels[channel].set_pause_generator(iter(lambda: chances.random() < chance, None))

    async def _watch(self) -> None:
        """A valid output stays, with its payload, until it is taken; no answer before its causes."""
        dut = self.dut
        held: dict[str, tuple[int, ...]] = {}
        counts = {name: [0] * (1 + len(causes)) for name, causes in CAUSES.items()}
        while True:
            await RisingEdge(dut.aclk)
            await ReadOnly()
            if dut.aresetn.value == 0:
                held = {}
                counts = {name: [0] * (1 + len(causes)) for name, causes in CAUSES.items()}
            for name, (valid, ready, payload) in OUTPUTS.items():
                now = tuple(int(getattr(dut, item).value) for item in payload)
                offered, taken = bool(getattr(dut, valid).value), bool(getattr(dut, ready).value)
                if name in held:
                    assert offered and held[name] == now, f"{name} did not wait: {held[name]}, {now}"
                held.pop(name, None)
                if offered and not taken:
                    held[name] = now
            for name, causes in CAUSES.items():
                count = counts[name]
                assert not getattr(dut, OUTPUTS[name][0]).value or count[0] < min(count[1:]), f"early {name}"
                for index, pair in enumerate((OUTPUTS[name][:2], *causes)):
                    count[index] += all(bool(getattr(dut, item).value) for item in pair)

    # The map, by word address.

    async def write(self, place: int, *words: int) -> bool:
        """True if no word was refused."""
        data = b"".join(word.to_bytes(4, "little") for word in words)
        answer = await with_timeout(self.lite.write(place * 4, data), TIMEOUT_MS, "ms")
        assert answer.resp in (AxiResp.OKAY, AxiResp.SLVERR)
        return answer.resp == AxiResp.OKAY

    async def read(self, place: int, count: int = 1) -> list[int] | None:
        """The words, or None if one was refused."""
        answer = await with_timeout(self.lite.read(place * 4, count * 4), TIMEOUT_MS, "ms")
        assert answer.resp in (AxiResp.OKAY, AxiResp.SLVERR)
        if answer.resp != AxiResp.OKAY:
            return None
        return [int.from_bytes(answer.data[at : at + 4], "little") for at in range(0, count * 4, 4)]

    async def poll(self, place: int) -> None:
        """Until the word is 0."""
        while await self.read(place) != [0]:
            pass

    async def send(self, place: int, *words: int) -> None:
        """A packet for s_axis: its words go to ``place`` and above."""
        await self.source.send(b"".join(word.to_bytes(4, "little") for word in (place, *words)))

    async def sent(self) -> None:
        """All packets were taken, and their words answered."""
        await with_timeout(self.source.wait(), TIMEOUT_MS, "ms")
        await self.poll(axi_register("STREAM_STATUS"))

    async def packet(self) -> list[int]:
        """A packet of m_axis."""
        frame = await with_timeout(self.sink.recv(), TIMEOUT_MS, "ms")
        data = bytes(frame.tdata)
        return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


async def replay(bench: Bench, plan: dict[str, Any]) -> None:
    """A driver's calls: bulk regions over the stream, the rest over AXI4-Lite; every answer is compared."""
    for kind, place, words in plan["calls"]:
        region = place >> memory_map.OFFSET_BITS
        if kind == "write" and region in STREAMED:
            await bench.send(place, *words)
        elif kind == "write":
            if place == register("CONTROL"):
                await bench.sent()
            assert await bench.write(place, *words)
        elif kind == "poll":
            await bench.poll(place)
        else:
            got = await bench.read(place, len(words))
            assert got is not None, f"a read at {place:#x} was refused"
            wanted = [mine if word is None else word for word, mine in zip(words, got, strict=True)]
            assert got == wanted, f"at {place:#x}: {got}, not {wanted}"


def plan() -> dict[str, Any]:
    """What test_axi.py wants replayed."""
    return json.loads(Path(os.environ["AXI_PLAN"]).read_text())


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def inference(dut: Any) -> None:
    """A whole inference equals the golden model's: votes, sums, samples used, log, cycles, and the stream."""
    bench = await Bench(dut).start()
    work = plan()
    await replay(bench, work)
    for wanted in work["packets"]:
        assert await bench.packet() == wanted
    await ClockCycles(dut.aclk, 100)
    assert bench.sink.empty() and not dut.m_axis_tvalid.value
    assert await bench.read(axi_register("WORDS_REFUSED"), 2) == [0, 0]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def access(dut: Any) -> None:
    """Reads and writes at once, all kinds of places, answers as the map says."""
    bench = await Bench(dut).start()
    settings = {name: item for name, item in HERE.items() if item.access == "RW"}
    held = {}

    async def writer() -> None:
        for _ in range(150):
            name = random.choice(list(settings))
            value = random.getrandbits(32)
            assert await bench.write(register(name), value)
            held[name] = value % (1 << settings[name].bits)
            if random.random() < 0.3:
                assert not await bench.write(
                    random.choice(
                        [
                            register("MAGIC"),
                            register("STATUS"),
                            address(Region.VOTES, 3),
                            address(Region.SEEDS, 8),
                            address(Region.REGISTERS, 23),
                            axi_register("STREAM_STATUS"),
                            NOWHERE,
                        ]
                    ),
                    value,
                )

    async def reader() -> None:
        for _ in range(150):
            assert await bench.read(register("MAGIC"), 2) == [memory_map.MAGIC, memory_map.VERSION]
            if random.random() < 0.3:
                bad = random.choice(
                    [
                        register("CONTROL"),
                        address(Region.WEIGHTS, 0),
                        address(Region.IMAGES, 9),
                        address(Region.USED, 4),
                        axi_register("PASSES_LOST") + 1,
                        NOWHERE,
                    ]
                )
                assert await bench.read(bad) is None

    both = cocotb.start_soon(writer()), cocotb.start_soon(reader())
    for task in both:
        await task
    for name, value in held.items():
        assert await bench.read(register(name)) == [value]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def strobes(dut: Any) -> None:
    """Some strobes: refused. None: accepted. Neither has an effect. Order of answers is kept."""
    bench = await Bench(dut).start()
    write = bench.lite.write_if
    place = register("KEY_BLOCKS")
    for value in (5, 0xABCDEF):
        assert await bench.write(place, value)
        for offset, size in ((0, 1), (3, 1), (0, 2), (1, 3)):
            answer = await bench.lite.write(place * 4 + offset, b"\x11" * size)
            assert answer.resp == AxiResp.SLVERR
            assert await bench.read(place) == [value]
    sent = []
    for _ in range(60):
        aw, w = write.aw_channel._transaction_obj(), write.w_channel._transaction_obj()
        where = random.choice([place, register("MAGIC"), register("CONTROL")])
        aw.awaddr, aw.awprot = where * 4 + random.randrange(4), 0
        strobe, w.wdata = random.choice([0, 15, random.randrange(16)]), random.getrandbits(24) & ~3
        w.wstrb = strobe
        if strobe == 15 and where == place:
            value = w.wdata
        refused = strobe not in (0, 15) or (strobe == 15 and where == register("MAGIC"))
        sent.append((aw, w, 2 if refused else 0))

    async def send() -> None:
        for aw, w, _ in sent:
            await write.aw_channel.send(aw)
            await write.w_channel.send(w)

    sending = cocotb.start_soon(send())
    for _, _, wanted in sent:
        assert int((await with_timeout(write.b_channel.recv(), TIMEOUT_MS, "ms")).bresp) == wanted
    await sending
    assert await bench.read(place) == [value]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def packets(dut: Any) -> None:
    """Packets beside reads and writes; refused words are counted, and nothing else is lost."""
    bench = await Bench(dut).start()
    refused, settings = 0, {}
    base = register("LAYERS")
    last = max(item.offset for item in HERE.values())
    count = last - base + 1
    for _ in range(60):
        kind = random.randrange(5)
        if kind == 0:  # only a header
            await bench.send(random.getrandbits(32))
        elif kind == 1:  # beyond the map: the header's upper bits count too
            words = random.randrange(1, 6)
            await bench.send(base | 1 << random.randrange(28, 32), *[0] * words)
            refused += words
        elif kind == 2:  # the last register of the map, and beyond
            value = random.getrandbits(24)
            await bench.send(last, value, value, value)
            settings[count - 1] = value
            refused += 2
        else:
            first = random.randrange(count)
            values = [random.getrandbits(4) for _ in range(random.randrange(1, count - first + 1))]
            await bench.send(base + first, *values)
            settings |= {first + index: word for index, word in enumerate(values)}
        assert await bench.read(register("MAGIC")) == [memory_map.MAGIC]
        assert await bench.write(register("CONTROL"), 0)
    await bench.sent()
    widths = [item.bits for item in HERE.values() if item.access == "RW"]
    wanted = [settings.get(index, 0) % (1 << bits) for index, bits in enumerate(widths)]
    assert await bench.read(base, count) == wanted
    assert await bench.read(axi_register("WORDS_REFUSED")) == [refused]
    assert await bench.write(axi_register("WORDS_REFUSED"), 1)
    assert await bench.read(axi_register("WORDS_REFUSED")) == [0]


async def endless_run(bench: Bench) -> None:
    """A layer of one class, without weights, for the image in slot 2, for very many samples."""
    await bench.send(address(Region.LAYERS), 0, 4, 0, 4, 0, 0, 0, 0)
    await bench.send(address(Region.BIASES), 7, 7)
    await bench.send(address(Region.SEEDS), *range(200, 208))
    await bench.send(register("LAYERS"), 0, 0, 0, 1, (1 << 24) - 1, 3, 0, 255, 4, 2)
    await bench.send(address(Region.IMAGES, 2 << memory_map.IMAGE_WORD_BITS), 0, 0)
    await bench.send(register("CONTROL"), CONTROL_START)


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def bulk(dut: Any) -> None:
    """Words one by one over AXI4-Lite, each answered before the next; then all as one packet."""
    bench = await Bench(dut).start(pauses=False)
    place, words = address(Region.WEIGHTS), [random.getrandbits(32) for _ in range(512)]
    times = [get_sim_time("ns")]
    for index, word in enumerate(words):
        assert await bench.write(place + index, word)
    times.append(get_sim_time("ns"))
    await bench.send(place, *words)
    await bench.sent()
    times.append(get_sim_time("ns"))
    one_by_one, packet = ((end - start) / 10 / len(words) for start, end in pairwise(times))
    print(f"AXI: {one_by_one:.2f} cycles a word one by one, {packet:.2f} in a packet")
    assert 1 <= packet < 1.05
    assert one_by_one > 4 * packet


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def waiting_stream(dut: Any) -> None:
    """A packet starts a run; what comes behind waits for its end, but images for other slots do not, and
    AXI4-Lite goes on meanwhile."""
    bench = await Bench(dut).start()
    await endless_run(bench)
    for slot in (0, 3):
        await bench.send(address(Region.IMAGES, slot << memory_map.IMAGE_WORD_BITS), 1, 2)
    await bench.sent()
    assert await bench.read(register("STATUS")) == [1]
    assert not await bench.write(address(Region.IMAGES, 2 << memory_map.IMAGE_WORD_BITS), 0)
    await bench.send(address(Region.IMAGES, 2 << memory_map.IMAGE_WORD_BITS), 5, 6)
    await bench.send(register("KEY_BLOCKS"), 99)
    for _ in range(20):
        assert await bench.packet() == [7]
    assert await bench.read(register("STATUS")) == [1]
    assert await bench.read(axi_register("STREAM_STATUS")) == [1]
    used = await bench.read(address(Region.USED, 2))
    assert used and used[0] >= 20
    assert await bench.read(register("KEY_BLOCKS")) == [4]
    assert not await bench.write(register("KEY_BLOCKS"), 5)
    assert await bench.write(register("CONTROL"), CONTROL_ABORT)
    await bench.sent()
    assert await bench.read(register("KEY_BLOCKS")) == [99]
    assert await bench.read(axi_register("WORDS_REFUSED")) == [0]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def lost_passes(dut: Any) -> None:
    """A reader that does not read loses whole passes, which are counted; what is there stays whole."""
    bench = await Bench(dut).start(pauses=False)
    bench.sink.pause = True
    await endless_run(bench)
    while await bench.read(axi_register("PASSES_LOST")) == [0]:
        await ClockCycles(dut.aclk, 1000)
    assert await bench.write(register("CONTROL"), CONTROL_ABORT)
    lost = await bench.read(axi_register("PASSES_LOST"))
    assert lost is not None and lost[0] > 0
    bench.sink.pause = False
    for _ in range(2 * MAX_OUTPUTS):
        assert await bench.packet() == [7]


@cocotb.test(timeout_time=20, timeout_unit="ms")
async def resets(dut: Any) -> None:
    """Reset in the middle of everything: no valid output, and afterwards all is as new."""
    bench = await Bench(dut).start()
    await endless_run(bench)
    assert await bench.packet() == [7]
    dut.aresetn.value = 0
    await ClockCycles(dut.aclk, 2)
    await ReadOnly()
    assert not dut.s_axi_bvalid.value and not dut.s_axi_rvalid.value and not dut.m_axis_tvalid.value
    assert not dut.busy.value
    await RisingEdge(dut.aclk)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 2)
    bench.sink.clear()
    assert await bench.read(register("KEY_BLOCKS")) == [0]
    assert await bench.read(axi_register("STREAM_STATUS")) == [0]
    await endless_run(bench)
    assert await bench.packet() == [7]
