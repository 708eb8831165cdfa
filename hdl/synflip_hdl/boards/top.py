"""The design of a board: oscillator, PLL, reset, LEDs, and the accelerator behind a UART's pins or USB's."""

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Cat, ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer
from synflip.spec.fronts import Front
from synflip.spec.geometry import Geometry
from synflip.spec.usb import SERIAL_NUMBER

from synflip_hdl.boards import pll
from synflip_hdl.boards.catalogue import Board, Family
from synflip_hdl.serial.top import SerialTop

if TYPE_CHECKING:
    from synflip_hdl.boards.full_speed import FullSpeedPins
    from synflip_hdl.boards.ulpi import UlpiPins


class BoardTop(Elaboratable):
    """Everything between the board's pins.

    LED 0 is lit during a run, LED 1 for a tenth of a second after a request that failed. Reset lasts while
    the reset button is pressed or the PLL has not locked; it resets everything but memories. Its end is
    synchronised to the clock. There are no ports: ``platform.request`` gives the pins.
    """

    def __init__(
        self,
        board: Board,
        geometry: Geometry,
        clock: float | None = None,
        front: Front = Front.serial,
        serial_number: str = SERIAL_NUMBER,
    ) -> None:
        """clock: Hz instead of the board's. serial_number: of a USB device. Raises SynflipError if the board
        has no such front, or if the PLL or the UART cannot make the clock."""
        self.board, self.geometry, self.front = board, geometry, board.front(front)
        self.clock = clock or board.clock_of(geometry)
        pll.frequency(board.family, board.make_platform().default_clk_frequency, self.clock)
        if self.front == Front.usb:
            from synflip_hdl.usb.top import UsbTop  # only here, because it needs LUNA

            assert board.usb is not None  # or Board.front had refused
            self.inner: SerialTop | UsbTop = UsbTop(
                geometry, self.clock, serial_number, board.compact, board.usb
            )
        else:
            self.inner = SerialTop(geometry, self.clock, compact=board.compact, queued=board.queued)

    def elaborate(self, platform):
        m = Module()
        self._ports: dict[tuple[str, int], Any] = {}  # of _port
        m.submodules[self.front] = inner = self.inner
        oscillator = self._oscillator(m, platform)
        m.submodules.clocks, clock, locked = self._clock(oscillator, platform)
        m.domains.sync = ClockDomain("sync")
        m.d.comb += ClockSignal("sync").eq(clock)
        pressed = self._input(m, platform, self.board.reset, "reset") if self.board.reset else Const(0)
        restart = pressed | ~locked
        pins = self._usb_pins(platform, oscillator, restart) if self.front == Front.usb else None
        m.submodules.reset = ResetSynchronizer(pins.restart if pins else restart, domain="sync")
        platform.add_clock_constraint(clock, self.clock)

        if pins is not None:
            m.domains += [ClockDomain(name) for name in pins.DOMAINS]
            m.submodules[pins.NAME] = pins
            wiring.connect(m, inner.pins, pins.pins)
        else:
            uart = platform.request("uart", 0, dir={"rx": "-", "tx": "-"} | self._unused(platform))
            m.submodules.rx = rx = io.Buffer("i", uart.rx)
            m.submodules.tx = tx = io.Buffer("o", uart.tx)
            m.d.comb += [inner.rx.eq(rx.i), tx.o.eq(inner.tx)]
        for resource, lit, name in zip(
            self.board.leds, (inner.busy, inner.error), ("busy", "error"), strict=True
        ):
            m.submodules[name] = led = io.Buffer("o", self._port(platform, resource))
            m.d.comb += led.o.eq(lit)
        if self.geometry.devices:
            strobe = platform.request("junctions", 0, dir={"strobe": "-"}).strobe
            m.submodules.strobe = strobe_buffer = io.Buffer("i", strobe)
            m.d.comb += inner.strobe.eq(strobe_buffer.i)
            raw = []
            for device in range(self.geometry.devices):
                port = platform.request("junction", device, dir="-")
                m.submodules[f"junction_{device}"] = buffer = io.Buffer("i", port)
                raw.append(buffer.i)
            m.d.comb += inner.raw.eq(Cat(raw))
        return m

    def _oscillator(self, m, platform):
        """The board's oscillator, behind a buffer."""
        port = platform.request(platform.default_clk, dir="-")
        if self.board.family == Family.ice40:
            # Amaranth would use a global buffer for the clock's pin; the PLL's reference needs a plain one.
            pin = Signal()
            m.submodules.oscillator = Instance(
                "SB_IO", p_PIN_TYPE=Const(0b000001, 6), io_PACKAGE_PIN=port.io, o_D_IN_0=pin
            )
            return pin
        m.submodules.oscillator = oscillator = io.Buffer("i", port)
        return oscillator.i

    def _clock(self, oscillator, platform):
        """(module, clock, locked) of the PLL behind the board's oscillator."""
        reference = platform.default_clk_frequency
        if self.board.family == Family.ice40:
            return pll.ice40(oscillator, reference, self.clock)
        if self.board.family == Family.ecp5:
            return pll.ecp5(oscillator, reference, self.clock)
        if self.board.family == Family.gowin:
            return pll.gowin(oscillator, reference, self.clock, self.board.device)
        return pll.xilinx(oscillator, reference, self.clock)

    def _usb_pins(self, platform, oscillator, restart) -> "UlpiPins | FullSpeedPins":
        """Of the USB device."""
        from synflip_hdl.boards.full_speed import FullSpeedPins
        from synflip_hdl.boards.ulpi import UlpiPins

        board = self.board
        if board.ulpi is not None:
            return UlpiPins(board.ulpi, restart)
        assert board.lines is not None  # or Board.front had refused
        return FullSpeedPins(board.lines, oscillator, platform.default_clk_frequency, restart)

    @staticmethod
    def _unused(platform):
        """Pins of the UART other than rx and tx, such as rts: ``request`` must not make buffers for them."""
        resource = platform.lookup("uart", 0)
        return {item.name: "-" for item in resource.ios if item.name not in ("rx", "tx")}

    def _port(self, platform, resource):
        """The pin of a resource such as ("led", 0), or of a part of one, such as ("rgb_led", 0, "g")."""
        name, number, *inner = resource
        if (name, number) not in self._ports:  # the platform gives each only once, and LEDs may share one
            self._ports[name, number] = platform.request(name, number, dir="-")
        port = self._ports[name, number]
        return getattr(port, inner[0]) if inner else port

    def _input(self, m, platform, resource, name: str):
        """The level at a resource's pin, as the board means it: 1 is pressed."""
        m.submodules[f"{name}_pin"] = buffer = io.Buffer("i", self._port(platform, resource))
        return buffer.i
