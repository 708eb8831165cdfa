// Clock, reset and serial line of the accelerator for Verilator: what synflip_sim.pty_device calls.
//
// Bytes go in and out of queues; on the pins they are bits of `divisor` cycles, 8N1. A bit is sampled in its
// middle.

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
    const int divisor;
    std::deque<uint8_t> to_device, from_device;
    unsigned sent = 0, received = 0;      // the byte on either wire
    int send_left = 0, receive_left = 0;  // cycles until it is over, until its stop bit is sampled
#ifdef SYNFLIP_DEVICES
    Junctions junctions;
    uint64_t cycles = 0;
#endif

    explicit Bench(int divisor) : top(new Vsynflip(&context)), divisor(divisor) {
        top->rx = 1;
        top->rst = 1;
        for (int i = 0; i < 2; i++) edge();
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
        if (!send_left && !to_device.empty()) {
            sent = 0x200u | to_device.front() << 1;
            to_device.pop_front();
            send_left = FRAME_BITS * divisor;
        }
        if (send_left) {
            top->rx = sent >> (FRAME_BITS * divisor - send_left) / divisor & 1;
            send_left--;
        }
    }

    void sample() {
        if (!receive_left) {
            if (top->tx) return;
            receive_left = FRAME_BITS * divisor - divisor / 2;
            received = 0;
        }
        receive_left--;
        if (receive_left % divisor == 0) {
            received = received >> 1 | unsigned(top->tx) << (FRAME_BITS - 1);
            if (!receive_left) from_device.push_back(uint8_t(received >> 1));
        }
    }
};

}  // namespace

extern "C" {

void* synflip_open(int divisor) { return new Bench(divisor); }

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

// Runs `cycles` cycles. Returns 1 if the line or the accelerator is busy at the end.
int synflip_run(void* bench, int64_t cycles) {
    Bench& b = *static_cast<Bench*>(bench);
    while (cycles--) {
        b.drive();
        b.edge();
        b.sample();
    }
    return b.send_left || b.receive_left || !b.to_device.empty() || b.top->busy;
}
}
