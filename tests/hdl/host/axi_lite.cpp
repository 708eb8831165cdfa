// The AXI front end in Verilator, and a host's reads and writes at its AXI4-Lite port. Top module: synflip.

#include <cstdint>

#include "Vsynflip.h"
#include "verilated.h"

namespace {

const int PATIENCE = 1000;  // cycles until a handshake or an answer

struct Port {
    VerilatedContext context;
    Vsynflip top{&context};

    Port() {
        top.s_axi_wstrb = 15;
        top.m_axis_tready = 1;
        for (int i = 0; i < 4; i++) edge();
        top.aresetn = 1;
    }
    ~Port() { top.final(); }

    void edge() {
        top.aclk = 1;
        top.eval();
        top.aclk = 0;
        top.eval();
    }
    // Hold valid until a cycle with ready.
    bool send(CData& valid, const CData& ready) {
        valid = 1;
        top.eval();
        for (int i = 0; i < PATIENCE && !ready; i++) edge();
        bool taken = ready;
        edge();
        valid = 0;
        return taken;
    }
    // Wait for valid, with ready high; keeps what comes with it until the next edge.
    bool answer(const CData& valid, CData& ready) {
        ready = 1;
        top.eval();
        for (int i = 0; i < PATIENCE && !valid; i++) edge();
        return valid;
    }
    void taken(CData& ready) {
        edge();
        ready = 0;
    }
};

Port& port() {
    static Port one;
    return one;
}

}  // namespace

extern "C" {

int axi_read(void*, uint32_t address, uint32_t* word) {
    Vsynflip& top = port().top;
    top.s_axi_araddr = 4 * address;
    if (!port().send(top.s_axi_arvalid, top.s_axi_arready)) return 1;
    if (!port().answer(top.s_axi_rvalid, top.s_axi_rready)) return 1;
    *word = top.s_axi_rdata;
    int refused = top.s_axi_rresp;
    port().taken(top.s_axi_rready);
    return refused;
}

int axi_write(void*, uint32_t address, uint32_t word) {
    Vsynflip& top = port().top;
    top.s_axi_awaddr = 4 * address;
    top.s_axi_wdata = word;
    if (!port().send(top.s_axi_awvalid, top.s_axi_awready)) return 1;
    if (!port().send(top.s_axi_wvalid, top.s_axi_wready)) return 1;
    if (!port().answer(top.s_axi_bvalid, top.s_axi_bready)) return 1;
    int refused = top.s_axi_bresp;
    port().taken(top.s_axi_bready);
    return refused;
}
}
