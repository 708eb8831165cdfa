"""What the AXI front end adds to the memory map: one region, which the front end answers itself."""

from synflip.spec.memory_map import OFFSET_BITS, Register

REGION = 15  # outside the accelerator's own map: without the front end, every access is refused
NOWHERE = (REGION + 1 << OFFSET_BITS) - 1  # word address of no register: refused, with the front end too

#: By name; word offsets in REGION.
AXI_REGISTERS: dict[str, Register] = {
    "STREAM_STATUS": Register(
        0, "R", 1, "bit 0: a packet of s_axis was begun, and not all of it is written", {"BUSY": 1}
    ),
    "WORDS_REFUSED": Register(1, "RC", 32, "words of s_axis that were refused; a write sets it to 0"),
    "PASSES_LOST": Register(2, "RC", 32, "passes whose logits m_axis lost; a write sets it to 0"),
}


def axi_register(name: str) -> int:
    """Word address of a register of the front end."""
    return REGION << OFFSET_BITS | AXI_REGISTERS[name].offset
