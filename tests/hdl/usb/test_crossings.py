"""What lies between the clocks of USB and accelerator: the two FIFOs, and nothing else."""

import json
from functools import cache

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from synflip.spec.usb import Speed
from synflip_hdl.export.verilog import to_verilog
from synflip_hdl.flow.toolchain import run_yosys

link = pytest.importorskip("synflip_hdl.usb.link")
pytestmark = pytest.mark.tools

SCRIPT = (
    "read_verilog top.v; hierarchy -top top; proc; flatten; memory -nomap; opt_clean; write_json top.json"
)
CLOCKS = {
    "CLK": ("D", "EN", "SRST", "ARST", "AD"),
    "RD_CLK": ("RD_ADDR", "RD_EN"),
    "WR_CLK": ("WR_ADDR", "WR_DATA", "WR_EN"),
}


def crossings(component, folder, clocks=("usb",)):
    """Names, one of each, of registers and memories that get something from another clock's registers."""
    (folder / "top.v").write_text(to_verilog(component, "top", clocks=clocks))
    run_yosys(SCRIPT, folder)
    module = json.loads((folder / "top.json").read_text())["modules"]["top"]
    cells = module["cells"]
    drivers = {}
    for name, cell in cells.items():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] == "output":
                drivers |= dict.fromkeys(bits, name)

    @cache
    def origins(bit):
        """Clocks of the registers that a bit depends on without another register between."""
        if (cell := cells.get(drivers.get(bit))) is None:
            return frozenset()
        pins, ways = cell["connections"], cell["port_directions"]
        for clock in ("CLK", "RD_CLK"):
            if clock in pins:
                return frozenset(pins[clock][:1])
        read = (bit for pin, bits in pins.items() if ways[pin] == "input" for bit in bits)
        return frozenset().union(*map(origins, read))

    def name_of(cell):
        bits = cell["connections"].get("Q", cell["connections"].get("RD_DATA"))
        names = sorted(
            name for name, net in module["netnames"].items() if bits[0] in net["bits"] and name[0] != "$"
        )
        return next((name for name in names if name.startswith("to_")), names[0] if names else "?")

    found = set()
    for cell in cells.values():
        pins = cell["connections"]
        for clock, inputs in CLOCKS.items():
            heard = frozenset().union(*(origins(bit) for pin in inputs for bit in pins.get(pin, ())))
            if clock in pins and heard - set(pins[clock]):
                found.add(name_of(cell))
        if "RD_CLK" in pins and set(pins["WR_CLK"]) - set(pins["RD_CLK"]) - {"0", "1", "x"}:
            found.add(name_of(cell))
    return found


def test_only_the_two_fifos_cross(tmp_path):
    found = crossings(link.UsbLink("1"), tmp_path)
    assert {name.split(".")[0] for name in found} == {"to_device", "to_host"}, found


@pytest.mark.nightly
def test_at_full_speed_also_what_is_inside_luna_s_transceiver(tmp_path):
    found = crossings(link.UsbLink("1", Speed.full), tmp_path, link.DOMAINS[Speed.full])
    assert {name.split(".")[0] for name in found} == {"to_device", "to_host", "phy"}, found


class Crossing(wiring.Component):
    """One register hears another clock's."""

    late: wiring.Out(1)
    later: wiring.Out(1)

    def elaborate(self, platform):
        m = Module()
        early = Signal()
        m.d.usb += early.eq(~early)
        m.d.sync += [self.late.eq(~early), self.later.eq(self.late)]
        return m


def test_another_crossing_would_be_found(tmp_path):
    assert crossings(Crossing(), tmp_path) == {"late"}
