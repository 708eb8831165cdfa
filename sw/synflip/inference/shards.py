"""Parts of an inference: each some of its network samples, computed anywhere; together they are the whole.

A network sample is a function of model, seed and number, and votes, sums and samples used are added up. So
the parts may be computed on any devices, in any order. Only images that stop early need the samples before.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synflip.errors import SynflipError
from synflip.inference.result import (
    ALWAYS,
    ARRAYS,
    MAX_ARRAY_BYTES,
    SCALES,
    SOFT,
    Result,
    scales_in,
    sum_of_cycles,
)
from synflip.util.npz import read_array
from synflip.util.outputs import replacing
from synflip.util.text import first_line

MAX_PART_BYTES = 1 << 12
MAX_SHARDS = 1 << 20
#: Of the arrays of a part: types and numbers of axes.
_IF_KEPT = ("logits", *SOFT, *SCALES)
_ARRAYS = {name: ARRAYS[name] for name in (*ALWAYS, *_IF_KEPT)}
#: What parts of one inference have in common.
_WORDS = {
    "model": "digest of the model",
    "images": "digest of the images",
    "seed": "seed",
    "samples": "network samples",
    "count": "number of parts",
}


@dataclass(frozen=True)
class Part:
    """Which part of which inference: shard ``index`` (from 1) of ``count``, of network samples 0..samples-1.

    model, images: SHA-256 of the files, in hexadecimal.
    """

    index: int
    count: int
    samples: int
    seed: int
    model: str
    images: str

    @property
    def first(self) -> int:
        """The part's first network sample."""
        return self.samples * (self.index - 1) // self.count

    @property
    def past(self) -> int:
        """One past its last."""
        return self.samples * self.index // self.count


def parse_shards(text: str, samples: int) -> tuple[int, int]:
    """``2/5``, the second of five parts, to numbers. Raises SynflipError."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= MAX_SHARDS:
        raise SynflipError(f"--shards {text!r} is not I/N, part I of N, such as 1/4 .. 4/4")
    if count > samples:
        raise SynflipError(f"--shards {text}: {samples} samples cannot be cut into {count} parts")
    return index, count


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal. Raises SynflipError."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror}") from None


def save_part(result: Result, part: Part, path: str | Path) -> None:
    """Write a part: what ``Result.save`` writes, and ``part``, JSON."""
    text = np.frombuffer(json.dumps(asdict(part), sort_keys=True).encode(), dtype=np.uint8)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **result.arrays(), **result.scales(), part=text)


def merge(paths: Sequence[str | Path]) -> tuple[Result, Part]:
    """The whole of its parts, in any order: votes, logit sums, samples used, logits and soft votes are those
    of one inference; cycles are those of all parts, -1 if a part does not know them. The part tells of which
    one.

    Raises SynflipError for a file that is not a part, for parts of different inferences, and for a part that
    is missing or there twice.
    """
    if not paths:
        raise SynflipError("there is nothing to merge")
    where: dict[int, Path] = {}
    whole: dict[str, Any] = {}
    logits: dict[int, NDArray[np.int32]] = {}
    parts: list[Part] = []
    for path in map(Path, paths):
        part, arrays = read_part(path)
        if parts:
            _same_inference(parts[0], part, Path(paths[0]), path)
        if part.index in where:
            raise SynflipError(f"{where[part.index]} and {path} are both part {part.index}/{part.count}")
        if whole and arrays.keys() != whole.keys():
            raise SynflipError(f"{paths[0]} and {path}: logits or soft votes are in one of them only")
        if whole and arrays["votes"].shape != whole["votes"].shape:
            raise SynflipError(f"{paths[0]} and {path}: votes have different shapes")
        parts.append(part)
        where[part.index] = path
        if "logits" in arrays:
            logits[part.index] = arrays["logits"]
        whole = _added(whole, arrays) if whole else arrays
    missing = [index for index in range(1, parts[0].count + 1) if index not in where]
    if missing:
        raise SynflipError(
            f"part {missing[0]}/{parts[0].count} is missing"
            + (f", and {len(missing) - 1} more" if len(missing) > 1 else "")
        )
    kept = np.concatenate([logits[index] for index in sorted(logits)]) if logits else None
    cycles = int(whole["cycles"])
    more = scales_in(whole) | {name: whole[name] for name in SOFT if name in whole}
    result = Result(whole["votes"], whole["logit_sums"], whole["used"], cycles, kept, **more)
    return result, parts[0]


def _added(whole: dict[str, Any], arrays: dict[str, Any]) -> dict[str, Any]:
    added = [name for name in ("votes", "logit_sums", "used", *SOFT) if name in whole]
    total = {name: whole[name] + arrays[name] for name in added}
    return whole | total | {"cycles": sum_of_cycles(whole["cycles"], arrays["cycles"])}


def _same_inference(first: Part, part: Part, first_path: Path, path: Path) -> None:
    for name in _WORDS:
        one, other = getattr(first, name), getattr(part, name)
        if one != other:
            raise SynflipError(
                f"{first_path} and {path} are parts of different inferences: {_WORDS[name]}: {one}, {other}"
            )


def read_part(path: Path) -> tuple[Part, dict[str, Any]]:
    """A part, and its arrays by name. The file is not trusted: nothing is unpickled, and sizes are checked
    before anything is read. Raises SynflipError."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            if "part" not in names:
                raise ValueError("it does not say which part it is (synflip run --shards writes parts)")
            odd = sorted({*ALWAYS, "part"} ^ names - {*_IF_KEPT})
            if odd:
                raise ValueError(f"{odd[0]} is {'missing' if odd[0] not in names else 'not of a part'}")
            text = read_array(archive, "part", np.uint8, 1, MAX_PART_BYTES)
            part = _part(text.tobytes())
            arrays = {
                name: read_array(archive, name, dtype, axes, MAX_ARRAY_BYTES)
                for name, (dtype, axes) in _ARRAYS.items()
                if name in names
            }
    except OSError as error:
        raise SynflipError(f"cannot read {path}: {error.strerror or error}") from None
    except SynflipError:
        raise
    except Exception as error:  # zipfile's and numpy's parsers raise half a dozen kinds for hostile files
        raise SynflipError(f"{path} is not a part of an inference: {first_line(error)[:200]}") from None
    shape = arrays["votes"].shape
    want = {"logit_sums": shape, "used": shape[:1], "logits": (part.past - part.first, *shape)}
    want |= {name: shape[: ARRAYS[name][1]] for name in SOFT}
    for name, size in want.items():
        if name in arrays and arrays[name].shape != size:
            raise SynflipError(f"{path}: {name} has shape {list(arrays[name].shape)}, not {list(size)}")
    if len(shape) and not (arrays["used"] == part.past - part.first).all():
        raise SynflipError(f"{path}: its images did not all take part in {part.past - part.first} samples")
    return part, arrays


def _part(text: bytes) -> Part:
    fields = json.loads(text)
    kinds = Part.__annotations__
    if not isinstance(fields, dict) or fields.keys() != kinds.keys():
        raise ValueError("it does not say which part it is")
    for name, kind in kinds.items():
        value = fields[name]
        if type(value) is not kind or (kind is str and not re.fullmatch("[0-9a-f]{64}", value)):
            raise ValueError(f"{name} of the part is {str(value)[:80]!r}")
    part = Part(**fields)
    if not (1 <= part.index <= part.count <= min(MAX_SHARDS, part.samples) and part.samples < 1 << 31):
        raise ValueError(f"it says that it is part {part.index}/{part.count} of {part.samples} samples")
    return part
