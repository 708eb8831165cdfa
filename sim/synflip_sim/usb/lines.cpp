// Clocks, reset and cable of the accelerator at full speed for Verilator: what synflip_sim.usb.bench calls.
//
// A packet goes over D+ and D- bit by bit: synchronisation, stuffed bits, changes for zeros, end of packet.
// The host's bits may take longer or less than the device's. A cycle is one of the device's 48 MHz. Where a
// comment has a section, it is USB 2.0's.

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "Vsynflip.h"
#include "verilated.h"

namespace {

const int SE0 = 0, J = 1, K = 2;  // bit 0 is D+, bit 1 D-
const int SYNC = 0x80, STUFF = 6;

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vsynflip> top;
    const double period;  // of the accelerator's clock, in cycles
    const double bit;     // of the host, in cycles
    double due = 0;       // cycle of the accelerator's next rising edge
    int64_t cycles = 0;
    int held = J;  // by the host, between packets; J is what the device's resistor makes
    bool driven = false;  // by the device, in the last cycle

    std::deque<std::vector<uint8_t>> sent;  // packets of the device
    int64_t broken = 0;       // packets of the device against the rules, and times when both drove
    int64_t end = -1;         // cycle in which the host's last packet ended
    int64_t longest_turn = 0;  // from there to the device's answer

    Bench(double period, double bit) : top(new Vsynflip(&context)), period(period), bit(bit) {
        top->rst = top->usb_rst = top->usb_io_rst = 1;
        for (int i = 0; i < 32; i++) cycle(SE0);
        top->rst = top->usb_rst = top->usb_io_rst = 0;
    }
    ~Bench() { top->final(); }

    // Between packets the host drives this state; J: nothing.
    void line(int state) { held = state; }

    // One cycle in which the host drives `state`, or nothing if it is J: then the device may drive. Returns
    // the lines' state.
    int cycle(int state) {
        const bool drive = top->lines___05Fdrive;
        if (drive && state != J) broken++;
        if (drive) state = top->lines___05Fdp_out | top->lines___05Fdn_out << 1;
        if (state == J && !drive && !top->lines___05Fpull_up) state = SE0;
        driven = drive;
        top->lines___05Fdp_in = state & 1;
        top->lines___05Fdn_in = state >> 1;
        top->usb_io_clk = 0;
        if (cycles % 4 == 2) top->usb_clk = 0;
        top->eval();
        for (cycles++; due <= cycles; due += period) {
            top->clk = 1;
            top->eval();
            top->clk = 0;
            top->eval();
        }
        top->usb_io_clk = 1;
        if (cycles % 4 == 0) top->usb_clk = 1;
        top->eval();
        return state;
    }

    // The host's bits

    double now = 0;  // of the host, in cycles
    int level = J, ones = 0;
    void hold(int state) {
        for (now += bit; cycles < now;) cycle(state);
    }
    void put(int value) {
        if (!value) level = J + K - level;  // [7.1.8]
        hold(level);
        ones = value ? ones + 1 : 0;
        if (ones == STUFF) put(0);  // [7.1.9]
    }
    void send(const uint8_t* bytes, int64_t count) {
        now = double(cycles);
        level = J;
        ones = 0;
        for (int i = 0; i < 8; i++) put(SYNC >> i & 1);  // [7.1.10]
        for (; count--; bytes++)
            for (int i = 0; i < 8; i++) put(*bytes >> i & 1);
        hold(SE0);
        hold(SE0);  // [7.1.13.2]
        end = cycles;
        hold(J);
    }

    // The device's bits

    enum { IDLE, BITS, END } state = IDLE;
    int before = J, last = J, run = 0, got = 0, shifted = 0;
    double sample = 0;  // the next one, in the middle of a bit
    bool good = true;
    std::vector<uint8_t> packet;

    void listen() {
        const int line = cycle(held);
        if (state == IDLE) {
            if (!driven || line != K) return;
            if (end >= 0) longest_turn = std::max(longest_turn, cycles - 1 - end);
            end = -1;
            state = BITS;
            before = J;
            last = J;
            run = got = shifted = 0;
            good = true;
            packet.clear();
        }
        if (line != before) sample = double(cycles) + bit / 2 - 0.5;  // the host follows the device's clock
        before = line;
        if (double(cycles) < sample) return;
        sample += bit;
        if (state == BITS) take(line);
        else finish(line);
    }
    void take(int line) {
        if (line == SE0) {
            state = END;
            run = 1;
            return;
        }
        good = good && driven && (line == J || line == K);
        const int value = line == last;
        last = line;
        if (run == STUFF) {  // a stuffed zero
            good = good && !value;
            run = 0;
            return;
        }
        run = value ? run + 1 : 0;
        shifted = shifted >> 1 | value << 7;
        if (++got % 8) return;
        if (got == 8) good = good && shifted == SYNC;
        else packet.push_back(uint8_t(shifted));
    }
    void finish(int line) {
        if (line == SE0 && driven && run == 1) {
            run = 2;
            return;
        }
        // Two bits of SE0, and one of J that the device drives, behind whole bytes.
        good = good && line == J && driven && run == 2 && got % 8 == 0 && !packet.empty();
        state = IDLE;
        if (good) sent.push_back(packet);
        else broken++;
    }
};

}  // namespace

#include "functions.h"

extern "C" {

// period: of the accelerator's clock, bit: of the host, in cycles.
void* synflip_open(double period, double bit) { return new Bench(period, bit); }

// Whether the device's resistor pulls D+ up.
int64_t synflip_connected(void* bench) { return static_cast<Bench*>(bench)->top->lines___05Fpull_up; }

int64_t synflip_broken(void* bench) { return static_cast<Bench*>(bench)->broken; }

int64_t synflip_longest_turn(void* bench) { return static_cast<Bench*>(bench)->longest_turn; }
}
