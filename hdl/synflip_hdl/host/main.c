/* An example: load the model, classify one image. Written by synflip export-c once: change it as you like.
 *
 *     gcc -std=c11 main.c model.c synflip_host.c
 */
#include <inttypes.h>
#include <stdio.h>

#include "model.h"
#include "synflip_host.h"

#ifndef SYNFLIP_BASE /* the accelerator's place in the address space: here that of M_AXI_GP0 of a Zynq-7000 */
#define SYNFLIP_BASE 0x40000000u
#endif

static const uint16_t pixels[MODEL_INPUTS] = {0}; /* your image: numbers in 0..MODEL_PIXEL_MAX */

int main(void) {
    synflip_device device;
    const synflip_request request = {.first_slot = 0, .images = 1, .seed = 1, .first_sample = 0, .samples = 16};
    uint32_t votes[MODEL_CLASSES];
    uint64_t cycles;

    int error = synflip_open(&device, synflip_memory((volatile uint32_t *)(uintptr_t)SYNFLIP_BASE));
    if (error == 0) error = synflip_load(&device, model, model_words);
    if (error == 0) error = synflip_write_image(&device, request.first_slot, pixels);
    if (error == 0) error = synflip_run(&device, &request, &cycles);
    if (error == 0) error = synflip_read_votes(&device, request.first_slot, votes);
    if (error != 0) {
        printf("error: %s\n", synflip_error_text(error));
        return 1;
    }
    for (uint32_t c = 0; c < MODEL_CLASSES; c++)
        if (votes[c] != 0) printf("%s: %" PRIu32 " of %" PRIu32 " votes\n", model_classes[c], votes[c], request.samples);
    printf("%s, after %" PRIu64 " cycles\n", model_classes[synflip_winner(&device, votes)], cycles);
    return 0;
}
