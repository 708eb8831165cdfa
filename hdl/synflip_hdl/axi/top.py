"""The accelerator with AXI: AXI4-Lite for the map, AXI4-Stream for bulk words in and logits out."""

from amaranth.hdl import Cat, ClockDomain, Const, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect
from synflip.spec.geometry import Geometry

from synflip_hdl.accelerator import Accelerator
from synflip_hdl.axi.lite import BYTE_ADDRESS_BITS, AxiLite
from synflip_hdl.axi.registers import AxiRegisters
from synflip_hdl.axi.stream import LogitSource, StreamSink
from synflip_hdl.bus.arbiter import Arbiter


class AxiTop(wiring.Component):
    """The accelerator with ports by the names that block designs look for: see docs/reference/axi.md.

    Latency and throughput are those of ``AxiLite``, ``StreamSink`` and ``LogitSource``.

    Members
    -------
    aclk : In(1)
        The clock of everything.
    aresetn : In(1)
        Reset, active low, synchronous to ``aclk``.
    s_axi_* : AXI4-Lite slave of 32 bits
        The memory map, see ``AxiLite``. ``awprot`` and ``arprot`` are ignored.
    s_axis_* : AXI4-Stream slave of 32 bits
        Packets that are written into the map, see ``StreamSink``.
    m_axis_* : AXI4-Stream master of 32 bits
        Packets of logits, see ``LogitSource``.
    busy : Out(1)
        A run is under way.
    raw : In(geometry.devices)
        Bits of the tunnel junctions, see ``sources.mtj.MtjSource``. Only if the geometry has some.
    strobe : In(1)
        Its rising edge says that ``raw`` has new bits. Only if the geometry has tunnel junctions.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        super().__init__(
            {
                "aclk": In(1),
                "aresetn": In(1),
                "s_axi_awaddr": In(BYTE_ADDRESS_BITS),
                "s_axi_awprot": In(3),
                "s_axi_awvalid": In(1),
                "s_axi_awready": Out(1),
                "s_axi_wdata": In(32),
                "s_axi_wstrb": In(4),
                "s_axi_wvalid": In(1),
                "s_axi_wready": Out(1),
                "s_axi_bresp": Out(2),
                "s_axi_bvalid": Out(1),
                "s_axi_bready": In(1),
                "s_axi_araddr": In(BYTE_ADDRESS_BITS),
                "s_axi_arprot": In(3),
                "s_axi_arvalid": In(1),
                "s_axi_arready": Out(1),
                "s_axi_rdata": Out(32),
                "s_axi_rresp": Out(2),
                "s_axi_rvalid": Out(1),
                "s_axi_rready": In(1),
                "s_axis_tdata": In(32),
                "s_axis_tlast": In(1),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "m_axis_tdata": Out(32),
                "m_axis_tlast": Out(1),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "busy": Out(1),
            }
            | ({"raw": In(geometry.devices), "strobe": In(1)} if geometry.devices else {})
        )
        # Vivado knows the buses by their names; clock and reset must be tied to them by attributes.
        self.aclk.attrs["X_INTERFACE_INFO"] = "xilinx.com:signal:clock:1.0 aclk CLK"
        self.aclk.attrs["X_INTERFACE_PARAMETER"] = (
            "ASSOCIATED_BUSIF s_axi:s_axis:m_axis, ASSOCIATED_RESET aresetn"
        )
        self.aresetn.attrs["X_INTERFACE_INFO"] = "xilinx.com:signal:reset:1.0 aresetn RST"
        self.aresetn.attrs["X_INTERFACE_PARAMETER"] = "POLARITY ACTIVE_LOW"

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain("sync")
        m.submodules.accelerator = accelerator = Accelerator(self.geometry)
        m.submodules.registers = registers = AxiRegisters()
        m.submodules.arbiter = arbiter = Arbiter(3)
        m.submodules.lite = lite = AxiLite()
        m.submodules.sink = sink = StreamSink()
        m.submodules.source = source = LogitSource()

        for index, bus in enumerate((lite.writes, lite.reads, sink.bus)):
            connect(m, bus, arbiter.masters[index])
        connect(m, arbiter.request, registers.bus.request)
        connect(m, registers.bus.response, arbiter.response)
        connect(m, registers.accelerator.request, accelerator.request)
        connect(m, accelerator.response, registers.accelerator.response)

        if self.geometry.devices:
            m.d.comb += [accelerator.raw.eq(self.raw), accelerator.strobe.eq(self.strobe)]

        def response(error):
            return Cat(Const(0, 1), error)  # OKAY is 0, SLVERR 2

        m.d.comb += [
            sync.clk.eq(self.aclk),
            sync.rst.eq(~self.aresetn),
            # AXI4-Lite
            lite.aw.payload.eq(self.s_axi_awaddr),
            lite.aw.valid.eq(self.s_axi_awvalid),
            self.s_axi_awready.eq(lite.aw.ready),
            lite.w.payload.data.eq(self.s_axi_wdata),
            lite.w.payload.strobe.eq(self.s_axi_wstrb),
            lite.w.valid.eq(self.s_axi_wvalid),
            self.s_axi_wready.eq(lite.w.ready),
            self.s_axi_bresp.eq(response(lite.b.payload.error)),
            self.s_axi_bvalid.eq(lite.b.valid),
            lite.b.ready.eq(self.s_axi_bready),
            lite.ar.payload.eq(self.s_axi_araddr),
            lite.ar.valid.eq(self.s_axi_arvalid),
            self.s_axi_arready.eq(lite.ar.ready),
            self.s_axi_rdata.eq(lite.r.payload.data),
            self.s_axi_rresp.eq(response(lite.r.payload.error)),
            self.s_axi_rvalid.eq(lite.r.valid),
            lite.r.ready.eq(self.s_axi_rready),
            # AXI4-Stream: words in
            sink.words.payload.data.eq(self.s_axis_tdata),
            sink.words.payload.last.eq(self.s_axis_tlast),
            sink.words.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(sink.words.ready),
            sink.run.eq(accelerator.busy | accelerator.starting),
            sink.run_slots.eq(accelerator.run_slots),
            # AXI4-Stream: logits out
            source.logit_valid.eq(accelerator.logit_valid),
            source.logit.eq(accelerator.logit),
            self.m_axis_tdata.eq(source.words.payload.data),
            self.m_axis_tlast.eq(source.words.payload.last),
            self.m_axis_tvalid.eq(source.words.valid),
            source.words.ready.eq(self.m_axis_tready),
            # The front end's registers
            registers.stream_busy.eq(sink.busy),
            registers.refused.eq(sink.refused),
            registers.lost.eq(source.lost),
            self.busy.eq(accelerator.busy),
        ]
        return m
