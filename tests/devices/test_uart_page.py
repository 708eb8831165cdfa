"""The numbers of docs/reference/uart.md that the contract and the formulas give.

Those of a simulated line are in test_throughput.
"""

from synflip.inference.end_to_end import ONE_BANK, coded_words
from synflip.inference.parts import NetworkPart
from synflip.inference.throughput import REPLY_BYTES, REQUEST_BYTES, activities, shape_only
from synflip.spec import frames
from synflip.spec.frames import Command, Status
from synflip.spec.geometry import Geometry

from tests.devices.test_serial import FAULTS
from tests.docs.pages import ROOT

TEXT = " ".join((ROOT / "docs/reference/uart.md").read_text().split())
NUMBER_WORDS = {5: "five"}


def test_the_contract():
    special = f"{frames.FLAG:02X}", f"{frames.ESCAPE:02X}", f"{frames.ESCAPE_XOR:02X}"
    spare = NUMBER_WORDS[frames.QUEUE_OVERHEAD]
    said = [
        f"between two flag bytes `{special[0]}`",
        "`{0}` and `{1}` are sent as `{1}` and the byte XOR `{2}`".format(*special),
        f"A silence of {frames.SILENCE_BITS:,} bit times",
        f"number ({frames.NUMBER_BITS} bits), session ({frames.SESSION_BITS} bits)",
        f"of the request; {frames.NO_TAG:04X}, never 0",
        f"words to read or write, 1 to {frames.MAX_WORDS}",
        f"COUNT is not 1 to {frames.MAX_WORDS}",
        f"words done ({frames.DONE_BITS} bits), status (bits {frames.CODE_SHIFT} to 31)",
        f"one of the last {frames.QUEUE_REQUESTS}) nor the next",
        f"version {frames.FORMAT_VERSION} in bits 0 to 7",
        f"most requests under way ({frames.QUEUE_REQUESTS}) in bits 8 to 15",
        f"words of the queue ({frames.QUEUE_WORDS}) in bits 16 to 31",
        f"{spare} words for each, and {spare} words that stay free",
        f"Bit {frames.CHAINED.bit_length() - 1} of the command ({frames.CHAINED})",
        f"The outcomes of the last {frames.QUEUE_REQUESTS} requests are kept",
        f"at most {frames.POLLS:,} times",
        f"| {frames.PAIRS} | pairs",
        f"| {', '.join(map(str, frames.PACKED))} | so many bits",
        *(f"{command.value} {command.name}" for command in Command),
        *(f"| {status.value} {status.name} |" for status in Status),
    ]
    assert [phrase for phrase in said if phrase not in TEXT] == []


def test_faults():
    assert f"with at least {FAULTS:,} faults in both directions" in TEXT


def test_bytes_of_an_image():
    events = round(activities()[1]["loads"][ONE_BANK][0][0])
    sizes = {bits: 4 * coded_words(784, events, bits) for bits in (8, 2, 1)}
    assert (
        f"The mean image of MNIST has {events} activations that are not 0: {sizes[8]} bytes, not 784" in TEXT
    )
    assert f"with A = 2 it has {sizes[2]}, with A = 1 {sizes[1]}." in TEXT


def test_bytes_of_a_frame():
    rest = REQUEST_BYTES + REPLY_BYTES
    assert f"Of a frame of {frames.MAX_WORDS} words, {rest} bytes are not data (its answer included)" in TEXT


def test_bytes_of_weights():
    activity = activities()[2]
    model = shape_only(activity["rows"], activity["outputs"], 4)
    assert activity["network"].endswith("784-512-512-10")
    whole = NetworkPart(range(3), range(784), range(10), 0, 0, False, 1)
    traffic = whole.loading(model, Geometry(64, 8, bits=4))
    said = f"{traffic.bytes / 1e6:.1f} MB, {traffic.seconds():.0f} s"
    assert f"Weights of 784-512-512-10 at 64x8 and k = 4 are {said}." in TEXT
