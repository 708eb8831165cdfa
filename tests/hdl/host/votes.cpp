// Runs model.c on images from stdin: "first_slot images samples seed first_sample margins.. pixels..", with
// `samples` margins, or one 0 for none. Prints the cycles, and of every image samples used, votes and sums.
// With an argument, a run is begun before and given up.

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "model.h"
#include "synflip_host.h"

extern "C" synflip_bus axi_memory(volatile uint32_t* map);

namespace {

void ok(int error) {
    if (error == 0) return;
    std::fprintf(stderr, "%s\n", synflip_error_text(error));
    std::exit(1);
}

template <typename Number>
Number number() {
    Number value;
    if (!(std::cin >> value)) std::exit(2);
    return value;
}

}  // namespace

int main(int count, char**) {
    synflip_device device;
    synflip_request request = {};
    ok(synflip_open(&device, axi_memory(nullptr)));
    ok(synflip_load(&device, model, model_words));
    request.first_slot = number<uint32_t>();
    request.images = number<uint32_t>();
    request.samples = number<uint32_t>();
    request.seed = number<uint64_t>();
    request.first_sample = number<uint32_t>();
    std::vector<uint32_t> margins{number<uint32_t>()};
    if (margins[0] != 0) {
        while (margins.size() < request.samples) margins.push_back(number<uint32_t>());
        request.margins = margins.data();
    }
    for (uint32_t i = 0; i < request.images; i++) {
        std::vector<uint16_t> pixels;
        while (pixels.size() < device.inputs) pixels.push_back(number<uint16_t>());
        ok(synflip_write_image(&device, request.first_slot + i, pixels.data()));
    }
    if (count > 1) {
        ok(synflip_start(&device, &request));
        if (synflip_start(&device, &request) != SYNFLIP_ERROR_BUSY) return 3;
        uint32_t patience = device.patience;
        device.patience = 1;
        if (synflip_wait(&device, nullptr) != SYNFLIP_ERROR_TIMEOUT) return 4;
        device.patience = patience;
        ok(synflip_abort(&device));
    }
    uint64_t cycles;
    ok(synflip_run(&device, &request, &cycles));
    std::cout << cycles << "\n";
    for (uint32_t i = 0; i < request.images; i++) {
        uint32_t slot = request.first_slot + i, used, votes[MODEL_CLASSES];
        int64_t sums[MODEL_CLASSES];
        ok(synflip_read_used(&device, slot, &used));
        ok(synflip_read_votes(&device, slot, votes));
        ok(synflip_read_sums(&device, slot, sums));
        std::cout << used;
        for (uint32_t vote : votes) std::cout << " " << vote;
        for (int64_t sum : sums) std::cout << " " << sum;
        std::cout << "\n";
    }
    return 0;
}
