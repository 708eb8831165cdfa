"""The memory map, once, as data: the gateware's decoder, the driver's constants and the documentation come
from it.

Addresses count 32-bit words. The top four of 28 address bits choose a region, the rest is the offset inside
it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from synflip.spec.coins import TAP_LANES
from synflip.spec.geometry import Geometry
from synflip.spec.sizes import (
    SOFT_ENTRIES,
    SOFT_FRACTION,
    SOFT_POINT,
    address_bits,
    ceil_div,
    log2_ceil,
)

MAGIC = 0x53594E46  # "SYNF"
VERSION = 4  # of this map; 3 had no MAP_DEPTH, 1 and 2 no FLIGHT, and 1 no SOFT_CLASSES
ADDRESS_BITS = 28
OFFSET_BITS = 24
IMAGE_WORD_BITS = 16  # of an offset into Region.IMAGES; the image's slot is above
ACTIVATIONS_PER_WORD = 4
LAYER_WORDS = 8
SEED_WORDS = 4
SEGMENT_WORDS = 2  # of a segment of a convolution
PAST_SHIFT, FLAGS_SHIFT = 16, 24  # of its fields, in their words
POSITION_END, WINDOW_END, LAYER_END = 1, 2, 4  # its flags
TAP_BLOCKS, TAP_BITS = 64, 16  # row blocks of a kernel over images; of a row's tap


class Region(IntEnum):
    """What the top four address bits choose: see REGIONS."""

    REGISTERS = 0
    LAYERS = 1
    SEEDS = 2
    WEIGHTS = 3
    BIASES = 4
    IMAGES = 5
    MARGINS = 6
    VOTES = 7
    SUMS = 8
    USED = 9
    LOG = 10
    KEYS = 11
    DEVICES = 12
    RAW = 13
    SOFT = 14


@dataclass(frozen=True)
class RegionInfo:
    """One region. access: R, W or RW. offset: formula of a word's offset. meaning: of its words."""

    access: str
    offset: str
    meaning: str


REGIONS: dict[Region, RegionInfo] = {
    Region.REGISTERS: RegionInfo("RW", "register", "one word each"),
    Region.LAYERS: RegionInfo(
        "W",
        "layer * 8 + field; behind them segment * 2 + word; behind them row block << word bits | word",
        "layer table; an entry takes effect when its last word is written. Behind it, each at a power of two "
        "and only if MAP_DEPTH is not 0: segments of convolutions (first pixel and past << 16; offset of 24 "
        "bits and flags << 24), and where the rows of a kernel over images are (16 bits a bank)",
    ),
    Region.SEEDS: RegionInfo("W", "bank * 4 + component", "LFSR113 state of the bank's first key"),
    Region.WEIGHTS: RegionInfo(
        "W",
        "(bank << entry bits | entry) << word bits | word",
        "an entry takes effect with its last word; it has room for a power of two of words",
    ),
    Region.BIASES: RegionInfo(
        "W",
        "output",
        "each layer padded to whole tiles; hidden layers: bias plus rounding; a group of Q takes effect with "
        "its last word",
    ),
    Region.IMAGES: RegionInfo(
        "W",
        "slot << 16 | word",
        "four activations, a byte each, first in the low byte; ascending, word 0 empties the lists",
    ),
    Region.MARGINS: RegionInfo("W", "sample", "lead at which an image leaves"),
    Region.VOTES: RegionInfo("R", "slot << CLASS_SHIFT | class", "samples that the class won"),
    Region.SUMS: RegionInfo(
        "R", "(slot << CLASS_SHIFT | class) * 2 + half", "64-bit sum of logits, low half first"
    ),
    Region.USED: RegionInfo("R", "slot", "samples that the image took part in"),
    Region.LOG: RegionInfo("R", "number", "logits in the order in which they were made"),
    Region.KEYS: RegionInfo(
        "RW",
        "(half, block, bank, low or high)",
        "W: the next keys of a run with the option HOST_KEYS, ascending; R, when no run is busy: the last "
        "KEY_HALVES samples' keys, sample s in half s mod KEY_HALVES",
    ),
    Region.DEVICES: RegionInfo(
        "R",
        "device",
        "bit 0: its bits are used; 1: failed its repetition test; 2: failed its proportion test",
    ),
    Region.RAW: RegionInfo("R", "number / 32", "captured raw bits, 32 a word, the earliest in bit 0"),
    Region.SOFT: RegionInfo(
        "RW",
        "W: entry; R: slot << CLASS_SHIFT | class, behind them slot * 2 + half",
        "W: tables of soft votes, L first, E behind it; R: sums of soft votes, behind them 64-bit sums of "
        "energies, low half first. What is behind begins at a power of two",
    ),
}


class LayerField(IntEnum):
    """Words of a layer's entry in Region.LAYERS: see LAYER_FIELDS."""

    WEIGHT_BASE = 0
    ROW_BLOCKS = 1
    KEY_BASE = 2
    KEY_END = 3
    TILES = 4
    BIAS_BASE = 5
    LAST_STEPS = 6
    SHIFT = 7


#: Meanings of the fields. A bank's row block is row // Q.
LAYER_FIELDS: dict[LayerField, str] = {
    LayerField.WEIGHT_BASE: "first entry of the layer in every bank's weight memory",
    LayerField.ROW_BLOCKS: "padded rows / Q: weight entries of one tile in a bank",
    LayerField.KEY_BASE: "first key of the layer in every bank's half",
    LayerField.KEY_END: "one past the last",
    LayerField.TILES: "tiles - 1",
    LayerField.BIAS_BASE: "first group of Q biases",
    LayerField.LAST_STEPS: "drain steps of the last tile - 1",
    LayerField.SHIFT: "r; where there are maps, of a convolution also 1 << 8, and its first segment << 16",
}


#: Of the word SHIFT of a convolution's entry.
CONVOLUTION_BIT, FIRST_SEGMENT_BIT = 8, 16


@dataclass(frozen=True)
class Register:
    """One word of a region of registers. access: R, W, RW, or RC (a write sets it to 0). bits: its width.
    flags: names of its bits, as masks, if it is not a number."""

    offset: int
    access: str
    bits: int
    meaning: str
    flags: Mapping[str, int] = field(default_factory=dict)


CONTROL_START, CONTROL_ABORT, CONTROL_RETEST = 1, 2, 4
OPTION_EARLY, OPTION_LOG, OPTION_HOST_KEYS = 1, 2, 4
STATUS_BUSY, STATUS_ALARM = 1, 2
CAPTURE_BITS = 1 << 14  # raw bits that a capture takes

#: By name. Capacities are what the hardware says of itself; the driver needs no other configuration.
REGISTERS: dict[str, Register] = {
    "MAGIC": Register(0, "R", 32, 'the letters "SYNF"'),
    "VERSION": Register(1, "R", 8, "version of this map"),
    "LANES": Register(2, "R", 8, "P, outputs at once"),
    "BANKS": Register(3, "R", 4, "Q, rows at once"),
    "BITS": Register(4, "R", 5, "k, bits of a probability word"),
    "ACTIVATION_BITS": Register(5, "R", 4, "A, bits of an activation"),
    "WEIGHT_DEPTH": Register(6, "R", 24, "weight entries of a bank"),
    "EVENT_DEPTH": Register(7, "R", 24, "events of a bank's input lists"),
    "KEY_DEPTH": Register(8, "R", 24, "keys of a bank in one half of the key memory"),
    "BIAS_DEPTH": Register(9, "R", 24, "groups of Q biases"),
    "IMAGE_SLOTS": Register(10, "R", 9, "images of a batch"),
    "RESULT_DEPTH": Register(11, "R", 24, "(image, class) pairs"),
    "LOG_DEPTH": Register(12, "R", 24, "logits that the log holds"),
    "MARGIN_DEPTH": Register(13, "R", 24, "entries of the margin table"),
    "LAYER_DEPTH": Register(14, "R", 5, "entries of the layer table"),
    "DEVICES": Register(15, "R", 7, "tunnel junctions that make the keys; 0: an LFSR makes them"),
    "KEY_HALVES": Register(16, "R", 2, "network samples whose keys the key memory holds"),
    "SAMPLE_BITS": Register(17, "R", 5, "a run has at most 2**SAMPLE_BITS - 1 network samples"),
    "SOFT_CLASSES": Register(18, "R", 11, "most classes of soft votes; 0: there are none"),
    "FLIGHT": Register(19, "R", 3, "passes of a network sample that are in flight"),
    "MAP_DEPTH": Register(20, "R", 16, "events of a bank of a convolution's map; 0: there are none"),
    "CONTROL": Register(
        21,
        "W",
        3,
        "bit 0: start a run; bit 1: abort it; bit 2: test all junctions anew",
        {"START": CONTROL_START, "ABORT": CONTROL_ABORT, "RETEST": CONTROL_RETEST},
    ),
    "STATUS": Register(
        22,
        "R",
        2,
        "bit 0: busy; bit 1: alarm: too few junctions work, no keys are issued",
        {"BUSY": STATUS_BUSY, "ALARM": STATUS_ALARM},
    ),
    "CYCLES_LOW": Register(23, "R", 32, "cycles of the run, low half"),
    "CYCLES_HIGH": Register(24, "R", 32, "cycles of the run, high half"),
    "LOGGED": Register(25, "R", 24, "logits in the log"),
    "LAYERS": Register(32, "RW", 4, "layers - 1"),
    "CLASSES": Register(33, "RW", 10, "classes - 1"),
    "CLASS_SHIFT": Register(34, "RW", 4, "log2 of the results an image takes"),
    "IMAGES": Register(35, "RW", 9, "images of the batch"),
    "SAMPLES": Register(36, "RW", 24, "network samples of the run"),
    "INPUT_SHIFT": Register(37, "RW", 5, "log2 of the events an image's list of a bank may hold"),
    "OPTIONS": Register(
        38,
        "RW",
        3,
        "bit 0: stop early by the margin table; bit 1: log the logits; bit 2: keys from the host",
        {"EARLY": OPTION_EARLY, "LOG": OPTION_LOG, "HOST_KEYS": OPTION_HOST_KEYS},
    ),
    "ACTIVATION_MAX": Register(39, "RW", 8, "largest activation, 2**A - 1 of the model"),
    "KEY_BLOCKS": Register(40, "RW", 24, "keys of a bank in one network sample"),
    "FIRST_SLOT": Register(41, "RW", 8, "slot of the batch's first image"),
    "SOFT_SHIFT": Register(42, "RW", 5, "t of the tables of soft votes"),
    "MAPS": Register(43, "RW", 1, "1: the network has convolutions; each bank holds whole images"),
    "REPETITION_CUTOFF": Register(48, "RW", 10, "equal raw bits in a row with which a junction fails"),
    "PROPORTION_CUTOFF": Register(49, "RW", 11, "bits of 1024 equal to the first with which it fails"),
    "FOLD": Register(50, "RW", 4, "raw bits XORed into one, at least 1"),
    "VON_NEUMANN": Register(51, "RW", 1, "bit 0: of pairs of folded bits keep the first of unequal ones"),
    "LEAST_DEVICES": Register(52, "RW", 7, "alarm below this many working junctions"),
    "CAPTURE": Register(53, "RW", 6, "junction whose raw bits are captured; a write starts a new capture"),
    "CAPTURED": Register(54, "R", 24, "raw bits captured so far"),
    "WORKING": Register(55, "R", 7, "junctions whose bits are used"),
}
FIRST_JUNCTION_REGISTER = 48
SOFT_REGISTER = "SOFT_SHIFT"
MAP_REGISTER = "MAPS"


def present(name: str, geometry: Geometry) -> bool:
    """Whether an accelerator of this geometry has this register."""
    if name == SOFT_REGISTER:
        return geometry.soft_classes > 0
    if name == MAP_REGISTER:
        return geometry.map_depth > 0
    return geometry.devices > 0 or REGISTERS[name].offset < FIRST_JUNCTION_REGISTER


def address(region: Region, offset: int = 0) -> int:
    """Word address."""
    return region << OFFSET_BITS | offset


def register(name: str) -> int:
    """Word address of a register."""
    return address(Region.REGISTERS, REGISTERS[name].offset)


def weight_bits(geometry: Geometry) -> int:
    """Bits of a weight entry: k + 1 planes of P bits, bit 0 of the probability words first, the signs last.

    Lane p is at ``lane_position`` of each plane.
    """
    return geometry.lanes * (geometry.bits + 1)


def lane_position(lane: int, lanes: int) -> int:
    """The place of a lane's bit in a plane: lanes that share taps lie side by side, as their key bits do."""
    return lane % TAP_LANES * (lanes // TAP_LANES) + lane // TAP_LANES


def entry_words(bits: int) -> tuple[int, int]:
    """Words of an entry of ``bits`` bits, and log2 of the words that its addresses have room for."""
    words = ceil_div(bits, 32)
    return words, log2_ceil(words)


def weight_offset(geometry: Geometry, bank: int, entry: int) -> int:
    """Offset of the first word of a weight entry."""
    _, room = entry_words(weight_bits(geometry))
    return (bank << log2_ceil(geometry.weight_depth) | entry) << room


def key_offset(geometry: Geometry, half: int, key: int) -> int:
    """Offset of the low half of the ``key``-th key of a network sample in this half of the key memory."""
    depth = 1 << address_bits(geometry.key_depth)
    return half * depth * geometry.banks * 2 + key * 2


def soft_depth(geometry: Geometry) -> int:
    """Entries of the table L, a power of two; those of E are behind it. Every index that Z can give is
    there."""
    return 1 << log2_ceil(max((geometry.soft_classes << SOFT_FRACTION - SOFT_POINT) + 1, SOFT_ENTRIES))


def energy_offset(geometry: Geometry) -> int:
    """Offset of the first image's sum of energies, a power of two behind the sums of soft votes."""
    return 1 << log2_ceil(max(geometry.result_depth, geometry.image_slots * 2))


def segments_offset(geometry: Geometry) -> int:
    """Offset of the first segment in Region.LAYERS, a power of two. Behind the segments, at twice as much,
    are the taps."""
    words = geometry.layer_depth * LAYER_WORDS, geometry.map_segments * SEGMENT_WORDS
    return 1 << log2_ceil(max(*words, TAP_BLOCKS * geometry.banks))


def extent(region: Region, geometry: Geometry, write: bool = False) -> int:
    """Words of a region: offsets from here on are answered with an error. write: for writes, where that is
    another number."""
    if region == Region.SOFT:
        size = soft_depth(geometry) + SOFT_ENTRIES
        size = size if write else energy_offset(geometry) + geometry.image_slots * 2
        return size if geometry.soft_classes else 0
    if region == Region.LAYERS and geometry.map_depth:
        _, room = entry_words(TAP_BITS * geometry.banks)
        return 2 * segments_offset(geometry) + (TAP_BLOCKS << room)
    return {
        Region.REGISTERS: 1 + max(item.offset for item in REGISTERS.values()),
        Region.LAYERS: geometry.layer_depth * LAYER_WORDS,
        Region.SEEDS: 0 if geometry.devices else geometry.banks * SEED_WORDS,
        Region.WEIGHTS: weight_offset(geometry, geometry.banks, 0),
        Region.BIASES: geometry.bias_depth * geometry.banks,
        Region.IMAGES: geometry.image_slots << IMAGE_WORD_BITS,
        Region.MARGINS: geometry.margin_depth,
        Region.VOTES: geometry.result_depth,
        Region.SUMS: geometry.result_depth * 2,
        Region.USED: geometry.image_slots,
        Region.LOG: geometry.log_depth,
        Region.KEYS: key_offset(geometry, geometry.key_halves, 0),
        Region.DEVICES: geometry.devices,
        Region.RAW: CAPTURE_BITS // 32 if geometry.devices else 0,
    }[region]
