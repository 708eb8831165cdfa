"""cocotb bench of the serial front end, spoken to by cocotbext-uart; tests/hdl/serial/test_top.py runs it."""

import logging
import os
from collections.abc import Sequence
from typing import Any, cast

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, Timer
from cocotbext.uart import UartSink, UartSource
from synflip.devices.framing import Replies, Reply, request
from synflip.spec.frames import MAX_WORDS, NUMBER_BITS, Command, Status
from synflip.spec.memory_map import MAGIC, register

from synflip_sim.testbenches.ports import begin_reset

SESSION = 77
UNKNOWN = cast(Command, 7)  # no command has this number


class Host:
    """Requests out, replies in."""

    def __init__(self, dut: Any) -> None:
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.WARNING)
        self.dut, baud = dut, int(os.environ["UART_BAUD"])
        self.resets = begin_reset(dut.rst, 1)
        Clock(dut.clk, int(os.environ["UART_CLOCK_NS"]), unit="ns").start()
        self.source = UartSource(dut.rx, baud=baud)
        self.sink = UartSink(dut.tx, baud=baud)
        self.replies, self.number = Replies(), 0

    async def start(self) -> "Host":
        """Reset, if the environment wants one: see ``begin_reset``."""
        await ClockCycles(self.dut.clk, 4)
        if self.resets:
            self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 4)
        return self

    async def ask(
        self,
        command: Command,
        address: int = 0,
        count: int = 1,
        data: Sequence[int] = (),
        tag: int | None = None,
    ) -> Reply:
        """One request; its reply."""
        if tag is None:
            self.number += command != Command.HELLO
            tag = SESSION << NUMBER_BITS | self.number
        words = np.array(data, dtype=np.uint32)
        await self.source.write(request(tag, command, address, count, words))
        reply = await self.answer()
        assert reply.tag == tag
        return reply

    async def answer(self) -> Reply:
        """The next reply."""
        while True:
            for reply in self.replies.feed(bytes(await self.sink.read(1))):
                assert reply is not None, "a damaged reply"
                return reply


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def frames(dut: Any) -> None:
    """Reads, bursts, refusals, repeats, and silence, at the host's baud rate."""
    baud = int(os.environ["UART_BAUD"])
    host = await Host(dut).start()

    assert (await host.ask(Command.READ)).status == Status.NO_SESSION
    host.number = 0
    assert (await host.ask(Command.HELLO)).done == 0
    reply = await host.ask(Command.READ, register("MAGIC"), 4)
    assert reply.status == Status.OK and reply.data.tolist()[::2] == [MAGIC, 16]
    # Bytes that must be escaped, and all bits.
    for word in (0x7E7D7E7D, 0x00FFFFFF, 0x55AA55AA):
        reply = await host.ask(Command.WRITE, register("KEY_BLOCKS"), 1, [word])
        assert (reply.status, reply.done) == (Status.OK, 1)
        assert (await host.ask(Command.READ, register("KEY_BLOCKS"))).data.tolist() == [word & 0xFFFFFF]
    # A burst that runs out of the registers that can be written; a repeat of it changes nothing.
    first = register("IMAGES")
    reply = await host.ask(Command.WRITE, first, 9, range(1, 10))
    repeat = await host.ask(Command.WRITE, first, 9, [0] * 9, tag=SESSION << NUMBER_BITS | host.number)
    assert (reply.status, reply.done) == (repeat.status, repeat.done) == (Status.REFUSED, 7)
    assert (await host.ask(Command.READ, first)).data.tolist() == [1]
    # What is not carried out does not use up its number.
    tag = SESSION << NUMBER_BITS | host.number + 1
    assert (await host.ask(UNKNOWN, first, tag=tag)).status == Status.UNKNOWN
    for count in (0, MAX_WORDS + 1, 1 << 31):
        assert (await host.ask(Command.READ, first, count, tag=tag)).status == Status.LENGTH
    damaged = bytearray(request(tag, Command.WRITE, first, 1, np.zeros(1, dtype=np.uint32)))
    damaged[-3] ^= 1
    await host.source.write(bytes(damaged))
    assert (await host.answer()).status == Status.DAMAGED
    # A frame that is cut off, and a silence.
    await host.source.write(request(5, Command.READ)[:7])
    await host.source.wait()
    await Timer(2 * int(os.environ["UART_SILENCE_BITS"]) * 10**9 // baud, "ns")
    late = next(iter(host.replies.feed(bytes(host.sink.read_nowait()))))
    assert late is not None and late.status == Status.DAMAGED
    assert (await host.ask(Command.READ, first)).data.tolist() == [1]
    host.number += 5
    assert (await host.ask(Command.READ, first)).status == Status.OUT_OF_ORDER


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def resets(dut: Any) -> None:
    """A reset in the middle of a reply: the line goes to rest, and afterwards all is as new."""
    host = await Host(dut).start()
    place = register("KEY_BLOCKS")
    await host.ask(Command.HELLO)
    assert (await host.ask(Command.WRITE, place, 1, [99])).status == Status.OK
    host.number += 1
    await host.source.write(request(SESSION << NUMBER_BITS | host.number, Command.READ, place, 1))
    await FallingEdge(dut.tx)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 1)
    assert dut.tx.value == 1
    await Timer(2 * int(os.environ["UART_SILENCE_BITS"]) * 10**9 // int(os.environ["UART_BAUD"]), "ns")
    host.sink.clear()
    host.replies, host.number = Replies(), 0
    assert (await host.ask(Command.READ, place)).status == Status.NO_SESSION
    host.number = 0
    assert (await host.ask(Command.HELLO)).done == 0
    assert (await host.ask(Command.READ, place)).data.tolist() == [0]
