"""The host's frames: requests to bytes, bytes to replies. docs/reference/uart.md has the rules."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synflip.spec.frames import (
    CODE_SHIFT,
    DONE_BITS,
    ESCAPE,
    ESCAPE_XOR,
    FLAG,
    MAX_WORDS,
    REPLY_WORDS,
    Command,
    Status,
)

#: No reply is longer, every byte of it escaped.
LONGEST_REPLY = 8 * (MAX_WORDS + REPLY_WORDS)
NOTHING = np.zeros(0, dtype=np.uint32)


def escape(content: bytes) -> bytes:
    """``content`` and its CRC as they go over the line, flags included."""
    whole = content + zlib.crc32(content).to_bytes(4, "little")
    for special in (ESCAPE, FLAG):
        whole = whole.replace(bytes([special]), bytes([ESCAPE, special ^ ESCAPE_XOR]))
    return bytes([FLAG]) + whole + bytes([FLAG])


def unescape(frame: bytes) -> bytes | None:
    """Content of what lay between two flags, without its CRC; None if the frame is damaged."""
    if frame.endswith(bytes([ESCAPE])):
        return None
    first, *rest = frame.split(bytes([ESCAPE]))
    whole = first
    for part in rest:
        if not part:
            return None
        whole += bytes([part[0] ^ ESCAPE_XOR]) + part[1:]
    content, crc = whole[:-4], whole[-4:]
    return content if zlib.crc32(content) == int.from_bytes(crc, "little") and len(crc) == 4 else None


def request(
    tag: int, command: int, address: int = 0, count: int = 1, data: NDArray[np.uint32] = NOTHING
) -> bytes:
    """A request on the line. command: a Command, and CHAINED. data: uint32 [count] of a write."""
    words = np.concatenate(([tag, command << CODE_SHIFT | address, count], data))
    return escape(words.astype("<u4").tobytes())


@dataclass(frozen=True)
class Reply:
    """An answer. done: words carried out; the open session's last number for a HELLO. data: uint32, of a
    read."""

    tag: int
    status: Status
    done: int
    data: NDArray[np.uint32]

    @classmethod
    def parse(cls, frame: bytes) -> "Reply | None":
        """From what lay between two flags; None if it is damaged, or no reply."""
        content = unescape(frame)
        if content is None or len(content) % 4 or len(content) < 4 * (REPLY_WORDS - 1):
            return None
        words = np.frombuffer(content, dtype="<u4")
        tag, tail = int(words[0]), int(words[-1])
        status, done = tail >> CODE_SHIFT, tail & (1 << CODE_SHIFT) - 1
        if status not in Status.__members__.values() or done >> DONE_BITS:
            return None
        return cls(tag, Status(status), done, words[1:-1].astype(np.uint32))

    @property
    def words(self) -> tuple[int, ...]:
        """All words of the reply but the CRC, from TAG to TAIL."""
        return self.tag, *self.data.tolist(), self.status << CODE_SHIFT | self.done

    def answers(self, command: Command, count: int) -> bool:
        """Whether a device that carries out ``command`` of ``count`` words can have sent this.

        A READ, POLL or FORMAT brings as many words as were done; every other answer brings none. OK says that
        all of them were done, REFUSED that fewer were; of an IMAGE the last word may be refused in part. The
        DONE of a HELLO is a number of its own.
        """
        ended = self.status in (Status.OK, Status.REFUSED)
        brings = command in (Command.READ, Command.POLL, Command.FORMAT)
        if len(self.data) != (self.done if ended and brings else 0):
            return False
        if command == Command.HELLO or not ended:
            return self.status != Status.REFUSED
        if self.status == Status.OK:
            return self.done == count
        return self.done < count or (command == Command.IMAGE and self.done == count)


class Replies:
    """Bytes from the line, cut into frames."""

    def __init__(self) -> None:
        self._open = b""

    def feed(self, received: bytes) -> Iterator[Reply | None]:
        """The replies that ``received`` completes; None for a damaged one."""
        *frames, self._open = (self._open + received).split(bytes([FLAG]))
        self._open = self._open[-LONGEST_REPLY - 1 :]  # noise without a flag does not pile up
        return (Reply.parse(frame) for frame in frames if frame)
