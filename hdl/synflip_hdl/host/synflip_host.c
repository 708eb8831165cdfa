/* See synflip_host.h. Written by synflip export-c. */
#include "synflip_host.h"

#include "synflip.h"

enum {
    ROW_ALIGN = 8, /* rows of a layer are padded to a multiple of this */
    TAP_LANES = 16, /* lanes with taps of their own: the order of the bits in a weight entry */
    ACTIVATIONS_PER_WORD = 4,
    MAX_LANES = 128,
    MAX_BITS = 16,
    MAX_ACTIVATION_BITS = 8,
    MAX_OUTPUTS = 1024,
    MAX_SHIFT = 31,
    MAX_SAMPLE_BITS = 24,
    MAX_PIXEL = 65535,
    MAX_DEPTH = 1 << 24, /* what a register of a depth can say */
    MAX_ENTRY_WORDS = MAX_LANES * (MAX_BITS + 1) / 32
};
#define PATIENCE 1000000000u

#define TRY(call) \
    do { \
        int error_ = (call); \
        if (error_ != 0) return error_; \
    } while (0)

/* A layer of a model array. */
typedef struct {
    uint32_t rows, outputs, shift;
    const uint32_t *biases, *synapses;
} layer_words;

static uint32_t up(uint32_t a, uint32_t b) { return a / b + (a % b != 0); }

/* ceil(log2(count)), count >= 1 */
static uint32_t bits_for(uint32_t count) {
    uint32_t bits = 0;
    while (bits < 32 && ((count - 1) >> bits) != 0) bits++;
    return bits;
}

static uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t row_blocks(const synflip_device *device, const layer_words *layer) {
    return up(layer->rows, ROW_ALIGN) * ROW_ALIGN / device->banks;
}

/* The bus */

static int read_word(const synflip_device *device, uint32_t address, uint32_t *word) {
    return device->bus.read(device->bus.context, address, word) == 0 ? 0 : SYNFLIP_ERROR_BUS;
}

static int write_word(const synflip_device *device, uint32_t address, uint32_t word) {
    return device->bus.write(device->bus.context, address, word) == 0 ? 0 : SYNFLIP_ERROR_BUS;
}

static int memory_read(void *context, uint32_t address, uint32_t *word) {
    *word = ((volatile uint32_t *)context)[address];
    return 0;
}

static int memory_write(void *context, uint32_t address, uint32_t word) {
    ((volatile uint32_t *)context)[address] = word;
    return 0;
}

synflip_bus synflip_memory(volatile uint32_t *map) {
    synflip_bus bus = {memory_read, memory_write, (void *)map};
    return bus;
}

/* Read a register until its bits `mask` are 0. */
static int wait_until_clear(const synflip_device *device, uint32_t address, uint32_t mask) {
    for (uint32_t reads = 0; reads < device->patience; reads++) {
        uint32_t word;
        TRY(read_word(device, address, &word));
        if ((word & mask) == 0) return 0;
    }
    return SYNFLIP_ERROR_TIMEOUT;
}

static int check_idle(const synflip_device *device) {
    uint32_t status;
    TRY(read_word(device, SYNFLIP_REG_STATUS, &status));
    return status & SYNFLIP_STATUS_BUSY ? SYNFLIP_ERROR_BUSY : 0;
}

/* The accelerator */

int synflip_open(synflip_device *device, synflip_bus bus) {
    static const synflip_device nothing;
    uint32_t word;
    *device = nothing;
    device->bus = bus;
    device->patience = PATIENCE;
    TRY(read_word(device, SYNFLIP_REG_MAGIC, &word));
    if (word != SYNFLIP_MAGIC_VALUE) return SYNFLIP_ERROR_NO_ACCELERATOR;
    TRY(read_word(device, SYNFLIP_REG_VERSION, &word));
    if (word != SYNFLIP_VERSION_VALUE) return SYNFLIP_ERROR_MAP_VERSION;
    TRY(read_word(device, SYNFLIP_REG_DEVICES, &word));
    if (word != 0) return SYNFLIP_ERROR_JUNCTIONS;
    /* Each size, its register, and the largest value that makes sense. */
    const struct {
        uint32_t *size, address, most;
    } sizes[] = {
        {&device->lanes, SYNFLIP_REG_LANES, MAX_LANES},
        {&device->banks, SYNFLIP_REG_BANKS, ROW_ALIGN},
        {&device->bits, SYNFLIP_REG_BITS, MAX_BITS},
        {&device->activation_bits, SYNFLIP_REG_ACTIVATION_BITS, MAX_ACTIVATION_BITS},
        {&device->weight_depth, SYNFLIP_REG_WEIGHT_DEPTH, MAX_DEPTH},
        {&device->event_depth, SYNFLIP_REG_EVENT_DEPTH, MAX_DEPTH},
        {&device->key_depth, SYNFLIP_REG_KEY_DEPTH, MAX_DEPTH},
        {&device->bias_depth, SYNFLIP_REG_BIAS_DEPTH, MAX_DEPTH},
        {&device->image_slots, SYNFLIP_REG_IMAGE_SLOTS, 256},
        {&device->result_depth, SYNFLIP_REG_RESULT_DEPTH, MAX_DEPTH},
        {&device->margin_depth, SYNFLIP_REG_MARGIN_DEPTH, MAX_DEPTH},
        {&device->layer_depth, SYNFLIP_REG_LAYER_DEPTH, 31},
        {&device->sample_bits, SYNFLIP_REG_SAMPLE_BITS, MAX_SAMPLE_BITS},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        TRY(read_word(device, sizes[i].address, sizes[i].size));
        if (*sizes[i].size == 0 || *sizes[i].size > sizes[i].most) return SYNFLIP_ERROR_NO_ACCELERATOR;
    }
    if (device->lanes % TAP_LANES != 0 || ROW_ALIGN % device->banks != 0) return SYNFLIP_ERROR_NO_ACCELERATOR;
    return 0;
}

/* Find the layers of a model array, and check it as far as it does not depend on an accelerator. */
static int find_layers(const uint32_t *model, size_t words, layer_words *layers) {
    if (words < SYNFLIP_MODEL_HEADER || model[0] != SYNFLIP_MODEL_MAGIC || model[1] != SYNFLIP_MODEL_VERSION)
        return SYNFLIP_ERROR_NOT_A_MODEL;
    uint32_t k = model[2], a = model[3], pixel_max = model[4], count = model[5];
    if (k == 0 || k > MAX_BITS || a == 0 || a > MAX_ACTIVATION_BITS || pixel_max == 0 || pixel_max > MAX_PIXEL ||
        count == 0 || count > SYNFLIP_MODEL_MAX_LAYERS)
        return SYNFLIP_ERROR_NOT_A_MODEL;
    uint64_t at = SYNFLIP_MODEL_HEADER + (uint64_t)SYNFLIP_MODEL_LAYER * count;
    if (words < at) return SYNFLIP_ERROR_MODEL_LENGTH;
    for (uint32_t l = 0; l < count; l++) {
        const uint32_t *sizes = model + SYNFLIP_MODEL_HEADER + SYNFLIP_MODEL_LAYER * l;
        layer_words *layer = layers + l;
        layer->rows = sizes[0];
        layer->outputs = sizes[1];
        layer->shift = sizes[2];
        if (layer->rows == 0 || layer->rows > MAX_DEPTH || layer->outputs == 0 || layer->outputs > MAX_OUTPUTS ||
            layer->shift > MAX_SHIFT || (l > 0 && layer->rows != layers[l - 1].outputs))
            return SYNFLIP_ERROR_NOT_A_MODEL;
        uint64_t synapse_words = ((uint64_t)layer->rows * layer->outputs * (k + 1) + 31) / 32;
        if (words < at + layer->outputs + synapse_words) return SYNFLIP_ERROR_MODEL_LENGTH;
        layer->biases = model + at;
        layer->synapses = layer->biases + layer->outputs;
        at += layer->outputs + synapse_words;
    }
    return words == at ? 0 : SYNFLIP_ERROR_MODEL_LENGTH;
}

static int check(const synflip_device *device, const uint32_t *model, size_t words, layer_words *layers) {
    TRY(find_layers(model, words, layers));
    uint32_t count = model[5], inputs = layers[0].rows, classes = layers[count - 1].outputs;
    uint64_t weights = 0, keys = 0, biases = 0;
    for (uint32_t l = 0; l < count; l++) {
        uint32_t tiles = up(layers[l].outputs, device->lanes), blocks = row_blocks(device, layers + l);
        weights += (uint64_t)tiles * blocks;
        keys += blocks;
        biases += tiles * device->lanes / device->banks;
    }
    if (model[2] > device->bits) return SYNFLIP_ERROR_BITS;
    if (model[3] > device->activation_bits) return SYNFLIP_ERROR_ACTIVATION_BITS;
    if (count > device->layer_depth) return SYNFLIP_ERROR_LAYERS;
    if (weights > device->weight_depth) return SYNFLIP_ERROR_WEIGHTS;
    if (keys > device->key_depth) return SYNFLIP_ERROR_KEYS;
    if (biases > device->bias_depth) return SYNFLIP_ERROR_BIASES;
    if (1u << bits_for(up(inputs, device->banks)) > device->event_depth ||
        up(inputs, ACTIVATIONS_PER_WORD) > 1u << SYNFLIP_IMAGE_WORD_BITS)
        return SYNFLIP_ERROR_INPUTS;
    if (1u << bits_for(classes) > device->result_depth) return SYNFLIP_ERROR_CLASSES;
    return 0;
}

int synflip_check(const synflip_device *device, const uint32_t *model, size_t words) {
    layer_words layers[SYNFLIP_MODEL_MAX_LAYERS];
    return check(device, model, words, layers);
}

/* Loading */

/* The wide-bit probability word that decides every coin as the k-bit word q does. */
static uint32_t widen(uint32_t q, uint32_t k, uint32_t wide) {
    uint32_t heads = (q + (q >> (k - 1))) << (wide - k);
    return heads > 1u << (wide - 1) ? heads - 1 : heads;
}

/* Field `index` of `bits` bits of an array of words. */
static uint32_t field(const uint32_t *words, uint64_t index, uint32_t bits) {
    uint64_t first = index * bits, place = first / 32;
    uint32_t offset = (uint32_t)(first % 32), value = words[place] >> offset;
    if (offset + bits > 32) value |= words[place + 1] << (32 - offset);
    return value & ((1u << bits) - 1);
}

/* Write one weight entry: the synapses of `row` in the lanes of `tile`. offset: of its first word. */
static int write_entry(const synflip_device *device, const layer_words *layer, uint32_t k, uint32_t tile,
                       uint32_t row, uint32_t offset) {
    uint32_t words[MAX_ENTRY_WORDS] = {0}, lanes = device->lanes, planes = device->bits + 1;
    uint32_t outputs = least(layer->outputs - tile * lanes, lanes);
    for (uint32_t lane = 0; row < layer->rows && lane < outputs; lane++) {
        uint64_t index = (uint64_t)(tile * lanes + lane) * layer->rows + row;
        uint32_t synapse = field(layer->synapses, index, k + 1), sign = synapse >> k;
        synapse = widen(synapse & ((1u << k) - 1), k, device->bits) | sign << device->bits;
        for (uint32_t plane = 0; plane < planes; plane++) {
            uint32_t bit = plane * lanes + lane % TAP_LANES * (lanes / TAP_LANES) + lane / TAP_LANES;
            words[bit / 32] |= (synapse >> plane & 1) << bit % 32;
        }
    }
    for (uint32_t w = 0; w < up(lanes * planes, 32); w++)
        TRY(write_word(device, SYNFLIP_REGION_WEIGHTS + offset + w, words[w]));
    return 0;
}

static int write_weights(const synflip_device *device, const layer_words *layer, uint32_t k, uint32_t base) {
    uint32_t entry_bits = bits_for(device->weight_depth);
    uint32_t word_bits = bits_for(up(device->lanes * (device->bits + 1), 32));
    uint32_t tiles = up(layer->outputs, device->lanes), blocks = row_blocks(device, layer);
    for (uint32_t bank = 0; bank < device->banks; bank++)
        for (uint32_t tile = 0; tile < tiles; tile++)
            for (uint32_t block = 0; block < blocks; block++) {
                uint32_t entry = base + tile * blocks + block;
                uint32_t offset = (bank << entry_bits | entry) << word_bits;
                TRY(write_entry(device, layer, k, tile, block * device->banks + bank, offset));
            }
    return 0;
}

static int write_biases(const synflip_device *device, const layer_words *layer, uint32_t base) {
    uint32_t rounding = layer->shift == 0 ? 0 : 1u << (layer->shift - 1);
    uint32_t padded = up(layer->outputs, device->lanes) * device->lanes;
    for (uint32_t j = 0; j < padded; j++) {
        uint32_t bias = j < layer->outputs ? layer->biases[j] + rounding : 0;
        TRY(write_word(device, SYNFLIP_REGION_BIASES + base * device->banks + j, bias));
    }
    return 0;
}

int synflip_load(synflip_device *device, const uint32_t *model, size_t words) {
    layer_words layers[SYNFLIP_MODEL_MAX_LAYERS];
    uint32_t weight = 0, group = 0, block = 0; /* entries, groups of biases and row blocks of the layers before */
    TRY(check(device, model, words, layers));
    TRY(check_idle(device));
    device->inputs = 0; /* half a model is none */
    uint32_t k = model[2], count = model[5];
    for (uint32_t l = 0; l < count; l++) {
        const layer_words *layer = layers + l;
        uint32_t tiles = up(layer->outputs, device->lanes), blocks = row_blocks(device, layer);
        uint32_t last_outputs = layer->outputs - (tiles - 1) * device->lanes;
        uint32_t fields[SYNFLIP_LAYER_WORDS];
        TRY(write_weights(device, layer, k, weight));
        TRY(write_biases(device, layer, group));
        fields[SYNFLIP_LAYER_WEIGHT_BASE] = weight;
        fields[SYNFLIP_LAYER_ROW_BLOCKS] = blocks;
        fields[SYNFLIP_LAYER_KEY_BASE] = block;
        fields[SYNFLIP_LAYER_KEY_END] = block + blocks;
        fields[SYNFLIP_LAYER_TILES] = tiles - 1;
        fields[SYNFLIP_LAYER_BIAS_BASE] = group;
        fields[SYNFLIP_LAYER_LAST_STEPS] = up(last_outputs, device->banks) - 1;
        fields[SYNFLIP_LAYER_SHIFT] = layer->shift;
        for (uint32_t i = 0; i < SYNFLIP_LAYER_WORDS; i++)
            TRY(write_word(device, SYNFLIP_REGION_LAYERS + l * SYNFLIP_LAYER_WORDS + i, fields[i]));
        weight += tiles * blocks;
        group += tiles * device->lanes / device->banks;
        block += blocks;
    }
    uint32_t classes = layers[count - 1].outputs, inputs = layers[0].rows;
    uint32_t input_shift = bits_for(up(inputs, device->banks));
    device->classes = classes;
    device->class_shift = bits_for(classes);
    device->pixel_max = model[4];
    device->activation_max = (1u << model[3]) - 1;
    device->key_blocks = block;
    device->slots = least(device->image_slots,
                          least(device->event_depth >> input_shift, device->result_depth >> device->class_shift));
    TRY(write_word(device, SYNFLIP_REG_LAYERS, count - 1));
    TRY(write_word(device, SYNFLIP_REG_CLASSES, classes - 1));
    TRY(write_word(device, SYNFLIP_REG_CLASS_SHIFT, device->class_shift));
    TRY(write_word(device, SYNFLIP_REG_INPUT_SHIFT, input_shift));
    TRY(write_word(device, SYNFLIP_REG_ACTIVATION_MAX, device->activation_max));
    TRY(write_word(device, SYNFLIP_REG_KEY_BLOCKS, block));
    uint32_t map_depth; /* another host may have run a network with convolutions, which this library has not */
    TRY(read_word(device, SYNFLIP_REG_MAP_DEPTH, &map_depth));
    if (map_depth != 0) TRY(write_word(device, SYNFLIP_REG_MAPS, 0));
    device->inputs = inputs;
    return 0;
}

/* Running */

static int check_slots(const synflip_device *device, uint32_t first, uint32_t count) {
    if (device->inputs == 0) return SYNFLIP_ERROR_NO_MODEL;
    return count > 0 && first < device->slots && count <= device->slots - first ? 0 : SYNFLIP_ERROR_SLOT;
}

int synflip_write_image(const synflip_device *device, uint32_t slot, const uint16_t *pixels) {
    uint32_t most = device->pixel_max, word = 0;
    TRY(check_slots(device, slot, 1));
    for (uint32_t i = 0; i < device->inputs; i++)
        if (pixels[i] > most) return SYNFLIP_ERROR_PIXEL;
    uint32_t address = SYNFLIP_REGION_IMAGES + (slot << SYNFLIP_IMAGE_WORD_BITS);
    for (uint32_t i = 0; i < device->inputs; i++) {
        /* pixel * activation_max / most, rounded, a half up */
        uint32_t activation = (2 * device->activation_max * pixels[i] + most) / (2 * most);
        word |= activation << 8 * (i % ACTIVATIONS_PER_WORD);
        if (i % ACTIVATIONS_PER_WORD == ACTIVATIONS_PER_WORD - 1 || i == device->inputs - 1) {
            TRY(write_word(device, address + i / ACTIVATIONS_PER_WORD, word));
            word = 0;
        }
    }
    return 0;
}

/* LFSR113: P. L'Ecuyer, "Tables of maximally equidistributed combined LFSR generators", Math. Comp. 68 (1999).
 * One step of a component. */
static uint32_t step(uint32_t component, uint32_t z) {
    static const uint32_t q[] = {6, 2, 13, 3}, s[] = {18, 2, 7, 13}, r[] = {13, 27, 21, 12};
    static const uint32_t mask[] = {0xfffffffeu, 0xfffffff8u, 0xfffffff0u, 0xffffff80u};
    return (z & mask[component]) << s[component] ^ ((z << q[component] ^ z) >> r[component]);
}

/* Matrix times vector over GF(2); columns[b] is the image of bit b. */
static uint32_t apply(const uint32_t *columns, uint32_t z) {
    uint32_t result = 0;
    for (uint32_t bit = 0; bit < 32; bit++)
        if (z >> bit & 1) result ^= columns[bit];
    return result;
}

/* A component `steps` steps on: its matrix squared for every bit of `steps`. */
static uint32_t jump(uint32_t component, uint32_t z, uint64_t steps) {
    uint32_t power[32], square[32];
    for (uint32_t bit = 0; bit < 32; bit++) power[bit] = step(component, 1u << bit);
    for (; steps != 0; steps >>= 1) {
        if (steps & 1) z = apply(power, z);
        for (uint32_t bit = 0; bit < 32; bit++) square[bit] = apply(power, power[bit]);
        for (uint32_t bit = 0; bit < 32; bit++) power[bit] = square[bit];
    }
    return z;
}

static uint64_t splitmix64(uint64_t *seed) {
    uint64_t z = *seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The state of each bank's first key; a key is two steps. */
static int write_seeds(const synflip_device *device, const synflip_request *request) {
    static const uint32_t minimum[SYNFLIP_SEED_WORDS] = {2, 8, 16, 128};
    uint64_t seed = request->seed, w0 = splitmix64(&seed), w1 = splitmix64(&seed);
    uint32_t state[SYNFLIP_SEED_WORDS] = {(uint32_t)w0, (uint32_t)(w0 >> 32), (uint32_t)w1, (uint32_t)(w1 >> 32)};
    uint64_t keys = (uint64_t)device->key_blocks * device->banks * request->first_sample;
    for (uint32_t i = 0; i < SYNFLIP_SEED_WORDS; i++) {
        if (state[i] < minimum[i]) state[i] += minimum[i];
        state[i] = jump(i, state[i], 2 * keys + 1);
    }
    for (uint32_t bank = 0; bank < device->banks; bank++)
        for (uint32_t i = 0; i < SYNFLIP_SEED_WORDS; i++) {
            TRY(write_word(device, SYNFLIP_REGION_SEEDS + bank * SYNFLIP_SEED_WORDS + i, state[i]));
            state[i] = step(i, step(i, state[i]));
        }
    return 0;
}

int synflip_start(const synflip_device *device, const synflip_request *request) {
    const uint32_t most_samples = (1u << device->sample_bits) - 1;
    TRY(check_slots(device, request->first_slot, request->images));
    if (request->samples == 0 || request->samples > most_samples) return SYNFLIP_ERROR_SAMPLES;
    if (request->margins != NULL && (request->samples > device->margin_depth || request->first_sample != 0))
        return SYNFLIP_ERROR_MARGINS;
    /* A DMA is done some cycles before its last word is written. */
    TRY(wait_until_clear(device, SYNFLIP_AXI_STREAM_STATUS, SYNFLIP_STREAM_STATUS_BUSY));
    TRY(check_idle(device));
    for (uint32_t s = 0; request->margins != NULL && s < request->samples; s++) /* no lead is most_samples */
        TRY(write_word(device, SYNFLIP_REGION_MARGINS + s, least(request->margins[s], most_samples)));
    TRY(write_word(device, SYNFLIP_REG_OPTIONS, request->margins == NULL ? 0 : SYNFLIP_OPTIONS_EARLY));
    TRY(write_seeds(device, request));
    TRY(write_word(device, SYNFLIP_REG_FIRST_SLOT, request->first_slot));
    TRY(write_word(device, SYNFLIP_REG_IMAGES, request->images));
    TRY(write_word(device, SYNFLIP_REG_SAMPLES, request->samples));
    return write_word(device, SYNFLIP_REG_CONTROL, SYNFLIP_CONTROL_START);
}

int synflip_wait(const synflip_device *device, uint64_t *cycles) {
    uint32_t low, high;
    int error = wait_until_clear(device, SYNFLIP_REG_STATUS, SYNFLIP_STATUS_BUSY);
    if (error == SYNFLIP_ERROR_TIMEOUT) {
        TRY(synflip_abort(device));
        return error;
    }
    if (error != 0 || cycles == NULL) return error;
    TRY(read_word(device, SYNFLIP_REG_CYCLES_LOW, &low));
    TRY(read_word(device, SYNFLIP_REG_CYCLES_HIGH, &high));
    *cycles = low | (uint64_t)high << 32;
    return 0;
}

int synflip_run(const synflip_device *device, const synflip_request *request, uint64_t *cycles) {
    TRY(synflip_start(device, request));
    return synflip_wait(device, cycles);
}

int synflip_abort(const synflip_device *device) {
    TRY(write_word(device, SYNFLIP_REG_CONTROL, SYNFLIP_CONTROL_ABORT));
    return wait_until_clear(device, SYNFLIP_REG_STATUS, SYNFLIP_STATUS_BUSY);
}

/* Results */

int synflip_read_votes(const synflip_device *device, uint32_t slot, uint32_t *votes) {
    TRY(check_slots(device, slot, 1));
    for (uint32_t c = 0; c < device->classes; c++)
        TRY(read_word(device, SYNFLIP_REGION_VOTES + (slot << device->class_shift | c), votes + c));
    return 0;
}

int synflip_read_sums(const synflip_device *device, uint32_t slot, int64_t *sums) {
    TRY(check_slots(device, slot, 1));
    for (uint32_t c = 0; c < device->classes; c++) {
        uint32_t address = SYNFLIP_REGION_SUMS + 2 * (slot << device->class_shift | c), low, high;
        TRY(read_word(device, address, &low));
        TRY(read_word(device, address + 1, &high));
        sums[c] = (int64_t)(low | (uint64_t)high << 32);
    }
    return 0;
}

int synflip_read_used(const synflip_device *device, uint32_t slot, uint32_t *used) {
    TRY(check_slots(device, slot, 1));
    return read_word(device, SYNFLIP_REGION_USED + slot, used);
}

uint32_t synflip_winner(const synflip_device *device, const uint32_t *votes) {
    uint32_t winner = 0;
    for (uint32_t c = 1; c < device->classes; c++)
        if (votes[c] > votes[winner]) winner = c;
    return winner;
}

const char *synflip_error_text(int error) {
    switch (error) {
    case 0: return "no error";
    case SYNFLIP_ERROR_BUS: return "a read or a write was refused or not answered";
    case SYNFLIP_ERROR_NO_ACCELERATOR: return "no accelerator there: its first words make no sense";
    case SYNFLIP_ERROR_MAP_VERSION: return "the accelerator has another version of the memory map";
    case SYNFLIP_ERROR_JUNCTIONS: return "tunnel junctions make its keys, which this library does not set up";
    case SYNFLIP_ERROR_BUSY: return "a run is under way: wait for its end, or abort it";
    case SYNFLIP_ERROR_TIMEOUT: return "the accelerator stayed busy";
    case SYNFLIP_ERROR_NO_MODEL: return "no model is loaded";
    case SYNFLIP_ERROR_NOT_A_MODEL: return "the array is not one that synflip export-c wrote";
    case SYNFLIP_ERROR_MODEL_LENGTH: return "the array has fewer or more words than its layers need";
    case SYNFLIP_ERROR_BITS: return "the model's probability words are longer than the accelerator's";
    case SYNFLIP_ERROR_ACTIVATION_BITS: return "the model's activations are longer than the accelerator's";
    case SYNFLIP_ERROR_LAYERS: return "the model has more layers than the accelerator";
    case SYNFLIP_ERROR_WEIGHTS: return "the model needs more weight entries than a bank has";
    case SYNFLIP_ERROR_KEYS: return "the model needs more keys than a bank has";
    case SYNFLIP_ERROR_BIASES: return "the model needs more groups of biases than there are";
    case SYNFLIP_ERROR_INPUTS: return "the model has more inputs than the lists of one image hold";
    case SYNFLIP_ERROR_CLASSES: return "the model has more classes than the results of one image hold";
    case SYNFLIP_ERROR_SLOT: return "there is no such slot for images of this model";
    case SYNFLIP_ERROR_PIXEL: return "a pixel is larger than the model's largest";
    case SYNFLIP_ERROR_SAMPLES: return "0 samples, or more than a run counts";
    case SYNFLIP_ERROR_MARGINS: return "margins for more samples than their table has entries, or not from sample 0 on";
    default: return "unknown error";
    }
}
