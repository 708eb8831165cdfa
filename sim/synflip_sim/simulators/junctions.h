// Tunnel junctions that drive the inputs raw and strobe, where there are some.

#pragma once

#include <cstdint>
#include <vector>

#ifdef SYNFLIP_DEVICES
// Raw bits of tunnel junctions: a word a strobe, bit d of it from junction d, asked for in blocks.
typedef void (*RawSource)(uint32_t* words, int64_t count);

struct Junctions {
    RawSource source = nullptr;
    int64_t period = 0;  // clock cycles from strobe to strobe
    std::vector<uint32_t> words = std::vector<uint32_t>(4096);
    size_t next = 4096;

    void drive(Vsynflip& top, uint64_t cycle) {
        if (source == nullptr) return;
        const int64_t phase = cycle % period;
        if (phase == 0) {
            if (next == words.size()) {
                source(words.data(), words.size());
                next = 0;
            }
            top.raw = words[next++];
        }
        top.strobe = phase < period / 2;
    }
};
#endif
