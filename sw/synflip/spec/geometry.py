"""The geometry of an accelerator: the sizes that are fixed when it is built, which its registers tell."""

import re
from dataclasses import dataclass, fields
from operator import index

from synflip.errors import SynflipError
from synflip.spec.sizes import (
    ACCUMULATOR_BITS,
    MAX_ACTIVATION_BITS,
    MAX_BITS,
    MAX_LAYER_DEPTH,
    MAX_OUTPUTS,
    MAX_SAMPLE_BITS,
)

BANKS = (1, 2, 4, 8)
LANE_STEP, MAX_LANES = 16, 128
FLIGHTS = (1, 2, 4)
MAX_DEVICES = 32
MAY_BE_ZERO = ("devices", "soft_classes", "map_depth")  # what an accelerator is built without
MAX_MAP_DEPTH = 1 << 15
DEFAULT_SYNAPSES = 1 << 21
DEFAULT_ROWS = 4096  # padded rows of one network sample, over all layers
DEFAULT_INPUTS = 16384  # activations of all images of a batch
DEFAULT_OUTPUTS = 8192  # outputs of all layers, each layer padded to whole tiles


@dataclass(frozen=True)
class Geometry:
    """P lanes times Q banks, k bits, and the depth of every memory. Depths of 0 take the default.

    lanes: P, 16..128 in steps of 16: outputs at once. banks: Q, 1, 2, 4 or 8: rows at once.
    bits: k, 1..16. activation_bits: A, 1..8.
    weight_depth: entries of a bank's weight memory (one entry: a row of one tile, P synapses).
    event_depth: events of a bank's input lists, all images of a batch together.
    key_depth: keys of a bank in one half of the key memory. bias_depth: groups of Q biases.
    image_slots: images of a batch. result_depth: (image, class) pairs. log_depth: logits kept of a run.
    margin_depth: network samples of a run that can stop early.
    devices: magnetic tunnel junctions that make the keys, up to 32; 0: an LFSR makes them.
    sample_bits: k of a run's at most 2**k - 1 network samples.
    soft_classes: most classes of a network whose soft votes are added up; 0: the host makes them of logits.
    flight: passes of one network sample that are in flight, layer by layer: 1, 2 or 4.
    key_halves: 2: one network sample's keys are filled in while another's are read; 1: after it.
    map_depth: events of a bank of what a convolution makes of one image; 0: convolutions run in parts.
    """

    lanes: int = 64
    banks: int = 8
    bits: int = 4
    activation_bits: int = 8
    weight_depth: int = 0
    event_depth: int = 0
    key_depth: int = 0
    bias_depth: int = 0
    image_slots: int = 16
    result_depth: int = 1024
    log_depth: int = 16384
    margin_depth: int = 1024
    layer_depth: int = MAX_LAYER_DEPTH
    devices: int = 0
    key_halves: int = 2
    sample_bits: int = MAX_SAMPLE_BITS
    soft_classes: int = 0
    flight: int = 4
    map_depth: int = 0

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise SynflipError(f"{item.name} must be an integer, not {value!r:.60}")
            object.__setattr__(self, item.name, index(value))  # numpy's integers become Python's
        if self.lanes % LANE_STEP or not LANE_STEP <= self.lanes <= MAX_LANES:
            raise SynflipError(
                f"lanes must be a multiple of {LANE_STEP} in {LANE_STEP}..{MAX_LANES}, not {self.lanes}"
            )
        if self.banks not in BANKS:
            raise SynflipError(f"banks must be 1, 2, 4 or 8, not {self.banks}")
        if not 1 <= self.bits <= MAX_BITS:
            raise SynflipError(f"bits must be in 1..{MAX_BITS}, not {self.bits}")
        if not 1 <= self.activation_bits <= MAX_ACTIVATION_BITS:
            raise SynflipError(
                f"activation bits must be in 1..{MAX_ACTIVATION_BITS}, not {self.activation_bits}"
            )
        for name, default in (
            ("weight_depth", DEFAULT_SYNAPSES // (self.lanes * self.banks)),
            ("event_depth", DEFAULT_INPUTS // self.banks),
            ("key_depth", DEFAULT_ROWS // self.banks),
            ("bias_depth", DEFAULT_OUTPUTS // self.banks),
        ):
            if getattr(self, name) == 0:
                object.__setattr__(self, name, default)
        for item in fields(self):
            if getattr(self, item.name) < 1 and item.name not in MAY_BE_ZERO:
                raise SynflipError(f"{item.name} must be at least 1, not {getattr(self, item.name)}")
        if not 0 <= self.devices <= MAX_DEVICES:
            raise SynflipError(f"devices must be in 0..{MAX_DEVICES}, not {self.devices}")
        if not 0 <= self.soft_classes <= MAX_OUTPUTS:
            raise SynflipError(f"soft_classes must be in 0..{MAX_OUTPUTS}, not {self.soft_classes}")
        if not 0 <= self.map_depth <= MAX_MAP_DEPTH:
            raise SynflipError(f"map_depth must be in 0..{MAX_MAP_DEPTH}, not {self.map_depth}")
        if self.key_halves > 2:
            raise SynflipError(f"key_halves must be 1 or 2, not {self.key_halves}")
        if self.flight not in FLIGHTS:
            raise SynflipError(f"flight must be 1, 2 or 4, not {self.flight}")
        if not 4 <= self.sample_bits <= MAX_SAMPLE_BITS:
            raise SynflipError(f"sample_bits must be in 4..{MAX_SAMPLE_BITS}, not {self.sample_bits}")
        if self.image_slots > 256:
            raise SynflipError(f"image_slots must be at most 256, not {self.image_slots}")

    @property
    def hidden_depth(self) -> int:
        """Events of a bank in one hidden list: enough for any hidden layer, as each of its outputs has a
        bias."""
        return min(MAX_OUTPUTS // self.banks, self.bias_depth)

    @property
    def list_places(self) -> int:
        """Places of a bank for each pass in flight in one of its two hidden lists. A pass that is alone has
        those of all."""
        return max(self.hidden_depth, -(-self.map_depth // self.flight))

    @property
    def list_depth(self) -> int:
        """Events of a bank in a hidden list of a pass that is alone."""
        return max(self.hidden_depth, self.map_depth)

    @property
    def map_pixels(self) -> int:
        """Pixels of a map that a convolution may go over."""
        return max(self.map_depth // 4, 1)

    @property
    def map_segments(self) -> int:
        """Segments that the convolutions of a network may have."""
        return 2 * self.map_depth

    @property
    def accumulator_bits(self) -> int:
        """Bits of a sum, at most ACCUMULATOR_BITS: enough for as many rows as a sample has keys, all at the
        largest activation and of one sign."""
        largest = self.key_depth * self.banks * ((1 << self.activation_bits) - 1)
        return min(largest.bit_length() + 1, ACCUMULATOR_BITS)

    @property
    def synapses(self) -> int:
        """Places for synapses: each layer's outputs are padded to a multiple of the lanes."""
        return self.weight_depth * self.lanes * self.banks

    @property
    def rows(self) -> int:
        """Inputs of all layers together, each layer's padded to a multiple of 8."""
        return self.key_depth * self.banks

    @property
    def inputs(self) -> int:
        """Most inputs of a network: the events of one image are a power of two in each bank."""
        return (1 << self.event_depth.bit_length() - 1) * self.banks

    @property
    def outputs(self) -> int:
        """Outputs of all layers together, each layer's padded to a multiple of the lanes."""
        return self.bias_depth * self.banks

    @property
    def name(self) -> str:
        """``64x8``."""
        return f"{self.lanes}x{self.banks}"

    @property
    def text(self) -> str:
        """The geometry as ``parse`` reads it: ``16x1,bits=4,activation_bits=8``, and what is not default."""
        default = Geometry(self.lanes, self.banks)
        parts = [self.name, f"bits={self.bits}", f"activation_bits={self.activation_bits}"]
        for item in fields(self)[4:]:
            if getattr(self, item.name) != getattr(default, item.name):
                parts.append(f"{item.name}={getattr(self, item.name)}")
        return ",".join(parts)

    @classmethod
    def parse(cls, text: str, **other: int) -> "Geometry":
        """The geometry that ``text`` describes: ``64x8`` (lanes x banks), or ``64x8,bits=2,image_slots=3``.

        other: settings that the text leaves out. Raises SynflipError.
        """
        if not isinstance(text, str):
            raise SynflipError(f"geometry {text!r:.60} is no text such as 64x8")
        size, *settings = text.split(",")
        match = re.fullmatch(r"(\d{1,4})x(\d{1,2})", size.strip())
        if not match:
            raise SynflipError(f"geometry {text!r} is not LANESxBANKS, such as 64x8")
        names = [item.name for item in fields(cls) if item.name not in ("lanes", "banks")]
        found: dict[str, int] = {}
        for setting in settings:
            name, _, value = (part.strip() for part in setting.partition("="))
            if name not in names or not re.fullmatch(r"[0-9]{1,9}", value):
                raise SynflipError(
                    f"{setting.strip()!r} of geometry {text!r} is not NAME=N, with one of {', '.join(names)}"
                )
            if name in found:
                raise SynflipError(f"geometry {text!r} says {name} twice")
            found[name] = int(value)
        return cls(lanes=int(match[1]), banks=int(match[2]), **{**other, **found})
