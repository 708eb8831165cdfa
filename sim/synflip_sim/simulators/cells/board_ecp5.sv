// Cells of an ECP5 that a board's top has before synthesis, as much of them as it uses. No delay, no frequency: a
// PLL's outputs are its input, and it locks after some cycles.

module IB(input I, output O);
    assign O = I;
endmodule

module OBZ(input I, input T, output O);
    assign O = T ? 1'bz : I;
endmodule

module EHXPLLL #(
    parameter integer CLKI_DIV = 1, CLKFB_DIV = 1, CLKOP_DIV = 1, CLKOP_CPHASE = 0, CLKOS_DIV = 1, CLKOS_CPHASE = 0,
    parameter FEEDBK_PATH = "", CLKOP_ENABLE = "", CLKOS_ENABLE = ""
) (
    input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP,
    ENCLKOS,
    output CLKOP, CLKOS, LOCK
);
    assign CLKOP = CLKI;
    assign CLKOS = CLKI;
    board_lock lock(.clk(CLKI), .locked(LOCK));
endmodule
