"""The device's end of the serial line: frames to accesses of the bus, and their answers to frames."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from synflip.spec.frames import (
    CODE_SHIFT,
    DONE_BITS,
    MAX_WORDS,
    NO_TAG,
    NUMBER_BITS,
    REQUEST_WORDS,
    SESSION_BITS,
    Command,
    Status,
)
from synflip.spec.sizes import address_bits

from synflip_hdl.bus.registers import REQUEST, RESPONSE
from synflip_hdl.serial.framing import LONGEST, Deframer, Framer

TAG = data.StructLayout({"number": NUMBER_BITS, "session": SESSION_BITS})
HEAD = data.StructLayout({"address": CODE_SHIFT, "command": 32 - CODE_SHIFT})
OUTCOME = data.StructLayout({"done": DONE_BITS, "status": 32 - CODE_SHIFT})
#: Of a device's end of the line, as ``SerialBridge`` describes them.
MEMBERS = {
    "received": In(stream.Signature(8, always_ready=True)),
    "sent": Out(stream.Signature(8)),
    "request": Out(stream.Signature(REQUEST)),
    "response": In(stream.Signature(RESPONSE)),
    "error": Out(1),
}


class SerialBridge(wiring.Component):
    """Serves one request at a time: receives its frame, checks it, carries it out on the bus, sends a reply.

    A request reaches the bus only after its CRC has been found right. The outcome of the last write is kept:
    a host that lost the reply sends the write again, gets the kept outcome, and the words are not written
    twice. Frames that come while a request is carried out or answered are dropped; the host waits.

    Throughput: three cycles a word and the bus's latency, far less than the line takes for its bytes. Reset:
    no session is open.

    Members
    -------
    received : In(stream of 8 bits, always ready)
        Bytes from the line.
    sent : Out(stream of 8 bits)
        Bytes to the line.
    request : Out(stream of REQUEST)
        Accesses of the bus: the next goes out after the response of the one before.
    response : In(stream of RESPONSE)
        The bus's answers, one an access.
    error : Out(1)
        Strobe: a reply with another status than OK is finished.
    """

    def __init__(self, silence: int) -> None:
        """silence: cycles without a byte that end a frame."""
        self.silence = silence
        super().__init__(MEMBERS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.deframer = frame = Deframer(self.silence)
        m.submodules.framer = framer = Framer()
        m.submodules.words = words = Memory(shape=32, depth=MAX_WORDS, init=[])
        write_port, read_port = words.write_port(), words.read_port()
        wiring.connect(m, wiring.flipped(self.received), frame.bytes)
        wiring.connect(m, framer.bytes, wiring.flipped(self.sent))

        tag, head = Signal(TAG), Signal(HEAD)
        count, countable = Signal(range(MAX_WORDS + 1)), Signal()  # COUNT; whether it is 1..MAX_WORDS
        length, good = Signal.like(frame.length), Signal()
        session, last = Signal(SESSION_BITS), Signal(NUMBER_BITS)  # open session; last request carried out
        outcome, kept = Signal(OUTCOME), Signal(OUTCOME)  # of this request; of the last write
        not_kept = OUTCOME.const({"done": 0, "status": Status.OUT_OF_ORDER})
        write = head.command == Command.WRITE
        reading = Signal()  # the reply has data

        # The words of a request as they come: TAG, HEAD, COUNT, then data to the memory. The CRC, the last
        # word, is stored like one more word of data, and nothing reads it.
        m.d.comb += [
            write_port.addr.eq(frame.length - (REQUEST_WORDS - 1)),
            write_port.data.eq(frame.word),
            write_port.en.eq(
                frame.word_valid & (frame.length >= REQUEST_WORDS - 1) & (frame.length < LONGEST - 1)
            ),
        ]
        with m.If(frame.word_valid), m.Switch(frame.length):
            with m.Case(0):
                m.d.sync += tag.eq(frame.word)
            with m.Case(1):
                m.d.sync += head.eq(frame.word)
            with m.Case(2):
                m.d.sync += [
                    count.eq(frame.word),
                    countable.eq((frame.word != 0) & (frame.word <= MAX_WORDS)),
                ]

        m.d.comb += [
            read_port.addr.eq(outcome.done[: address_bits(MAX_WORDS)]),
            self.request.payload.write.eq(write),
            self.request.payload.address.eq(head.address),
            self.request.payload.data.eq(read_port.data),
        ]
        with m.FSM():
            with m.State("RECEIVE"):  # take a frame's words until it ends
                m.d.comb += frame.listen.eq(1)
                m.d.sync += [length.eq(frame.length), good.eq(frame.good)]
                with m.If(frame.end):
                    m.next = "JUDGE"
            with m.State("JUDGE"):  # check the request: carry it out, or only reply with a status
                m.d.sync += [outcome.eq(0), reading.eq(0)]
                m.next = "TAG"
                expected = Mux(write, count + REQUEST_WORDS, REQUEST_WORDS)
                with m.If(length == LONGEST + 1):
                    m.d.sync += [tag.eq(NO_TAG), outcome.status.eq(Status.OVERLONG)]
                with m.Elif(~good | (length < REQUEST_WORDS)):
                    m.d.sync += [tag.eq(NO_TAG), outcome.status.eq(Status.DAMAGED)]
                with m.Elif((head.command == 0) | (head.command > Command.WRITE)):
                    m.d.sync += outcome.status.eq(Status.UNKNOWN)
                with m.Elif(~countable | (length != expected)):
                    m.d.sync += outcome.status.eq(Status.LENGTH)
                with m.Elif(
                    (tag.session == 0) | ((tag.session != session) & (head.command != Command.HELLO))
                ):
                    m.d.sync += outcome.status.eq(Status.NO_SESSION)
                with m.Elif(head.command == Command.HELLO):
                    m.d.sync += session.eq(tag.session)
                    with m.If(tag.session == session):
                        m.d.sync += outcome.done.eq(last)
                    with m.Else():
                        m.d.sync += [last.eq(0), kept.eq(not_kept)]
                with m.Elif((tag.number == last) & write):
                    m.d.sync += outcome.eq(kept)
                with m.Elif((tag.number == last) | (tag.number == (last + 1)[:NUMBER_BITS])):
                    m.d.sync += [last.eq(tag.number), kept.eq(not_kept), reading.eq(~write)]
                    with m.If(write):
                        m.next = "FETCH"
                with m.Else():
                    m.d.sync += outcome.status.eq(Status.OUT_OF_ORDER)

            with m.State("FETCH"):  # the memory reads the next word of a write
                m.next = "REQUEST"
            with m.State("REQUEST"):  # one access goes out to the bus
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):  # its answer comes: a word that was read goes into the reply
                refused = self.response.payload.error
                m.d.comb += [
                    framer.words.payload.data.eq(self.response.payload.data),
                    framer.words.valid.eq(self.response.valid & ~write & ~refused),
                    self.response.ready.eq(write | refused | framer.words.ready),
                ]
                with m.If(self.response.valid & self.response.ready):
                    with m.If(refused):
                        m.d.sync += outcome.status.eq(Status.REFUSED)
                    with m.Else():
                        m.d.sync += [outcome.done.eq(outcome.done + 1), head.address.eq(head.address + 1)]
                    with m.If(~refused & (outcome.done + 1 != count)):
                        m.next = "FETCH"
                    with m.Elif(write):
                        m.next = "KEEP"
                    with m.Else():
                        m.next = "TAIL"
            with m.State("KEEP"):  # store a write's outcome, for a repeat of the request
                m.d.sync += kept.eq(outcome)
                m.next = "TAG"

            with m.State("TAG"):  # the reply's first word; a read's words follow as they are read
                m.d.comb += [framer.words.valid.eq(1), framer.words.payload.data.eq(tag)]
                with m.If(framer.words.ready):
                    m.next = "TAIL"
                    with m.If(reading):
                        m.next = "FETCH"
            with m.State("TAIL"):  # the reply's last word: words done, and status
                padding = Const(0, CODE_SHIFT - DONE_BITS)
                m.d.comb += [
                    framer.words.valid.eq(1),
                    framer.words.payload.data.eq(Cat(outcome.done, padding, outcome.status)),
                    framer.words.payload.last.eq(1),
                    self.error.eq(framer.words.ready & (outcome.status != Status.OK)),
                ]
                with m.If(framer.words.ready):
                    m.next = "RECEIVE"
        return m
