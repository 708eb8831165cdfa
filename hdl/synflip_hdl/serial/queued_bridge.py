"""The device's end of the serial line for hosts that send ahead: requests wait in a queue."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from synflip.spec.frames import (
    CHAINED,
    CODE_BITS,
    CODE_SHIFT,
    DONE_BITS,
    FORMAT_VERSION,
    MAX_WORDS,
    NO_TAG,
    NUMBER_BITS,
    PACKED,
    PAIRS,
    POLLS,
    QUEUE_REQUESTS,
    QUEUE_WORDS,
    REQUEST_WORDS,
    SESSION_BITS,
    Command,
    Status,
)
from synflip.spec.memory_map import IMAGE_WORD_BITS

from synflip_hdl.serial.bridge import HEAD, MEMBERS, OUTCOME, TAG
from synflip_hdl.serial.frame_queue import HEADER, FrameQueue, words_taken
from synflip_hdl.serial.framing import LONGEST, Deframer, Framer
from synflip_hdl.serial.image_words import ImageWords

#: What is kept of a request: how it ended, and whether it wrote.
KEPT = data.StructLayout({"outcome": OUTCOME, "wrote": 1})
FORMAT = FORMAT_VERSION | QUEUE_REQUESTS << 8 | QUEUE_WORDS << 16


class QueuedBridge(wiring.Component):
    """Serves requests in their order, one at a time, while others come in.

    As in ``SerialBridge`` a request reaches the bus only after its CRC has been found right, and a number is
    carried out once. The outcomes of the last QUEUE_REQUESTS requests are kept: one of these that comes again
    is answered with its outcome if it wrote, or was skipped; else it is read again. A CHAINED request behind
    one that did not end well is skipped.

    Throughput: five cycles a word and the bus's latency, far less than the line takes for its bytes. Reset:
    no session is open.

    Members
    -------
    As those of ``SerialBridge``.
    """

    def __init__(self, silence: int) -> None:
        """silence: cycles without a byte that end a frame."""
        self.silence = silence
        super().__init__(MEMBERS)

    def elaborate(self, platform):
        m = Module()
        m.submodules.deframer = frame = Deframer(self.silence)
        m.submodules.queue = queue = FrameQueue()
        m.submodules.framer = framer = Framer()
        m.submodules.images = images = ImageWords()
        m.submodules.outcomes = outcomes = Memory(shape=KEPT, depth=QUEUE_REQUESTS, init=[])
        keep, kept = outcomes.write_port(), outcomes.read_port()
        wiring.connect(m, wiring.flipped(self.received), frame.bytes)
        wiring.connect(m, framer.bytes, wiring.flipped(self.sent))
        m.d.comb += queue.fed_by(frame)

        word = Signal(32)  # of the queue; a block RAM's answer comes late in a cycle
        header = Signal(HEADER)
        tag, head = Signal(TAG), Signal(HEAD)
        count = Signal(range(MAX_WORDS + 1))
        known, fits = Signal(), Signal()  # the command is one; COUNT is 1..MAX_WORDS and the frame as long
        index = Signal(range(LONGEST + 1))  # of the request's word that is asked for
        session, last = Signal(SESSION_BITS), Signal(NUMBER_BITS)  # open session; last request carried out
        recent = Signal(range(QUEUE_REQUESTS + 1))  # requests of the session whose outcomes are kept
        broken = Signal()  # the last request was not carried out whole
        ours, welcome = Signal(), Signal()  # of the open session; that, or it opens one
        next_, old = Signal(), Signal()  # it has the next number; its outcome is kept
        behind = Signal(NUMBER_BITS)  # the last request's number less this one's
        outcome, new = Signal(OUTCOME), Signal()  # of this request; it uses up its number
        reading = Signal()  # the reply has data
        polls = Signal(range(POLLS))
        chained_bit = CHAINED.bit_length() - 1
        command, chained = head.command[:chained_bit], head.command[chained_bit]
        code = head.address[:CODE_BITS]
        is_image, is_poll = command == Command.IMAGE, command == Command.POLL
        wrote = is_image | (command == Command.WRITE)
        is_command = (command != 0) & (command <= max(Command))
        is_command &= ~chained | wrote | is_poll | (command == Command.READ)
        is_command &= ~is_image | Cat(code == kind for kind in (PAIRS, *PACKED)).any()
        counted = Mux(wrote, word[: len(count)] + REQUEST_WORDS, REQUEST_WORDS)  # words that a frame has then

        m.d.sync += word.eq(queue.value)
        m.d.comb += [
            queue.index.eq(index),
            queue.taken.eq(words_taken(header)),
            kept.addr.eq(tag.number),
            keep.addr.eq(tag.number),
            keep.data.outcome.eq(outcome),
            keep.data.wrote.eq(wrote),
            self.request.payload.write.eq(wrote),
            self.request.payload.address.eq(head.address),
            self.request.payload.data.eq(word),
            images.code.eq(code),
            images.coded.payload.data.eq(word),
            images.coded.payload.last.eq(outcome.done + 1 == count),
        ]
        with m.If(is_image):
            m.d.comb += [
                self.request.payload.address[:IMAGE_WORD_BITS].eq(images.words.payload.word),
                self.request.payload.data.eq(images.words.payload.data),
            ]
        with m.FSM():
            with m.State("WAIT"):  # the oldest frame's header is asked for
                m.d.sync += index.eq(queue.there)
                with m.If(queue.there):
                    m.next = "ASK"
            with m.State("ASK"):  # the queue gives the header
                m.d.sync += index.eq(2)
                m.next = "HEADER"
            with m.State("HEADER"):  # the header is there; the words follow, one a cycle
                m.d.sync += [header.eq(word), index.eq(3)]
                m.next = "TAG"
            with m.State("TAG"):  # the request's first word: its number and session
                m.d.sync += [tag.eq(word), index.eq(4)]
                m.next = "HEAD"
            with m.State("HEAD"):  # the second: address and command
                m.d.sync += head.eq(word)
                m.d.sync += [behind.eq(last - tag.number), ours.eq(tag.session == session)]
                m.next = "COUNT"
            with m.State("COUNT"):  # the third: words to read or write; what JUDGE asks is found out now
                m.d.sync += [
                    count.eq(word),
                    known.eq(is_command),
                    fits.eq((word != 0) & (word <= MAX_WORDS) & (header.length == counted)),
                    welcome.eq((tag.session != 0) & (ours | (command == Command.HELLO))),
                    next_.eq(behind.all()),
                    old.eq(behind < recent),
                ]
                m.next = "JUDGE"
            with m.State("JUDGE"):  # check the request: carry it out, or only reply with a status
                m.d.sync += [outcome.eq(0), reading.eq(0), new.eq(0), polls.eq(POLLS - 1)]
                m.d.comb += images.begin.eq(1)  # of no effect unless an image's words follow
                m.next = "REPLY"
                with m.If(~header.good):
                    m.d.sync += tag.eq(NO_TAG)
                    m.d.sync += outcome.status.eq(
                        Mux(header.length == LONGEST + 1, Status.OVERLONG, Status.DAMAGED)
                    )
                with m.Elif(~known):
                    m.d.sync += outcome.status.eq(Status.UNKNOWN)
                with m.Elif(~fits):
                    m.d.sync += outcome.status.eq(Status.LENGTH)
                with m.Elif(~welcome):
                    m.d.sync += outcome.status.eq(Status.NO_SESSION)
                with m.Elif(command == Command.HELLO):
                    m.d.sync += session.eq(tag.session)
                    with m.If(ours):
                        m.d.sync += outcome.done.eq(last)
                    with m.Else():
                        m.d.sync += [last.eq(0), recent.eq(0), broken.eq(0)]
                with m.Elif(command == Command.FORMAT):
                    m.d.sync += [outcome.done.eq(1), reading.eq(1)]
                with m.Elif(next_):
                    m.d.sync += [last.eq(tag.number), new.eq(1)]
                    m.d.sync += recent.eq(recent + (recent != QUEUE_REQUESTS))
                    with m.If(chained & broken):
                        m.d.sync += outcome.status.eq(Status.SKIPPED)
                    with m.Else():
                        m.d.sync += reading.eq(~wrote)
                        with m.If(wrote):
                            m.next = "FETCH"
                with m.Elif(old & (kept.data.outcome.status == Status.SKIPPED)):
                    m.d.sync += outcome.eq(kept.data.outcome)
                with m.Elif(old & wrote):
                    m.d.sync += outcome.eq(kept.data.outcome)
                    with m.If(~kept.data.wrote):
                        m.d.sync += [outcome.done.eq(0), outcome.status.eq(Status.OUT_OF_ORDER)]
                with m.Elif(old):
                    m.d.sync += reading.eq(1)
                with m.Else():
                    m.d.sync += outcome.status.eq(Status.OUT_OF_ORDER)

            with m.State("FETCH"):  # the queue's memory reads the next word of a write
                m.next = "FETCHED"
            with m.State("FETCHED"):  # the queue gives it
                m.next = "REQUEST"
                with m.If(is_image):
                    m.next = "EXPAND"
            with m.State("EXPAND"):  # an image takes a word, gives one for the bus, or has ended
                m.d.comb += [
                    images.coded.valid.eq(1),
                    self.request.valid.eq(images.words.valid),
                    images.words.ready.eq(self.request.ready),
                ]
                with m.If(images.coded.ready):
                    m.d.sync += [outcome.done.eq(outcome.done + 1), index.eq(index + 1)]
                    m.next = "FETCH"
                with m.Elif(self.request.valid & self.request.ready):
                    m.next = "RESPONSE"
                with m.Elif(~images.busy):
                    m.next = "REPLY"
            with m.State("REQUEST"):  # one access goes out to the bus
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.next = "RESPONSE"
            with m.State("RESPONSE"):  # its answer comes: a word that was read goes into the reply
                refused = self.response.payload.error
                again = is_poll & (outcome.done == 0) & self.response.payload.data[0] & ~refused
                m.d.comb += [
                    framer.words.payload.data.eq(self.response.payload.data),
                    framer.words.valid.eq(self.response.valid & ~wrote & ~refused & ~again),
                    self.response.ready.eq(wrote | refused | again | framer.words.ready),
                ]
                with m.If(self.response.valid & self.response.ready):
                    with m.If(refused):
                        m.d.sync += outcome.status.eq(Status.REFUSED)
                        m.next = "TAIL"
                        with m.If(wrote):
                            m.next = "REPLY"
                    with m.Elif(is_image):
                        m.next = "EXPAND"
                    with m.Elif(again):
                        m.d.sync += polls.eq(polls - 1)
                        m.next = "REQUEST"
                        with m.If(polls == 0):
                            m.d.sync += outcome.status.eq(Status.BUSY)
                            m.next = "TAIL"
                    with m.Else():
                        m.d.sync += [outcome.done.eq(outcome.done + 1), index.eq(index + 1)]
                        m.d.sync += head.address.eq(head.address + 1)
                        m.next = "FETCH"
                        with m.If(outcome.done + 1 == count):
                            m.next = "TAIL"
                            with m.If(wrote):
                                m.next = "REPLY"

            with m.State("REPLY"):  # the reply's first word; a read's words follow as they are read
                m.d.comb += [framer.words.valid.eq(1), framer.words.payload.data.eq(tag)]
                with m.If(framer.words.ready):
                    m.next = "TAIL"
                    with m.If(reading):
                        m.next = "REQUEST"
                        with m.If(command == Command.FORMAT):
                            m.next = "FORMAT"
            with m.State("FORMAT"):  # the one word of its reply
                m.d.comb += [framer.words.valid.eq(1), framer.words.payload.data.eq(FORMAT)]
                with m.If(framer.words.ready):
                    m.next = "TAIL"
            with m.State("TAIL"):  # the reply's last word: words done, and status
                padding = Const(0, CODE_SHIFT - DONE_BITS)
                m.d.comb += [
                    framer.words.valid.eq(1),
                    framer.words.payload.data.eq(Cat(outcome.done, padding, outcome.status)),
                    framer.words.payload.last.eq(1),
                    self.error.eq(framer.words.ready & (outcome.status != Status.OK)),
                    keep.en.eq(framer.words.ready & new),
                    queue.drop.eq(framer.words.ready),
                ]
                with m.If(framer.words.ready):
                    with m.If(new):
                        m.d.sync += broken.eq(outcome.status != Status.OK)
                    m.d.sync += index.eq(0)
                    m.next = "WAIT"
        return m
