// The functions of every harness that synflip_sim.usb.bench calls, of the class `Bench` that is defined before.
extern "C" {

void synflip_close(void* bench) { delete static_cast<Bench*>(bench); }

// The host's lines change: bit 0 is D+, bit 1 D-.
void synflip_line(void* bench, int state) { static_cast<Bench*>(bench)->line(state); }

// Sends a packet to the device.
void synflip_send(void* bench, const uint8_t* bytes, int64_t count) {
    static_cast<Bench*>(bench)->send(bytes, count);
}

// Waits for a packet that begins within `patience` cycles. Returns its length, and at most `room` bytes of it;
// -1 without one.
int64_t synflip_receive(void* bench, uint8_t* bytes, int64_t room, int64_t patience) {
    Bench& b = *static_cast<Bench*>(bench);
    while (b.sent.empty() && (patience-- > 0 || b.state != Bench::IDLE)) b.listen();
    if (b.sent.empty()) return -1;
    const std::vector<uint8_t> packet = b.sent.front();
    b.sent.pop_front();
    for (int64_t i = 0; i < int64_t(packet.size()) && i < room; i++) bytes[i] = packet[i];
    return packet.size();
}

void synflip_idle(void* bench, int64_t cycles) {
    while (cycles--) static_cast<Bench*>(bench)->listen();
}

int64_t synflip_cycles(void* bench) { return static_cast<Bench*>(bench)->cycles; }

// Bit 0: busy is lit; bit 1: error.
int64_t synflip_leds(void* bench) {
    Bench& b = *static_cast<Bench*>(bench);
    return b.top->busy | b.top->error << 1;
}
}
