"""What ``synflip export-c`` writes: a model as a C array, and the library that loads it.

The array does not depend on an accelerator: synflip_host.c cuts it for the one that it finds. Its format is
in synflip_host.h. A 3-2-2 network with k = 4 takes 18 words: 6 of header, 3 for each of 2 layers, 2 biases
and 6 synapses of 5 bits (a word), 2 biases and 4 synapses (a word).
"""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from synflip.errors import SynflipError
from synflip.spec.model import CompiledModel
from synflip.spec.sizes import ceil_div
from synflip.util.outputs import says

from synflip_hdl.export.register_map import BY_MAP, header

MAGIC, VERSION = 0x53594E4D, 1  # "SYNM", and the version of the array's format
LIBRARY = ("synflip_host.h", "synflip_host.c")
EXAMPLE = "main.c"
_WORDS_PER_LINE = 9
_BY = "Written by synflip export-c"


def check_exportable(model: CompiledModel) -> None:
    """Raises SynflipError for a model that the C library does not run: one with convolutions, which an
    accelerator runs in parts, or one whose inputs a network or an input quantizer makes."""
    if model.convolutional:
        raise SynflipError("the C library runs dense layers; the model has convolutions")
    if model.features is not None:
        raise SynflipError(
            "the C library takes pixels; this model takes features that a network makes of them"
        )
    if model.input_quantizer is not None:
        raise SynflipError(
            "the C library takes pixels; this model takes numbers of any range, which it makes pixels of in "
            "floating point"
        )


def model_words(model: CompiledModel) -> NDArray[np.uint32]:
    """uint32 [words]: the model array. Raises SynflipError as ``check_exportable`` does."""
    check_exportable(model)
    shifts = (*model.shifts, 0)
    parts = [[MAGIC, VERSION, model.bits, model.activation_bits, model.input_max, len(model.layers)]]
    parts += [[layer.rows, layer.outputs, shift] for layer, shift in zip(model.layers, shifts, strict=True)]
    words = [np.array(part, dtype=np.uint32) for part in parts]
    for layer in model.layers:
        fields = layer.q.astype(np.uint32) | layer.sign.astype(np.uint32) << np.uint32(model.bits)
        planes = [(fields >> np.uint32(bit) & 1).astype(np.uint8) for bit in range(model.bits + 1)]
        packed = np.packbits(np.stack(planes, axis=-1).reshape(-1), bitorder="little")
        synapses = np.zeros(ceil_div(len(packed), 4) * 4, dtype=np.uint8)
        synapses[: len(packed)] = packed
        words += [layer.bias.astype(np.int32).view(np.uint32), synapses.view("<u4")]
    return np.concatenate(words)


def model_source(array: NDArray[np.uint32], classes: Sequence[str]) -> str:
    """model.c: the ``array`` that ``model_words`` made, and the names of the ``classes``."""
    words = [f"0x{word:x}," for word in array.tolist()]
    lines = [" ".join(words[at : at + _WORDS_PER_LINE]) for at in range(0, len(words), _WORDS_PER_LINE)]
    return "\n".join(
        (
            f"/* {_BY}; do not edit. */",
            '#include "model.h"',
            "",
            f"const size_t model_words = {len(words)};",
            "const uint32_t model[] = {",
            *(f"    {line}" for line in lines),
            "};",
            "",
            "const char *const model_classes[MODEL_CLASSES] = {",
            *(f"    {_literal(name)}," for name in classes),
            "};",
            "",
        )
    )


def model_header(model: CompiledModel) -> str:
    """model.h: what is in model.c, and the sizes that a program needs for its arrays."""
    return f"""/* A network of {model.shape}, k = {model.bits}, A = {model.activation_bits}, for synflip_load.
 * {_BY}; do not edit.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stddef.h>
#include <stdint.h>

#define MODEL_INPUTS {model.inputs}
#define MODEL_CLASSES {len(model.classes)}
#define MODEL_PIXEL_MAX {model.input_max}

#ifdef __cplusplus
extern "C" {{
#endif

extern const size_t model_words;
extern const uint32_t model[];
extern const char *const model_classes[MODEL_CLASSES];

#ifdef __cplusplus
}}
#endif

#endif
"""


def library() -> dict[str, str]:
    """Name -> text of the files that do not depend on the model: the register map and the library."""
    return {"synflip.h": header(), **{name: _text(name) for name in LIBRARY}}


def is_ours(path: Path) -> bool:
    """Whether a file was written by ``synflip export-c``, or, the memory map, by ``synflip map``."""
    return says(path, _BY, BY_MAP)


def example() -> str:
    """The text of EXAMPLE, a main function that loads the model and classifies an image."""
    return _text(EXAMPLE)


def _text(name: str) -> str:
    return files("synflip_hdl.host").joinpath(name).read_text(encoding="utf-8")


def _literal(text: str) -> str:
    """A string of C. What is no plain ASCII is written in octal; so is ?, which may begin a trigraph."""
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'
