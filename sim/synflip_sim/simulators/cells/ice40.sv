// iCE40 cells for Verilator: Yosys's models of all of them. Without default values of inputs: Verilator would give an
// input its default even where it is connected. Yosys connects every input that has one.
`define NO_ICE40_DEFAULT_ASSIGNMENTS
`include "cells_sim.v"
