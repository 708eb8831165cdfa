// When a simulated PLL locks: not before 64 cycles of its input.
module board_lock(input clk, output locked);
    reg [6:0] count = 0;
    assign locked = count[6];
    always @(posedge clk) if (!locked) count <= count + 1;
endmodule
