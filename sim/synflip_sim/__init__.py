"""The accelerator in Verilator: the same Verilog, a C++ clock, the same memory map."""
