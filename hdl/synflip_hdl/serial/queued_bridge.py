"""The device's end of the serial line for hosts that send ahead: requests wait in a queue."""

from types import SimpleNamespace

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
        asked, session, answer = self._asked(), self._session(), self._answer()
        m.d.sync += asked.word.eq(queue.value)
        m.d.comb += [
            queue.index.eq(asked.index),
            queue.taken.eq(words_taken(asked.header)),
            kept.addr.eq(asked.tag.number),
            keep.addr.eq(asked.tag.number),
            keep.data.outcome.eq(answer.outcome),
            keep.data.wrote.eq(asked.wrote),
            self.request.payload.write.eq(asked.wrote),
            self.request.payload.address.eq(asked.head.address),
            self.request.payload.data.eq(asked.word),
            images.code.eq(asked.code),
            images.coded.payload.data.eq(asked.word),
            images.coded.payload.last.eq(answer.outcome.done + 1 == asked.count),
        ]
        with m.If(asked.is_image):
            m.d.comb += [
                self.request.payload.address[:IMAGE_WORD_BITS].eq(images.words.payload.word),
                self.request.payload.data.eq(images.words.payload.data),
            ]
        with m.FSM():
            self._reading_states(m, queue, asked, session)
            with m.State("JUDGE"):  # check the request: carry it out, or only reply with a status
                m.d.comb += images.begin.eq(1)  # of no effect unless an image's words follow
                self._judge(m, asked, session, answer, kept.data)
            self._writing_states(m, images, asked, answer)
            with m.State("RESPONSE"):  # its answer comes: a word that was read goes into the reply
                self._respond(m, framer, asked, answer)
            self._reply_states(m, framer, queue, keep, asked, session, answer)
        return m

    def _asked(self):
        """The request that is served, word by word as the queue gives it.

        word: the queue's answer, a cycle late. index: of the word that is asked for. count: words to read or
        write. known: its command is one. fits: COUNT is 1..MAX_WORDS and the frame as long as that says.
        polls: reads that are left to a poll. wrote: it writes.
        """
        asked = SimpleNamespace(
            word=Signal(32, name="word"),  # block RAM answers late in its cycle
            header=Signal(HEADER, name="header"),
            tag=Signal(TAG, name="tag"),
            head=Signal(HEAD, name="head"),
            count=Signal(range(MAX_WORDS + 1), name="count"),
            known=Signal(name="known"),
            fits=Signal(name="fits"),
            index=Signal(range(LONGEST + 1), name="index"),
            polls=Signal(range(POLLS), name="polls"),
        )
        chained_bit = CHAINED.bit_length() - 1
        asked.command = asked.head.command[:chained_bit]
        asked.chained = asked.head.command[chained_bit]
        asked.code = asked.head.address[:CODE_BITS]
        asked.is_image = asked.command == Command.IMAGE
        asked.is_poll = asked.command == Command.POLL
        asked.wrote = asked.is_image | (asked.command == Command.WRITE)
        return asked

    def _session(self):
        """The open session. last: the last request carried out. recent: requests whose outcomes are kept.
        broken: the last one was not carried out whole.

        Of the request that is served: ours: it is of this session. welcome: that, or it opens one. behind:
        the last request's number less its own. next_: it has the next number. old: its outcome is kept.
        """
        return SimpleNamespace(
            number=Signal(SESSION_BITS, name="session"),
            last=Signal(NUMBER_BITS, name="last"),
            recent=Signal(range(QUEUE_REQUESTS + 1), name="recent"),
            broken=Signal(name="broken"),
            ours=Signal(name="ours"),
            welcome=Signal(name="welcome"),
            next_=Signal(name="next_"),
            old=Signal(name="old"),
            behind=Signal(NUMBER_BITS, name="behind"),
        )

    def _answer(self):
        """The reply. outcome: of the request. new: it uses up its number. reading: the reply has data."""
        return SimpleNamespace(
            outcome=Signal(OUTCOME, name="outcome"), new=Signal(name="new"), reading=Signal(name="reading")
        )

    def _reading_states(self, m, queue, asked, session):
        """The oldest request is read from the queue."""
        is_command = (asked.command != 0) & (asked.command <= max(Command))
        is_command &= ~asked.chained | asked.wrote | asked.is_poll | (asked.command == Command.READ)
        is_command &= ~asked.is_image | Cat(asked.code == kind for kind in (PAIRS, *PACKED)).any()
        words = asked.word[: len(asked.count)]
        counted = Mux(asked.wrote, words + REQUEST_WORDS, REQUEST_WORDS)  # words that a frame has then
        with m.State("WAIT"):  # the oldest frame's header is asked for
            m.d.sync += asked.index.eq(queue.there)
            with m.If(queue.there):
                m.next = "ASK"
        with m.State("ASK"):  # the queue gives the header
            m.d.sync += asked.index.eq(2)
            m.next = "HEADER"
        with m.State("HEADER"):  # the header is there; the words follow, one a cycle
            m.d.sync += [asked.header.eq(asked.word), asked.index.eq(3)]
            m.next = "TAG"
        with m.State("TAG"):  # the request's first word: its number and session
            m.d.sync += [asked.tag.eq(asked.word), asked.index.eq(4)]
            m.next = "HEAD"
        with m.State("HEAD"):  # the second: address and command
            m.d.sync += asked.head.eq(asked.word)
            m.d.sync += [
                session.behind.eq(session.last - asked.tag.number),
                session.ours.eq(asked.tag.session == session.number),
            ]
            m.next = "COUNT"
        with m.State("COUNT"):  # the third: words to read or write; what JUDGE asks is found out now
            m.d.sync += [
                asked.count.eq(asked.word),
                asked.known.eq(is_command),
                asked.fits.eq(
                    (asked.word != 0) & (asked.word <= MAX_WORDS) & (asked.header.length == counted)
                ),
                session.welcome.eq(
                    (asked.tag.session != 0) & (session.ours | (asked.command == Command.HELLO))
                ),
                session.next_.eq(session.behind.all()),
                session.old.eq(session.behind < session.recent),
            ]
            m.next = "JUDGE"

    def _judge(self, m, asked, session, answer, kept):
        """What becomes of a request. kept: of the request that had its number before."""
        m.d.sync += [answer.outcome.eq(0), answer.reading.eq(0), answer.new.eq(0), asked.polls.eq(POLLS - 1)]
        m.next = "REPLY"
        with m.If(~asked.header.good):
            m.d.sync += asked.tag.eq(NO_TAG)
            m.d.sync += answer.outcome.status.eq(
                Mux(asked.header.length == LONGEST + 1, Status.OVERLONG, Status.DAMAGED)
            )
        with m.Elif(~asked.known):
            m.d.sync += answer.outcome.status.eq(Status.UNKNOWN)
        with m.Elif(~asked.fits):
            m.d.sync += answer.outcome.status.eq(Status.LENGTH)
        with m.Elif(~session.welcome):
            m.d.sync += answer.outcome.status.eq(Status.NO_SESSION)
        with m.Elif(asked.command == Command.HELLO):
            m.d.sync += session.number.eq(asked.tag.session)
            with m.If(session.ours):
                m.d.sync += answer.outcome.done.eq(session.last)
            with m.Else():
                m.d.sync += [session.last.eq(0), session.recent.eq(0), session.broken.eq(0)]
        with m.Elif(asked.command == Command.FORMAT):
            m.d.sync += [answer.outcome.done.eq(1), answer.reading.eq(1)]
        with m.Elif(session.next_):
            m.d.sync += [session.last.eq(asked.tag.number), answer.new.eq(1)]
            m.d.sync += session.recent.eq(session.recent + (session.recent != QUEUE_REQUESTS))
            with m.If(asked.chained & session.broken):
                m.d.sync += answer.outcome.status.eq(Status.SKIPPED)
            with m.Else():
                m.d.sync += answer.reading.eq(~asked.wrote)
                with m.If(asked.wrote):
                    m.next = "FETCH"
        with m.Elif(session.old & (kept.outcome.status == Status.SKIPPED)):
            m.d.sync += answer.outcome.eq(kept.outcome)
        with m.Elif(session.old & asked.wrote):
            m.d.sync += answer.outcome.eq(kept.outcome)
            with m.If(~kept.wrote):
                m.d.sync += [answer.outcome.done.eq(0), answer.outcome.status.eq(Status.OUT_OF_ORDER)]
        with m.Elif(session.old):
            m.d.sync += answer.reading.eq(1)
        with m.Else():
            m.d.sync += answer.outcome.status.eq(Status.OUT_OF_ORDER)

    def _writing_states(self, m, images, asked, answer):
        """Accesses go out to the bus."""
        with m.State("FETCH"):  # the queue's memory reads the next word of a write
            m.next = "FETCHED"
        with m.State("FETCHED"):  # the queue gives it
            m.next = "REQUEST"
            with m.If(asked.is_image):
                m.next = "EXPAND"
        with m.State("EXPAND"):  # an image takes a word, gives one for the bus, or has ended
            m.d.comb += [
                images.coded.valid.eq(1),
                self.request.valid.eq(images.words.valid),
                images.words.ready.eq(self.request.ready),
            ]
            with m.If(images.coded.ready):
                m.d.sync += [answer.outcome.done.eq(answer.outcome.done + 1), asked.index.eq(asked.index + 1)]
                m.next = "FETCH"
            with m.Elif(self.request.valid & self.request.ready):
                m.next = "RESPONSE"
            with m.Elif(~images.busy):
                m.next = "REPLY"
        with m.State("REQUEST"):  # one access goes out to the bus
            m.d.comb += self.request.valid.eq(1)
            with m.If(self.request.ready):
                m.next = "RESPONSE"

    def _respond(self, m, framer, asked, answer):
        """What follows an access."""
        refused = self.response.payload.error
        again = asked.is_poll & (answer.outcome.done == 0) & self.response.payload.data[0] & ~refused
        m.d.comb += [
            framer.words.payload.data.eq(self.response.payload.data),
            framer.words.valid.eq(self.response.valid & ~asked.wrote & ~refused & ~again),
            self.response.ready.eq(asked.wrote | refused | again | framer.words.ready),
        ]
        with m.If(self.response.valid & self.response.ready):
            with m.If(refused):
                m.d.sync += answer.outcome.status.eq(Status.REFUSED)
                m.next = "TAIL"
                with m.If(asked.wrote):
                    m.next = "REPLY"
            with m.Elif(asked.is_image):
                m.next = "EXPAND"
            with m.Elif(again):
                m.d.sync += asked.polls.eq(asked.polls - 1)
                m.next = "REQUEST"
                with m.If(asked.polls == 0):
                    m.d.sync += answer.outcome.status.eq(Status.BUSY)
                    m.next = "TAIL"
            with m.Else():
                m.d.sync += [answer.outcome.done.eq(answer.outcome.done + 1), asked.index.eq(asked.index + 1)]
                m.d.sync += asked.head.address.eq(asked.head.address + 1)
                m.next = "FETCH"
                with m.If(answer.outcome.done + 1 == asked.count):
                    m.next = "TAIL"
                    with m.If(asked.wrote):
                        m.next = "REPLY"

    def _reply_states(self, m, framer, queue, keep, asked, session, answer):
        """The reply, but for the words that are read."""
        with m.State("REPLY"):  # the reply's first word; a read's words follow as they are read
            m.d.comb += [framer.words.valid.eq(1), framer.words.payload.data.eq(asked.tag)]
            with m.If(framer.words.ready):
                m.next = "TAIL"
                with m.If(answer.reading):
                    m.next = "REQUEST"
                    with m.If(asked.command == Command.FORMAT):
                        m.next = "FORMAT"
        with m.State("FORMAT"):  # the one word of its reply
            m.d.comb += [framer.words.valid.eq(1), framer.words.payload.data.eq(FORMAT)]
            with m.If(framer.words.ready):
                m.next = "TAIL"
        with m.State("TAIL"):  # the reply's last word: words done, and status
            padding = Const(0, CODE_SHIFT - DONE_BITS)
            m.d.comb += [
                framer.words.valid.eq(1),
                framer.words.payload.data.eq(Cat(answer.outcome.done, padding, answer.outcome.status)),
                framer.words.payload.last.eq(1),
                self.error.eq(framer.words.ready & (answer.outcome.status != Status.OK)),
                keep.en.eq(framer.words.ready & answer.new),
                queue.drop.eq(framer.words.ready),
            ]
            with m.If(framer.words.ready):
                with m.If(answer.new):
                    m.d.sync += session.broken.eq(answer.outcome.status != Status.OK)
                m.d.sync += asked.index.eq(0)
                m.next = "WAIT"
