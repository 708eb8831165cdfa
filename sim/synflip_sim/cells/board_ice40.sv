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

module SB_PLL40_PAD #(
    parameter [3:0] DIVR = 0, parameter [6:0] DIVF = 0, parameter [2:0] DIVQ = 0, FILTER_RANGE = 0,
    parameter FEEDBACK_PATH = "", PLLOUT_SELECT = ""
) (
    input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK
);
    assign PLLOUTGLOBAL = PACKAGEPIN;
    board_lock lock(.clk(PACKAGEPIN), .locked(LOCK));
endmodule

// One port: a cycle writes or reads. What it gives after a write is nobody's to use: here the complement of the row.
module SB_SPRAM256KA(
    input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
    input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF, output reg [15:0] DATAOUT
);
    reg [15:0] rows [0:16383];
    wire [15:0] mask = {{4{MASKWREN[3]}}, {4{MASKWREN[2]}}, {4{MASKWREN[1]}}, {4{MASKWREN[0]}}};
    always @(posedge CLOCK)
        if (CHIPSELECT && POWEROFF && !SLEEP && !STANDBY) begin
            if (WREN) rows[ADDRESS] <= (DATAIN & mask) | (rows[ADDRESS] & ~mask);
            DATAOUT <= WREN ? ~rows[ADDRESS] : rows[ADDRESS];
        end
endmodule
