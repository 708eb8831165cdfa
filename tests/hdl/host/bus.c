/* The bus of a program whose accelerator is the one in axi_lite.cpp, in place of synflip_memory. */
#include "synflip_host.h"

int axi_read(void *context, uint32_t address, uint32_t *word);
int axi_write(void *context, uint32_t address, uint32_t word);
synflip_bus axi_memory(volatile uint32_t *map);

synflip_bus axi_memory(volatile uint32_t *map) {
    synflip_bus bus = {axi_read, axi_write, (void *)map};
    return bus;
}
