"""What the blocks hand to each other."""

from amaranth.hdl import signed
from amaranth.lib import data
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import LayerField
from synflip.spec.sizes import LOGIT_BITS, MAX_OUTPUTS, MAX_SHIFT, ceil_div

SLOT_BITS = 8  # image slots
#: Attribute of a memory for which one port is enough: what is read in the cycle of a write is not used.
ONE_PORT = "one_port"
CLASS_BITS = (MAX_OUTPUTS - 1).bit_length()
SHIFT_BITS = MAX_SHIFT.bit_length()

#: Slots of a run's images: the first and one past the last.
RUN_SLOTS = data.StructLayout({"first": SLOT_BITS, "past": SLOT_BITS + 2})
#: A logit on its way out. first, last: it is its pass's first, last.
WATCHED_LOGIT = data.StructLayout({"z": signed(LOGIT_BITS), "first": 1, "last": 1})


def log2(value: int) -> int:
    """Bits of an address of ``value`` places, at least 1."""
    return max((value - 1).bit_length(), 1)


def pass_layout(geometry: Geometry) -> data.StructLayout:
    """One pass: one image through one flipped network."""
    return data.StructLayout({"slot": SLOT_BITS, "sample": geometry.sample_bits})


def address_layout(geometry: Geometry) -> data.StructLayout:
    """Where a tile's keys and weights are: what the array adds a row to. turn: rotation of the keys."""
    return data.StructLayout(
        {"half": 1, "key": log2(geometry.key_depth), "weight": log2(geometry.weight_depth), "turn": 6}
    )


def most_tiles(geometry: Geometry) -> int:
    """Tiles of a layer: no more than there are biases for."""
    return ceil_div(min(geometry.bias_depth * geometry.banks, MAX_OUTPUTS), geometry.lanes)


def layer_layout(geometry: Geometry) -> data.StructLayout:
    """An entry of the layer table: of each field only the bits that are looked at."""
    weight, group = log2(geometry.weight_depth), log2(geometry.bias_depth)
    bits = {
        LayerField.WEIGHT_BASE: weight,
        LayerField.ROW_BLOCKS: min(weight, geometry.key_depth.bit_length()),
        LayerField.KEY_BASE: log2(geometry.key_depth),
        LayerField.KEY_END: log2(geometry.key_depth) + 1,
        LayerField.TILES: log2(most_tiles(geometry)),
        LayerField.BIAS_BASE: group,
        LayerField.LAST_STEPS: log2(geometry.lanes // geometry.banks),
        LayerField.SHIFT: SHIFT_BITS,
    }
    return data.StructLayout({field.name: bits[field] for field in LayerField})


def tile_layout(geometry: Geometry) -> data.StructLayout:
    """A tile on its way to the drain.

    bias: its first bias group. block: row block of its first output in the next layer. steps: drain steps -
        1. begin: it is its layer's first. final: its outputs are logits. end: it is its pass's last.
    """
    return data.StructLayout(
        {
            "bias": log2(geometry.bias_depth),
            "block": log2(geometry.hidden_depth),
            "steps": log2(geometry.lanes // geometry.banks),
            "shift": SHIFT_BITS,
            "hidden_set": 1,
            "begin": 1,
            "final": 1,
            "current": pass_layout(geometry),
        }
    )


def sums_layout(geometry: Geometry) -> data.ArrayLayout:
    """A tile's sums, one a lane."""
    return data.ArrayLayout(signed(geometry.accumulator_bits), geometry.lanes)


def event_layout(geometry: Geometry) -> data.StructLayout:
    """An event: which row block of its bank, and its activation."""
    block_bits = max(log2(geometry.key_depth), log2(geometry.hidden_depth))
    return data.StructLayout({"block": block_bits, "value": geometry.activation_bits})


def append_layout(geometry: Geometry) -> data.StructLayout:
    """Q outputs of a hidden layer on their way to the event lists: rows block * Q + bank of the next layer.
    begin: they are its first. first: they are their tile's first. some: which are not zero."""
    return data.StructLayout(
        {
            "hidden_set": 1,
            "begin": 1,
            "first": 1,
            "block": log2(geometry.hidden_depth),
            "values": data.ArrayLayout(geometry.activation_bits, geometry.banks),
            "some": geometry.banks,
        }
    )


def logit_layout(geometry: Geometry) -> data.StructLayout:
    """One logit. last: it is its pass's last class."""
    return data.StructLayout(
        {"z": signed(LOGIT_BITS), "class_": CLASS_BITS, "last": 1, "current": pass_layout(geometry)}
    )
