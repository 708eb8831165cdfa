// The products of the golden model for processors whose int8 products torch makes slowly: activations, uint8
// [images, rows], times coins, int8 [outputs, rows] in -1..1, transposed: int32 [images, outputs].
//
// Most activations are 0. Each image's rows are taken in pairs, pairs of zeros are left out, and what remains is
// added to the sums of many outputs at once. A sum has 16 bits for RUN pairs: 64 * 2 * 255 = 32640 < 2**15.
// Then it is added to one of 32 bits.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace {

constexpr long RUN = 64;
constexpr long STEP = 16;  // outputs: their coins are padded to a multiple

// A pair of rows of an image: its place, and both activations, that of the first row in the lower byte.
struct Pair {
    uint32_t place;
    uint16_t values;
};

uint16_t two(const void* bytes) {
    uint16_t values;
    std::memcpy(&values, bytes, sizeof values);
    return values;
}

#ifdef __AVX2__
using Sums = __m256i;  // 16 of 16 bits

Sums plus(Sums sums, uint16_t values, const int8_t* coins) {
    Sums both = _mm256_loadu_si256(reinterpret_cast<const Sums*>(coins));
    return _mm256_add_epi16(sums, _mm256_maddubs_epi16(_mm256_set1_epi16(values), both));
}
#else
typedef int16_t Sums __attribute__((vector_size(16)));  // 8

Sums plus(Sums sums, uint16_t values, const int8_t* coins) {
    Sums both;  // the coin of the first row in the lower byte, that of the second above it
    std::memcpy(&both, coins, sizeof both);
    return sums + int16_t(values & 255) * ((both << 8) >> 8) + int16_t(values >> 8) * (both >> 8);
}
#endif
constexpr long WIDE = sizeof(Sums) / 2;

// COUNT vectors of sums, of the outputs that coins, [pairs, width, 2], begin with.
template <int COUNT>
void add_up(const Pair* pair, const Pair* end, const int8_t* coins, long width, int32_t* out) {
    std::fill(out, out + COUNT * WIDE, 0);
    while (pair != end) {
        Sums sums[COUNT] = {};
        for (const Pair* stop = pair + std::min<long>(RUN, end - pair); pair != stop; ++pair)
            for (int index = 0; index < COUNT; index++)
                sums[index] = plus(sums[index], pair->values, coins + 2 * (pair->place * width + index * WIDE));
        int16_t some[COUNT * WIDE];
        std::memcpy(some, sums, sizeof some);
        for (int output = 0; output < COUNT * WIDE; output++) out[output] += some[output];
    }
}

// Coins as [pairs, width, 2]: both rows of a pair side by side, 0 where there is no second row. What is beyond the
// outputs may be anything: its sums are not kept.
void pack(const int8_t* coins, long rows, long outputs, long width, int8_t* out) {
    constexpr long LINE = 32;  // outputs whose pairs fill a line of the cache
    for (long begin = 0; begin < outputs; begin += LINE) {
        long end = std::min(begin + LINE, outputs);
        for (long row = 0; row < rows; row += 2) {
            int8_t* line = out + row * width;
            if (row + 1 < rows)
                for (long output = begin; output < end; output++)
                    std::memcpy(line + 2 * output, coins + output * rows + row, 2);
            else
                for (long output = begin; output < end; output++) {
                    line[2 * output] = coins[output * rows + row];
                    line[2 * output + 1] = 0;
                }
        }
    }
}

// Writes the pairs of an image that are not zeros; returns their end. There is room for all.
Pair* find_pairs(const uint8_t* x, long rows, Pair* pair) {
    auto put = [&](long row, uint16_t values) {  // without a branch: which are zeros cannot be foreseen
        *pair = {uint32_t(row / 2), values};
        pair += values != 0;
    };
    long row = 0;
    for (uint64_t eight; row + 8 <= rows; row += 8) {
        std::memcpy(&eight, x + row, sizeof eight);
        if (eight != 0)
            for (long next = row; next < row + 8; next += 2) put(next, two(x + next));
    }
    for (; row < rows; row += 2) put(row, row + 1 < rows ? two(x + row) : x[row]);
    return pair;
}

}  // namespace

// both: room for [pairs, width, 2], where loads of a vector are fastest if they are aligned.
extern "C" void products(
    const uint8_t* x, const int8_t* coins, int8_t* both, int32_t* out, long images, long rows, long outputs
) {
    long width = (outputs + STEP - 1) / STEP * STEP;
    pack(coins, rows, outputs, width, both);
    std::vector<Pair> pairs(rows / 2 + 1);
    for (long image = 0; image < images; image++, x += rows, out += outputs) {
        Pair* end = find_pairs(x, rows, pairs.data());
        long output = 0;
        auto take = [&](auto size) {
            constexpr long SIZE = decltype(size)::value;
            int32_t sums[SIZE];
            for (; output + SIZE <= width; output += SIZE) {
                add_up<SIZE / WIDE>(pairs.data(), end, both + 2 * output, width, sums);
                std::copy_n(sums, std::min(SIZE, outputs - output), out + output);
            }
        };
        take(std::integral_constant<long, 4 * STEP>());
        take(std::integral_constant<long, 2 * STEP>());
        take(std::integral_constant<long, STEP>());
    }
}
