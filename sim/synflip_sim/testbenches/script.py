"""The driver's accesses of one inference: recorded under the real driver, replayed by the benches."""

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synflip.errors import SynflipError
from synflip.inference.result import Result
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import (
    FLAGS_SHIFT,
    LAYER_END,
    LAYER_WORDS,
    MAGIC,
    OFFSET_BITS,
    PAST_SHIFT,
    POSITION_END,
    REGISTERS,
    SEGMENT_WORDS,
    VERSION,
    WINDOW_END,
    Region,
    energy_offset,
    register,
    segments_offset,
)

ANY = -1  # a read whose data nobody knows: a result that no class has


class Kind(IntEnum):
    """Of an access. POLL is a read that is repeated until it gives 0."""

    READ = 0
    WRITE = 1
    POLL = 2


#: One access. data: written, or the answer of a read, or ANY.
ACCESS = np.dtype([("kind", "u1"), ("address", "u4"), ("data", "i8")])


@dataclass(frozen=True, eq=False)
class Script:
    """accesses: ACCESS [n]."""

    accesses: NDArray[Any]

    def save(self, path: Path) -> None:
        """Write a npy file."""
        np.save(path, self.accesses, allow_pickle=False)

    @classmethod
    def load(cls, path: Path) -> "Script":
        """Read a file of ``save``. Raises SynflipError if it is anything else."""
        accesses = np.load(path, allow_pickle=False)
        if accesses.dtype != ACCESS or accesses.ndim != 1:
            raise SynflipError(f"{path} is not a script: {accesses.dtype}")
        return cls(accesses)

    def of(self, region: Region, kind: Kind = Kind.WRITE) -> list[tuple[int, int]]:
        """(offset, data) of each access to a region, in order."""
        accesses = self.accesses
        mine = accesses[(accesses["address"] >> OFFSET_BITS == region) & (accesses["kind"] == kind)]
        offsets = mine["address"] & ((1 << OFFSET_BITS) - 1)
        return list(zip(offsets.tolist(), mine["data"].tolist(), strict=True))

    def layer_words(self, first: int, past: int) -> NDArray[np.int64]:
        """What was written to the offsets ``first`` .. ``past - 1`` of the region of layers, in their
        order."""
        words = dict(self.of(Region.LAYERS))
        return np.array([words[place] for place in sorted(words) if first <= place < past], dtype=np.int64)

    def layer_table(self, geometry: Geometry) -> NDArray[np.int64]:
        """[layers, fields] as the driver wrote them."""
        return self.layer_words(0, geometry.layer_depth * LAYER_WORDS).reshape(-1, LAYER_WORDS)

    def segments(self, geometry: Geometry) -> list[dict[str, int]]:
        """The segments of convolutions, their fields by the names of ``interfaces.segment_layout``."""
        if not geometry.map_depth:
            return []
        place, top, found = segments_offset(geometry), 1 << FLAGS_SHIFT - 1, []
        for pixels, other in self.layer_words(place, 2 * place).reshape(-1, SEGMENT_WORDS).tolist():
            flags = other >> FLAGS_SHIFT
            found.append(
                {
                    "first": pixels & (1 << PAST_SHIFT) - 1,
                    "past": pixels >> PAST_SHIFT,
                    "offset": (other & 2 * top - 1 ^ top) - top,
                    "position_end": int(flags & POSITION_END != 0),
                    "window_end": int(flags & WINDOW_END != 0),
                    "layer_end": int(flags & LAYER_END != 0),
                }
            )
        return found

    @property
    def settings(self) -> dict[str, int]:
        """Registers that were written last, by name."""
        written = dict(self.of(Region.REGISTERS))
        return {name: written[item.offset] for name, item in REGISTERS.items() if item.offset in written}


class Recorder:
    """A transport that answers the driver from a Result, and writes down what it did."""

    def __init__(self, geometry: Geometry, result: Result) -> None:
        assert result.logits is not None
        taking_part = np.arange(len(result.logits))[:, None] < result.used
        self._geometry, self._result = geometry, result
        self._log = result.logits[taking_part].reshape(-1)
        self._accesses: list[tuple[int, int, int]] = []
        self._shift = 0  # CLASS_SHIFT, as the driver sets it

    def script(self) -> Script:
        """What was recorded."""
        return Script(np.array(self._accesses, dtype=ACCESS))

    def write(self, address: int, words: NDArray[np.uint32]) -> None:
        """Record writes."""
        if address == register("CLASS_SHIFT"):
            self._shift = int(words[0])
        self._accesses += [(Kind.WRITE, address + index, word) for index, word in enumerate(words.tolist())]

    def read(self, address: int, count: int) -> NDArray[np.uint32]:
        """Record reads, and answer them."""
        kind = Kind.POLL if address == register("STATUS") else Kind.READ
        answers = [self._answer(item) for item in range(address, address + count)]
        self._accesses += [(kind, address + index, answer) for index, answer in enumerate(answers)]
        return np.array([max(answer, 0) for answer in answers], dtype=np.uint32)

    def wait(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """Nothing is held."""

    def _answer(self, address: int) -> int:
        region, offset = address >> OFFSET_BITS, address & ((1 << OFFSET_BITS) - 1)
        result, classes = self._result, self._result.votes.shape[1]
        if region == Region.REGISTERS:
            return self._register(offset)
        if region == Region.USED:
            return int(result.used[offset])
        if region == Region.LOG:
            return int(self._log[offset]) & 0xFFFFFFFF
        if region == Region.SOFT and (energy := offset - energy_offset(self._geometry)) >= 0:
            assert result.energy_sums is not None
            return int(result.energy_sums[energy >> 1]) >> 32 * (energy & 1) & 0xFFFFFFFF
        place, half = (offset >> 1, offset & 1) if region == Region.SUMS else (offset, 0)
        slot, class_ = place >> self._shift, place & ((1 << self._shift) - 1)
        if class_ >= classes:
            return ANY
        found: dict[int, Any] = {
            Region.VOTES: result.votes,
            Region.SUMS: result.logit_sums,
            Region.SOFT: result.soft_votes,
        }
        value = found[region][slot, class_]
        return int(value) >> 32 * half & 0xFFFFFFFF

    def _register(self, offset: int) -> int:
        (name,) = (name for name, item in REGISTERS.items() if item.offset == offset)
        other = {"MAGIC": MAGIC, "VERSION": VERSION, "STATUS": 0, "CYCLES_HIGH": 0}
        if name == "CYCLES_LOW":
            return self._result.cycles
        return other[name] if name in other else int(getattr(self._geometry, name.lower()))
