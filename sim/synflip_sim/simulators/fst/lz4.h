// The two functions of LZ4 that Verilator's FST writer calls, so that traced simulators need no library.
//
// The block format is https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md: sequences of literals and a match, of
// which the last has literals only. A match has four bytes or more, begins twelve or more before the end, and ends five or
// more before it.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* source, char* target, int size, int) {
    const int least = 4, tail = 5, last_match = 12, hash_bits = 12, farthest = 65535;
    std::vector<int> seen(1 << hash_bits, -1);
    char* out = target;
    auto word = [&](int at) {
        uint32_t four;
        std::memcpy(&four, source + at, 4);
        return four;
    };
    auto length = [&](int rest) {  // what does not fit into four bits
        for (rest -= 15; rest >= 255; rest -= 255) *out++ = char(255);
        *out++ = char(rest);
    };
    auto sequence = [&](int from, int literals, int match) {  // match: its length less four; -1: none
        *out++ = char((literals < 15 ? literals : 15) << 4 | (match < 0 ? 0 : match < 15 ? match : 15));
        if (literals >= 15) length(literals);
        std::memcpy(out, source + from, literals);
        out += literals;
    };
    int from = 0, at = 0;
    while (at < size - last_match) {
        int& slot = seen[word(at) * 2654435761u >> (32 - hash_bits)];
        const int before = slot;
        slot = at;
        if (before < 0 || at - before > farthest || word(before) != word(at)) {
            at++;
            continue;
        }
        int match = least;
        while (at + match < size - tail && source[before + match] == source[at + match]) match++;
        sequence(from, at - from, match - least);
        *out++ = char((at - before) & 255);
        *out++ = char((at - before) >> 8);
        if (match - least >= 15) length(match - least);
        from = at += match;
    }
    sequence(from, size - from, -1);
    return int(out - target);
}
