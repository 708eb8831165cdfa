// The golden model's loops for processors, beside torch and numpy, which compute the same.
//
// Products: activations, uint8 [images, rows], times coins, int8 [outputs, rows] in -1..1, transposed: int32
// [images, outputs]. Most activations are 0. Each image's rows are taken in pairs, pairs of zeros are left out, and
// what remains is added to the sums of many outputs at once. A sum has 16 bits for RUN pairs: 64 * 2 * 255 = 32640 <
// 2**15. Then it is added to one of 32 bits.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#ifdef __SSE2__
#include <immintrin.h>
#endif

namespace {

constexpr long RUN = 64;
constexpr long STEP = 16;       // outputs: their coins are padded to a multiple
constexpr long MOST_BANKS = 8;  // of an accelerator
constexpr long PANEL = 64;      // outputs whose coins lie together, for the nearest cache
constexpr long TOGETHER = 16;   // images that a panel is multiplied with before the next panel

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

// COUNT vectors of sums, of a panel's coins, [pairs, width, 2].
template <int COUNT>
void add_up(const Pair* pair, const Pair* end, const int8_t* coins, int32_t* out) {
    constexpr long SIZE = COUNT * WIDE;
    std::fill(out, out + SIZE, 0);
    while (pair != end) {
        Sums sums[COUNT] = {};
        for (const Pair* stop = pair + std::min<long>(RUN, end - pair); pair != stop; ++pair)
            for (int index = 0; index < COUNT; index++)
                sums[index] = plus(sums[index], pair->values, coins + 2 * (pair->place * SIZE + index * WIDE));
        int16_t some[SIZE];
        std::memcpy(some, sums, sizeof some);
        for (int output = 0; output < SIZE; output++) out[output] += some[output];
    }
}

#ifdef __SSE2__
// 8 outputs by 8 pairs of rows, transposed.
void turn(const int8_t* coins, long rows, int8_t* out, long line) {
    __m128i a[8], b[8];
    for (int i = 0; i < 8; i++) a[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(coins + i * rows));
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
        b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        a[2 * i] = _mm_unpacklo_epi16(b[i], b[i + 4]);
        a[2 * i + 1] = _mm_unpackhi_epi16(b[i], b[i + 4]);
    }
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
        b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    for (int i = 0; i < 8; i++) _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i * line), b[i]);
}
#endif

// Coins of a panel as [pairs, width, 2]: both rows of a pair side by side, 0 where there is no second row. What is
// beyond the outputs may be anything: its sums are not kept.
void pack(const int8_t* coins, long rows, long outputs, long width, int8_t* out) {
    long row = 0;
#ifdef __SSE2__
    long most = outputs / 8 * 8;
    for (; row + 16 <= rows; row += 16, out += 16 * width) {
        for (long output = 0; output < most; output += 8)
            turn(coins + output * rows + row, rows, out + 2 * output, 2 * width);
        for (long next = 0; next < 8; next++)
            for (long output = most; output < outputs; output++)
                std::memcpy(out + 2 * (next * width + output), coins + output * rows + row + 2 * next, 2);
    }
#endif
    for (; row < rows; row += 2, out += 2 * width)
        for (long output = 0; output < outputs; output++) {
            out[2 * output] = coins[output * rows + row];
            out[2 * output + 1] = row + 1 < rows ? coins[output * rows + row + 1] : 0;
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

// Row i's bit b becomes row b's bit i (Warren, Hacker's Delight, section 7-3).
void transpose(uint64_t* rows) {
    uint64_t mask = 0xFFFFFFFF;
    for (int step = 32; step != 0; step /= 2, mask ^= mask << step)
        for (int row = 0; row < 64; row = ((row | step) + 1) & ~step) {
            uint64_t moved = (rows[row] >> step ^ rows[row | step]) & mask;
            rows[row] ^= moved << step;
            rows[row | step] ^= moved;
        }
}

// Of each byte, its bits as bytes: 255 where the bit is one.
struct Masks {
    uint8_t of[256][8] = {};
    constexpr Masks() {
        for (int byte = 0; byte < 256; byte++)
            for (int bit = 0; bit < 8; bit++) of[byte][bit] = byte >> bit & 1 ? 255 : 0;
    }
};
constexpr Masks MASKS;

// Adds the activations above 0 of rows first .. past - 1 to those of MOST_BANKS banks. first: a multiple of these.
void count(const uint8_t* x, long first, long past, int64_t* counts) {
    constexpr long LINE = 4 * MOST_BANKS;
    long row = first;
    while (row + LINE <= past) {
        uint8_t some[LINE] = {};
        for (long stop = row + std::min(255L, (past - row) / LINE) * LINE; row != stop; row += LINE)
            for (long next = 0; next < LINE; next++) some[next] += x[row + next] != 0;
        for (long next = 0; next < LINE; next++) counts[next % MOST_BANKS] += some[next];
    }
    for (; row < past; row++) counts[row % MOST_BANKS] += x[row] != 0;
}

// The most of banks that are so many, each the sum of some of MOST_BANKS.
int64_t most_of(const int64_t* counts, long banks) {
    int64_t sums[MOST_BANKS] = {};
    for (long bank = 0; bank < MOST_BANKS; bank++) sums[bank & (banks - 1)] += counts[bank];
    return *std::max_element(sums, sums + banks);
}

// Coins of at most 64 rows: their signs where a bit of heads is one, else 0.
void toss(uint64_t heads, const int8_t* signs, int8_t* coins, long rows) {
    long row = 0;
#ifdef __AVX2__
    const __m256i bytes = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i ones = _mm256_set1_epi64x(0x8040201008040201);
    for (; row + 32 <= rows; row += 32, heads >>= 32) {
        __m256i found = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(heads), bytes), ones);
        __m256i sign = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(signs + row));
        sign = _mm256_and_si256(sign, _mm256_cmpeq_epi8(found, ones));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(coins + row), sign);
    }
#endif
    for (uint64_t mask, sign; row + 8 <= rows; row += 8, heads >>= 8) {
        std::memcpy(&mask, MASKS.of[heads & 255], sizeof mask);
        std::memcpy(&sign, signs + row, sizeof sign);
        sign &= mask;
        std::memcpy(coins + row, &sign, sizeof sign);
    }
    for (; row < rows; row++, heads >>= 1) coins[row] = heads & 1 ? signs[row] : 0;
}

}  // namespace

// both: room for [pairs, width, 2], where loads of a vector are fastest if they are aligned.
extern "C" void products(
    const uint8_t* x, const int8_t* coins, int8_t* both, int32_t* out, long images, long rows, long outputs
) {
    long pairs = (rows + 1) / 2, room = pairs + 1;
    std::vector<Pair> found(room * std::min(TOGETHER, images));
    const Pair* ends[TOGETHER];
    for (long first = 0; first < images; first += TOGETHER) {
        long some = std::min(TOGETHER, images - first);
        for (long image = 0; image < some; image++)
            ends[image] = find_pairs(x + (first + image) * rows, rows, &found[image * room]);
        long output = 0;
        auto take = [&](auto size) {
            constexpr long SIZE = decltype(size)::value;
            int32_t sums[SIZE];
            for (; outputs - output > SIZE - STEP; output += SIZE) {
                int8_t* panel = both + 2 * pairs * output;
                if (first == 0)
                    pack(coins + output * rows, rows, std::min(SIZE, outputs - output), SIZE, panel);
                for (long image = 0; image < some; image++) {
                    add_up<SIZE / WIDE>(&found[image * room], ends[image], panel, sums);
                    std::copy_n(sums, std::min(SIZE, outputs - output), out + (first + image) * outputs + output);
                }
            }
        };
        take(std::integral_constant<long, PANEL>());
        take(std::integral_constant<long, 2 * STEP>());
        take(std::integral_constant<long, STEP>());
    }
}

// ``CoinPlanes.flip``: keys [rows]; taps [bits, 3, outputs]; thresholds [bits, outputs, words], most significant
// first; always [outputs, words]; signs and coins [outputs, rows].
//
// With below: u < T in the bits so far, from the least significant. The next bit of u is u', that of T is t: where
// they are equal below stays, else it is t. That is the majority of below, t and not u'.
extern "C" void flip(
    const uint64_t* keys, const int64_t* taps, const uint64_t* thresholds, const uint64_t* always, const int8_t* signs,
    int8_t* coins, long rows, long outputs, long bits
) {
    long words = (rows + 63) / 64;
    std::vector<uint64_t> planes(64 * words), below(words);
    for (long word = 0; word < words; word++) {
        uint64_t square[64] = {};
        std::copy_n(keys + 64 * word, std::min(64L, rows - 64 * word), square);
        transpose(square);
        for (long bit = 0; bit < 64; bit++) planes[bit * words + word] = square[bit];
    }
    for (long output = 0; output < outputs; output++, signs += rows, coins += rows) {
        std::fill(below.begin(), below.end(), 0);
        for (long bit = bits; bit-- > 0;) {
            const int64_t* tap = taps + 3 * bit * outputs + output;
            const uint64_t* a = &planes[tap[0] * words];
            const uint64_t* b = &planes[tap[outputs] * words];
            const uint64_t* c = &planes[tap[2 * outputs] * words];
            const uint64_t* level = thresholds + (bit * outputs + output) * words;
            for (long word = 0; word < words; word++) {
                uint64_t inverse = ~(a[word] ^ b[word] ^ c[word]);
                below[word] = (below[word] & level[word]) | (inverse & (below[word] | level[word]));
            }
        }
        for (long word = 0; word < words; word++) {
            uint64_t heads = below[word] | always[output * words + word];
            toss(heads, signs + 64 * word, coins + 64 * word, std::min(64L, rows - 64 * word));
        }
    }
}

// ``kernels.requantise``: z [images, outputs], added [outputs], x [images, outputs].
extern "C" void requantise(
    const int32_t* z, const int32_t* added, uint8_t* x, long images, long outputs, int32_t shift, int32_t most
) {
    for (long image = 0; image < images; image++, z += outputs, x += outputs)
        for (long output = 0; output < outputs; output++)
            x[output] = std::clamp((z[output] + added[output]) >> shift, 0, most);
}

// ``kernels.bank_loads``: x [images, rows], out [images, 3]. banks: 1, 2, 4 or MOST_BANKS. rest: the first row of
// the last tile before, a multiple of MOST_BANKS.
extern "C" void loads(const uint8_t* x, int64_t* out, long images, long rows, long banks, long rest) {
    for (long image = 0; image < images; image++, x += rows, out += 3) {
        int64_t counts[MOST_BANKS] = {}, last[MOST_BANKS] = {};
        count(x, 0, rest, counts);
        count(x, rest, rows, last);
        out[1] = most_of(counts, banks);
        out[2] = most_of(last, banks);
        for (long bank = 0; bank < MOST_BANKS; bank++) counts[bank] += last[bank];
        out[0] = most_of(counts, banks);
    }
}
