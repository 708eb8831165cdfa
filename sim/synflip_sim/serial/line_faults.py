"""A serial line that damages the bytes it carries."""

import random
from collections import Counter, deque

from synflip.spec.frames import FLAG

KINDS = ("dropped", "flipped", "duplicated", "truncated", "garbage", "replayed")
LONGEST_CUT = 40  # bytes that a truncation swallows, at most
LONGEST_GARBAGE = 12
REPLAYS = 4  # a replayed frame is one of the last so many


class Faults:
    """Called with the bytes that were sent, it returns those that arrive; one in ``every`` suffers a fault.

    The kinds of fault are equally likely: a byte is dropped, has one bit flipped, or comes twice; some bytes
    in a row are swallowed; garbage is inserted; a recent frame comes again in the middle of another.
    ``injected`` counts the faults of each kind. The same seed and the same bytes give the same faults.
    """

    def __init__(self, seed: int, every: float) -> None:
        self.injected: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._every = every
        self._next = self._distance()
        self._cut = 0  # bytes still to swallow
        self._frames: deque[bytes] = deque(maxlen=REPLAYS)
        self._frame = bytearray()

    def _distance(self) -> int:
        return 1 + int(self._chance.expovariate(1 / self._every))

    def __call__(self, sent: bytes) -> bytes:
        """The bytes that arrive when ``sent`` is sent."""
        arrived = bytearray()
        for byte in sent:
            self._remember(byte)
            if self._cut:
                self._cut -= 1
                continue
            self._next -= 1
            if self._next:
                arrived.append(byte)
            else:
                self._next = self._distance()
                arrived += self._damage(byte)
        return bytes(arrived)

    def _damage(self, byte: int) -> bytes:
        chance = self._chance
        kind = chance.choice(KINDS)
        self.injected[kind] += 1
        if kind == "flipped":
            return bytes([byte ^ 1 << chance.randrange(8)])
        if kind == "duplicated":
            return bytes([byte, byte])
        if kind == "truncated":
            self._cut = chance.randrange(LONGEST_CUT)
        elif kind == "garbage":
            return chance.randbytes(chance.randint(1, LONGEST_GARBAGE)) + bytes([byte])
        elif kind == "replayed" and self._frames:
            return bytes([FLAG]) + chance.choice(self._frames) + bytes([FLAG, byte])
        return b""

    def _remember(self, byte: int) -> None:
        if byte != FLAG:
            self._frame.append(byte)
        elif self._frame:
            self._frames.append(bytes(self._frame))
            self._frame.clear()
