"""What goes out when: room, answers that have to be there, what is sent again."""

import numpy as np
import pytest
from synflip.devices.framing import Reply, unescape
from synflip.devices.transport import BusError, ImageWrite, Poll, Read, Write
from synflip.devices.window import NUMBERS, Counters, Window, requests_of
from synflip.spec.frames import CHAINED, CODE_SHIFT, QUEUE_OVERHEAD, Command, Status

ROOM = 100
LOST = "lost"


class Line:
    """A device that answers the oldest request with the next status of ``script``, then with OK; None is a
    damaged answer, LOST one that does not come, ``...`` a silence. log: numbers that were sent, answers."""

    path, tries = "line", 3

    def __init__(self, *script):
        self.script, self.counters = list(script), Counters()
        self.number, self.log, self.waiting = 0, [], []

    def next_number(self):
        self.number += 1
        return self.number

    def tag(self, number):
        return NUMBERS | number

    def send(self, frame):
        words = np.frombuffer(unescape(frame[1:-1]), "<u4").tolist()
        number, head, count = words[0] % NUMBERS, words[1], words[2]
        self.log.append(number)
        self.waiting.append((number, Command(head >> CODE_SHIFT & ~CHAINED), count))

    def hear(self, sent, longest, silences):
        what = self.script.pop(0) if self.script else Status.OK
        self.log.append(what)
        if what is LOST:
            del self.waiting[0]
            return self.hear(sent, longest, silences)
        if what is None or what is ...:
            self.waiting = self.waiting[1:] if what is None else []
            return what
        number, command, count = self.waiting.pop(0)
        data = np.arange(
            count if command in (Command.READ, Command.POLL) and what == OK else 0, dtype=np.uint32
        )
        return Reply(self.tag(number), what, count if what == Status.OK else 0, data)


OK, OUT, SKIPPED, REFUSED = Status.OK, Status.OUT_OF_ORDER, Status.SKIPPED, Status.REFUSED


def run(accesses, *script, most=4):
    line = Line(*script)
    Window(line, ROOM, most, 512, accesses).run()
    return line


def write(count=1, **other):
    return Write(7, np.zeros(count, np.uint32), **other)


def test_as_many_as_there_is_room_for():
    assert run([write() for _ in range(6)]).log == [1, 2, 3, 4, OK, 5, OK, 6, OK, OK, OK, OK]
    each = (ROOM - QUEUE_OVERHEAD) // 3 - QUEUE_OVERHEAD
    line = run([write(each // 2)] * 4 + [write()], most=16)
    assert line.log[:5] == [1, 2, 3, 4, 5]
    long = run([write(ROOM)])  # cut so that four are under way
    assert long.log[:5] == [1, 2, 3, 4, OK]


def test_a_write_waits_for_what_it_would_change():
    reads = [Read(0, 1), Read(1, 1)]
    image = ImageWrite(0x5000000, np.zeros(8, np.uint8))
    assert run([*reads, image, write()]).log == [1, 2, 3, OK, OK, 4, OK, OK]
    assert run([*reads, write(after=reads[:1])]).log == [1, 2, OK, 3, OK, OK]
    assert run([*reads, write(after=())]).log == [1, 2, 3, OK, OK, OK]


def test_an_image_with_its_zeros_goes_as_words():
    """Pairs and packed activations leave words of zeros out."""
    x = np.zeros(64, np.uint8)
    x[9] = 7
    (short,) = requests_of(ImageWrite(0x5000000, x), 32, 64)
    (whole,) = requests_of(ImageWrite(0x5000000, x, zeros=True), 32, 64)
    assert (short.command, whole.command) == (Command.IMAGE, Command.WRITE)
    assert whole.data.tolist() == x.view("<u4").tolist()


def test_an_access_is_asked_for_when_the_one_before_was_sent():
    """So what comes behind a write that waits for a read may use what was read."""
    read = Read(0, 3)

    def accesses():
        yield read
        yield write(after=[read])
        assert read.words.tolist() == [0, 1, 2]
        yield write()

    assert run(accesses()).log == [1, OK, 2, 3, OK, OK]


@pytest.mark.parametrize("loss", [None, OUT])
def test_what_is_under_way_is_heard_out_before_it_is_sent_again(loss):
    line = run([write() for _ in range(5)], loss, OUT, OUT, OUT)
    assert line.log == [1, 2, 3, 4, loss, OUT, OUT, OUT, 1, 2, 3, 4, OK, 5, OK, OK, OK, OK]
    assert line.counters.repeats == 4


def test_only_what_has_no_answer_is_sent_again():
    line = run([write() for _ in range(4)], OK, None, OK, OK)
    assert line.log == [1, 2, 3, 4, OK, None, OK, OK, 2, OK]


def test_the_oldest_that_waits_is_one_that_the_device_remembers():
    """Requests 2 to 4 were answered, 1 was not: nothing beyond 4 goes out before."""
    line = run([write() for _ in range(6)], LOST, OK, OK, OK, ...)
    assert line.log == [1, 2, 3, 4, LOST, OK, OK, OK, ..., 1, OK, 5, 6, OK, OK]


def test_a_silent_line_is_given_up():
    with pytest.raises(BusError, match="no answer from line after 3 tries"):
        run([write()], ..., ..., ...)


def test_a_refusal_is_raised_when_what_is_behind_it_was_skipped():
    line = Line(OK, REFUSED, SKIPPED, SKIPPED)
    with pytest.raises(BusError, match="refused a write at 0x7"):
        Window(line, ROOM, 3, 512, [write() for _ in range(5)]).run()
    assert line.log == [1, 2, 3, OK, 4, REFUSED, SKIPPED, SKIPPED]


def test_behind_a_busy_poll_all_is_asked_for_again():
    line = Line(Status.BUSY, SKIPPED)
    Window(line, ROOM, 4, 512, [Poll(9, 1, timeout=60), write(after=())]).run()
    assert line.log == [1, 2, Status.BUSY, SKIPPED, 3, 4, OK, OK]
