// Cells of a 7-series Xilinx device that a board's top has before synthesis, as much of them as it uses. No delay, no
// frequency: a PLL's output is its input, and it locks after some cycles.

module IBUF(input I, output O);
    assign O = I;
endmodule

module OBUFT(input I, input T, output O);
    assign O = T ? 1'bz : I;
endmodule

module BUFG(input I, output O);
    assign O = I;
endmodule

module FDPE #(parameter [0:0] INIT = 1) (input C, CE, D, PRE, output reg Q);
    initial Q = INIT;
    always @(posedge C, posedge PRE)
        if (PRE) Q <= 1;
        else if (CE) Q <= D;
endmodule

module PLLE2_BASE #(
    parameter real CLKIN1_PERIOD = 0, parameter integer DIVCLK_DIVIDE = 1, CLKFBOUT_MULT = 5, CLKOUT0_DIVIDE = 1
) (
    input CLKIN1, CLKFBIN, RST, PWRDWN, output CLKFBOUT, CLKOUT0, LOCKED
);
    assign CLKFBOUT = CLKIN1;
    assign CLKOUT0 = CLKIN1;
    board_lock lock(.clk(CLKIN1), .locked(LOCKED));
endmodule
