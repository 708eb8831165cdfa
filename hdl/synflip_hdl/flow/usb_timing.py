"""A build with USB has clocks of its own: what nextpnr says of them, and of paths between clocks."""

from typing import Any

from synflip.errors import SynflipError
from synflip.spec.usb import BIT_CLOCK, SAMPLE_CLOCK, ULPI_CLOCK

ASYNC = "<async>"  # pins, in nextpnr's report
#: How names of nets end in ``boards.ulpi`` and ``boards.full_speed``: of the clock of the domain ``usb``, and
#: of that of ``usb_io``.
USB = {"ulpi.clock": ULPI_CLOCK, "bit_clock": BIT_CLOCK}
USB_IO = {"sample_clock": SAMPLE_CLOCK}


def is_usb(clock: str) -> bool:
    """Whether the net of this name has a clock of USB."""
    return clock.endswith((*USB, *USB_IO))


def usb_timing(placed: dict[str, Any]) -> dict[str, Any]:
    """Of nextpnr's report: clock_asked_hz, clock_reached_hz of ``usb``, and the longest paths in nanoseconds:
    to_usb_ns and from_usb_ns between the accelerator's clock and USB's, from_pins_ns and to_pins_ns of USB's.

    At full speed also sample_clock_asked_hz, sample_clock_reached_hz of ``usb_io``, and within_usb_ns between
    the two. Those of pins are without buffers and without the delay of the clock itself; nextpnr knows no
    constraint for them. Raises SynflipError if the report has no such clock.
    """
    clocks = {
        key: (asked[net], item["achieved"] * 1e6)
        for key, asked in (("clock", USB), ("sample_clock", USB_IO))
        for net in asked
        for name, item in placed["fmax"].items()
        if name.endswith(net)
    }
    if "clock" not in clocks:
        raise SynflipError("nextpnr reports no clock of USB")
    longest = dict.fromkeys(("to_usb_ns", "from_usb_ns", "from_pins_ns", "to_pins_ns"), 0.0)
    if "sample_clock" in clocks:
        longest["within_usb_ns"] = 0.0
    for item in placed["critical_paths"]:
        ends = item["from"], item["to"]
        of_usb = tuple(map(is_usb, ends))
        if of_usb == (False, True):
            name = "from_pins_ns" if ends[0] == ASYNC else "to_usb_ns"
        elif of_usb == (True, False):
            name = "to_pins_ns" if ends[1] == ASYNC else "from_usb_ns"
        elif of_usb == (True, True) and ends[0] != ends[1]:
            name = "within_usb_ns"
        else:
            continue
        delay = sum(hop["delay"] for hop in item["path"])
        longest[name] = max(longest[name], round(delay, 2))
    numbers: dict[str, Any] = {}
    for key, (asked, found) in clocks.items():
        numbers |= {f"{key}_asked_hz": asked, f"{key}_reached_hz": found}
    return numbers | longest


def is_met(timing: dict[str, Any], clock: float) -> bool:
    """Whether USB's clocks are met, and paths between one of them and ``clock`` (Hz) are shorter than a
    period of either: so the bits of a FIFO's pointer, of which one changes at a time, arrive in their order.

    At full speed, paths between USB's two clocks, whose edges come together, also are.
    """
    clocks = [key.removesuffix("_asked_hz") for key in timing if key.endswith("_asked_hz")]
    fastest = max(timing[f"{key}_asked_hz"] for key in clocks)
    across = max(timing["to_usb_ns"], timing["from_usb_ns"])
    return (
        all(timing[f"{key}_reached_hz"] >= timing[f"{key}_asked_hz"] for key in clocks)
        and across <= 1e9 / max(clock, fastest)
        and timing.get("within_usb_ns", 0.0) <= 1e9 / fastest
    )
