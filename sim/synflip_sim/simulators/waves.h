// A window of clock cycles as an FST file, for a simulator that was built with traces.
#pragma once

#include <cstdint>
#include <memory>

#include "Vsynflip.h"
#include "verilated_fst_c.h"

// Cycle 0 is the first in which the accelerator is busy. A cycle takes 10 ns; its clock is high in the first five.
class Waves {
    std::unique_ptr<VerilatedFstC> file;
    int64_t first = 0, past = 0, cycle = -1;  // cycle: the one under way; -1 before the first busy one

    void dump(int64_t time) {
        if (file && cycle >= first && cycle < past) file->dump(uint64_t(time));
    }

   public:
    // Returns whether the file could be opened.
    bool open(Vsynflip& top, const char* path, int64_t first_cycle, int64_t past_cycle) {
        first = first_cycle;
        past = past_cycle;
        file.reset(new VerilatedFstC);
        file->set_time_unit("1ns");
        file->set_time_resolution("1ns");
        top.trace(file.get(), 99);
        file->open(path);
        return file->isOpen();
    }
    void close() {
        if (file) file->close();
        file.reset();
    }
    // From one rising edge to the next. The inputs have settled.
    void step(Vsynflip& top) {
        if (cycle >= 0 || top.busy) cycle++;
        dump(10 * cycle);
        top.clk = 0;
        top.eval();
        dump(10 * cycle + 5);
        top.clk = 1;
        top.eval();
    }
};
