"""What people hand over as numbers, made plain numpy arrays, or refused in one line.

Lists, torch tensors, pandas frames, arrays in Fortran order, big-endian, strided, read-only, masked without a
masked value, or mapped from a file: all of them become arrays in C order of this machine's byte order.
"""

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from synflip.errors import SynflipError
from synflip.util.text import first_line, one_line

TRAINING_SEEDS = 1 << 63  # a seed of a training is below it
_BLOCK = 1 << 20  # numbers at once
_NUMBERS = "biuf"  # kinds of numpy dtypes: bool, signed and unsigned integers, floats


def plain(value: Any, what: str) -> NDArray[Any]:
    """``value`` as an array of bools, integers or floats, in C order, writable, in native byte order.

    An array that is all this already is not copied; one of objects becomes numbers if each of them is one.
    what: its name in messages, in the plural, such as ``train_images``. Raises SynflipError for what is no
    array of numbers: rows of different lengths, complex numbers, masked values, tensors that require grad;
    and of text and other objects, which names the first.
    """
    if isinstance(value, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(value)
        if masked.any():
            raise SynflipError(
                f"{what}{_place(masked)} is masked: put a number there, for example {what}.filled(0)"
            )
        value = value.data
    torch = sys.modules.get("torch")  # a tensor is at hand only if torch is
    if torch is not None and isinstance(value, list | tuple) and any(map(torch.is_tensor, value)):
        value = [_of_tensor(item, f"{what}[{index}]") for index, item in enumerate(value)]
    if torch is not None and torch.is_tensor(value):
        value = _of_tensor(value, what)
    if not isinstance(value, np.ndarray):
        if isinstance(value, Iterator):
            raise SynflipError(
                f"{what} are an iterator ({type(value).__name__}), not an array: give list({what}) of single "
                f"rows, np.concatenate(list({what})) of blocks of them"
            )
        if isinstance(value, str | bytes | dict | set | frozenset) or value is None:
            raise SynflipError(f"{what} must be an array of numbers, not {_shown(value)}")
        if hasattr(value, "toarray"):  # of scipy
            raise SynflipError(f"{what} are a sparse matrix: give {what}.toarray()")
        _check_lengths(value, what)
        try:
            array = np.asarray(value)
            if array.dtype.kind in "SU":  # numpy makes text of numbers among text
                array = np.asarray(value, dtype=object)
        except Exception as error:  # an object's own __array__ may raise anything
            raise SynflipError(
                f"{what} ({type(value).__name__}) are no array of numbers: {one_line(first_line(error))}"
            ) from None
    else:
        array = np.asarray(value)  # of the class itself: no matrix, no map of a file
    if array.dtype.kind in "OSU" and array.ndim:
        array = _numbers(array, what)
    if array.dtype.kind not in _NUMBERS:
        raise SynflipError(f"{what} hold {_kind(array)}, not numbers: {_way_out(array, what)}")
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)
    return array if array.flags.writeable else array.copy()


def whole(
    array: NDArray[Any],
    what: str,
    least: int,
    most: int,
    dtype: DTypeLike,
    hint: Callable[[], str] = lambda: "",
) -> NDArray[Any]:
    """``array`` as integers of ``dtype``. Floats that are whole numbers are taken; nothing is rounded.

    array: as ``plain`` gives it. what: its name in messages. hint: says what to do about values that are not
    whole numbers in least..most, for the end of the message; called only then. Raises SynflipError, which
    names the first such value.
    """
    bad = np.zeros(array.shape, dtype=bool)
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
        if not bad.any():
            bad = array != np.floor(array)
    if not bad.any() and array.size and (int(array.min()) < least or int(array.max()) > most):
        bad = (array < least) | (array > most)
    if bad.any():
        value = array[tuple(np.argwhere(bad)[0])]
        raise SynflipError(f"{what}{_place(bad)} is {value}, not an integer in {least}..{most}{hint()}")
    return array.astype(dtype, copy=False)


def rows(array: NDArray[Any], shape: Sequence[int], what: str) -> NDArray[Any]:
    """Images as rows [N, I], where I is the product of ``shape``.

    array: [N, I]; or [N, *shape]; or, if there is one channel, [N, H, W], [N, 1, H, W] or [N, H, W, 1].
    shape: of an image, [H, W] or [C, H, W]; [I] if nothing more is known, and then only [N, I] is taken.
    Raises SynflipError.
    """
    pixels = math.prod(shape)
    forms = {(pixels,)} | picture_forms(shape)
    if array.ndim > 1 and array.shape[1:] in forms:
        return array.reshape(len(array), pixels)
    wanted = f"[N, {pixels}]"
    if len(shape) > 1:
        wanted += f" or {list_of(('N', *shape))}"
    if array.size == pixels and pixels and (array.ndim == 1 or array.shape in forms):
        way = f": one image is {what}.reshape(1, -1)"
    else:
        way = order_hint(array.shape[1:], shape, what)
        way = way and f": {way}"
    raise SynflipError(f"{what} have shape {list(array.shape)}, not {wanted}{way}")


def order_hint(given: Sequence[int], shape: Sequence[int], what: str) -> str:
    """How images ``what``, each of the shape ``given``, become images of ``shape`` if only their channels are
    at the other end: ``channels come first, pixels.transpose(0, 3, 1, 2)``; else empty."""
    shape = tuple(shape)
    if len(shape) == 3 and tuple(given) == (*shape[1:], shape[0]):
        return f"channels come first, {what}.transpose(0, 3, 1, 2)"
    if len(shape) == 3 and tuple(given) == (shape[2], *shape[:2]):
        return f"channels come last, {what}.transpose(0, 2, 3, 1)"
    return ""


def picture_forms(shape: Sequence[int]) -> set[tuple[int, ...]]:
    """Shapes in which an image of ``shape`` has its pixels in the same order.

    They are ``shape`` itself, and [H, W], [1, H, W] and [H, W, 1] of a grey one.
    """
    shape = tuple(shape)
    picture = shape[1:] if len(shape) == 3 and shape[0] == 1 else shape
    return {shape, picture, (1, *picture), (*picture, 1)} if len(picture) == 2 else {shape}


def list_of(items: Sequence[object]) -> str:
    """A shape for messages: ``[N, 8, 8]``."""
    return f"[{', '.join(map(str, items))}]"


def flag(value: Any, what: str) -> bool:
    """``value`` as a bool: Python's or numpy's. Raises SynflipError for anything else: "no" would be True."""
    if not isinstance(value, bool | np.bool_):
        raise SynflipError(f"{what} must be True or False, not {value!r:.60}")
    return bool(value)


def whole_number(value: Any, what: str, least: int | None = None, most: int | None = None) -> int:
    """``value`` as an int: Python's and numpy's integers and floats that are whole, in least..most.

    least, most: both, or neither if any integer will do. Raises SynflipError for anything else, bools too.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    number: int | None = None
    floating = isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value)
    if floating or (isinstance(value, int | np.integer) and not isinstance(value, bool)):
        number = int(value)
    limits = "" if least is None or most is None else f" in {least}..{most}"
    if number is None or (least is not None and number < least) or (most is not None and number > most):
        raise SynflipError(f"{what} must be an integer{limits}, not {_shown(value)}")
    return number


def is_list(value: object) -> bool:
    """Whether ``value`` is a list, a tuple, an array or the like: of several values, and no text."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)


def whole_sizes(values: Any, what: str) -> list[int]:
    """A list of layer sizes as ints. Raises SynflipError for what is no list, and for what is no integer."""
    if not is_list(values):
        raise SynflipError(f"{what} must be a list of layer sizes such as [128], not {values!r:.60}")
    return [whole_number(value, f"{what}[{index}]") for index, value in enumerate(values)]


def digest(arrays: Sequence[NDArray[Any]], types: Sequence[DTypeLike | None] | None = None) -> str:
    """SHA-256, in hexadecimal, of arrays: of their types, shapes and numbers. types: that the numbers of each
    are written in, so that equal ones have one digest; None for the array's own."""
    found = hashlib.sha256()
    for array, dtype in zip(arrays, types or [None] * len(arrays), strict=True):
        taken = np.dtype(array.dtype if dtype is None else dtype)
        found.update(f"{taken} {array.shape}".encode())
        flat = np.ascontiguousarray(array).reshape(-1)
        for first in range(0, flat.size, _BLOCK):
            found.update(flat[first : first + _BLOCK].astype(taken, copy=False).data)
    return found.hexdigest()


def training_seed(seed: Any) -> int:
    """A seed of a training, which torch's generators take, as an int in 0..2**63-1. Raises SynflipError."""
    if not 0 <= (number := whole_number(seed, "the seed")) < TRAINING_SEEDS:
        raise SynflipError(f"the seed of a training must be in 0..2**63-1, not {number}")
    return number


def whole_pixels(array: NDArray[Any], largest: int, what: str) -> NDArray[Any]:
    """``array`` as pixels in 0..largest, uint8, or int32 if ``largest`` is above 255: integers, and floats
    that are whole numbers. Bools, and floats in 0..1, are pixels only if ``largest`` is 1: they may be shares
    of it.

    array: as ``plain`` gives it. what: its name in messages. Raises SynflipError, which says what to do.
    """

    def hint() -> str:
        if array.dtype.kind in "iu" and array.min() >= 0:
            return f"; they go up to {array.max()}: is that input_max?"
        return scale_hint(array, largest)

    if array.dtype.kind in "bf" and largest > 1 and array.size and 0 < array.max() <= 1 and array.min() >= 0:
        raise SynflipError(f"{what} are {array.dtype}{hint()}")
    return whole(array, what, 0, largest, np.uint8 if largest < 256 else np.int32, hint)


def scale_hint(array: NDArray[Any], largest: int) -> str:
    """What to do with pixels that are no integers in 0..largest, for the end of a message; never an advice
    that loses what is in them. array: the pixels."""
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if not finite.size or finite.size < array.size:
        return "; replace what is not finite"
    least, most = float(finite.min()), float(finite.max())
    return f"; they are {least:.4g}..{most:.4g}, pixels are integers in 0..{largest}: " + scale_advice(
        least, most, array.dtype.kind in "bf", largest
    )


def scale_advice(least: float, most: float, shares: bool, largest: int) -> str:
    """How pixels in least..most become integers in 0..largest.

    shares: whether pixels in 0..1 are parts of the largest pixel, as floats are.
    """
    dtype = "np.uint8" if largest < 256 else "np.int32"
    if shares and least >= 0 and 0.5 < most <= 1:  # below, they may be normalised to anything
        if largest == 1:  # shares of an unknown number of steps: eight bits keep most of them
            return "multiply by 255 and round, then astype(np.uint8), with 255 as the largest pixel"
        return f"multiply by {largest} and round, then astype({dtype})"
    return (
        f"undo the normalisation, or shift and scale them so that the least possible value is 0 and the "
        f"greatest {largest}, and round, then astype({dtype})"
    )


def _of_tensor(tensor: Any, what: str) -> Any:
    """A torch tensor's numbers, on the CPU; anything else as it is."""
    torch = sys.modules["torch"]
    if not torch.is_tensor(tensor):
        return tensor
    if tensor.requires_grad:
        raise SynflipError(f"{what} are a tensor that requires grad: give {what}.detach()")
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise SynflipError(f"{what} are a sparse or quantized tensor: give {what}.to_dense() or dequantize()")
    if tensor.dtype is torch.bfloat16:  # which numpy does not have
        tensor = tensor.float()
    try:
        return tensor.cpu().resolve_conj().resolve_neg().numpy()
    except Exception as error:  # float8, meta tensors and others that numpy cannot hold
        raise SynflipError(f"{what} are a tensor of {tensor.dtype}: {one_line(first_line(error))}") from None


def _check_lengths(value: Any, what: str) -> None:
    """Raises SynflipError if ``value`` is a list of rows of different lengths."""
    if not isinstance(value, list | tuple):
        return
    for row, item in enumerate(value):
        if (
            isinstance(item, list | tuple)
            and isinstance(value[0], list | tuple)
            and len(item) != len(value[0])
        ):
            raise SynflipError(
                f"{what}: row {row} (from 0) has length {len(item)}, and row 0 has {len(value[0])}: "
                "rows of equal lengths make an array"
            )


def _numbers(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Objects or text as numbers, if each item is one. Raises SynflipError, which names the first that is
    none."""
    items = array.reshape(-1).tolist()
    kinds = bool | int | float | np.bool_ | np.integer | np.floating
    odd = [number for number, item in enumerate(items) if not isinstance(item, kinds)]
    if not odd:
        found = np.array(items, dtype=None if items else np.float64)
        if found.dtype.kind in _NUMBERS:
            return found.reshape(array.shape)
    at = next((number for number in odd if not _is_number(items[number])), None)
    problem, way = "not a number", "put a number there"
    if not odd:
        at = next(number for number, item in enumerate(items) if abs(item) >= 1 << 63)
        problem, way = "a whole number of more than 64 bits", f"give np.array({what}, dtype=float)"
    elif at is None:
        at, way = odd[0], f"give np.array({what}, dtype=float)"
    elif isinstance(items[at], list | tuple | np.ndarray):
        way = "rows of equal lengths make an array"
    index = np.unravel_index(at, array.shape)
    place = (
        f"{what}: row {index[0]} (from 0), column {index[1]}" if len(index) == 2 else what + list_of(index)
    )
    raise SynflipError(f"{place} is {_shown(items[at])}, {problem}: {way}")


def _is_number(item: Any) -> bool:
    """Whether ``float`` makes a number of it."""
    try:
        float(item)
    except Exception:  # an object's own __float__ may raise anything
        return False
    return True


def _kind(array: NDArray[Any]) -> str:
    names = {"O": "objects", "U": "text", "S": "bytes", "c": "complex numbers", "V": "records"}
    return names.get(array.dtype.kind, str(array.dtype))


def _way_out(array: NDArray[Any], what: str) -> str:
    if array.dtype.kind == "c":
        return f"give {what}.real if the imaginary parts are 0"
    if array.dtype.kind == "O" and array.ndim == 0:
        return f"it is {_shown(array[()])}"
    if array.dtype.kind == "V":
        return f"give pandas.DataFrame({what})"
    return "give numbers"


def _place(bad: NDArray[np.bool_]) -> str:
    """Index of the first true value: ``[3, 5]``."""
    return list_of(np.argwhere(bad)[0]) if bad.ndim else ""


def _shown(value: Any) -> str:
    text = one_line(repr(value))
    return text if len(text) <= 60 else f"a {type(value).__name__}"
