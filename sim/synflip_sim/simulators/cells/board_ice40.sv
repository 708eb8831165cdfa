// Cells of an iCE40 that a board's top has before synthesis, as much of them as it uses. No delay, no frequency: a
// PLL's output is its input, and it locks after some cycles.

// PIN_TYPE[5:4]: 00 no output, 10 driven while OUTPUT_ENABLE is 1. PIN_TYPE[1:0]: 01 input without a register.
module SB_IO #(
    parameter [5:0] PIN_TYPE = 0, parameter [0:0] PULLUP = 0, parameter IO_STANDARD = ""
) (
    inout PACKAGE_PIN, input OUTPUT_ENABLE, D_OUT_0, output D_IN_0
);
    if (PIN_TYPE == 6'b000001) begin
        assign D_IN_0 = PACKAGE_PIN;
    end else if (PIN_TYPE == 6'b101001) begin
        assign D_IN_0 = PACKAGE_PIN;
        assign PACKAGE_PIN = OUTPUT_ENABLE ? D_OUT_0 : 1'bz;
    end else begin
        $fatal(1, "SB_IO: no model of this PIN_TYPE");
    end
endmodule

module SB_PLL40_CORE #(
    parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0, parameter [2:0] DIVQ = 0, FILTER_RANGE = 0,
    parameter FEEDBACK_PATH = "", PLLOUT_SELECT = ""
) (
    input REFERENCECLK, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK
);
    assign PLLOUTGLOBAL = REFERENCECLK;
    board_lock lock(.clk(REFERENCECLK), .locked(LOCK));
endmodule
