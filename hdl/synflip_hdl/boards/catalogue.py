"""The boards: which pins, which clock, which accelerator fits."""

import importlib
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Any

from amaranth.build import Attrs, Pins, Resource, Subsignal
from synflip.errors import SynflipError
from synflip.spec.fronts import Front, Link
from synflip.spec.geometry import Geometry
from synflip.spec.usb import Speed


class Family(StrEnum):
    """FPGA families that boards have: each has its own tools."""

    ecp5 = "ecp5"
    ice40 = "ice40"
    gowin = "gowin"
    xilinx = "xilinx"


@dataclass(frozen=True)
class JunctionPins:
    """Pins for tunnel junctions.

    connector: name and number of the connector. pins: its pins, the strobe's first, then one a junction.
    attributes: of all of these pins, such as their voltage.
    """

    connector: tuple[str, int]
    pins: tuple[str, ...]
    attributes: dict[str, str]


@dataclass(frozen=True)
class Board:
    """A board and what is built for it unless told otherwise.

    name: in commands. title: for people. device: the FPGA's part name. family: its family.
    platform: module and class of amaranth-boards that list the pins.
    clock: Hz of the accelerator.
    geometry: the default accelerator.
    sizes: (k, geometry, clock): the default for words of k bits, where it differs from ``geometry``.
    leds: resources of the platform for the LEDs busy and error.
    reset: resource of the reset button; None if there is none.
    constraints: a file in constraints/ beside the platform's own; None if there is none.
    nextpnr: its options for the device.
    loader: the board's name in openFPGALoader.
    capacity: LUTs, flip-flops and block RAMs of the device.
    junctions: pins for tunnel junctions, where the board has some.
    compact: for small devices: fewer registers, see ``accelerator.Accelerator``, and on iCE40 other memories,
        see ``export.memories.MemoryModules``.
    queued: its serial line takes requests ahead, see ``serial.queued_bridge``; a small device has no room.
    ulpi: resource of a USB transceiver that brings its own clock; None if there is none.
    lines: resource of a USB connector at pins of the FPGA, for full speed; None if there is none. ECP5 only.
    serial: it has a serial line, the resource ``uart`` 0.
    seed: of a placement that reaches the clock.
    yosys: more options of its synthesis.
    """

    name: str
    title: str
    device: str
    family: Family
    platform: str
    clock: float
    geometry: Geometry
    leds: tuple[tuple[Any, ...], tuple[Any, ...]]
    reset: tuple[Any, ...] | None
    constraints: str | None
    nextpnr: tuple[str, ...]
    loader: str
    capacity: dict[str, int]
    junctions: JunctionPins | None = None
    sizes: tuple[tuple[int, str, float], ...] = ()
    compact: bool = False
    queued: bool = False
    ulpi: tuple[str, int] | None = None
    lines: tuple[str, int] | None = None
    serial: bool = True
    seed: int = 1
    yosys: tuple[str, ...] = ()

    @property
    def fronts(self) -> tuple[Front, ...]:
        """What it can be built with, first what it is built with unless told otherwise."""
        has = {Front.serial: self.serial, Front.usb: self.usb is not None}
        return tuple(front for front, there in has.items() if there)

    @property
    def usb(self) -> Speed | None:
        """The speed of its USB device; None if it has none."""
        if self.ulpi is not None:
            return Speed.high
        return Speed.full if self.lines is not None else None

    def front(self, asked: Front | None) -> Front:
        """What it is built with if ``asked``, None for its own. Raises SynflipError if that cannot be."""
        own, *_ = self.fronts
        if asked is not None and asked not in self.fronts:
            lacks = {Front.serial: "no serial line", Front.usb: "no USB of its own here"}[asked]
            raise SynflipError(f"{self.name} has {lacks}: build it with --front {own}")
        return asked or own

    def link(self, front: Front) -> Link:
        """The link of its accelerator behind ``front``, which is one of ``fronts``."""
        if front == Front.serial:
            return Link.ahead if self.queued else Link.serial
        return Link.usb if self.usb == Speed.high else Link.full_speed

    def make_platform(self) -> Any:
        """The platform of amaranth-boards, with the pins of the junctions added."""
        module, name = self.platform.rsplit(".", 1)
        platform = getattr(importlib.import_module(module), name)()
        if self.junctions is not None:
            strobe, *raw = self.junctions.pins
            attributes = Attrs(**self.junctions.attributes)
            conn = self.junctions.connector
            for place, pin in enumerate(raw):
                platform.add_resources(
                    [Resource("junction", place, Pins(pin, dir="i", conn=conn), attributes)]
                )
            platform.add_resources(
                [Resource("junctions", 0, Subsignal("strobe", Pins(strobe, dir="i", conn=conn)), attributes)]
            )
        return platform

    def clock_of(self, geometry: Geometry) -> float:
        """The clock of a build of ``geometry``, in Hz, unless another one is asked for."""
        clocks = {k: clock for k, size, clock in self.sizes if geometry.name == Geometry.parse(size).name}
        return clocks.get(geometry.bits, self.clock)

    def sized(self, text: str | None, bits: int | None, devices: int) -> Geometry:
        """The geometry of a build: the board's memories, cut into the lanes and banks asked for.

        text: such as ``16x2,weight_depth=100``; the board's default if None. bits: k, the board's default if
        None. devices: tunnel junctions. Raises SynflipError for a text that is no geometry, and for more
        junctions than the board has pins for.
        """
        default = self.geometry
        bits = default.bits if bits is None else bits
        depths = {
            name: getattr(default, name)
            for name in (
                "activation_bits",
                "image_slots",
                "result_depth",
                "log_depth",
                "margin_depth",
                "layer_depth",
                "key_halves",
                "sample_bits",
                "flight",
            )
        }
        lanes, banks = default.lanes, default.banks
        text = {k: size for k, size, _ in self.sizes}.get(bits) if text is None else text
        if text is not None:
            asked = Geometry.parse(text)
            lanes, banks = asked.lanes, asked.banks
        # The same memories, cut into entries and banks of another size.
        entries = max(default.weight_depth * default.lanes * default.banks // (lanes * banks), 1)
        depths |= {
            "bits": bits,
            "weight_depth": entries,
            "event_depth": max(default.event_depth * default.banks // banks, 1),
            "key_depth": max(default.key_depth * default.banks // banks, 1),
            "bias_depth": max(default.bias_depth * default.banks // banks, 1),
            "devices": devices,
        }
        most = len(self.junctions.pins) - 1 if self.junctions is not None else 0
        if devices > most:
            raise SynflipError(
                f"{self.name} has pins for {most} tunnel junctions, not {devices}"
                if most
                else f"{self.name} has no pins for tunnel junctions here: build it with --source lfsr"
            )
        if text is None:
            return Geometry(lanes, banks, **depths)
        return Geometry.parse(text, **{k: v for k, v in depths.items() if f"{k}=" not in text})


def _capacity(luts: int, flip_flops: int, blocks: int) -> dict[str, int]:
    return {"LUTs": luts, "flip-flops": flip_flops, "block RAMs": blocks}


#: The accelerator that an LFE5U-85F has room for.
_64X8 = Geometry(
    64,
    8,
    4,
    weight_depth=1024,
    event_depth=1024,
    key_depth=256,
    bias_depth=256,
    image_slots=8,
    result_depth=128,
    log_depth=512,
    margin_depth=512,
)
_LVCMOS33 = {"IO_TYPE": "LVCMOS33"}
_ULX3S_PINS = ("0+", *(f"{pin}{side}" for side in "+-" for pin in range(1, 17)))

BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ulx3s-85f",
            title="Radiona ULX3S, 85F",
            device="LFE5U-85F",
            family=Family.ecp5,
            platform="amaranth_boards.ulx3s.ULX3S_85F_Platform",
            clock=100e6,
            geometry=_64X8,
            sizes=tuple((bits, "112x8,weight_depth=1024", 275e6 / 3) for bits in (1, 2)),
            leds=(("led", 0), ("led", 1)),
            reset=("button_fire", 0),
            constraints="ulx3s-85f.lpf",
            nextpnr=("--85k", "--package", "CABGA381", "--speed", "6"),
            capacity=_capacity(83640, 83640, 208),
            loader="ulx3s",
            queued=True,
            lines=("usb", 0),
            junctions=JunctionPins(("gpio", 0), _ULX3S_PINS, {**_LVCMOS33, "PULLMODE": "NONE"}),
            seed=3,
        ),
        Board(
            name="ecpix5-45f",
            title="LambdaConcept ECPIX-5, 45F",
            device="LFE5UM5G-45F",
            family=Family.ecp5,
            platform="amaranth_boards.ecpix5.ECPIX545Platform",
            clock=125e6,
            geometry=Geometry(
                32,
                4,
                4,
                weight_depth=2048,
                event_depth=1024,
                key_depth=512,
                bias_depth=256,
                image_slots=4,
                result_depth=128,
                log_depth=512,
                margin_depth=512,
                flight=2,
            ),
            leds=(("rgb_led", 0, "g"), ("rgb_led", 1, "r")),
            reset=("rst", 0),
            constraints="ecpix5-45f.lpf",
            nextpnr=("--um5g-45k", "--package", "CABGA554", "--speed", "8"),
            capacity=_capacity(43848, 43848, 108),
            loader="ecpix5",
            queued=True,
            ulpi=("ulpi", 0),
            junctions=JunctionPins(
                ("pmod", 0), ("1", "2", "3", "4", "7", "8", "9", "10"), {**_LVCMOS33, "PULLMODE": "NONE"}
            ),
        ),
        Board(
            name="orangecrab",
            title="OrangeCrab r0.2, 85F",
            device="LFE5U-85F",
            family=Family.ecp5,
            platform="amaranth_boards.orangecrab_r0_2.OrangeCrabR0_2_85FPlatform",
            clock=80e6,
            geometry=_64X8,
            leds=(("rgb_led", 0, "g"), ("rgb_led", 0, "r")),
            reset=("button", 0),
            constraints="orangecrab.lpf",
            nextpnr=("--85k", "--package", "CSFBGA285", "--speed", "8"),
            capacity=_capacity(83640, 83640, 208),
            loader="orangeCrab",
            lines=("usb", 0),
            serial=False,
        ),
        Board(
            name="ice40-hx8k",
            title="Lattice iCE40-HX8K breakout board",
            device="iCE40HX8K",
            family=Family.ice40,
            platform="amaranth_boards.ice40_hx8k_b_evn.ICE40HX8KBEVNPlatform",
            clock=48e6,
            geometry=Geometry(
                16,
                1,
                2,
                activation_bits=2,
                weight_depth=512,
                event_depth=64,
                key_depth=256,
                bias_depth=128,
                image_slots=1,
                result_depth=16,
                log_depth=16,
                margin_depth=16,
                layer_depth=2,
                key_halves=1,
                sample_bits=8,
                flight=1,
            ),
            leds=(("led", 0), ("led", 1)),
            reset=None,
            constraints=None,
            nextpnr=("--hx8k", "--package", "ct256"),
            capacity=_capacity(7680, 7680, 32),
            loader="ice40_generic",
        ),
        Board(
            name="icebreaker",
            title="1BitSquared iCEBreaker",
            device="iCE40UP5K",
            family=Family.ice40,
            platform="amaranth_boards.icebreaker.ICEBreakerPlatform",
            clock=12e6,
            geometry=Geometry(
                16,
                1,
                2,
                activation_bits=2,
                weight_depth=4096,
                event_depth=64,
                key_depth=256,
                bias_depth=256,
                image_slots=1,
                result_depth=16,
                log_depth=16,
                margin_depth=16,
                layer_depth=4,
                key_halves=1,
                sample_bits=7,
                flight=1,
            ),
            leds=(("led_g", 0), ("led_r", 0)),
            reset=("button", 0),
            constraints=None,
            nextpnr=("--up5k", "--package", "sg48"),
            capacity=_capacity(5280, 5280, 30),
            loader="ice40_generic",
            compact=True,
            seed=6,
            # ABC moves and merges flip-flops too: 3 % fewer cells, without which the router may not end. It
            # takes 2 min; on an ECP5's 64x8 its WebAssembly runs out of stack.
            yosys=("-spram", "-dff"),
        ),
        Board(
            name="tang-nano-9k",
            title="Sipeed Tang Nano 9K",
            device="GW1NR-9C",
            family=Family.gowin,
            platform="amaranth_boards.tang_nano_9k.TangNano9kPlatform",
            clock=27e6,
            geometry=Geometry(
                16,
                1,
                2,
                activation_bits=2,
                weight_depth=2560,
                event_depth=1024,
                key_depth=1024,
                bias_depth=64,
                image_slots=1,
                result_depth=16,
                log_depth=16,
                margin_depth=16,
                layer_depth=2,
                key_halves=1,
                sample_bits=6,
                flight=1,
            ),
            leds=(("led", 0), ("led", 1)),
            reset=("button", 0),
            constraints="tang-nano-9k.cst",
            nextpnr=("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
            capacity=_capacity(8640, 6480, 26),
            loader="tangnano9k",
            compact=True,
        ),
        Board(
            name="arty-a7-35",
            title="Digilent Arty A7-35T",
            device="xc7a35ti",
            family=Family.xilinx,
            platform="amaranth_boards.arty_a7.ArtyA7_35Platform",
            clock=100e6,
            geometry=Geometry(
                32,
                4,
                4,
                weight_depth=1536,
                event_depth=2048,
                key_depth=512,
                bias_depth=256,
                image_slots=8,
                result_depth=128,
                log_depth=512,
                margin_depth=512,
                flight=2,
            ),
            leds=(("led", 0), ("led", 1)),
            reset=("rst", 0),
            constraints="arty-a7-35.xdc",
            nextpnr=(),
            capacity=_capacity(20800, 41600, 100),
            loader="arty_a7_35t",
            queued=True,
            junctions=JunctionPins(
                ("pmod", 0), ("1", "2", "3", "4", "7", "8", "9", "10"), {"IOSTANDARD": "LVCMOS33"}
            ),
        ),
    )
}


#: Entry points of this group are boards of other packages: ``acorn = "acorn:BOARD"``, a ``Board``.
GROUP = "synflip.boards"


def every_board() -> dict[str, Board]:
    """The boards here, then those of other packages, by name. Raises SynflipError if one cannot be loaded."""
    found = dict(BOARDS)
    for entry in entry_points(group=GROUP):
        try:
            board = entry.load()
        except (ImportError, AttributeError) as error:
            raise SynflipError(f"the board {entry.name} of {entry.value} cannot be loaded: {error}") from None
        if not isinstance(board, Board):
            raise SynflipError(f"the board {entry.name} of {entry.value} is not a Board: {board!r}")
        found.setdefault(board.name, board)
    return found


def find_board(name: str) -> Board:
    """Raises SynflipError, with the boards' names, if there is none called ``name``."""
    boards = BOARDS if name in BOARDS else every_board()
    if name not in boards:
        raise SynflipError(f"no board {name!r}; there are {', '.join(boards)}")
    return boards[name]
