"""A build with USB has two clocks: what nextpnr says of the transceiver's, and of paths between the two."""

from typing import Any

from synflip.errors import SynflipError
from synflip.spec.usb import ULPI_CLOCK

ASYNC = "<async>"  # pins, in nextpnr's report


def is_usb(clock: str) -> bool:
    """Whether the net of this name has the transceiver's clock."""
    return "ulpi." in clock


def usb_timing(placed: dict[str, Any]) -> dict[str, Any]:
    """Of nextpnr's report: clock_asked_hz, clock_reached_hz, and the longest paths in nanoseconds: to_usb_ns
    and from_usb_ns between the two clocks, from_pins_ns and to_pins_ns of the transceiver.

    The last two are without buffers and without the delay of the clock itself; nextpnr knows no constraint
    for them. Raises SynflipError if the report has no such clock.
    """
    reached = [item["achieved"] * 1e6 for name, item in placed["fmax"].items() if is_usb(name)]
    if not reached:
        raise SynflipError("nextpnr reports no clock of the USB transceiver")
    longest = dict.fromkeys(("to_usb_ns", "from_usb_ns", "from_pins_ns", "to_pins_ns"), 0.0)
    for item in placed["critical_paths"]:
        ends = item["from"], item["to"]
        of_usb = tuple(map(is_usb, ends))
        if of_usb == (False, True):
            name = "from_pins_ns" if ends[0] == ASYNC else "to_usb_ns"
        elif of_usb == (True, False):
            name = "to_pins_ns" if ends[1] == ASYNC else "from_usb_ns"
        else:
            continue
        delay = sum(hop["delay"] for hop in item["path"])
        longest[name] = max(longest[name], round(delay, 2))
    return {"clock_asked_hz": ULPI_CLOCK, "clock_reached_hz": min(reached)} | longest


def is_met(timing: dict[str, Any], clock: float) -> bool:
    """Whether the transceiver's clock is met, and paths between it and ``clock`` (Hz) are shorter than a
    period of either: so the bits of a FIFO's pointer, of which one changes at a time, arrive in their order.
    """
    period = 1e9 / max(clock, ULPI_CLOCK)
    across = max(timing["to_usb_ns"], timing["from_usb_ns"])
    return timing["clock_reached_hz"] >= ULPI_CLOCK and across <= period
