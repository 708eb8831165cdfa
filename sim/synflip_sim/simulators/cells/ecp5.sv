// ECP5 cells for Verilator: Yosys's models (LUT4, PFUMX, L6MUX21, CCU2C, TRELLIS_FF, TRELLIS_DPR16X4), and ours of the
// block RAM. Pads and Diamond's names for flip-flops are left out: no netlist here has them.
`define NO_INCLUDES
`include "common_sim.vh"
`include "ccu2c_sim.vh"
`include "dp16kd.sv"
