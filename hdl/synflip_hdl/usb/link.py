"""A USB device that carries bytes: LUNA's device, its descriptors, and two bulk endpoints."""

from types import SimpleNamespace

from amaranth.hdl import Cat, Elaboratable, Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import In, Out
from luna.gateware.interface.gateware_phy import GatewarePHY
from luna.gateware.usb.usb2.device import USBDevice
from luna.gateware.usb.usb2.endpoints.stream import USBStreamInEndpoint, USBStreamOutEndpoint
from synflip.spec.frames import FLAG
from synflip.spec.usb import (
    BULK_PACKET,
    CONTROL_PACKET,
    IN_DIRECTION,
    IN_ENDPOINT,
    MAKER,
    OUT_ENDPOINT,
    PRODUCT,
    TITLE,
    VENDOR,
    Speed,
)
from usb_protocol.emitters import DeviceDescriptorCollection

from synflip_hdl.lib.register_slice import RegisterSlice

DEPTH = 16  # bytes of a FIFO between the clocks
VENDOR_CLASS = 0xFF
#: Pins of a ULPI transceiver, all in the domain ``usb``, whose clock is the transceiver's 60 MHz.
ULPI = {
    "dir": In(1),
    "nxt": In(1),
    "stp": Out(1),
    "data_in": In(8),
    "data_out": Out(8),
    "drive": Out(1),
}
#: Pins of a cable at full speed: D+ and D-, which ``drive`` drives both, and the resistor that pulls D+ up.
#: The inputs may change at any time; the other two of the lines are in the domain ``usb_io``.
LINES = {
    "dp_in": In(1),
    "dn_in": In(1),
    "dp_out": Out(1),
    "dn_out": Out(1),
    "drive": Out(1),
    "pull_up": Out(1),
}
#: Of each speed: what a device's pins are called, and which they are.
PINS = {Speed.full: ("lines", LINES), Speed.high: ("ulpi", ULPI)}
#: Of each speed: the domains beside ``sync``.
DOMAINS = {Speed.full: ("usb", "usb_io"), Speed.high: ("usb",)}


def pins_of(speed: Speed) -> dict[str, wiring.Member]:
    """Of a device at ``speed``, as a member."""
    name, pins = PINS[speed]
    return {name: Out(wiring.Signature(pins))}


def descriptors(serial_number: str, packet: int) -> DeviceDescriptorCollection:
    """What the device says of itself: one configuration, one interface of two bulk endpoints, whose packets
    have at most ``packet`` bytes."""
    found = DeviceDescriptorCollection()
    with found.DeviceDescriptor() as device:
        device.bcdUSB = 2.00
        device.bDeviceClass = 0  # its interface says it
        device.bMaxPacketSize0 = CONTROL_PACKET
        device.idVendor, device.idProduct = VENDOR, PRODUCT
        device.iManufacturer, device.iProduct, device.iSerialNumber = MAKER, TITLE, serial_number
        device.bNumConfigurations = 1
    with found.ConfigurationDescriptor() as configuration, configuration.InterfaceDescriptor() as interface:
        interface.bInterfaceNumber = 0
        interface.bInterfaceClass = VENDOR_CLASS
        interface.bInterfaceSubclass = interface.bInterfaceProtocol = 0
        for address in (OUT_ENDPOINT, IN_DIRECTION | IN_ENDPOINT):
            with interface.EndpointDescriptor() as endpoint:
                endpoint.bEndpointAddress = address
                endpoint.wMaxPacketSize = packet
                endpoint.bInterval = 0
    return found


class Restarted(Elaboratable):
    """An endpoint of LUNA that starts afresh, data toggle and buffers, when ``restart`` is 1.

    LUNA's own keeps the toggle over a reset of the bus and over SET_CONFIGURATION, after which both ends
    begin with DATA0 [USB 2.0: 9.1.1.5, 9.4.5].
    """

    def __init__(self, endpoint: Elaboratable, restart: Signal) -> None:
        self.endpoint, self.restart = endpoint, restart
        self.interface = endpoint.interface

    def elaborate(self, platform):
        return ResetInserter({"usb": self.restart})(self.endpoint)


# LUNA names its submodules after their classes, and a second one of a class after its address in memory.
class RestartedOut(Restarted):
    """The endpoint that receives."""


class RestartedIn(Restarted):
    """The endpoint that sends."""


class UsbLink(wiring.Component):
    """Bytes of the host to a stream, and of a stream to the host, between the domains ``usb`` and ``sync``.

    Two asynchronous FIFOs, ``to_device`` and ``to_host``, are all that crosses. Both domains are to be reset
    together, and at high speed ``usb`` until the transceiver runs: the device writes its registers, and
    connects, in the first cycles. A device for high speed is none for full speed, for which its packets are
    too long. The closing flag of a frame ends a transfer, with a short packet, so that a host gets each
    answer at once.

    At full speed ``usb`` has 12 MHz, and ``usb_io``, in which the lines are sampled, 48 MHz, with edges at
    the same time. What crosses between these two is LUNA's.

    Throughput: a byte a cycle of ``usb`` at high speed, a byte in eight cycles at full speed. A reset of the
    bus and SET_CONFIGURATION empty the endpoints: a frame that was partly there is lost, as on any line.

    Members
    -------
    ulpi : ULPI
        At high speed: the transceiver. ``drive`` is 1 while the device drives the data pins.
    lines : LINES
        At full speed: the cable.
    received : Out(stream of 8 bits, always ready)
        Bytes of the host, in ``sync``.
    sent : In(stream of 8 bits)
        Frames to the host, in ``sync``.
    """

    def __init__(self, serial_number: str, speed: Speed = Speed.high) -> None:
        """serial_number: by which a host finds this one among others."""
        self.serial_number, self.speed = serial_number, speed
        super().__init__(
            pins_of(speed)
            | {
                "received": Out(stream.Signature(8, always_ready=True)),
                "sent": In(stream.Signature(8)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        packet = BULK_PACKET[self.speed]
        bus = self._lines(m) if self.speed == Speed.full else self._ulpi()
        m.submodules.usb = usb = USBDevice(bus=bus, handle_clocking=False)
        control = usb.add_standard_control_endpoint(descriptors(self.serial_number, packet))
        out = USBStreamOutEndpoint(endpoint_number=OUT_ENDPOINT, max_packet_size=packet)
        in_ = USBStreamInEndpoint(endpoint_number=IN_ENDPOINT, max_packet_size=packet)
        restart = Signal()
        usb.add_endpoint(RestartedOut(out, restart))
        usb.add_endpoint(RestartedIn(in_, restart))
        m.d.comb += [
            usb.connect.eq(1),
            restart.eq(usb.reset_detected | control.interface.config_changed),
        ]

        m.submodules.to_device = to_device = AsyncFIFO(width=8, depth=DEPTH, w_domain="usb", r_domain="sync")
        m.d.comb += [
            to_device.w_data.eq(out.stream.payload),
            to_device.w_en.eq(out.stream.valid),
            out.stream.ready.eq(to_device.w_rdy),
            self.received.payload.eq(to_device.r_data),
            self.received.valid.eq(to_device.r_rdy),
            to_device.r_en.eq(1),
        ]

        m.submodules.to_host = to_host = AsyncFIFO(width=9, depth=DEPTH, w_domain="sync", r_domain="usb")
        sent = wiring.flipped(self.sent)
        if self.speed == Speed.full:  # boards with it have slower FPGAs than those with a transceiver
            m.submodules.slice = register_slice = RegisterSlice(8)
            wiring.connect(m, sent, register_slice.input)
            sent = register_slice.output
        inside = Signal()  # of a frame
        flag = sent.payload == FLAG
        with m.If(sent.valid & sent.ready & flag):
            m.d.sync += inside.eq(~inside)
        m.d.comb += [
            to_host.w_data[:8].eq(sent.payload),
            to_host.w_data[8].eq(flag & inside),
            to_host.w_en.eq(sent.valid),
            sent.ready.eq(to_host.w_rdy),
            in_.stream.payload.eq(to_host.r_data[:8]),
            in_.stream.last.eq(to_host.r_data[8]),
            in_.stream.valid.eq(to_host.r_rdy),
            to_host.r_en.eq(in_.stream.ready),
        ]
        return m

    @property
    def pins(self) -> wiring.PureInterface:
        """``ulpi`` or ``lines``."""
        return getattr(self, PINS[self.speed][0])

    def _ulpi(self) -> SimpleNamespace:
        """The transceiver, as LUNA names its pins."""
        pins = self.ulpi
        return SimpleNamespace(
            dir=SimpleNamespace(i=pins.dir),
            nxt=SimpleNamespace(i=pins.nxt),
            stp=SimpleNamespace(o=pins.stp),
            data=SimpleNamespace(i=pins.data_in, o=pins.data_out, oe=pins.drive),
        )

    def _lines(self, m) -> SimpleNamespace:
        """The transceiver that LUNA makes of the cable, as LUNA names what is at its other side.

        The lines' state is not LUNA 0.2.3's, which has D- as the lower bit, so that J and K change places,
        and no registers between the pins and the registers that look for a reset.
        """
        pins, state = self.lines, Signal(2)
        m.submodules.phy = phy = GatewarePHY(
            io=SimpleNamespace(
                d_p=SimpleNamespace(i=pins.dp_in, o=pins.dp_out, oe=pins.drive),
                d_n=SimpleNamespace(i=pins.dn_in, o=pins.dn_out, oe=Signal()),  # the same as that of D+
                pullup=SimpleNamespace(o=pins.pull_up),
            )
        )
        m.submodules.state = FFSynchronizer(Cat(pins.dp_in, pins.dn_in), state, o_domain="usb")
        return SimpleNamespace(**vars(phy) | {"line_state": state})
