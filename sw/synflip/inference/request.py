"""What may be asked of a device, converted and checked once, the same way for all.

One rule for numbers: Python's and numpy's integers are taken, floats that are whole (1.0) too; bools, other
floats and text are refused.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from synflip.data.registry import open_inputs
from synflip.data.tables import feature_rows
from synflip.errors import SynflipError
from synflip.spec import lfsr
from synflip.spec.input_quantizer import InputQuantizer, check_finite
from synflip.spec.lfsr import MASK64
from synflip.spec.model import CompiledModel, Images, images_at_once
from synflip.spec.sizes import key_offsets
from synflip.uncertainty.soft_votes import SoftTable
from synflip.util.arrays import flag, list_of, plain, rows, whole_number, whole_pixels

SAMPLE_LIMIT = 1 << 31  # votes are int32
MAX_LOGIT_BYTES = 1 << 30

#: Called with (done, total), in network samples times images.
Progress = Callable[[int, int], None]
#: The least lead, in votes, with which an image leaves: the same after every network sample, or [samples].
Margin = int | ArrayLike
#: Images of a request: an array of integers, a list, a torch tensor, what reads a file, or the file's path.
Pixels = Images | ArrayLike | str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class InferenceRequest:
    """One inference of a compiled model. It is converted and checked when it is made, so no device checks it
    again.

    model: what runs. pixels: images [N, I], integers; also [N, H, W], [N, 1, H, W] and [N, H, W, 1], and of a
        model that makes features [N, C, H, W]; or features of any range; see ``as_images``. Kept as [N, I],
        read block by block.
    samples: S, network samples. seed: of the LFSR, 0..2**64-1; tunnel junctions have none. Both are integers,
        also numpy's, or floats that are whole.
    margin: early stopping. An image leaves after the first network sample s in which its leader is at least
        margin (margin[s]) votes ahead of its runner-up: an integer, or integers [S]. None: no image leaves.
    logits: keep the logits of every network sample.
    keys: uint64 [S, R], the contract's keys of each network sample. The device uses them in place of its own
        source, so a run can be replayed.
    keep_keys: keep the keys that were used. Only one batch of images can keep them.
    first: number of the first network sample. A part of an inference has another than 0; then no image can
        leave early, and no keys can be given.
    soft: add up soft votes and energies with these tables; True: with those of ``SoftTable.of`` for the
        model's logits.

    Raises SynflipError for a request that no device could answer.
    """

    model: CompiledModel
    pixels: Images
    samples: int
    seed: int
    margin: Margin | None = None
    logits: bool = False
    keys: NDArray[np.uint64] | None = None
    keep_keys: bool = False
    first: int = 0
    soft: SoftTable | bool | None = None
    #: Margins by network sample, int64 [S], or None.
    limits: NDArray[np.int64] | None = field(init=False)
    #: Tables of the soft votes, or None.
    tables: SoftTable | None = field(init=False)

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        if not isinstance(self.model, CompiledModel):
            raise SynflipError(f"a request is for a compiled model, not a {type(self.model).__name__}")
        put("pixels", as_images(self.model, self.pixels))
        if isinstance(self.pixels, QuantizedImages):
            self.pixels.check()
        elif not isinstance(self.pixels, Unread):
            self.model.check_images(self.pixels)
        put("samples", whole_samples(self.samples))
        put("seed", whole_seed(self.seed))
        put("limits", margins_of(self.margin, self.samples))
        for name in ("logits", "keep_keys"):
            put(name, flag(getattr(self, name), name))
        put("first", whole_number(self.first, "first"))
        if self.keys is not None:
            put("keys", _keys(self.keys))
        put("tables", _tables(self.model, self.soft))
        self._check_first()
        self._check_keys()

    @property
    def early(self) -> bool:
        """Whether images may leave early."""
        return self.limits is not None

    @property
    def key_rows(self) -> int:
        """R, keys of one network sample."""
        return key_offsets(self.model.rows)[1]

    @property
    def sample_keys(self) -> NDArray[np.uint64]:
        """uint64 [S, R], the keys of each network sample: the host's, or else the LFSR's."""
        if self.keys is not None:
            return self.keys
        first, count = self.first * self.key_rows, self.samples * self.key_rows
        return lfsr.keys(self.seed, first, count).reshape(-1, self.key_rows)

    def _check_first(self) -> None:
        first, samples = self.first, self.samples
        if not 0 <= first < SAMPLE_LIMIT or first + samples > SAMPLE_LIMIT:
            raise SynflipError(f"samples {first}..{first + samples - 1} are not in 0..2**31-1")
        if first and self.margin is not None:
            raise SynflipError(
                f"samples from {first} on cannot stop early: whether an image stays depends on the samples "
                "before"
            )
        if first and self.keys is not None:
            raise SynflipError("keys are of the samples wanted, from the first on: leave out first")

    def _check_keys(self) -> None:
        keys, wanted = self.keys, (self.samples, self.key_rows)
        if keys is not None and (keys.dtype != np.uint64 or keys.shape != wanted):
            raise SynflipError(
                f"keys must be uint64 {list(wanted)}, one for each sample and padded row, "
                f"not {keys.dtype} {list(keys.shape)}"
            )


class QuantizedImages:
    """Features [N, I] as the pixels [N, I] of a model, made block by block: ``images[10:20]`` makes ten.

    features: numbers [N, I]. quantizer: the model's. largest: the largest pixel.
    """

    ndim = 2

    def __init__(self, features: NDArray[Any], quantizer: InputQuantizer, largest: int) -> None:
        self.features, self.quantizer, self.largest = features, quantizer, largest
        self.shape = features.shape
        self.dtype = quantizer.pixels(features[:0], largest).dtype

    def __len__(self) -> int:
        return len(self.features)

    def check(self) -> None:
        """Look at all features block by block, and make no pixels: those are in range, whatever the features
        are. Raises SynflipError for a feature that is not finite."""
        block = images_at_once(8 * self.shape[1])
        for first in range(0, len(self), block):
            wide = self.features[first : first + block].astype(np.float64)
            check_finite(wide, self.quantizer.columns, first)

    def __getitem__(self, part: slice) -> NDArray[np.integer]:
        """The pixels of some rows. Raises SynflipError for a feature that is not finite."""
        return self.quantizer.pixels(self.features[part], self.largest, part.indices(len(self))[0])


class Unread:
    """Images or features [N, ..] that a request does not look at: they are made, and checked, where a piece
    of the request is run.

    lazy: their array, of which ``images[10:20]`` gives ten as they are.
    """

    ndim = 2

    def __init__(self, lazy: Any) -> None:
        self.lazy, self.dtype = lazy, lazy.dtype
        self.shape: tuple[int, ...] = (len(lazy), math.prod(lazy.shape[1:]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Any:
        """Some of them, not yet made."""
        return self.lazy[part]


def as_images(model: CompiledModel, pixels: Pixels) -> Images:
    """``pixels`` as images [N, I] of the model, as an array or as what reads them block by block.

    pixels: integers [N, I]: an array (it is not copied), a list, a torch tensor, a frame, or the path of a
    ``.npy`` or ``.npz`` file. [N, H, W], [N, 1, H, W] and [N, H, W, 1] are taken if H * W is I.
    [N, C, H, W] is taken of a model that makes features or begins with a convolution, which knows the shape
    of its images, and [N, H, W, C] of one that begins with a convolution; other models cannot tell whether
    channels come first or last. Flat rows, and the pictures of a file, are in the order of the model's
    images: ``CompiledModel.channels_first``. Floats that are all whole numbers become integers. Raises
    SynflipError for what is no array of whole numbers of such a shape.
    """
    quantizer = model.input_quantizer
    if isinstance(pixels, Unread):
        return pixels
    if isinstance(pixels, str | os.PathLike):
        pixels = open_inputs(os.fspath(pixels), model, least=0)
    if quantizer is not None:
        if isinstance(pixels, QuantizedImages):
            pixels = pixels.features
        return QuantizedImages(feature_rows(pixels, quantizer, "images"), quantizer, model.pixel_max)
    if not isinstance(pixels, np.ndarray) or isinstance(pixels, np.ma.MaskedArray):
        if isinstance(getattr(pixels, "dtype", None), np.dtype) and not hasattr(pixels, "__array__"):
            return cast(Images, pixels)  # what reads a file block by block
        detach = getattr(pixels, "detach", None)
        pixels = plain(detach() if detach is not None else pixels, "images")
    if not np.issubdtype(pixels.dtype, np.integer):
        pixels = whole_pixels(plain(pixels, "images"), model.pixel_max, "images")
    if pixels.ndim == 2:  # whether [N, I] is what the model wants, it says itself
        return pixels
    wide, known, first = model.inputs, model.image_shape, model.layers[0].convolution
    size = math.prod(pixels.shape[1:])
    if known is not None and (size == math.prod(known) or size != wide):
        if first is not None and model.features is None:
            pixels = _ordered(pixels, known, first.input)
        return rows(pixels, known, "images")
    # [N, H, 3] may be rows of colours: 3 and 4 are taken for a width only of squares.
    last_is_colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.shape[1] != pixels.shape[2]
    grey = pixels.ndim == 3 or (pixels.ndim == 4 and 1 in (pixels.shape[1], pixels.shape[3]))
    if grey and not last_is_colour and size == wide:
        return pixels.reshape(len(pixels), wide)
    return rows(pixels, (wide,), "images")


def _ordered(pixels: NDArray[Any], known: tuple[int, ...], size: tuple[int, int, int]) -> NDArray[Any]:
    """Pictures of several channels, first or last, in the form ``known``; others as they are.

    known: the model's, of one image. size: H, W, C. Pictures of either form, as 3x3 in 3 channels are, are
    taken to be in the model's.
    """
    height, width, channels = size
    shape = pixels.shape[1:]
    if channels == 1 or shape == known:
        return pixels
    if shape == (channels, height, width):
        return np.moveaxis(pixels, 1, 3)
    return np.moveaxis(pixels, 3, 1) if shape == size else pixels


def whole_samples(samples: Any) -> int:
    """A number of network samples as an int in 1..2**31-1. Raises SynflipError."""
    if not 1 <= (number := whole_number(samples, "samples")) < SAMPLE_LIMIT:
        raise SynflipError(f"samples must be in 1..2**31-1, not {samples}")
    return number


def whole_seed(seed: Any) -> int:
    """A seed of coins as an int in 0..2**64-1. Raises SynflipError."""
    if not 0 <= (number := whole_number(seed, "the seed")) <= MASK64:
        raise SynflipError(f"the seed must be in 0..2**64-1, not {seed}")
    return number


def margins_of(margin: Margin | None, samples: int) -> NDArray[np.int64] | None:
    """Margins as int64 [samples], or None. margin: as of ``InferenceRequest``. Raises SynflipError."""
    if margin is None:
        return None
    if isinstance(margin, int | float | np.generic):
        if (number := whole_number(margin, "margin")) < 0:
            raise SynflipError(f"the margin must not be negative, not {number}")
        return np.broadcast_to(np.int64(min(number, SAMPLE_LIMIT)), samples)  # it takes no memory
    limits = plain(margin, "margins")
    if limits.dtype.kind == "f" and np.isfinite(limits).all() and (limits == np.floor(limits)).all():
        limits = np.minimum(limits, SAMPLE_LIMIT).astype(np.int64)
    if limits.shape != (samples,) or not np.issubdtype(limits.dtype, np.integer):
        raise SynflipError(
            f"margins must be {samples} integers, one a sample, not {limits.dtype} {list_of(limits.shape)}"
        )
    if int(limits.min()) < 0:
        raise SynflipError(
            f"margins must not be negative; margin {int(limits.argmin())} is {int(limits.min())}"
        )
    most = min(SAMPLE_LIMIT, int(limits.max()))  # no lead is as large, nor is what uint8 holds
    return np.minimum(limits, most).astype(np.int64)


def check_logits(samples: int, images: int, classes: int) -> None:
    """Refuse, before the work, logits that would take too much memory. Raises SynflipError."""
    size = 4 * samples * images * classes
    if size > MAX_LOGIT_BYTES:
        raise SynflipError(
            f"the logits of {samples} samples of {images} images take {size} bytes; "
            f"at most {MAX_LOGIT_BYTES} are kept: take fewer images or samples"
        )


def _tables(model: CompiledModel, soft: Any) -> SoftTable | None:
    """Tables of soft votes. Raises SynflipError for what is none, and for a model that does not say the scale
    of its logits."""
    if soft is None or isinstance(soft, SoftTable):
        return soft
    if not isinstance(soft, bool | np.bool_):
        raise SynflipError(f"soft must be True, False or a SoftTable, not {soft!r}")
    if not soft:
        return None
    if model.logit_scale is None:
        raise SynflipError(
            "soft votes need the scale of the logits, which the model's file does not say "
            "(source.logit_scale): give a SoftTable"
        )
    return SoftTable.of(model.logit_scale, len(model.classes))


def _keys(keys: Any) -> NDArray[Any]:
    """Keys as uint64, if they are integers that are not negative; what else they are, the check says."""
    array = plain(keys, "keys")
    if array.dtype.kind in "iu" and (not array.size or int(array.min()) >= 0):
        return array.astype(np.uint64, copy=False)
    return array
