/* A host of the synflip accelerator in C11: load a model, run it, read votes.
 * Written by synflip export-c.
 *
 * No allocation, no operating system, no floating point. What is written where is said in docs/reference/axi.md,
 * "Load and run a model". Every function that can fail returns 0 or one of synflip_error.
 * Addresses count 32-bit words: on AXI, four times as many bytes.
 */
#ifndef SYNFLIP_HOST_H
#define SYNFLIP_HOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    SYNFLIP_ERROR_BUS = 1,          /* a read or a write was refused or not answered */
    SYNFLIP_ERROR_NO_ACCELERATOR,   /* the first word is not its magic number, or its sizes make no sense */
    SYNFLIP_ERROR_MAP_VERSION,      /* the accelerator has another version of the memory map */
    SYNFLIP_ERROR_JUNCTIONS,        /* tunnel junctions make its keys: this library does not set them up */
    SYNFLIP_ERROR_BUSY,             /* a run is under way: wait for its end, or abort it */
    SYNFLIP_ERROR_TIMEOUT,          /* still busy after `patience` reads */
    SYNFLIP_ERROR_NO_MODEL,         /* no model is loaded */
    SYNFLIP_ERROR_NOT_A_MODEL,      /* the array is not one that synflip export-c wrote */
    SYNFLIP_ERROR_MODEL_LENGTH,     /* the array has fewer or more words than its layers need */
    SYNFLIP_ERROR_BITS,             /* the model's k is larger than the accelerator's */
    SYNFLIP_ERROR_ACTIVATION_BITS,  /* the model's A is larger than the accelerator's */
    SYNFLIP_ERROR_LAYERS,           /* more layers than the layer table has entries */
    SYNFLIP_ERROR_WEIGHTS,          /* more weight entries than a bank has */
    SYNFLIP_ERROR_KEYS,             /* more row blocks than a bank has keys */
    SYNFLIP_ERROR_BIASES,           /* more groups of biases than there are */
    SYNFLIP_ERROR_INPUTS,           /* more inputs than the lists of one image hold */
    SYNFLIP_ERROR_CLASSES,          /* more classes than the results of one image hold */
    SYNFLIP_ERROR_SLOT,             /* there is no such slot: see synflip_device.slots */
    SYNFLIP_ERROR_PIXEL,            /* a pixel is larger than the model's largest */
    SYNFLIP_ERROR_SAMPLES,          /* 0 samples, or more than a run counts */
    SYNFLIP_ERROR_MARGINS           /* more samples than the margin table has entries, or first_sample is not 0 */
} synflip_error;

/* How words are read and written. Both return 0, or anything else if the word was refused or not answered.
 * Reads and writes take effect in the order of the calls: a write returns after its answer came. */
typedef struct {
    int (*read)(void *context, uint32_t address, uint32_t *word);
    int (*write)(void *context, uint32_t address, uint32_t word);
    void *context; /* the first argument of both */
} synflip_bus;

/* An accelerator. The caller keeps it, and reads it; synflip_open and synflip_load fill it in. */
typedef struct {
    synflip_bus bus;
    uint32_t patience; /* most reads of a register that wait for one event; may be changed after synflip_open */
    /* Of the accelerator: its registers of the same names. */
    uint32_t lanes, banks, bits, activation_bits, weight_depth, event_depth, key_depth, bias_depth, image_slots;
    uint32_t result_depth, margin_depth, layer_depth, sample_bits;
    /* Of the model that is loaded; inputs is 0 if none is. */
    uint32_t inputs, classes, pixel_max, activation_max;
    uint32_t slots;      /* images that there is room for at once: slots 0..slots - 1 */
    uint32_t key_blocks; /* keys of a bank in one network sample */
    uint32_t class_shift;
} synflip_device;

/* One run: `samples` network samples of the images in slots first_slot..first_slot + images - 1.
 * The same seed and samples give the same votes on every accelerator: samples first_sample.. of the seed. */
typedef struct {
    uint32_t first_slot, images;
    uint64_t seed;
    uint32_t first_sample, samples;
    /* NULL: every image takes all samples. Else `samples` numbers, and first_sample is 0: after sample s an image
     * leaves if its leader is margins[s] or more votes ahead of the next class. */
    const uint32_t *margins;
} synflip_request;

/* Words of a model array: the header, then three a layer (rows, outputs, shift). Behind them, for each layer, its
 * biases, a word an output, and its synapses, for output, for input, k + 1 bits each: the probability word, and
 * above it 1 if the weight is negative; bit 0 of the first is bit 0 of the first word. Each layer begins a word. */
enum {
    SYNFLIP_MODEL_MAGIC = 0x53594e4d, /* "SYNM" */
    SYNFLIP_MODEL_VERSION = 1,
    SYNFLIP_MODEL_HEADER = 6, /* magic, version, k, A, largest pixel, layers */
    SYNFLIP_MODEL_LAYER = 3,
    SYNFLIP_MODEL_MAX_LAYERS = 16
};

/* A bus of plain memory accesses: word i of the map is map[i]. Device memory: 32-bit accesses, no cache. */
synflip_bus synflip_memory(volatile uint32_t *map);

/* Find an accelerator behind `bus`, and read its sizes. It is left as it is; a run that is under way goes on. */
int synflip_open(synflip_device *device, synflip_bus bus);

/* Say whether a model of `words` words fits. Writes nothing, neither to the accelerator nor to *device. */
int synflip_check(const synflip_device *device, const uint32_t *model, size_t words);

/* Check a model and write it. The array is not needed afterwards. Where the check fails or a run is under way,
 * nothing is written, and the model before stays; if a write fails, no model is loaded. */
int synflip_load(synflip_device *device, const uint32_t *model, size_t words);

/* Write an image: `inputs` pixels, 0..pixel_max. While a run is under way, only slots that are not the run's. */
int synflip_write_image(const synflip_device *device, uint32_t slot, const uint16_t *pixels);

/* Start a run and return at once. */
int synflip_start(const synflip_device *device, const synflip_request *request);

/* Wait for the end of a run. *cycles: clock cycles that it took; cycles may be NULL. A run that does not end within
 * `patience` reads of STATUS is aborted: SYNFLIP_ERROR_TIMEOUT. */
int synflip_wait(const synflip_device *device, uint64_t *cycles);

/* Start a run and wait for its end. */
int synflip_run(const synflip_device *device, const synflip_request *request, uint64_t *cycles);

/* End a run that is under way; nothing happens if none is. Its results are not whole. */
int synflip_abort(const synflip_device *device);

/* Results of the image in `slot` in its last run. votes, sums: `classes` numbers; a class's votes are the samples
 * that it won, its sum is that of its logits. *used: samples that the image took part in. */
int synflip_read_votes(const synflip_device *device, uint32_t slot, uint32_t *votes);
int synflip_read_sums(const synflip_device *device, uint32_t slot, int64_t *sums);
int synflip_read_used(const synflip_device *device, uint32_t slot, uint32_t *used);

/* The class with most votes, the first of equals. */
uint32_t synflip_winner(const synflip_device *device, const uint32_t *votes);

/* An error in words; "no error" for 0. */
const char *synflip_error_text(int error);

#ifdef __cplusplus
}
#endif

#endif
