"""Operations that a network of dense layers is read as, whatever module or file it comes from.

``modelfile.aten`` reads graphs of torch, ``modelfile.onnx`` reads ONNX; what operations may follow each other
is ``training.ordinary``'s to say.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from synflip.errors import SynflipError
from synflip.modelfile.pt2 import MAX_RESULT

MAX_BATCH = 4096

#: What may be in a network of coins, for messages.
ALLOWED = (
    "Linear and Conv2d layers, a ReLU or a clamp from 0 after each, MaxPool2d, Flatten, Dropout, BatchNorm, "
    "constants added or multiplied, and softmax, sigmoid or argmax last"
)
WAY_OUT = f"allowed are {ALLOWED}; what comes before can be an extractor of features"


@dataclass(frozen=True)
class Linear:
    """x W^T + b. name: how messages name it. weight: float64 [J, I]. bias: float64 [J]."""

    name: str
    weight: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Conv2d:
    """A convolution. weight: float64 [J, C, kh, kw]. bias: float64 [J]. size: C, H, W of what it takes.
    stride, pad: down and across."""

    name: str
    weight: Tensor
    bias: Tensor
    size: tuple[int, int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]


@dataclass(frozen=True)
class MaxPool2d:
    """The largest of each window of ``window`` places; windows lie side by side."""

    name: str
    window: tuple[int, int]


@dataclass(frozen=True)
class Affine:
    """(x - mean) * factor + bias, number by number. mean, factor, bias: float64, [I] each, or [] for all."""

    name: str
    mean: Tensor
    factor: Tensor
    bias: Tensor


@dataclass(frozen=True)
class Clamp:
    """x, with what is below 0 and above ``limit`` cut off; limit: inf of a ReLU."""

    name: str
    limit: float = math.inf


@dataclass(frozen=True)
class End:
    """What is made of the logits [N, C].

    kind: ``softmax``, ``log_softmax`` and ``sigmoid`` of them; ``argmax`` gives classes [N]; ``order`` gives
    other scores, of which the largest is that of the largest logit.
    """

    name: str
    kind: str


Operation = Linear | Conv2d | MaxPool2d | Affine | Clamp | End


def constant_bytes(operations: Sequence[Operation]) -> int:
    """Bytes of the constants of operations."""
    values = (value for operation in operations for value in vars(operation).values())
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def refused(name: str, why: str = "") -> SynflipError:
    """The error for an operation that no coins can do. why: instead of that it is not known."""
    return SynflipError(f"{name} {why or 'cannot be made of coins'}; {WAY_OUT}")


def checked(name: str, what: str, value: Tensor) -> Tensor:
    """``value``, called ``what`` of ``name``, as float64 on the CPU. Raises SynflipError for one that is no
    finite real numbers."""
    check_kind(name, what, value)
    value = value.detach().cpu().double()
    bad = (~value.isfinite()).nonzero()
    if len(bad):
        place = bad[0].tolist()
        raise SynflipError(
            f"{name} has weights that are not finite: {what}{place} is {value[tuple(place)]:g}"
        )
    return value


def check_kind(name: str, what: str, value: Tensor) -> None:
    """Raises SynflipError unless ``value`` is a dense tensor of real floats that holds numbers."""
    if not value.is_floating_point() or value.layout != torch.strided:
        raise SynflipError(f"{name}: its {what} is {value.dtype}, not a dense tensor of real floats")
    if value.is_meta:
        raise SynflipError(f"{name}: its {what} is on the device meta, which holds no numbers")


def linear(name: str, weight: Tensor, bias: Tensor | None, shape: Sequence[int] | None) -> Linear:
    """A layer of weights [J, I] and biases [J], or none, or of a shape that is repeated to [J].

    shape: of one input; None if it is not known. Raises SynflipError.
    """
    if shape is not None and math.prod(shape) != weight.shape[-1]:
        raise SynflipError(
            f"{name} takes rows of {weight.shape[-1]} of [N, {', '.join(map(str, shape))}]: flatten it first"
        )
    weight = checked(name, "weight", weight)
    if weight.ndim != 2:
        raise SynflipError(f"{name} has weights of shape {list(weight.shape)}, not [outputs, inputs]")
    if bias is None:
        return Linear(name, weight, torch.zeros(len(weight), dtype=torch.float64))
    bias = checked(name, "bias", bias)
    if bias.numel() not in (1, len(weight)):
        raise SynflipError(f"{name}: its bias has shape {list(bias.shape)}, not [{len(weight)}]")
    return Linear(name, weight, bias.reshape(-1).expand(len(weight)).clone())


def convolution(
    name: str,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    pad: Sequence[int] | str,
    dilation: Sequence[int],
    groups: int,
    shape: Sequence[int] | None,
) -> Conv2d:
    """A convolution of weights [J, C, kh, kw] and biases [J], or none.

    stride, dilation: down and across, or one number for both. pad: the same; or above, left, below, right; or
    ``valid`` or ``same``, as torch has it. shape: of one input, C, H, W. Raises SynflipError for what the
    contract does not have.
    """
    if shape is None or len(shape) != 3:
        given = "of a size that its file does not say" if shape is None else list(shape)
        raise SynflipError(f"{name} takes pictures [C, H, W] of a fixed size, and its inputs are {given}")
    if groups != 1:
        raise refused(name, f"has {groups} groups of channels (depthwise), and a coin's kernel takes all")
    if any(step != 1 for step in dilation):
        raise refused(name, f"is dilated by {list(dilation)}, and a coin's kernel has no gaps")
    weight = checked(name, "weight", weight)
    if weight.ndim != 4 or weight.shape[1] != shape[0] or 0 in weight.shape:
        raise SynflipError(f"{name} has weights of shape {list(weight.shape)} for {shape[0]} channels")
    if isinstance(pad, str):
        total = [0, 0] if pad == "valid" else [size - 1 for size in weight.shape[2:]]
        pad = [total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2]
    if len(pad) == 4 and list(pad[:2]) != list(pad[2:]):
        raise refused(
            name, f"pads by {list(pad)} (above, left, below, right), and coins by as much on each side"
        )
    bias = torch.zeros(len(weight), dtype=torch.float64) if bias is None else checked(name, "bias", bias)
    if bias.shape != weight.shape[:1]:
        raise SynflipError(f"{name}: its bias has shape {list(bias.shape)}, not [{len(weight)}]")
    channels, height, width = shape
    return Conv2d(name, weight, bias, (channels, height, width), _two(stride), _two(pad[:2]))


def max_pool(
    name: str,
    window: Sequence[int],
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    ceil: bool,
    shape: Sequence[int] | None,
) -> MaxPool2d:
    """A maximum over windows of pictures [C, H, W]; of each argument as of ``convolution``; stride: empty for
    the window's size. ceil: whether windows at the edge that are not filled count. Raises SynflipError."""
    window = _two(window)
    if shape is None or len(shape) != 3:
        raise SynflipError(f"{name} takes the maximum of what are no pictures [C, H, W] of a fixed size")
    if len(stride) and _two(stride) != window:
        raise refused(
            name, f"has windows of {list(window)} at a stride of {list(stride)}: they overlap or leave gaps"
        )
    if any(pad) or any(step != 1 for step in dilation):
        raise refused(name, "pads or dilates its windows")
    if ceil and any(size % side for size, side in zip(shape[1:], window, strict=True)):
        raise refused(name, "counts windows that are not filled (ceil_mode)")
    return MaxPool2d(name, window)


def _two(values: Sequence[int]) -> tuple[int, int]:
    return (int(values[0]), int(values[-1]))


def normalised(
    name: str,
    mean: Tensor | None,
    variance: Tensor | None,
    factor: Tensor | None,
    bias: Tensor | None,
    eps: float,
    shape: Sequence[int] | None = None,
) -> Affine:
    """A batch normalisation as in evaluation: (x - mean) / sqrt(variance + eps) * factor + bias.

    mean, variance: of the running statistics, [channels]. factor, bias: None if it is not affine. shape: of
    one input, whose first dimension are the channels; None for [channels]. Raises SynflipError.
    """
    if mean is None or variance is None:
        raise SynflipError(
            f"{name} has no running statistics (track_running_stats=False): what it does depends on the "
            "batch; train it with track_running_stats=True"
        )
    mean, variance = checked(name, "running_mean", mean), checked(name, "running_var", variance) + eps
    if bool((variance <= 0).any()):
        channel = int((variance <= 0).int().argmax())
        raise SynflipError(f"{name}: the variance and eps of channel {channel} are not above 0 together")
    scale = variance.rsqrt()
    if factor is not None:
        scale = scale * checked(name, "weight", factor)
    shift = torch.zeros_like(mean) if bias is None else checked(name, "bias", bias)
    if not mean.shape == scale.shape == shift.shape or mean.ndim != 1:
        raise SynflipError(f"{name}: its statistics and weights are not one for each of {len(mean)} channels")

    def of_inputs(value: Tensor) -> Tensor:
        if shape is None or len(shape) < 2:
            return value
        return broadcast(name, value.view(-1, *[1] * (len(shape) - 1)), shape)

    return Affine(name, of_inputs(mean), of_inputs(scale), of_inputs(shift))


def arithmetic(name: str, kind: str, constant: Tensor, shape: Sequence[int] | None) -> Affine:
    """A constant that every input of ``shape`` is added to, or is subtracted, multiplied, divided by.

    kind: ``add``, ``sub``, ``mul`` or ``div``; ``rsub`` if the input is subtracted from the constant. shape:
    of one input; None if it is not known. Raises SynflipError.
    """
    value = broadcast(name, checked(name, "constant", constant), shape)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    if kind == "add":
        return Affine(name, -value, one, zero)
    if kind == "sub":
        return Affine(name, value, one, zero)
    if kind == "rsub":
        return Affine(name, value, -one, zero)
    if kind == "div" and bool((value == 0).any()):
        raise SynflipError(f"{name} divides by 0")
    return Affine(name, zero, value if kind == "mul" else 1 / value, zero)


def negative(name: str) -> Affine:
    """The inputs with the other sign."""
    return arithmetic(name, "mul", -torch.ones(1), None)


def clamp(name: str, least: Any, most: Any) -> Clamp:
    """A cut-off at ``least`` and ``most``, None where there is none. Raises SynflipError unless it is one at
    0 and a finite number above it, or at 0 alone."""
    limit = math.inf if most is None else most
    if (
        not isinstance(least, int | float)
        or least != 0
        or not isinstance(limit, int | float)
        or not limit > 0
    ):
        raise refused(name, f"cuts off at {least} and {most}, and activations of coins are counts from 0")
    return Clamp(name, float(limit))


def broadcast(name: str, value: Tensor, shape: Sequence[int] | None) -> Tensor:
    """A constant as it meets inputs of ``shape``: float64 [] or, flat, one for each input. Raises
    SynflipError for one that differs between images."""
    if value.numel() == 1:
        return value.reshape(())
    if shape is None:
        shape = value.shape[-1:]
    if math.prod(shape) > MAX_RESULT:
        raise SynflipError(f"{name} has inputs of {math.prod(shape)} numbers; at most {MAX_RESULT}")
    try:
        whole = torch.broadcast_to(value, (1, *shape))
    except RuntimeError:
        raise SynflipError(
            f"{name} has a constant of shape {list(value.shape)}, which does not meet inputs [N, "
            f"{', '.join(map(str, shape))}]"
        ) from None
    return whole.reshape(-1).clone()


def in_batches(x: Tensor, size: int | None) -> Iterator[Tensor]:
    """Inputs [N, ...] in parts of ``size``, the last filled up with its first; all at once if size is None.
    Raises SynflipError for parts that are too large."""
    if size is None:
        yield x
        return
    if size > MAX_BATCH:
        raise SynflipError(f"it was exported for {size} images at once; export it for {MAX_BATCH} at most")
    for part in x.split(size):
        yield torch.cat([part, part[:1].expand(size - len(part), *part.shape[1:])])
