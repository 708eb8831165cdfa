"""An accelerator on a serial port: the transport that numbers, repeats and checks.

docs/reference/uart.md has the rules."""

import secrets
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import EllipsisType
from typing import Protocol

import numpy as np
import serial
from numpy.typing import NDArray

try:
    from termios import error as TerminalError
except ModuleNotFoundError:  # Windows has no termios
    TerminalError = OSError  # type: ignore[misc,assignment]

from synflip.devices.accelerator import Accelerator
from synflip.devices.framing import NOTHING, Replies, Reply, request
from synflip.devices.transport import Access, BusError, NoAccelerator, Read, Write
from synflip.devices.window import NUMBERS, Counters, LostSession, Window
from synflip.spec.frames import (
    BAUD,
    FORMAT_VERSION,
    MAX_WORDS,
    NUMBER_BITS,
    QUEUE_WORDS,
    REPLY_WORDS,
    SESSION_BITS,
    Command,
    Status,
)
from synflip.spec.memory_map import CONTROL_ABORT, register

POLL = 0.005  # seconds that one read of the port waits
PAUSE = 0.002  # seconds between two looks at the status
WRITE_TIMEOUT = 10.0  # seconds until a port that takes no bytes is given up
BITS_PER_BYTE = 10
MOST_DOUBLINGS = 3
FORMAT_FIELDS = ((0, 0xFF), (8, 0xFF), (16, 0xFFFF))  # shift and mask of version, requests, words
LEAST_BAUD, MOST_BAUD = 300, 50_000_000  # what an adapter may have
#: What pyserial and the system raise for a port that is not there, is busy, is no terminal, or goes away.
PORT_ERRORS = (OSError, ValueError, OverflowError, TerminalError)


class Port(Protocol):
    """What bytes go through. Its errors are PORT_ERRORS."""

    @property
    def in_waiting(self) -> int:
        """Bytes that ``read`` may be asked for; 0 if it has to wait for the first."""
        ...

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none if none come within POLL seconds."""
        ...

    def write(self, content: bytes, /) -> int | None:
        """Send all of ``content``."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class SerialTransport:
    """Reads and writes of the memory map over a serial port, one request at a time.

    A lost or damaged frame, in either direction, never loses, repeats or reorders a write. After an exception
    within an access (Ctrl-C) the next access first asks the device how far it came.
    """

    def __init__(
        self,
        path: str,
        baud: int = BAUD,
        timeout: float = 0.25,
        tries: int = 8,
        burst: int = MAX_WORDS,
        session: int | None = None,
        port: "Port | None" = None,
    ) -> None:
        """timeout: seconds to wait for an answer, beyond the time that the bytes take, and for more of it;
        each silence doubles it for the next try, MOST_DOUBLINGS times at most. tries: how often a request is
        sent. burst: largest number of words in one request. session: 1..65535, by default random. port: an
        open port in place of the serial port at ``path``, which is its name then; it is closed with this.

        Raises BusError for a baud rate that is not in LEAST_BAUD..MOST_BAUD, for a port that cannot be
        opened, and, as NoAccelerator, if nothing answers a HELLO as an accelerator does.
        """
        if not LEAST_BAUD <= baud <= MOST_BAUD:
            raise BusError(f"{path}: the baud rate must be in {LEAST_BAUD}..{MOST_BAUD}, not {baud}")
        self.path = path
        self.counters = Counters()
        self._timeout, self.tries, self._burst = timeout, tries, burst
        self._byte_time = BITS_PER_BYTE / baud
        self._replies = Replies()
        self._waiting: deque[Reply | None] = deque()
        self._session = session or 1 + secrets.randbelow((1 << SESSION_BITS) - 1)
        self._number = 0  # of the last request that was carried out
        self._hellos = 0
        self._unsure = False  # whether the next request was carried out
        self._lost = False  # what was written to the device may be gone
        self._sent = 0  # the last number that was given to a request
        self._queue: tuple[int, int] | None = None  # words and requests that the device takes ahead
        self._port: Port = _open(path, baud) if port is None else port
        try:
            self._number = self._sent = self._hello()
            self._queue = self._format()
        except BusError as error:
            self.close()
            raise NoAccelerator(path, str(error)) from None
        except BaseException:
            self.close()
            raise

    @property
    def line_bytes(self) -> int:
        """Bytes sent and received since the port was opened."""
        return self.counters.sent + self.counters.received

    @property
    def queued(self) -> bool:
        """Whether the device takes requests ahead."""
        return self._queue is not None

    def exchange(self, accesses: Iterable[Access]) -> None:
        """Carry out accesses in their order, many under way. Only with a device that takes requests ahead."""
        assert self._queue is not None
        self._settle()
        self._unsure = True
        window = Window(self, *self._queue, self._burst, accesses)
        try:
            window.run()
        except LostSession:
            self._lost = True
            raise
        except PORT_ERRORS as error:
            raise BusError(f"{self.path} failed: {_words(error)}") from None
        finally:
            self._number = self._number if window.done is None else window.done
        self._unsure = False

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        """Write words to consecutive addresses. Raises BusError if one is refused; none after it is
        written."""
        if self.queued:
            self.exchange([Write(address, words)])
            return
        for first in range(0, len(words), self._burst):
            part = words[first : first + self._burst]
            self._access(Command.WRITE, address + first, len(part), part)

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        """Read consecutive words. Raises BusError if one is refused."""
        if self.queued:
            access = Read(address, count)
            self.exchange([access])
            return access.words
        parts = [
            self._access(Command.READ, address + first, min(self._burst, count - first))
            for first in range(0, count, self._burst)
        ]
        return np.concatenate(parts) if parts else NOTHING

    def wait(self) -> None:
        """Let the device work for a moment."""
        time.sleep(PAUSE)

    def close(self) -> None:
        """Close the port. That it is gone already is no error."""
        with suppress(*PORT_ERRORS):
            self._port.close()

    # Requests

    def _access(
        self, command: Command, address: int, count: int, data: NDArray[np.uint32] = NOTHING
    ) -> NDArray[np.uint32]:
        """Have one request carried out, once. Returns the words of a read."""
        self._settle()
        number = (self._number + 1) % NUMBERS
        self._unsure = True
        reply = self._exchange(number, command, address, count, data)
        if reply.status == Status.NO_SESSION:
            self._lost = True
            raise BusError(f"{self.path}: the device was reset or taken over; open it again")
        if reply.status not in (Status.OK, Status.REFUSED):
            raise BusError(f"the device at {self.path} answered a {command.name} with {reply.status.name}")
        self._number, self._unsure = number, False
        if reply.status == Status.REFUSED:
            place = f"{command.name.lower()} at {address + reply.done:#x}"
            raise BusError(f"the accelerator at {self.path} refused a {place}")
        return reply.data

    def _settle(self) -> None:
        """Find out how many of the requests that were interrupted were carried out. Raises BusError if the
        session is lost."""
        if self._unsure and not self._lost:
            last = self._hello()
            most = 1
            if self._queue is not None:
                most = min((self._sent - self._number) % NUMBERS, self._queue[1])
            self._lost = (last - self._number) % NUMBERS > most
            self._number, self._sent, self._unsure = last, last, False
        if self._lost:
            raise BusError(f"{self.path}: the device was reset or taken over; open it again")

    def _hello(self) -> int:
        """Open the session. Returns the number of the last request carried out in it."""
        # No request near this one has such a number: a reply that comes twice must not answer a request.
        number = (self._number + NUMBERS // 2 + self._hellos) % NUMBERS
        self._hellos += 1
        reply = self._exchange(number, Command.HELLO)
        if reply.status != Status.OK:
            raise BusError(f"the device at {self.path} answered a HELLO with {reply.status.name}")
        return reply.done

    def _format(self) -> tuple[int, int] | None:
        """Words and requests that the device takes ahead; None if it takes one request at a time."""
        reply = self._exchange((self._number + NUMBERS // 2 + self._hellos) % NUMBERS, Command.FORMAT)
        self._hellos += 1
        if reply.status == Status.UNKNOWN:
            return None
        if reply.status != Status.OK:
            raise BusError(f"the device at {self.path} answered a FORMAT with {reply.status.name}")
        version, requests, words = (int(reply.data[0]) >> shift & mask for shift, mask in FORMAT_FIELDS)
        if version != FORMAT_VERSION:
            raise BusError(
                f"{self.path} has version {version} of the serial line; this synflip speaks {FORMAT_VERSION}"
            )
        if requests < 1 or words < QUEUE_WORDS:
            raise BusError(f"{self.path} says that it takes {requests} requests and {words} words ahead")
        return words, requests

    # For Window

    def next_number(self) -> int:
        """The number of the next request of a window."""
        self._sent = (self._sent + 1) % NUMBERS
        return self._sent

    def tag(self, number: int) -> int:
        """TAG of the request with this number."""
        return self._session << NUMBER_BITS | number

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        self._port.write(frame)
        self.counters.sent += len(frame)

    def hear(self, sent: int, longest: int, silences: int) -> "Reply | EllipsisType | None":
        """See ``window.Line``."""
        patience = self._timeout + self._byte_time * (sent + longest)
        deadline = time.monotonic() + patience * 2 ** min(silences, MOST_DOUBLINGS)
        while not self._waiting:
            if time.monotonic() > deadline:
                return ...
            deadline, longest = self._listen(deadline, longest)
        return self._waiting.popleft()

    def _listen(self, deadline: float, longest: int) -> tuple[float, int]:
        """Take what comes. As long as at most ``longest`` bytes come, they put the deadline off."""
        received = self._port.read(self._port.in_waiting or 1)
        if received and longest > 0:
            longest -= len(received)
            deadline = max(deadline, time.monotonic() + self._timeout)
        self.counters.received += len(received)
        self._waiting.extend(self._replies.feed(received))
        return deadline, longest

    def _exchange(
        self,
        number: int,
        command: Command,
        address: int = 0,
        count: int = 1,
        data: NDArray[np.uint32] = NOTHING,
    ) -> Reply:
        """Send a request until it is answered."""
        tag = self.tag(number)
        frame = request(tag, command, address, count, data)
        # Every byte of the reply may be escaped.
        longest = 8 * (REPLY_WORDS + count * (command != Command.WRITE))
        patience = self._timeout + self._byte_time * (len(frame) + longest)
        self.counters.requests += 1
        before, heard = self.counters.silences, self.counters.received
        try:
            for attempt in range(self.tries):
                self.counters.repeats += attempt > 0
                self._port.write(frame)
                self.counters.sent += len(frame)
                # A device that is only slow must not be given more requests than it answers.
                doublings = min(self.counters.silences - before, MOST_DOUBLINGS)
                reply = self._answer(tag, patience * 2**doublings, longest)
                if reply is not None:
                    self._check_reply(reply, frame, command, count)
                    return reply
        except PORT_ERRORS as error:
            raise BusError(f"{self.path} failed: {_words(error)}") from None
        heard = self.counters.received - heard
        came = f"{heard} bytes came, none of them an answer" if heard else "nothing came back"
        raise BusError(f"no answer from {self.path} after {self.tries} tries; {came}")

    def _check_reply(self, reply: Reply, frame: bytes, command: Command, count: int) -> None:
        """Raises BusError for a reply that cannot be the answer to the request in ``frame``.

        No device makes a READ's answer of one word equal to its request but by a word of data that is the
        request's HEAD. A session begins with HELLO, so a line that echoes is known before the first READ.
        """
        if reply.answers(command, count):
            return
        sent = Reply.parse(frame[1:-1])
        if sent is not None and sent.words == reply.words:
            raise BusError(
                "the line gives back what is sent to it: is TX joined to RX, or does the port echo?"
            )
        raise BusError(
            f"{self.path} answered a {command.name} of {count} words with {reply.status.name}, "
            f"{reply.done} done and {len(reply.data)} words of data"
        )

    def _answer(self, tag: int, patience: float, longest: int) -> Reply | None:
        """The reply with ``tag``; None if the request should be sent again.

        As long as a reply comes it is waited for, if only it is slow (a simulated line, a shared adapter): at
        most ``longest`` bytes put the deadline off.
        """
        deadline = time.monotonic() + patience
        while True:
            while self._waiting:
                reply = self._waiting.popleft()
                if reply is None:
                    self.counters.damaged_replies += 1
                    return None
                if reply.tag == tag:
                    return reply
                if reply.status in (Status.DAMAGED, Status.OVERLONG):
                    self.counters.damaged_requests += 1
                    return None
                self.counters.stale += 1
            if time.monotonic() > deadline:
                self.counters.silences += 1
                return None
            deadline, longest = self._listen(deadline, longest)


def _open(path: str, baud: int) -> serial.Serial:
    """The serial port at ``path``. Raises BusError."""
    try:
        port = serial.Serial(path, baud, timeout=POLL, write_timeout=WRITE_TIMEOUT, exclusive=True)
    except PORT_ERRORS as error:
        held = "; another program holds it" if "exclusively lock" in str(error) else ""
        raise BusError(f"{path} cannot be opened: {_words(error)}{held}") from None
    with suppress(NotImplementedError, ValueError, OSError):  # few systems and ports have it
        port.set_low_latency_mode(True)
    return port


def open_serial(path: str, baud: int = BAUD) -> Accelerator:
    """The accelerator at a serial port. A run that another host has left is aborted.

    path: of the port, such as /dev/ttyUSB0 or COM3. baud: bits a second. Raises SynflipError if the port
    cannot be opened or no accelerator answers.
    """
    return open_transport(SerialTransport(path, baud))


def open_transport(transport: SerialTransport) -> Accelerator:
    """The accelerator behind ``transport``. A run that another host has left is aborted. Raises SynflipError,
    and closes the transport then."""
    try:
        transport.write(register("CONTROL"), np.array([CONTROL_ABORT], dtype=np.uint32))
        return Accelerator(transport, name=transport.path)
    except BaseException:
        transport.close()
        raise


def _words(error: Exception) -> str:
    """An error of the system in words: termios gives a number and a text, as a tuple."""
    return error.args[1] if isinstance(error, TerminalError) and len(error.args) == 2 else str(error)
