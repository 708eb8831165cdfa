"""What the blocks hand to each other: layouts of values, and the signatures that connect two blocks.

Directions are the initiator's: of the block that has the signature as ``Out``. A stream with
``always_ready=True`` cannot be held up: whoever sends it has made sure that there is room.
"""

from amaranth.hdl import signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from synflip.spec.geometry import Geometry
from synflip.spec.memory_map import IMAGE_WORD_BITS, OFFSET_BITS, REGISTERS, LayerField, present
from synflip.spec.sizes import KEY_BITS, LOGIT_BITS, MAX_OUTPUTS, MAX_SHIFT, address_bits, ceil_div, log2_ceil

SLOT_BITS = 8  # image slots
#: Attribute of a memory for which one port is enough: what is read in the cycle of a write is not used.
ONE_PORT = "one_port"
CLASS_BITS = log2_ceil(MAX_OUTPUTS)
SHIFT_BITS = MAX_SHIFT.bit_length()

#: Slots of a run's images: the first and one past the last.
RUN_SLOTS = data.StructLayout({"first": SLOT_BITS, "past": SLOT_BITS + 2})
#: A logit on its way out. first, last: it is its pass's first, last.
WATCHED_LOGIT = data.StructLayout({"z": signed(LOGIT_BITS), "first": 1, "last": 1})


def pass_layout(geometry: Geometry) -> data.StructLayout:
    """One pass: one image through one flipped network."""
    return data.StructLayout({"slot": SLOT_BITS, "sample": geometry.sample_bits})


def address_layout(geometry: Geometry) -> data.StructLayout:
    """Where a tile's keys and weights are: what the array adds a row to. turn: rotation of the keys."""
    return data.StructLayout(
        {
            "half": 1,
            "key": address_bits(geometry.key_depth),
            "weight": address_bits(geometry.weight_depth),
            "turn": 6,
        }
    )


def most_tiles(geometry: Geometry) -> int:
    """Tiles of a layer: no more than there are biases for."""
    return ceil_div(min(geometry.bias_depth * geometry.banks, MAX_OUTPUTS), geometry.lanes)


def layer_layout(geometry: Geometry) -> data.StructLayout:
    """An entry of the layer table. A field has only as many bits as the gateware looks at; the host's word
    has 32."""
    weight, group = address_bits(geometry.weight_depth), address_bits(geometry.bias_depth)
    bits = {
        LayerField.WEIGHT_BASE: weight,
        LayerField.ROW_BLOCKS: min(weight, geometry.key_depth.bit_length()),
        LayerField.KEY_BASE: address_bits(geometry.key_depth),
        LayerField.KEY_END: address_bits(geometry.key_depth) + 1,
        LayerField.TILES: address_bits(most_tiles(geometry)),
        LayerField.BIAS_BASE: group,
        LayerField.LAST_STEPS: address_bits(geometry.lanes // geometry.banks),
        LayerField.SHIFT: SHIFT_BITS,
    }
    layout = {field.name: bits[field] for field in LayerField}
    if geometry.map_depth:
        layout |= {"CONVOLUTION": 1, "FIRST_SEGMENT": address_bits(geometry.map_segments)}
    return data.StructLayout(layout)


def tile_layout(geometry: Geometry) -> data.StructLayout:
    """A tile on its way to the requantizer.

    bias: its first group of Q biases.
    block: row block of its first output in the next layer.
    steps: steps in which it is drained, less 1.
    shift: r of its layer.
    hidden_set: the set of lists that its outputs go to.
    begin: it is its layer's first tile.
    final: its outputs are logits.
    current: its pass.
    pooled: where there are maps, of a convolution.
    """
    return data.StructLayout(
        {
            "bias": address_bits(geometry.bias_depth),
            "block": address_bits(geometry.list_depth),
            "steps": address_bits(geometry.lanes // geometry.banks),
            "shift": SHIFT_BITS,
            "hidden_set": set_bits(geometry),
            "begin": 1,
            "final": 1,
            "current": pass_layout(geometry),
            **({"pooled": pooled_layout()} if geometry.map_depth else {}),
        }
    )


def pooled_layout() -> data.StructLayout:
    """Of a position of a convolution: its pool window's first, last; top: the tile is the first of its pixel.
    A tile of a dense layer is first and last, and not top."""
    return data.StructLayout({"first": 1, "last": 1, "top": 1})


def sums_layout(geometry: Geometry) -> data.ArrayLayout:
    """A tile's sums, one a lane."""
    return data.ArrayLayout(signed(geometry.accumulator_bits), geometry.lanes)


def set_bits(geometry: Geometry) -> int:
    """Bits of the number of a hidden layer's lists: the lowest says which of two, the others whose pass's."""
    return 1 + log2_ceil(geometry.flight)


def event_layout(geometry: Geometry) -> data.StructLayout:
    """An event: which row block of its bank, and its activation."""
    block_bits = max(address_bits(geometry.key_depth), address_bits(geometry.list_depth))
    return data.StructLayout({"block": block_bits, "value": geometry.activation_bits})


def append_layout(geometry: Geometry) -> data.StructLayout:
    """Q outputs of a hidden layer on their way to the event lists: rows block * Q + bank of the next layer.

    begin: they are the first of their layer.
    first: they are the first of their tile.
    some: one bit a bank, 1 where the value is not zero.
    pooled: where there are maps, as in a tile.
    """
    return data.StructLayout(
        {
            "hidden_set": set_bits(geometry),
            "begin": 1,
            "first": 1,
            "block": address_bits(geometry.list_depth),
            "values": data.ArrayLayout(geometry.activation_bits, geometry.banks),
            "some": geometry.banks,
            **({"pooled": pooled_layout()} if geometry.map_depth else {}),
        }
    )


def logit_layout(geometry: Geometry) -> data.StructLayout:
    """One logit. last: it is its pass's last class."""
    return data.StructLayout(
        {"z": signed(LOGIT_BITS), "class_": CLASS_BITS, "last": 1, "current": pass_layout(geometry)}
    )


def decision_layout(geometry: Geometry) -> data.StructLayout:
    """A vote that was counted. leaves: its image has had its last sample."""
    return data.StructLayout({"current": pass_layout(geometry), "leaves": 1})


def image_word_layout() -> data.StructLayout:
    """Four activations of the image in ``slot``; ``word`` counts from 0."""
    return data.StructLayout({"slot": SLOT_BITS, "word": IMAGE_WORD_BITS, "data": 32})


def settings_layout(geometry: Geometry) -> data.StructLayout:
    """The registers that the host reads and writes, by name. They stay as they are while a run is busy."""
    names = [name for name, item in REGISTERS.items() if item.access == "RW" and present(name, geometry)]
    return data.StructLayout({name: REGISTERS[name].bits for name in names})


def index_bits(geometry: Geometry) -> int:
    """Bits of an index into the event lists, of images and of hidden layers."""
    return max(address_bits(geometry.event_depth), address_bits(geometry.list_depth))


def end_bits(geometry: Geometry) -> int:
    """Bits of a number of pixels of a map."""
    return address_bits(geometry.map_pixels + 1)


def segment_layout(geometry: Geometry) -> data.StructLayout:
    """A segment of a convolution, see ``synflip.spec.maps``. offset: modulo its bits."""
    return data.StructLayout(
        {
            "first": max(end_bits(geometry), address_bits(geometry.event_depth)),
            "past": end_bits(geometry),
            "offset": max(address_bits(geometry.key_depth), address_bits(geometry.weight_depth)),
            "position_end": 1,
            "window_end": 1,
            "layer_end": 1,
        }
    )


class HostAccess(wiring.Signature):
    """Registers to blocks: what the host writes into their memories, and where it reads.

    A word is valid in the cycle of its strobe. ``offset`` is there for reads too, without a strobe.

    Members
    -------
    write: Out(16), strobes, bit n of region n; one at most is 1.
    offset: Out(OFFSET_BITS), of the access inside its region.
    data: Out(32), the word.
    """

    def __init__(self) -> None:
        super().__init__({"write": Out(16), "offset": Out(OFFSET_BITS), "data": Out(32)})


class RunControl(wiring.Signature):
    """Registers to blocks: a run begins, with these settings.

    Members
    -------
    start: Out(1), strobe; ``busy`` of ``RunStatus`` rises in the next cycle.
    settings: Out(settings_layout), from two cycles before ``start`` until the run is over.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"start": Out(1), "settings": Out(settings_layout(geometry))})


class RunStatus(wiring.Signature):
    """Sequencer to registers: the run.

    Members
    -------
    busy: Out(1), it is under way.
    cycles: Out(64), clock cycles in which it was busy so far; they stay when it is over.
    """

    def __init__(self) -> None:
        super().__init__({"busy": Out(1), "cycles": Out(64)})


class JunctionControl(wiring.Signature):
    """Registers to junction source: its strobes, and how the junctions do.

    Members
    -------
    restart: Out(1), strobe: test all junctions anew.
    capture: Out(1), strobe: keep the next CAPTURE_BITS raw bits of the junction of the setting CAPTURE.
    alarm: In(1), fewer junctions work than the setting LEAST_DEVICES.
    captured: In(24), raw bits captured so far.
    working: In(7), junctions whose bits are used.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "restart": Out(1),
                "capture": Out(1),
                "alarm": In(1),
                "captured": In(REGISTERS["CAPTURED"].bits),
                "working": In(REGISTERS["WORKING"].bits),
            }
        )


class JunctionResults(wiring.Signature):
    """Junction source to registers: what the host reads, a cycle after ``HostAccess.offset``.

    Members
    -------
    flags: Out(3), of the junction at the offset: working, repetition count failed, proportion failed.
    raw_word: Out(32), the word at the offset of the capture; the oldest bit is bit 0.
    """

    def __init__(self) -> None:
        super().__init__({"flags": Out(3), "raw_word": Out(32)})


class ListReads(wiring.Signature):
    """Sequencer to event lists: open the lists of an image or a hidden layer, then read them by index.

    Members
    -------
    open: Out(1), open the lists that the next four members choose, as they are in this cycle. It may stay for
        many cycles: what is read is what the last of them opened.
    rest: Out(1), only what the tile that was appended last added.
    hidden: Out(1), a hidden layer's lists, else an image's.
    hidden_set: Out(set_bits), the hidden layer's set.
    slot: Out(SLOT_BITS), the image's slot; it must be there in the cycle before ``open``, too.
    longest: In(index_bits + 1), events of the longest list, from the cycle after ``open`` until the next.
    short: In(1), ``longest`` is 0 or 1.
    read: Out(1), an event of every bank is wanted.
    index: Out(index_bits), which one; the events come two cycles later.

    Where there are maps:
    segment: Out(1), with ``open``: only the segment that is looked up; of an image all rows of a kernel.
    rows: Out, their row blocks.
    ended: In(1), in no bank there are events from ``index`` + 2 on.
    """

    def __init__(self, geometry: Geometry, index_bits: int) -> None:
        maps = {"segment": Out(1), "rows": Out(index_bits + 1), "ended": In(1)}
        super().__init__(
            {
                **(maps if geometry.map_depth else {}),
                "open": Out(1),
                "rest": Out(1),
                "hidden": Out(1),
                "hidden_set": Out(set_bits(geometry)),
                "slot": Out(SLOT_BITS),
                "longest": In(index_bits + 1),
                "short": In(1),
                "read": Out(1),
                "index": Out(index_bits),
            }
        )


class SegmentDemand(wiring.Signature):
    """Sequencer to segments: the program of a convolution.

    Members
    -------
    restart: Out(1), strobe: the next segment is ``entry``'s, the first of a layer.
    entry: Out, its number.
    take: Out(1), strobe: the segment that is ready is opened, and the one behind it is looked up. A window's
        last segment is followed by the window's first one if ``again`` is 1 in the cycle after.
    again: Out(1), there is another tile.
    index: Out(index_bits), of the event that is read.
    step: Out(1), in the next cycle it is one more; after ``take`` it is 0, else it stays.
    ready: In(1), a segment is ready: SEGMENT_SPACING cycles after a restart or the one before.
    segment: In(segment_layout), the one that is ready.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(
            {
                "restart": Out(1),
                "entry": Out(address_bits(geometry.map_segments)),
                "take": Out(1),
                "again": Out(1),
                "index": Out(index_bits(geometry)),
                "step": Out(1),
                "ready": In(1),
                "segment": In(segment_layout(geometry)),
            }
        )


class SegmentPlaces(wiring.Signature):
    """Segments to event lists: where the segment lies.

    Members
    -------
    first, past: Out(end_bits), the segment's first pixel and the one behind its last. The events of so many
        pixels are asked for, in every cycle.
    kept: Out(1), what was asked for in the cycle before is the segment's, and stays.
    none: Out(1), with ``kept``: there is no pixel before the first.
    image: Out(Q addresses), of the activations of a position of an image.
    """

    def __init__(self, geometry: Geometry) -> None:
        image = data.ArrayLayout(address_bits(geometry.event_depth), geometry.banks)
        super().__init__(
            {
                "first": Out(end_bits(geometry)),
                "past": Out(end_bits(geometry)),
                "kept": Out(1),
                "none": Out(1),
                "image": Out(image),
            }
        )


class KeyDemand(wiring.Signature):
    """Sequencer to key memory: which keys a layer needs, and which are no longer needed.

    Members
    -------
    run: Out(1), a run is busy: the memory is filled, and the array reads it.
    sample: Out(2), the sample that asks, modulo 4.
    end: Out(24), transfers of Q keys of this sample that must be there.
    ready: In(1), they are there in the next cycle.
    release: Out(1), strobe: the oldest sample is no longer needed. It acts KEY_RELEASE cycles later, when the
        reads under way are done.
    """

    def __init__(self) -> None:
        super().__init__({"run": Out(1), "sample": Out(2), "end": Out(24), "ready": In(1), "release": Out(1)})


class KeyReads(wiring.Signature):
    """Array to key memory: a key of every bank, a row a cycle.

    Members
    -------
    address: Out(Q addresses): row block, and above it the half, which is the sample's lowest bit, even where
        the memory has one half only.
    data: In(Q keys of 64 bits), two cycles later.
    """

    def __init__(self, geometry: Geometry) -> None:
        address = data.ArrayLayout(address_bits(geometry.key_depth) + 1, geometry.banks)
        super().__init__({"address": Out(address), "data": In(data.ArrayLayout(KEY_BITS, geometry.banks))})


class EventIssue(wiring.Signature):
    """Sequencer to array: where the keys and weights are of the event that the lists were asked for.

    Members
    -------
    place: Out(address_layout), with ``ListReads.index``.
    last: Out(1), it is its tile's last event.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"place": Out(address_layout(geometry)), "last": Out(1)})


class TileSums(wiring.Signature):
    """Array to requantizer: a tile's sums.

    Members
    -------
    coming: Out(1), a capture comes in the next cycle.
    capture: Out(1), the sums are there in this cycle, and only in it.
    sums: Out(sums_layout), one a lane.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__({"coming": Out(1), "capture": Out(1), "sums": Out(sums_layout(geometry))})


class VoteResults(wiring.Signature):
    """Votes to registers: what the host reads, a cycle after ``HostAccess.offset``.

    Members
    -------
    free: Out(1), no run uses the memories in this cycle: an answer that is asked for now is right.
    vote: Out(sample_bits), samples that voted for the class at the offset.
    logit_sum: Out(32), a half of the sum of the class at offset / 2.
    used: Out(sample_bits), samples of the image at the offset.
    logged: Out(signed(32)), the logit at the offset of the log.
    logged_count: Out, logits in the log.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(
            {
                "free": Out(1),
                "vote": Out(geometry.sample_bits),
                "logit_sum": Out(32),
                "used": Out(geometry.sample_bits),
                "logged": Out(signed(LOGIT_BITS)),
                "logged_count": Out(geometry.log_depth.bit_length()),
            }
        )


class SoftResults(wiring.Signature):
    """Soft votes to registers: what the host reads, a cycle after ``HostAccess.offset``.

    Members
    -------
    quiet: Out(1), no pass is under way: the sums are those of all passes so far.
    free: Out(1), no pass uses the memories in this cycle: an answer that is asked for now is right.
    word: Out(32), the sum of soft votes at the offset, or a half of a sum of energies.
    """

    def __init__(self) -> None:
        super().__init__({"quiet": Out(1), "free": Out(1), "word": Out(32)})
