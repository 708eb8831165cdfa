"""Extractors: networks in front of the coins that are not sampled and turn images into features.

An extractor runs on the host; its features, counted in integer steps, are the first layer's activations.
"""

import copy
import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from synflip.errors import SynflipError
from synflip.modelfile import pt2
from synflip.modelfile.aten import quiet
from synflip.spec.features import BLOCK, MAX_LOG2_STEP
from synflip.util.cache import tool_caches
from synflip.util.text import first_line

_PERCENTILE = 99.9  # of the features above 0: one in a thousand is larger, and cut off
#: What torch.export notes of each node for people, with file names of the machine that it ran on.
_FOR_PEOPLE = ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack", "from_node")


class Extractor:
    """A network in a ``.pt2`` file that turns images into features, in float64.

    Machines add in different orders, so features differ in their last bits. In float64 a feature is hardly
    ever so near to the edge of a step that it is counted as another integer.
    content: the bytes of the file, parsed at the first call.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self._program: pt2.Program | None = None

    def __reduce__(self) -> tuple[type["Extractor"], tuple[bytes]]:
        """To other processes it goes as its bytes."""
        return Extractor, (self.content,)

    @property
    def sha256(self) -> str:
        """The digest of the file, in hexadecimal, by which a model knows its extractor."""
        return hashlib.sha256(self.content).hexdigest()

    def __call__(self, images: NDArray[np.integer]) -> NDArray[np.float64]:
        """Features [N, F] of images [N, C, H, W]. Raises SynflipError for a file that does not make them."""
        if self._program is None:
            program = pt2.parse(self.content)
            pt2.output_shape(program, images.shape)  # nothing too large is computed
            self._program = program.double().eval()
        with torch.no_grad():
            result: NDArray[np.float64] = self._program(torch.from_numpy(images.astype(np.float64))).numpy()
        return result


def load_extractor(path: str | Path, sha256: str) -> Extractor:
    """The extractor at ``path``. Raises SynflipError if its SHA-256 is another one."""
    extractor = Extractor(pt2.read(path))
    if extractor.sha256 != sha256:
        raise SynflipError(
            f"{path} is not this model's: its SHA-256 is {extractor.sha256}, not {sha256}; "
            "get the one that came with the model, or take it away to give features"
        )
    return extractor


def image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """``shape``, [H, W] or [C, H, W], as (C, H, W): C is 1 if it is missing."""
    channels, height, width = shape if len(shape) == 3 else (1, *shape)
    return channels, height, width


def copied(module: nn.Module) -> nn.Module:
    """A copy with float32 parameters on the CPU, in evaluation mode. Raises SynflipError."""
    try:
        return copy.deepcopy(module).cpu().float().eval()
    except Exception as error:  # whatever the module raises
        raise SynflipError(f"the {type(module).__name__} cannot be copied: {first_line(error)}") from None


def export(extractor: nn.Module, shape: tuple[int, int, int]) -> bytes:
    """The bytes of a ``.pt2`` file of an extractor, for images of ``shape`` (C, H, W).

    The same module gives the same bytes.
    Raises SynflipError for a module that torch.export cannot follow, or with an operation that ``pt2`` does
    not have.
    """
    network = nn.Sequential(copied(extractor), nn.Flatten()).eval()
    try:
        with torch.no_grad(), tool_caches(), quiet():
            program = torch.export.export(
                network, (torch.zeros(2, *shape),), dynamic_shapes=({0: torch.export.Dim("images")},)
            )
            for node in program.graph.nodes:
                for key in _FOR_PEOPLE:
                    node.meta.pop(key, None)
            program._example_inputs = None  # would be pickled
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
    except Exception as error:  # whatever the module raises
        sizes = ", ".join(map(str, shape))
        raise SynflipError(
            f"the features cannot be exported for images [N, {sizes}]: {first_line(error)}"
        ) from None
    content = buffer.getvalue()
    if len(content) > pt2.MAX_FILE_BYTES:
        raise SynflipError(f"the features take {len(content)} bytes; at most {pt2.MAX_FILE_BYTES}")
    try:
        written = pt2.parse(content)
        pt2.check_extractor(written)
        found = pt2.output_shape(written, (BLOCK, *shape))
        if len(found) != 2 or found[0] != BLOCK:
            raise SynflipError(
                f"{BLOCK} images have features of shape {list(found)}, not [{BLOCK}, F]: keep the first "
                "axis, as x.flatten(1) does"
            )
    except SynflipError as error:
        raise SynflipError(f"the features cannot be written: {error}") from None
    return content


def log2_step(features: NDArray[np.floating], activation_bits: int) -> int:
    """log2 of the step that features are counted in: the smallest with which 99.9 % of them fit 2**A - 1.

    features: [N, F]; those that are 0 do not count. For features up to 3.9 and A = 8 it is -6: 3.9 is
    counted as 250 steps of 1/64.
    Raises SynflipError for features below 0, and if all are 0: rows are counts.
    """
    if not np.isfinite(features).all():
        raise SynflipError("the features are not finite: look at mean, std and the extractor's weights")
    above = features[features > 0]
    if not len(above):
        raise SynflipError(
            "all features of the training images are 0: the extractor ends in nothing to count"
        )
    largest = (1 << activation_bits) - 1
    exponent = math.ceil(math.log2(float(np.percentile(above, _PERCENTILE)) / largest))
    if abs(exponent) > MAX_LOG2_STEP:
        raise SynflipError(f"the features go up to {above.max():g}: scale them to about 1")
    if features.min() < -(2.0**exponent) / 2:
        raise SynflipError(
            f"the features go down to {features.min():g}; rows are counts, 0..{largest}: end the extractor "
            "with a ReLU"
        )
    return exponent
