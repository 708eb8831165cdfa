"""A convolution of the contract's version 2: sizes, and the map that it makes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from synflip.errors import SynflipError
from synflip.spec.sizes import MAX_KERNEL, MAX_KERNEL_ROWS, MAX_POOL, MAX_SIDE

KIND = "conv"


@dataclass(frozen=True)
class Convolution:
    """Where the kernel of a convolution goes. One kernel has kh * kw * C rows, and every output has one.

    input: H, W, C, of the activations x[y, x, c] of one image. kernel: kh, kw. stride: sy, sx.
    pad: rows and columns of zeros on each side, py, px. pool: ph, pw, of the max pooling behind.

    Position (oy, ox), tap (dy, dx) and channel c meet x[oy*sy + dy - py, ox*sx + dx - px, c] in row
    (dy*kw + dx)*C + c of the kernel. Raises SynflipError for sizes beyond the contract's, and for a kernel or
    a window that is larger than what it goes over.
    """

    input: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    pool: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        limits: Mapping[str, tuple[tuple[str, int, int], ...]] = {
            "input": (("height", 1, MAX_SIDE), ("width", 1, MAX_SIDE), ("channels", 1, MAX_KERNEL_ROWS)),
            "kernel": (("height", 1, MAX_KERNEL), ("width", 1, MAX_KERNEL)),
            "stride": (("down", 1, MAX_SIDE), ("across", 1, MAX_SIDE)),
            "pad": (("above and below", 0, MAX_SIDE), ("left and right", 0, MAX_SIDE)),
            "pool": (("height", 1, MAX_POOL), ("width", 1, MAX_POOL)),
        }
        for name, parts in limits.items():
            values = getattr(self, name)
            if not isinstance(values, tuple) or len(values) != len(parts):
                raise SynflipError(f"`{name}` of a convolution must be {len(parts)} integers, not {values!r}")
            for value, (what, least, most) in zip(values, parts, strict=True):
                if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                    raise SynflipError(
                        f"`{name}` of a convolution is {list(values)!r}: its {what} must be an integer in "
                        f"{least}..{most}"
                    )
        if self.rows > MAX_KERNEL_ROWS:
            raise SynflipError(f"a kernel of {self.rows} rows; a convolution has at most {MAX_KERNEL_ROWS}")
        for side, size, over in zip(("high", "wide"), self.positions, self.input, strict=False):
            if size < 1:
                raise SynflipError(
                    f"the kernel {_by(self.kernel)} is more {side} than the padded input {over}"
                )
        if 0 in self.output:
            raise SynflipError(
                f"a pool window of {_by(self.pool)} is larger than the map of {_by(self.positions)} positions"
            )

    @property
    def rows(self) -> int:
        """kh * kw * C, the rows of the kernel, before padding."""
        return self.kernel[0] * self.kernel[1] * self.input[2]

    @property
    def inputs(self) -> int:
        """H * W * C, the activations of one image."""
        return self.input[0] * self.input[1] * self.input[2]

    @property
    def positions(self) -> tuple[int, int]:
        """Positions of the kernel, down and across: (H + 2 py - kh) // sy + 1, likewise across."""
        down, across = (
            (size + 2 * pad - kernel) // stride + 1
            for size, pad, kernel, stride in zip(
                self.input[:2], self.pad, self.kernel, self.stride, strict=True
            )
        )
        return down, across

    @property
    def output(self) -> tuple[int, int]:
        """Height and width of the map behind the pooling. What does not fill a window below or to the right
        is dropped: 27 positions and a pool of 2 make 13."""
        return self.positions[0] // self.pool[0], self.positions[1] // self.pool[1]

    def __str__(self) -> str:
        parts = [_by(self.kernel)]
        parts += [f"stride {_by(self.stride)}"] * (self.stride != (1, 1))
        parts += [f"pad {_by(self.pad)}"] * (self.pad != (0, 0))
        parts += [f"pool {_by(self.pool)}"] * (self.pool != (1, 1))
        return ", ".join(parts)

    def metadata(self) -> dict[str, Any]:
        """An object of ``layers`` in the model file's metadata."""
        return {"kind": KIND, **{item.name: list(getattr(self, item.name)) for item in fields(self)}}

    @classmethod
    def from_metadata(cls, value: Mapping[str, Any]) -> "Convolution":
        """From an object of ``layers`` whose kind is ``conv``. Raises SynflipError."""
        known = {item.name for item in fields(cls)}
        odd = sorted(set(value) - known - {"kind"})
        if odd:
            raise SynflipError(f"a convolution has no `{odd[0]}`; it has {', '.join(sorted(known))}")
        missing = sorted({"input", "kernel"} - set(value))
        if missing:
            raise SynflipError(f"a convolution without `{missing[0]}`")
        for name in known & set(value):
            if not isinstance(value[name], list):
                raise SynflipError(f"`{name}` of a convolution is {value[name]!r}, not a list")
        return cls(**{name: tuple(value[name]) for name in known & set(value)})


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
