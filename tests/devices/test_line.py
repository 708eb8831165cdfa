"""What comes back over a serial line is checked against what was asked: echoes, lengths, strangers, bauds."""

import os
import pty
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from synflip.cli.app import main
from synflip.devices import serial
from synflip.devices.accelerator import Accelerator
from synflip.devices.framing import Reply, escape, request, unescape
from synflip.devices.registry import open_device
from synflip.devices.serial import SerialTransport
from synflip.devices.transport import BusError
from synflip.errors import SynflipError
from synflip.spec import memory_map
from synflip.spec.frames import CODE_SHIFT, FLAG, Command, Status
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import REGISTERS

#: Of a request's words TAG, HEAD, COUNT, data: the words of the answer, or bytes as they come.
Answer = Callable[[list[int]], list[int] | bytes]


@contextmanager
def line(answer: Answer | None) -> Iterator[str]:
    """The name of a port whose far end gives ``answer`` to each whole request; None: it echoes all bytes."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)

    def work() -> None:
        waiting = b""
        while True:
            try:
                received = os.read(ours, 4096)
            except OSError:
                return
            if answer is None:
                os.write(ours, received)
                continue
            *frames, waiting = (waiting + received).split(bytes([FLAG]))
            for frame in filter(None, frames):
                words = np.frombuffer(unescape(frame) or b"", dtype="<u4").tolist()
                back = answer(words)
                os.write(ours, back if isinstance(back, bytes) else packed(back))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        os.close(theirs)  # ends the thread's read
        thread.join(5)
        os.close(ours)


def packed(words: list[int]) -> bytes:
    return escape(np.array(words, dtype="<u4").tobytes())


def registers(**other: int) -> list[int]:
    """The words that an accelerator of 16x1 says of itself, some of them changed."""
    values = {"MAGIC": memory_map.MAGIC, "VERSION": memory_map.VERSION}
    names = [name for name, item in REGISTERS.items() if item.offset < REGISTERS["CONTROL"].offset]
    return [other.get(name, values.get(name, getattr(Geometry(16, 1), name.lower(), 0))) for name in names]


def healthy(words: list[int], **other: int) -> list[int]:
    """The answer of an accelerator that takes every write, one request at a time, and has only the registers
    of its geometry."""
    tag, head, count, *_ = words
    command, place = head >> CODE_SHIFT, head & (1 << CODE_SHIFT) - 1
    if command == Command.READ:
        return [tag, *registers(**other)[place : place + count], count]
    if command == Command.FORMAT:
        return [tag, Status.UNKNOWN << CODE_SHIFT]
    return [tag, 0 if command == Command.HELLO else count]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tries of some milliseconds in place of eight that take seconds, where no good answer will come."""
    make = SerialTransport.__init__

    def quick(self: SerialTransport, path: str, baud: int = 3_000_000, **other: float) -> None:
        make(self, path, baud, **{"timeout": 0.02, "tries": 2, **other})  # type: ignore[arg-type]

    monkeypatch.setattr(SerialTransport, "__init__", quick)


def test_a_good_line_is_taken() -> None:
    with line(healthy) as port, open_device(port) as device:
        assert device.geometry == Geometry(16, 1)


@pytest.mark.usefixtures("impatient")
def test_an_echo_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with line(None) as port:
        with pytest.raises(BusError, match=f"no synflip accelerator answers at {port}: the line gives back"):
            open_device(port)
        for command in (["selftest", port], ["calibrate", "--device", port]):
            assert main(command) == 1
            said = capsys.readouterr()
            assert "no synflip accelerator answers" in said.out + said.err
            assert len(said.err.splitlines()) == 1


ODD: dict[str, Answer] = {
    "nothing": lambda words: b"",
    "text": lambda words: b"login: ~\n",
    "its request": lambda words: words,
    "another's request": lambda words: [words[0] ^ 1, *words[1:]],
    "a word too many": lambda words: [words[0], 7, *healthy(words)[1:]],
    "a word too few": lambda words: [*healthy(words)[:-2], healthy(words)[-1]],
    "too many": lambda words: [words[0], *[5] * 9, 9],
    "only a tag": lambda words: [words[0]],
    "wrong done": lambda words: [*healthy(words)[:-1], healthy(words)[-1] + (words[1] >> CODE_SHIFT != 1)],
    "refused more than asked": lambda words: (
        healthy(words) if words[1] >> CODE_SHIFT == 1 else [words[0], Status.REFUSED << CODE_SHIFT | 600]
    ),
    "refused hello": lambda words: [words[0], Status.REFUSED << CODE_SHIFT],
    "status of no status": lambda words: [words[0], 15 << CODE_SHIFT],
    "bits between done and status": lambda words: [*healthy(words)[:-1], 1 << 20 | words[2]],
    "zeros": lambda words: [*healthy(words)[:1], *[0] * (len(healthy(words)) - 2), healthy(words)[-1]],
    "no session": lambda words: [words[0], Status.NO_SESSION << CODE_SHIFT],
    "no magic": lambda words: healthy(words, MAGIC=0x12345678),
    "no lanes": lambda words: healthy(words, LANES=17),
    "a depth of 0": lambda words: healthy(words, WEIGHT_DEPTH=0),
    "a depth beyond its register": lambda words: healthy(words, LOG_DEPTH=1 << 31),
    "another version": lambda words: healthy(words, VERSION=9),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ODD)
def test_what_is_no_accelerator_is_said_in_a_line(name: str) -> None:
    with line(ODD[name]) as port, pytest.raises(SynflipError) as error:
        open_device(port)
    assert port in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("version", "advice"), [(3, "build its bitstream"), (5, "install a newer synflip")])
def test_another_version_of_the_map_says_what_to_do(version: int, advice: str) -> None:
    """All versions have MAGIC and VERSION; of the others nothing is known."""

    def answer(words: list[int]) -> list[int]:
        tag, head, count, *_ = words
        if head >> CODE_SHIFT == Command.READ and (head & (1 << CODE_SHIFT) - 1) + count > 2:
            return [tag, Status.REFUSED << CODE_SHIFT]
        return healthy(words, VERSION=version)

    with line(answer) as port, pytest.raises(SynflipError, match=advice):
        open_device(port)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["nothing", "text", "its request", "too many", "zeros", "no lanes"])
def test_it_says_that_no_accelerator_answers(name: str) -> None:
    with (
        line(ODD[name]) as port,
        pytest.raises(SynflipError, match="no synflip accelerator answers at /dev/"),
    ):
        open_device(port)


@pytest.mark.parametrize(
    ("command", "count", "words", "right"),
    [
        (Command.HELLO, 1, [Status.OK << CODE_SHIFT | 777], True),
        (Command.HELLO, 1, [1, Status.OK << CODE_SHIFT | 1], False),
        (Command.READ, 2, [8, 9, 2], True),
        (Command.READ, 2, [8, 1], False),
        (Command.READ, 2, [8, 9, 10, 3], False),
        (Command.READ, 2, [8, Status.REFUSED << CODE_SHIFT | 1], True),
        (Command.READ, 2, [8, 9, Status.REFUSED << CODE_SHIFT | 2], False),
        (Command.WRITE, 2, [2], True),
        (Command.WRITE, 2, [1], False),
        (Command.WRITE, 2, [8, 9, 2], False),
        (Command.WRITE, 2, [Status.REFUSED << CODE_SHIFT], True),
        (Command.READ, 2, [Status.NO_SESSION << CODE_SHIFT], True),
        (Command.READ, 2, [8, Status.NO_SESSION << CODE_SHIFT], False),
        (Command.FORMAT, 1, [8, 1], True),
        (Command.FORMAT, 1, [Status.UNKNOWN << CODE_SHIFT], True),
        (Command.POLL, 3, [8, 9, 7, 3], True),
        (Command.POLL, 3, [Status.BUSY << CODE_SHIFT], True),
        (Command.POLL, 3, [8, Status.BUSY << CODE_SHIFT], False),
        (Command.IMAGE, 2, [Status.REFUSED << CODE_SHIFT | 2], True),
        (Command.IMAGE, 2, [Status.REFUSED << CODE_SHIFT | 3], False),
    ],
)
def test_an_answer_has_the_shape_of_its_request(
    command: Command, count: int, words: list[int], right: bool
) -> None:
    reply = Reply.parse(packed([5, *words])[1:-1])
    assert reply is not None and reply.answers(command, count) is right


def test_bits_that_mean_nothing_are_zero() -> None:
    assert Reply.parse(packed([5, 77])[1:-1]) is not None
    assert Reply.parse(packed([5, 1 << 20 | 77])[1:-1]) is None


def test_no_request_but_a_read_of_one_word_answers_itself() -> None:
    for command in Command:
        for count in (1, 2, 512):
            writes = command in (Command.WRITE, Command.IMAGE)
            data = np.arange(count, dtype=np.uint32) if writes else np.zeros(0, np.uint32)
            echo = Reply.parse(request(9, command, 0x1000, count, data)[1:-1])
            itself = echo is not None and echo.answers(command, count)
            reads = command in (Command.READ, Command.POLL, Command.FORMAT)
            assert itself == (reads and count == 1), command


@pytest.mark.parametrize(
    "baud", ["0", "1", "299", "50000001", "4294967296", "9" * 5000, "-1", "1e6", "", "x", "٣"]
)
def test_a_baud_rate_out_of_range(baud: str) -> None:
    with line(healthy) as port, pytest.raises(SynflipError) as error:
        open_device(f"{port}@{baud}")
    assert "baud" in str(error.value) and len(str(error.value)) < 450


def test_ports_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    os.mkfifo(tmp_path / "fifo")
    for name in (
        tmp_path / "missing",
        tmp_path / "file",
        tmp_path / "fifo",
        tmp_path,
        "/dev/null",
        "/dev/zero",
    ):
        with pytest.raises(BusError, match=f"{name} cannot be opened: .") as error:
            open_device(str(name))
        assert "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "text"


def test_a_port_that_is_busy() -> None:
    busy = pytest.raises(BusError, match=r"/dev/.* cannot be opened: .*another program holds it")
    with line(healthy) as port, open_device(port), busy:
        open_device(port)


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), serial.TerminalError(5, "Input/output error")]
)
def test_a_port_that_goes_away(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def gone(*arguments: object) -> None:
        raise error

    with line(healthy) as port:
        device = open_device(port)
        assert isinstance(device, Accelerator) and isinstance(device.transport, SerialTransport)
        monkeypatch.setattr(device.transport._port, "write", gone)
        with pytest.raises(BusError, match=f"{port} failed: .*Input/output error"):
            device.read_register("STATUS")
        monkeypatch.setattr(device.transport._port, "close", gone)
        device.close()
