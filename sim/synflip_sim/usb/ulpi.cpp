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

extern "C" {

// period: of the accelerator's clock, in cycles of the transceiver's.
void* synflip_open(double period) { return new Bench(period); }

void synflip_close(void* bench) { delete static_cast<Bench*>(bench); }

// The host's lines change: bit 0 is D+, bit 1 D-.
void synflip_line(void* bench, int state) { static_cast<Bench*>(bench)->line(uint8_t(state)); }

// Sends a packet to the device.
void synflip_send(void* bench, const uint8_t* bytes, int64_t count) {
    static_cast<Bench*>(bench)->send(bytes, count);
}

// Waits for a packet that begins within `patience` cycles. Returns its length, and at most `room` bytes of it;
// -1 without one.
int64_t synflip_receive(void* bench, uint8_t* bytes, int64_t room, int64_t patience) {
    Bench& b = *static_cast<Bench*>(bench);
    while (b.sent.empty() && (patience-- > 0 || b.state != Bench::IDLE)) b.listen();
    if (b.sent.empty()) return -1;
    const std::vector<uint8_t> packet = b.sent.front();
    b.sent.pop_front();
    for (int64_t i = 0; i < int64_t(packet.size()) && i < room; i++) bytes[i] = packet[i];
    return packet.size();
}

void synflip_idle(void* bench, int64_t cycles) {
    while (cycles--) static_cast<Bench*>(bench)->listen();
}

int64_t synflip_register(void* bench, int address) { return static_cast<Bench*>(bench)->registers[address]; }

int64_t synflip_cycles(void* bench) { return static_cast<Bench*>(bench)->cycles; }

// Bit 0: busy is lit; bit 1: error.
int64_t synflip_leds(void* bench) {
    Bench& b = *static_cast<Bench*>(bench);
    return b.top->busy | b.top->error << 1;
}
}
