"""The gateware simulated: as devices in Verilator and Icarus, behind serial ports, in cocotb's benches."""
