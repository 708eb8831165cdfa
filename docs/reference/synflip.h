/* Memory map of the synflip accelerator, version 4.
 *
 * Made by `synflip map --format c`; do not edit. Addresses count 32-bit words: with
 * `volatile uint32_t *map` at the accelerator's base, a register is map[SYNFLIP_REG_STATUS],
 * a word of a region map[SYNFLIP_REGION_IMAGES + offset]. See registers.md.
 */
#ifndef SYNFLIP_H
#define SYNFLIP_H

/* Constants */
#define SYNFLIP_MAGIC_VALUE 0x53594e46u  /* what the register MAGIC holds */
#define SYNFLIP_VERSION_VALUE 0x4u  /* what the register VERSION holds */
#define SYNFLIP_LAYER_WORDS 0x8u  /* words of a layer's entry */
#define SYNFLIP_SEED_WORDS 0x4u  /* words of a bank's seed */
#define SYNFLIP_IMAGE_WORD_BITS 0x10u  /* of an offset into the region IMAGES; the slot is above */

/* Regions: word address of the first word */
#define SYNFLIP_REGION_REGISTERS 0x0u  /* R/W: one word each */
#define SYNFLIP_REGION_LAYERS 0x1000000u  /* W: layer table; an entry takes effect when its last word is written. Behind it, each at a power of two and only if MAP_DEPTH is not 0: segments of convolutions (first pixel and past << 16; offset of 24 bits and flags << 24), and where the rows of a kernel over images are (16 bits a bank) */
#define SYNFLIP_REGION_SEEDS 0x2000000u  /* W: LFSR113 state of the bank's first key */
#define SYNFLIP_REGION_WEIGHTS 0x3000000u  /* W: an entry takes effect with its last word; it has room for a power of two of words */
#define SYNFLIP_REGION_BIASES 0x4000000u  /* W: each layer padded to whole tiles; hidden layers: bias plus rounding; a group of Q takes effect with its last word */
#define SYNFLIP_REGION_IMAGES 0x5000000u  /* W: four activations, a byte each, first in the low byte; ascending, word 0 empties the lists */
#define SYNFLIP_REGION_MARGINS 0x6000000u  /* W: lead at which an image leaves */
#define SYNFLIP_REGION_VOTES 0x7000000u  /* R: samples that the class won */
#define SYNFLIP_REGION_SUMS 0x8000000u  /* R: 64-bit sum of logits, low half first */
#define SYNFLIP_REGION_USED 0x9000000u  /* R: samples that the image took part in */
#define SYNFLIP_REGION_LOG 0xa000000u  /* R: logits in the order in which they were made */
#define SYNFLIP_REGION_KEYS 0xb000000u  /* R/W: W: the next keys of a run with the option HOST_KEYS, ascending; R, when no run is busy: the last KEY_HALVES samples' keys, sample s in half s mod KEY_HALVES */
#define SYNFLIP_REGION_DEVICES 0xc000000u  /* R: bit 0: its bits are used; 1: failed its repetition test; 2: failed its proportion test */
#define SYNFLIP_REGION_RAW 0xd000000u  /* R: captured raw bits, 32 a word, the earliest in bit 0 */
#define SYNFLIP_REGION_SOFT 0xe000000u  /* R/W: W: tables of soft votes, L first, E behind it; R: sums of soft votes, behind them 64-bit sums of energies, low half first. What is behind begins at a power of two */

/* Registers: word addresses, and masks of their bits */
#define SYNFLIP_REG_MAGIC 0x0u  /* R, 32 bits: the letters "SYNF" */
#define SYNFLIP_REG_VERSION 0x1u  /* R, 8 bits: version of this map */
#define SYNFLIP_REG_LANES 0x2u  /* R, 8 bits: P, outputs at once */
#define SYNFLIP_REG_BANKS 0x3u  /* R, 4 bits: Q, rows at once */
#define SYNFLIP_REG_BITS 0x4u  /* R, 5 bits: k, bits of a probability word */
#define SYNFLIP_REG_ACTIVATION_BITS 0x5u  /* R, 4 bits: A, bits of an activation */
#define SYNFLIP_REG_WEIGHT_DEPTH 0x6u  /* R, 24 bits: weight entries of a bank */
#define SYNFLIP_REG_EVENT_DEPTH 0x7u  /* R, 24 bits: events of a bank's input lists */
#define SYNFLIP_REG_KEY_DEPTH 0x8u  /* R, 24 bits: keys of a bank in one half of the key memory */
#define SYNFLIP_REG_BIAS_DEPTH 0x9u  /* R, 24 bits: groups of Q biases */
#define SYNFLIP_REG_IMAGE_SLOTS 0xau  /* R, 9 bits: images of a batch */
#define SYNFLIP_REG_RESULT_DEPTH 0xbu  /* R, 24 bits: (image, class) pairs */
#define SYNFLIP_REG_LOG_DEPTH 0xcu  /* R, 24 bits: logits that the log holds */
#define SYNFLIP_REG_MARGIN_DEPTH 0xdu  /* R, 24 bits: entries of the margin table */
#define SYNFLIP_REG_LAYER_DEPTH 0xeu  /* R, 5 bits: entries of the layer table */
#define SYNFLIP_REG_DEVICES 0xfu  /* R, 7 bits: tunnel junctions that make the keys; 0: an LFSR makes them */
#define SYNFLIP_REG_KEY_HALVES 0x10u  /* R, 2 bits: network samples whose keys the key memory holds */
#define SYNFLIP_REG_SAMPLE_BITS 0x11u  /* R, 5 bits: a run has at most 2**SAMPLE_BITS - 1 network samples */
#define SYNFLIP_REG_SOFT_CLASSES 0x12u  /* R, 11 bits: most classes of soft votes; 0: there are none */
#define SYNFLIP_REG_FLIGHT 0x13u  /* R, 3 bits: passes of a network sample that are in flight */
#define SYNFLIP_REG_MAP_DEPTH 0x14u  /* R, 16 bits: events of a bank of a convolution's map; 0: there are none */
#define SYNFLIP_REG_CONTROL 0x15u  /* W, 3 bits: bit 0: start a run; bit 1: abort it; bit 2: test all junctions anew */
#define SYNFLIP_CONTROL_START 0x1u
#define SYNFLIP_CONTROL_ABORT 0x2u
#define SYNFLIP_CONTROL_RETEST 0x4u
#define SYNFLIP_REG_STATUS 0x16u  /* R, 2 bits: bit 0: busy; bit 1: alarm: too few junctions work, no keys are issued */
#define SYNFLIP_STATUS_BUSY 0x1u
#define SYNFLIP_STATUS_ALARM 0x2u
#define SYNFLIP_REG_CYCLES_LOW 0x17u  /* R, 32 bits: cycles of the run, low half */
#define SYNFLIP_REG_CYCLES_HIGH 0x18u  /* R, 32 bits: cycles of the run, high half */
#define SYNFLIP_REG_LOGGED 0x19u  /* R, 24 bits: logits in the log */
#define SYNFLIP_REG_LAYERS 0x20u  /* R/W, 4 bits: layers - 1 */
#define SYNFLIP_REG_CLASSES 0x21u  /* R/W, 10 bits: classes - 1 */
#define SYNFLIP_REG_CLASS_SHIFT 0x22u  /* R/W, 4 bits: log2 of the results an image takes */
#define SYNFLIP_REG_IMAGES 0x23u  /* R/W, 9 bits: images of the batch */
#define SYNFLIP_REG_SAMPLES 0x24u  /* R/W, 24 bits: network samples of the run */
#define SYNFLIP_REG_INPUT_SHIFT 0x25u  /* R/W, 5 bits: log2 of the events an image's list of a bank may hold */
#define SYNFLIP_REG_OPTIONS 0x26u  /* R/W, 3 bits: bit 0: stop early by the margin table; bit 1: log the logits; bit 2: keys from the host */
#define SYNFLIP_OPTIONS_EARLY 0x1u
#define SYNFLIP_OPTIONS_LOG 0x2u
#define SYNFLIP_OPTIONS_HOST_KEYS 0x4u
#define SYNFLIP_REG_ACTIVATION_MAX 0x27u  /* R/W, 8 bits: largest activation, 2**A - 1 of the model */
#define SYNFLIP_REG_KEY_BLOCKS 0x28u  /* R/W, 24 bits: keys of a bank in one network sample */
#define SYNFLIP_REG_FIRST_SLOT 0x29u  /* R/W, 8 bits: slot of the batch's first image */
#define SYNFLIP_REG_SOFT_SHIFT 0x2au  /* R/W, 5 bits: t of the tables of soft votes */
#define SYNFLIP_REG_MAPS 0x2bu  /* R/W, 1 bits: 1: the network has convolutions; each bank holds whole images */
#define SYNFLIP_REG_REPETITION_CUTOFF 0x30u  /* R/W, 10 bits: equal raw bits in a row with which a junction fails */
#define SYNFLIP_REG_PROPORTION_CUTOFF 0x31u  /* R/W, 11 bits: bits of 1024 equal to the first with which it fails */
#define SYNFLIP_REG_FOLD 0x32u  /* R/W, 4 bits: raw bits XORed into one, at least 1 */
#define SYNFLIP_REG_VON_NEUMANN 0x33u  /* R/W, 1 bits: bit 0: of pairs of folded bits keep the first of unequal ones */
#define SYNFLIP_REG_LEAST_DEVICES 0x34u  /* R/W, 7 bits: alarm below this many working junctions */
#define SYNFLIP_REG_CAPTURE 0x35u  /* R/W, 6 bits: junction whose raw bits are captured; a write starts a new capture */
#define SYNFLIP_REG_CAPTURED 0x36u  /* R, 24 bits: raw bits captured so far */
#define SYNFLIP_REG_WORKING 0x37u  /* R, 7 bits: junctions whose bits are used */

/* Words of a layer's entry */
#define SYNFLIP_LAYER_WEIGHT_BASE 0x0u  /* first entry of the layer in every bank's weight memory */
#define SYNFLIP_LAYER_ROW_BLOCKS 0x1u  /* padded rows / Q: weight entries of one tile in a bank */
#define SYNFLIP_LAYER_KEY_BASE 0x2u  /* first key of the layer in every bank's half */
#define SYNFLIP_LAYER_KEY_END 0x3u  /* one past the last */
#define SYNFLIP_LAYER_TILES 0x4u  /* tiles - 1 */
#define SYNFLIP_LAYER_BIAS_BASE 0x5u  /* first group of Q biases */
#define SYNFLIP_LAYER_LAST_STEPS 0x6u  /* drain steps of the last tile - 1 */
#define SYNFLIP_LAYER_SHIFT 0x7u  /* r; where there are maps, of a convolution also 1 << 8, and its first segment << 16 */

/* Registers of the AXI front end */
#define SYNFLIP_AXI_STREAM_STATUS 0xf000000u  /* R, 1 bits: bit 0: a packet of s_axis was begun, and not all of it is written */
#define SYNFLIP_STREAM_STATUS_BUSY 0x1u
#define SYNFLIP_AXI_WORDS_REFUSED 0xf000001u  /* R, W clears, 32 bits: words of s_axis that were refused; a write sets it to 0 */
#define SYNFLIP_AXI_PASSES_LOST 0xf000002u  /* R, W clears, 32 bits: passes whose logits m_axis lost; a write sets it to 0 */

#endif
