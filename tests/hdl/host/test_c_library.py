"""The C library without an accelerator: what it writes is what the Python driver writes; what it refuses."""

import ctypes
import re
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from synflip.devices.accelerator import Accelerator
from synflip.errors import SynflipError
from synflip.inference.plan import check_fit
from synflip.spec.axi_map import axi_register
from synflip.spec.features import Features
from synflip.spec.geometry import Geometry
from synflip.spec.input_quantizer import InputQuantizer
from synflip.spec.memory_map import STATUS_BUSY, Region, address, register
from synflip.spec.model import CompiledModel
from synflip_hdl.host.c_export import library, model_header, model_source, model_words

from tests.docs.pages import ROOT, blocks
from tests.hdl.helpers import Recorder
from tests.hdl.host.c_library import STRICT, Host, compile_c
from tests.networks import random_layers, small_convolutional_network

GEOMETRY = Geometry(
    16, 2, bits=4, weight_depth=256, event_depth=64, key_depth=64, bias_depth=64, image_slots=4
)
ERRORS = {
    name: number
    for number, name in enumerate(
        re.findall(
            r"SYNFLIP_ERROR_(\w+)(?: = 1)?,? +/\*",
            files("synflip_hdl.host").joinpath("synflip_host.h").read_text(),
        ),
        start=1,
    )
}


class Words(Recorder):
    """A recorder that is the bus of the C library, too; a run is over at once."""

    def __init__(self, geometry):
        super().__init__(geometry)
        self.words[axi_register("STREAM_STATUS")] = 0

    def host(self):
        """The C library over these words, opened."""
        host = Host(self.words.__getitem__, self.write)
        assert host.open() == 0
        return host


def model_of(sizes, bits=4, activation_bits=8, pixel_max=255, shift=3, reach=300):
    layers = random_layers(np.random.default_rng(5), sizes, bits, reach)
    classes = tuple(f"class {index}" for index in range(sizes[-1]))
    return CompiledModel(layers, bits, activation_bits, (shift,) * (len(sizes) - 2), classes, pixel_max)


CASES = {
    "one layer": (model_of((20, 5)), GEOMETRY),
    "one class": (model_of((8, 1)), GEOMETRY),
    "three layers": (model_of((20, 24, 18, 19)), GEOMETRY),
    "one bank": (model_of((9, 17, 3)), replace(GEOMETRY, banks=1)),
    "48 lanes, 8 banks": (model_of((70, 100, 50, 10)), Geometry(48, 8, bits=4)),
    "128 lanes, k = 16": (model_of((11, 130, 4), bits=16), Geometry(128, 4, bits=16)),
    "k = 1": (model_of((11, 30, 4), bits=1), Geometry(16, 2, bits=1)),
    "k = 2 on 4": (model_of((11, 30, 4), bits=2), GEOMETRY),
    "k = 1 on 16": (model_of((11, 30, 4), bits=1), Geometry(32, 8, bits=16)),
    "A = 2, pixels to 16": (model_of((13, 20, 4), activation_bits=2, pixel_max=16), GEOMETRY),
    "pixels to 65535": (model_of((13, 20, 4), pixel_max=65535), GEOMETRY),
    "no shift": (model_of((13, 20, 4), shift=0), GEOMETRY),
    "beside maps": (model_of((13, 20, 4)), replace(GEOMETRY, map_depth=64)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("margins", "first"), [([], 1000), ([3, 2, 2, 1, 2**32 - 1, 1], 0)])
def test_it_writes_what_the_driver_writes(case, margins, first):
    """Every word of model, images, margins, seeds and settings."""
    model, geometry = CASES[case]
    images, samples, seed = 2, 6, 2**63 + 11
    pixels = np.random.default_rng(1).integers(0, model.input_max + 1, (images, model.inputs))
    driver = Words(geometry)
    device = Accelerator(driver)
    device.load(model)
    device.write_images(1, model.activations(pixels))
    device.write_settings(model, bool(margins), False, False)
    never = (1 << geometry.sample_bits) - 1
    driver.write(address(Region.MARGINS), np.minimum(margins, never))
    with device.run_slots(
        1, images, samples, seed, first * sum(-(-rows // 8) * 8 for rows in model.rows), False
    ):
        pass

    mine = Words(geometry)
    host = mine.host()
    assert host.load(model_words(model)) == 0
    for slot, image in enumerate(pixels.tolist(), start=1):
        assert host.write_image(slot, image) == 0
    assert host.run(images, samples, seed, first, margins, slot=1) == 0

    wanted, written = dict(driver.order), dict(mine.order)
    missing = {place: word for place, word in wanted.items() if place not in written}
    assert {place: written[place] for place in wanted.keys() - missing.keys()} == {
        place: word for place, word in wanted.items() if place not in missing
    }
    assert written.keys() <= wanted.keys()
    # The driver also fills the room behind an entry's words.
    assert not any(missing.values()) and {place >> 24 for place in missing} <= {Region.WEIGHTS}
    assert mine.order[-1] == (register("CONTROL"), 1)


def test_each_model_that_the_driver_refuses_has_an_error_of_its_own():
    """The model needs all of an accelerator's memories; an accelerator with one place less refuses it."""
    model = model_of((20, 24, 19), bits=4)
    blocks = (24 + 24) // 2
    tight = Geometry(
        16,
        2,
        bits=4,
        activation_bits=8,
        weight_depth=2 * blocks,
        event_depth=16,
        key_depth=blocks,
        bias_depth=4 * 16 // 2,
        result_depth=32,
        layer_depth=2,
    )
    check_fit(model, tight)
    host = Words(tight).host()
    assert host.load(model_words(model)) == 0
    for name, error in {
        "bits": "BITS",
        "activation_bits": "ACTIVATION_BITS",
        "layer_depth": "LAYERS",
        "weight_depth": "WEIGHTS",
        "key_depth": "KEYS",
        "bias_depth": "BIASES",
        "event_depth": "INPUTS",
        "result_depth": "CLASSES",
    }.items():
        less = replace(tight, **{name: getattr(tight, name) - 1})
        with pytest.raises(SynflipError):
            check_fit(model, less)
        words = Words(less)
        host = words.host()
        assert host.load(model_words(model)) == host.load(model_words(model), check=True) == ERRORS[error], (
            name
        )
        assert not words.order and host.device.inputs == 0


def test_arrays_that_are_no_model_are_refused_before_anything_is_written():
    words = Words(GEOMETRY)
    host = words.host()
    good = model_words(model_of((20, 24, 19)))

    def changed(place, word):
        array = good.copy()
        array[place] = word
        return array

    for place, word in (
        *((0, good[0] + 1), (1, 2), (2, 0), (2, 17), (3, 0), (3, 9), (4, 0), (4, 65536), (5, 0), (5, 17)),
        *((6, 0), (6, 2**32 - 1), (7, 0), (7, 25), (8, 32), (9, 23), (10, 1025)),
    ):
        assert host.load(changed(place, word)) == ERRORS["NOT_A_MODEL"], (place, word)
    assert host.load(good[:5]) == ERRORS["NOT_A_MODEL"]
    for length in (6, 11, 12, 35, len(good) - 1):
        assert host.load(good[:length]) == ERRORS["MODEL_LENGTH"], length
    assert host.load(np.append(good, 0)) == host.load(changed(6, 2**24)) == ERRORS["MODEL_LENGTH"]
    assert not words.order
    assert host.write_image(0, [0] * 20) == host.run(1, 1, 0) == ERRORS["NO_MODEL"]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("MAGIC", 0xFFFFFFFF, "NO_ACCELERATOR"),
        ("VERSION", 3, "MAP_VERSION"),
        ("VERSION", 5, "MAP_VERSION"),
        ("DEVICES", 3, "JUNCTIONS"),
        *(("LANES", value, "NO_ACCELERATOR") for value in (0, 8, 24, 144)),
        *(("BANKS", value, "NO_ACCELERATOR") for value in (0, 3, 16)),
        ("BITS", 17, "NO_ACCELERATOR"),
        ("WEIGHT_DEPTH", 0, "NO_ACCELERATOR"),
        ("SAMPLE_BITS", 32, "NO_ACCELERATOR"),
    ],
)
def test_what_is_no_accelerator_is_refused(name, value, error):
    words = Words(GEOMETRY)
    words.words[register(name)] = value
    host = Host(words.words.__getitem__, words.write)
    assert host.open() == ERRORS[error]
    assert not words.order


def test_runs_that_cannot_be_are_refused():
    words = Words(replace(GEOMETRY, margin_depth=8, sample_bits=4))
    host = words.host()
    assert host.load(model_words(model_of((20, 5), pixel_max=16))) == 0
    assert host.device.slots == 4
    words.order.clear()
    assert host.write_image(4, [0] * 20) == ERRORS["SLOT"]
    assert host.write_image(0, [0] * 19 + [17]) == ERRORS["PIXEL"]
    for request in ({"images": 5}, {"images": 0}, {"images": 1, "slot": 4}, {"images": 2, "slot": 3}):
        assert host.run(samples=1, seed=0, **request) == ERRORS["SLOT"]
    assert host.run(1, 0, 0) == host.run(1, 16, 0) == ERRORS["SAMPLES"]
    assert host.run(1, 9, 0, margins=[1] * 9) == host.run(1, 1, 0, 1, margins=[1]) == ERRORS["MARGINS"]
    assert not words.order
    assert host.run(1, 15, 0) == host.run(1, 8, 0, margins=[1] * 8) == host.run(4, 1, 0) == 0


def test_a_bus_that_refuses_and_a_run_that_does_not_end():
    words = Words(GEOMETRY)
    host = words.host()
    array = model_words(model_of((20, 5)))
    host.device.patience = 10
    assert host.load(array) == 0
    words.words[axi_register("STREAM_STATUS")] = 1
    assert host.run(1, 1, 0) == ERRORS["TIMEOUT"]
    words.words[axi_register("STREAM_STATUS")] = 0
    words.words[register("STATUS")] = STATUS_BUSY
    words.order.clear()
    assert host.load(array) == host.run(1, 1, 0) == ERRORS["BUSY"] and not words.order

    reads = iter([0])  # idle before the start, busy for ever after it
    stuck = Host(
        lambda place: next(reads, STATUS_BUSY) if place == register("STATUS") else words.words[place],
        words.write,
    )
    stuck.device = host.device
    stuck.device.bus = stuck.bus
    assert stuck.run(1, 1, 0) == ERRORS["TIMEOUT"]
    assert words.order[-1] == (register("CONTROL"), 2)  # aborted

    def refuse(place, word):
        raise KeyError(place)

    words.words[register("STATUS")] = 0
    host = Host(words.words.__getitem__, refuse)
    assert host.open() == 0 and host.load(array) == ERRORS["BUS"] and host.device.inputs == 0
    del words.words[register("MAGIC")]
    assert host.open() == ERRORS["BUS"]


def test_every_error_has_words_of_its_own():
    host = Words(GEOMETRY).host()
    texts = [host.text(error) for error in range(len(ERRORS) + 1)]
    assert len(ERRORS) == 21 and len(set(texts)) == len(texts)
    assert host.text(len(ERRORS) + 1) == host.text(-1) == "unknown error" not in texts
    assert texts[0] == "no error"


@pytest.mark.parametrize("compiler", ["gcc", "g++"])
def test_the_header_and_the_example_of_the_guide_compile(compiler, tmp_path):
    """The C code of the guide to AXI is whole; both headers are C++ too."""
    (guide,) = [
        block.text
        for block in blocks((ROOT / "docs" / "guide" / "axi_in_your_design.md").read_text())
        if block.language == "c"
    ]
    model = model_of((8, 2))
    source = model_source(model_words(model), model.classes)
    for name, text in {**library(), "model.h": model_header(model), "model.c": source}.items():
        (tmp_path / name).write_text(text)
    includes = '#include "model.h"\n#include "synflip.h"\n#include "synflip_host.h"\n'
    if compiler == "gcc":
        (tmp_path / "example.c").write_text(guide + includes)
        compile_c(tmp_path, "-c", "example.c")
    else:
        (tmp_path / "example.cpp").write_text(includes * 2)
        compile_c(tmp_path, "-c", "example.cpp", compiler="g++", flags=("-std=c++11", *STRICT[1:]))


def test_names_of_classes_are_text_in_c(tmp_path):
    """Quotes, trigraphs, line ends, digits behind an escape, other alphabets."""
    names = ('"?"', "??/", "a\\nb\n", "\0011", "Löwe", "%s", "")
    model = replace(model_of((8, len(names))), classes=names)
    for name, text in {
        **library(),
        "model.h": model_header(model),
        "model.c": model_source(model_words(model), model.classes),
    }.items():
        (tmp_path / name).write_text(text)
    compile_c(tmp_path, "-fPIC", "-shared", "model.c", "-o", "model.so")
    found = ctypes.CDLL(str(tmp_path / "model.so"))
    classes = (ctypes.c_char_p * len(names)).in_dll(found, "model_classes")
    assert tuple(name.decode().partition("\0")[0] for name in classes) == tuple(
        n.partition("\0")[0] for n in names
    )
    count = ctypes.c_size_t.in_dll(found, "model_words").value
    assert list((ctypes.c_uint32 * count).in_dll(found, "model")) == model_words(model).tolist()


def test_models_that_the_library_does_not_run_are_refused():
    small = small_convolutional_network()
    with pytest.raises(SynflipError, match="dense layers"):
        model_words(small)
    quantizer = InputQuantizer(np.zeros(8), np.ones(8), (1, 8))
    with pytest.raises(SynflipError, match="numbers of any range"):
        model_words(replace(model_of((8, 2)), input_quantizer=quantizer))
    with pytest.raises(SynflipError, match="features"):
        model_words(replace(model_of((8, 2)), features=Features("0" * 64, (1, 4, 4), 255, 0)))
