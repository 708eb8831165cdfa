// Cells of a Gowin device that a board's top has before synthesis, as much of them as it uses. No delay, no
// frequency: a PLL's output is its input, and it locks after some cycles.

module IBUF(input I, output O);
    assign O = I;
endmodule

module TBUF(input I, input OEN, output O);
    assign O = OEN ? 1'bz : I;
endmodule

module rPLL #(
    parameter DEVICE = "", FCLKIN = "", DYN_IDIV_SEL = "", DYN_FBDIV_SEL = "", DYN_ODIV_SEL = "", CLKFB_SEL = "",
    parameter integer IDIV_SEL = 0, FBDIV_SEL = 0, ODIV_SEL = 8
) (
    input CLKIN, CLKFB, RESET, RESET_P, input [5:0] FBDSEL, IDSEL, ODSEL, input [3:0] PSDA, DUTYDA, FDLY,
    output CLKOUT, LOCK
);
    assign CLKOUT = CLKIN;
    board_lock lock(.clk(CLKIN), .locked(LOCK));
endmodule
