// Clock, reset and bus of the accelerator for Verilator: what synflip_sim.simulators.verilator calls.
//
// Payloads as the gateware packs them, least significant bit first:
// Verilator spells a double underscore ___05F.
// request = {write, address[28], data[32]}, response = {data[32], error}.

#include <cstdint>
#include <memory>

#include "Vsynflip.h"
#include "verilated.h"
#if VM_COVERAGE
#include "verilated_cov.h"
#endif
#include "junctions.h"
#if VM_TRACE_FST
#include "waves.h"
#endif

namespace {

struct Bench {
    VerilatedContext context;
    std::unique_ptr<Vsynflip> top;
    uint64_t cycles = 0;
#ifdef SYNFLIP_DEVICES
    Junctions junctions;
#endif
#if VM_TRACE_FST
    Waves waves;
#endif

    Bench() {
#if VM_TRACE_FST
        context.traceEverOn(true);
#endif
        top.reset(new Vsynflip(&context));
        top->response___05Fready = 1;
        top->request___05Fvalid = 0;
        top->clk = 0;
#ifndef SYNFLIP_QUICK  // with it, there is no reset
        top->rst = 1;
        settle();
        for (int i = 0; i < 2; i++) edge();
        top->rst = 0;
#endif
        settle();
    }
    ~Bench() {
#if VM_TRACE_FST
        waves.close();
#endif
        top->final();
    }

    void settle() { top->eval(); }
    // One rising edge; the inputs have settled.
    void edge() {
#ifdef SYNFLIP_DEVICES
        junctions.drive(*top, cycles);
        top->eval();
#endif
#if VM_TRACE_FST
        waves.step(*top);
#else
        top->clk = !top->clk;
        top->eval();
#ifndef SYNFLIP_QUICK  // with it, every change of the clock is a rising edge
        top->clk = 0;
        top->eval();
#endif
#endif
        cycles++;
    }
};

// Requests go out one a cycle as the device takes them; answers come back in order. Returns the index of the first
// request that was answered with an error, -1 if there is none, -2 if the device did not answer.
int64_t transfer(Bench& bench, bool write, uint32_t address, uint32_t* data, int64_t count) {
    const int patience = 1000000;  // a key that the host writes waits until a sample is over
    int64_t sent = 0, answered = 0, failed = -1;
    int idle = 0;
    Vsynflip& top = *bench.top;
    while (answered < count) {
        top.request___05Fvalid = sent < count;
        if (sent < count) {
            uint64_t word = write ? data[sent] : 0;
            top.request___05Fpayload = uint64_t(write) | uint64_t(address + sent) << 1 | word << 29;
        }
        bench.settle();
        bool taken = top.request___05Fvalid && top.request___05Fready;
        if (top.response___05Fvalid) {
            uint64_t response = top.response___05Fpayload;
            if (!write) data[answered] = uint32_t(response);
            if (response >> 32 && failed < 0) failed = answered;
            answered++;
            idle = 0;
        } else if (++idle > patience) {
            failed = -2;
            break;
        }
        bench.edge();
        sent += taken;
    }
    top.request___05Fvalid = 0;
    bench.settle();
    return failed;
}

}  // namespace

extern "C" {

void* synflip_open() { return new Bench; }

void synflip_close(void* bench) { delete static_cast<Bench*>(bench); }

int64_t synflip_write(void* bench, uint32_t address, const uint32_t* data, int64_t count) {
    return transfer(*static_cast<Bench*>(bench), true, address, const_cast<uint32_t*>(data), count);
}

int64_t synflip_read(void* bench, uint32_t address, uint32_t* data, int64_t count) {
    return transfer(*static_cast<Bench*>(bench), false, address, data, count);
}

// Runs until the device is idle, at most `limit` cycles. Returns 1 if it is still busy.
int synflip_wait(void* bench, uint64_t limit) {
    Bench& b = *static_cast<Bench*>(bench);
    while (limit-- && b.top->busy) b.edge();
    return b.top->busy;
}

#if VM_COVERAGE
void synflip_coverage(void* bench, const char* path) {
    static_cast<Bench*>(bench)->context.coveragep()->write(path);
}
#endif

#if VM_TRACE_FST
// Writes cycles first..past-1, counted from the first busy one, to the file. Returns 1 if it can be written.
int synflip_waves(void* bench, const char* path, int64_t first, int64_t past) {
    Bench& b = *static_cast<Bench*>(bench);
    return b.waves.open(*b.top, path, first, past);
}
#endif

#ifdef SYNFLIP_DEVICES
void synflip_junctions(void* bench, RawSource source, int64_t period) {
    static_cast<Bench*>(bench)->junctions.source = source;
    static_cast<Bench*>(bench)->junctions.period = period;
}
#endif

uint64_t synflip_cycles(void* bench) { return static_cast<Bench*>(bench)->cycles; }
}
