// Clocks, reset and ULPI transceiver of the accelerator for Verilator: what synflip_sim.usb.bench calls.
//
// A packet goes to the device, or comes from it, a byte a cycle of the transceiver's clock, as at high speed.
// The transceiver's registers can be written, not read. Where a comment has a section, it is ULPI 1.1's.

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "Vsynflip.h"
#include "verilated.h"

namespace {

const uint8_t RX_ACTIVE = 0x10, VBUS_VALID = 0x0C, LINE_J = 1;  // of an RXCMD [3.8.1.2]

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vsynflip> top;
    const double period;  // of the accelerator's clock, in cycles of the transceiver's
    double due = 0;       // cycle of its next rising edge
    int64_t cycles = 0;
    enum { IDLE, COMMAND, DATA, REGISTER, VALUE, STOP } state = IDLE;
    std::vector<uint8_t> packet;
    std::deque<std::vector<uint8_t>> sent;  // packets of the device
    uint8_t registers[64] = {};
    int address = 0, value = 0;

    explicit Bench(double period) : top(new Vsynflip(&context)), period(period) {
        top->rst = top->usb_rst = 1;
        for (int i = 0; i < 8; i++) cycle(0, 0, 0);
        top->rst = top->usb_rst = 0;
    }
    ~Bench() { top->final(); }

    // One cycle with these pins. Afterwards `out` and `stop` are what the transceiver saw at its end.
    uint8_t out = 0;
    bool stop = false;
    void cycle(int dir, int nxt, uint8_t data) {
        top->ulpi___05Fdir = dir;
        top->ulpi___05Fnxt = nxt;
        top->ulpi___05Fdata_in = data;
        top->usb_clk = 0;
        top->eval();
        for (cycles++; due <= cycles; due += period) {
            top->clk = 1;
            top->eval();
            top->clk = 0;
            top->eval();
        }
        out = top->ulpi___05Fdrive ? top->ulpi___05Fdata_out : 0;
        stop = top->ulpi___05Fstp;
        top->usb_clk = 1;
        top->eval();
    }

    // One cycle in which the device may drive the bus: packets and writes of registers [3.8.2, 3.8.3].
    void listen() {
        cycle(0, state != IDLE && state != STOP, 0);
        switch (state) {
        case IDLE:
            if (!stop && out >> 6 == 1) state = COMMAND;
            if (!stop && out >> 6 == 2) state = REGISTER;
            break;
        case COMMAND:
            packet.assign(1, uint8_t((out & 15) | ~out << 4));
            state = DATA;
            break;
        case DATA:
            if (!stop) {
                packet.push_back(out);
                break;
            }
            sent.push_back(packet);
            state = IDLE;
            break;
        case REGISTER:
            address = out & 63;
            state = VALUE;
            break;
        case VALUE:
            value = out;
            state = STOP;
            break;
        case STOP:
            if (stop) registers[address] = uint8_t(value);
            state = IDLE;
        }
    }

    void begin(int nxt) {
        state = IDLE;  // whatever the device wanted is interrupted, and it begins again [3.8.4]
        cycle(1, nxt, 0);
    }

    void line(uint8_t state) {
        begin(0);
        cycle(1, 0, VBUS_VALID | state);
        cycle(0, 0, 0);
    }

    void send(const uint8_t* bytes, int64_t count) {
        begin(1);
        cycle(1, 0, VBUS_VALID | RX_ACTIVE | LINE_J);
        while (count--) cycle(1, 1, *bytes++);
        cycle(1, 0, VBUS_VALID);
        cycle(0, 0, 0);
    }
};

}  // namespace

#include "functions.h"

extern "C" {

// period: of the accelerator's clock, in cycles of the transceiver's.
void* synflip_open(double period) { return new Bench(period); }

int64_t synflip_register(void* bench, int address) { return static_cast<Bench*>(bench)->registers[address]; }
}
