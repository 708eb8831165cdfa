// Clock, reset and serial line of the accelerator for Verilator: what synflip_sim.serial.pty calls.
//
// Bytes go in and out of queues; on the pins they are bits of `divisor` cycles, 8N1; it need not be a whole
// number. A bit is sampled in its middle.

#include <cmath>
#include <cstdint>
#include <deque>
#include <memory>

#include "Vsynflip.h"
#include "verilated.h"
#include "junctions.h"

namespace {

const int FRAME_BITS = 10;  // start, 8 data, stop

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vsynflip> top;
    const double divisor;
    std::deque<uint8_t> to_device, from_device;
    unsigned sent = 0, received = 0;      // the byte on either wire
    int received_bits = 0;
    int sending = 0, receiving = 0;  // cycles since it began; 0: no byte is on the wire
#ifdef SYNFLIP_DEVICES
    Junctions junctions;
    uint64_t cycles = 0;
#endif

    Bench(double divisor, int reset) : top(new Vsynflip(&context)), divisor(divisor) {
        top->rx = 1;
        top->rst = 1;
        for (int i = 0; i < reset; i++) edge();
        top->rst = 0;
    }
    ~Bench() { top->final(); }

    void edge() {
#ifdef SYNFLIP_DEVICES
        junctions.drive(*top, cycles++);
#endif
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
    }

    void drive() {
        if (!sending && !to_device.empty()) {
            sent = 0x200u | to_device.front() << 1;
            to_device.pop_front();
            sending = 1;
        }
        if (sending) {
            top->rx = sent >> int((sending - 1) / divisor) & 1;
            if (sending++ >= FRAME_BITS * divisor) sending = 0;
        }
    }

    void sample() {
        if (!receiving) {
            if (top->tx) return;
            received = 0;
            received_bits = 0;
        }
        receiving++;
        if (receiving < std::ceil((received_bits + 0.5) * divisor)) return;
        received |= unsigned(top->tx) << received_bits++;
        if (received_bits == FRAME_BITS) {
            from_device.push_back(uint8_t(received >> 1));
            receiving = 0;
        }
    }

    bool busy() const { return sending || receiving || !to_device.empty() || top->busy; }
};

}  // namespace

extern "C" {

// reset: cycles of it at the beginning.
void* synflip_open(double divisor, int reset) { return new Bench(divisor, reset); }

void synflip_close(void* bench) { delete static_cast<Bench*>(bench); }

// Queues bytes for the device.
void synflip_put(void* bench, const uint8_t* bytes, int64_t count) {
    Bench& b = *static_cast<Bench*>(bench);
    b.to_device.insert(b.to_device.end(), bytes, bytes + count);
}

// Takes at most `room` bytes that the device has sent. Returns how many.
int64_t synflip_take(void* bench, uint8_t* bytes, int64_t room) {
    Bench& b = *static_cast<Bench*>(bench);
    int64_t count = 0;
    for (; count < room && !b.from_device.empty(); count++) {
        bytes[count] = b.from_device.front();
        b.from_device.pop_front();
    }
    return count;
}

#ifdef SYNFLIP_DEVICES
void synflip_junctions(void* bench, RawSource source, int64_t period) {
    static_cast<Bench*>(bench)->junctions.source = source;
    static_cast<Bench*>(bench)->junctions.period = period;
}
#endif

void synflip_reset(void* bench, int pressed) { static_cast<Bench*>(bench)->top->rst = pressed; }

// Bit 0: busy is lit; bit 1: error.
int synflip_leds(void* bench) {
    Bench& b = *static_cast<Bench*>(bench);
    return b.top->busy | b.top->error << 1;
}

// Runs `cycles` cycles. Returns 1 if the line or the accelerator is busy at the end.
int synflip_run(void* bench, int64_t cycles) {
    Bench& b = *static_cast<Bench*>(bench);
    while (cycles--) {
        b.drive();
        b.edge();
        b.sample();
    }
    return b.busy();
}
}
